"""On a machine with a GPU: each optimizer and kind of method trains there, with the card's figures elsewhere."""

import os
import shutil
import subprocess
import sys

import pytest

from kdexplorer.runs.run_folder import list_runs
from tests.conftest import GPUS


@pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="needs a GPU")
@pytest.mark.parametrize("recipe", ["standard", "adamw", "muon", "fast"])
def test_students_train_on_a_gpu_and_compute_the_same_on_the_processor(recipe, runs_root):
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    environment |= {} if GPUS is None else {"CUDA_VISIBLE_DEVICES": GPUS}
    students = [f"resnet8:{method}" for method in ("scratch", "kd", "at", "rkd")]
    options = ["--device", "cuda", "--dataset", "cifar10-small", "--teacher", "resnet20-combined", "--recipe", recipe]
    sizes = ["--train-images", "1000", "--epochs", "2"]
    command = [sys.executable, "-m", "kdexplorer", "train", *options, *sizes, "--students", *students]
    subprocess.run(command, env=environment, check=True)
    (run,) = list_runs()
    names = [f"{run.run_id}/{student.name}" for student in run.config().students]
    subprocess.run([sys.executable, "-m", "kdexplorer", "evaluate", *names], check=True)
