"""A run, a living process, and a checkpoint that tests may damage."""

import subprocess
import sys

import numpy as np
import psutil
import pytest

from kdexplorer.config import RunConfig
from kdexplorer.runs.launch import create_run

CONFIG = RunConfig(name="lab", dataset="synthetic", students=[{"name": "a", "architecture": "resnet8"}])
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def run():
    return create_run(CONFIG, "lab")


@pytest.fixture
def sleeper():
    """A living process that is not this one."""
    process = subprocess.Popen(SLEEP)
    yield psutil.Process(process.pid)
    process.kill()
    process.wait()


@pytest.fixture
def saved(tmp_path, make_checkpoint):
    """A ResNet-8 with random weights and logits of 120 images."""
    return make_checkpoint(tmp_path / "net", logits=np.random.default_rng(0).normal(size=(120, 10)))
