"""Devices, precisions and the settings of a process that trains; on a machine with a GPU, training there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kdexplorer.errors import ConfigError
from kdexplorer.runs.run_folder import list_runs
from kdexplorer.training.hardware import configure_process, resolve_device, resolve_precision
from kdexplorer.training.trainer import Trainer
from tests.conftest import GPUS
from tests.training.configs import make_config

GTX_1080 = (6, 1)
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


@pytest.mark.parametrize(
    ("name", "gpus", "capability", "built", "found"),
    [
        ("auto", 0, (8, 0), "sm_80", "cpu"),
        ("cpu", 2, (8, 0), "sm_80", "cpu"),
        ("cuda", 1, (8, 0), "sm_80", "cuda:0"),
        ("cuda:1", 2, (8, 0), "sm_80", "cuda:1"),
        ("cuda", 0, (8, 0), "sm_80", "no CUDA device that torch can use; choose 'cpu' or 'auto'"),
        ("cuda:2", 2, (8, 0), "sm_80", "no cuda:2: it has 2, and the first is cuda:0"),
        # A GPU for which torch has no code is left to those who ask for it.
        ("auto", 1, GTX_1080, "sm_75 sm_80 compute_90", "cpu"),
        ("cuda", 1, GTX_1080, "sm_75 sm_80 compute_90", "no code for this GPU"),
        ("auto", 1, (8, 6), "sm_75 sm_80", "cuda:0"),
        ("auto", 1, (7, 5), "sm_80", "cpu"),
        ("auto", 1, (12, 0), "sm_90 compute_90", "cuda:0"),
    ],
)
def test_a_gpu_is_found_by_its_number(monkeypatch, name, gpus, capability, built, found):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_arch_list", built.split)
    if " " in found:
        with pytest.raises(ConfigError, match=found):
            resolve_device(name)
    else:
        assert str(resolve_device(name)) == found


@pytest.mark.parametrize(("name", "precision"), [("NVIDIA GeForce GTX 1650", "float32"), ("Tesla T4", "float16")])
def test_a_gpu_that_cannot_compute_in_float16_gets_float32(monkeypatch, name, precision):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert resolve_precision("auto", torch.device("cuda", 0)) == getattr(torch, precision)


def test_compiling_without_a_compiler_is_refused_with_the_remedy(tiny):
    with torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",)}), pytest.raises(ConfigError, match="g\\+\\+"):
        Trainer(make_config(compile=True, device="cpu"))


@pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="needs a GPU")
@pytest.mark.parametrize("recipe", ["standard", "adamw", "muon", "fast", "muon --compile"])
def test_students_train_on_a_gpu_and_compute_the_same_on_the_processor(recipe, runs_root):
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    environment |= {} if GPUS is None else {"CUDA_VISIBLE_DEVICES": GPUS}
    students = [f"resnet8:{method}" for method in ("scratch", "kd", "at", "rkd")]
    options = ["--device", "cuda", "--dataset", "cifar10-small", "--teacher", "resnet20-combined"]
    sizes = ["--recipe", *recipe.split(), "--train-images", "1000", "--epochs", "2"]
    command = [sys.executable, "-m", "kdexplorer", "train", *options, *sizes, "--students", *students]
    subprocess.run(command, env=environment, check=True)
    (run,) = list_runs()
    names = [f"{run.run_id}/{student.name}" for student in run.config().students]
    subprocess.run([sys.executable, "-m", "kdexplorer", "evaluate", *names], check=True)
