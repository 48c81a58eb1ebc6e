"""Settings of a process that trains."""

import os
from pathlib import Path

import pytest

from kdexplorer.training import hardware

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A cache folder of the test's own, which is not there yet."""
    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv(VARIABLE, "")  # restored afterwards, whatever the test sets
    monkeypatch.delenv(VARIABLE)
    return tmp_path / "home"


def test_what_is_compiled_is_kept_for_the_next_run_by_its_owner_alone():
    hardware.configure_process()
    folder = Path(os.environ[VARIABLE])
    assert folder.name == "inductor"
    assert folder.stat().st_mode & 0o077 == 0
    os.environ[VARIABLE] = "/elsewhere"  # a folder of one's own
    hardware.configure_process()
    assert os.environ[VARIABLE] == "/elsewhere"


def test_without_a_cache_folder_torch_chooses(home):
    home.write_text("no folder")
    hardware.configure_process()
    assert VARIABLE not in os.environ
