"""Settings of a process that trains."""

import os
from pathlib import Path

from kdexplorer.training.hardware import configure_process

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def test_what_is_compiled_is_kept_for_the_next_run_by_its_owner_alone(tmp_path, monkeypatch):
    """Without a cache folder torch chooses; a folder of one's own is left alone."""
    home = tmp_path / "home"
    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv(VARIABLE, "")  # restored afterwards, whatever is set
    monkeypatch.delenv(VARIABLE)
    home.write_text("no folder")
    configure_process()
    assert VARIABLE not in os.environ
    home.unlink()
    configure_process()
    folder = Path(os.environ[VARIABLE])
    assert folder.name == "inductor"
    assert folder.stat().st_mode & 0o077 == 0
    os.environ[VARIABLE] = "/elsewhere"
    configure_process()
    assert os.environ[VARIABLE] == "/elsewhere"
