"""Settings of a process that trains."""

import os
from pathlib import Path

import pytest
import torch

from kdexplorer.training import hardware

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(VARIABLE, "")  # restored afterwards, whatever the test sets
    monkeypatch.delenv(VARIABLE)
    return tmp_path


def test_what_is_compiled_is_kept_for_the_next_run_by_its_owner_alone():
    hardware.configure_process()
    folder = Path(os.environ[VARIABLE])
    assert folder.name == "inductor"
    assert folder.stat().st_mode & 0o077 == 0


def test_two_generations_of_one_name_and_hidden_instructions_are_told_apart(monkeypatch):
    cpu, found = torch.device("cpu"), {"model name": "AMD EPYC", "cpu family": "26", "model": "2"}
    monkeypatch.setattr(hardware, "_read_cpuinfo", lambda: found)
    described = [hardware.describe_processor(cpu)]
    found["cpu family"] = "25"
    described.append(hardware.describe_processor(cpu))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "NONE")
    described.append(hardware.describe_processor(cpu))
    assert len(set(described)) == 3
    assert all(one.startswith("AMD EPYC, ") for one in described)


def test_a_folder_of_ones_own_stays(monkeypatch):
    monkeypatch.setenv(VARIABLE, "/elsewhere")
    hardware.configure_process()
    assert os.environ[VARIABLE] == "/elsewhere"


def test_without_a_cache_folder_torch_chooses(home, monkeypatch):
    (home / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "file"))
    monkeypatch.setenv("HOME", str(home / "file"))
    hardware.configure_process()
    assert VARIABLE not in os.environ
