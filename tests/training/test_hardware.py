"""Settings of a process that trains."""

import os
from pathlib import Path

import pytest
import torch

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


def test_two_generations_of_one_name_and_hidden_instructions_are_told_apart(monkeypatch):
    described = set()
    for family, instructions in (("26", "AVX512"), ("25", "AVX512"), ("25", "NONE")):
        found = {"model name": "AMD EPYC", "cpu family": family, "model": "2"}
        monkeypatch.setattr(hardware, "_read_cpuinfo", lambda found=found: found)
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda found=instructions: found)
        described.add(hardware.describe_processor(torch.device("cpu")))
    assert len(described) == 3
    assert all(one.startswith("AMD EPYC, ") for one in described)


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
