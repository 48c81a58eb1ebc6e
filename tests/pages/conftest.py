"""What the tests of the pages share: no real data, and a small family of networks of random weights."""

import shutil

import numpy as np
import pytest

from kdexplorer.app.server import access
from kdexplorer.datasets import get_dataset
from kdexplorer.datasets.cifar10 import HUMAN_VARIABLE
from kdexplorer.runs.checkpoints import open_checkpoint
from kdexplorer.studies.folder import StudyConfig, open_study
from kdexplorer.studies.table import write_table
from tests.pages.runs import CIFAR10, CIFAR10_CARD, distilled, figures
from tests.studies.sample import make_grid


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    """A small test split."""
    monkeypatch.setitem(get_dataset("synthetic").sizes, "test", 120)


@pytest.fixture
def guest(monkeypatch):
    """The visitor is not the presenter."""
    monkeypatch.setenv(access.VARIABLE, "a presenter token")


@pytest.fixture(scope="session")
def built(make_checkpoint, tmp_path_factory):
    """A teacher and two students with CIFAR-10's classes and logits of the whole test split."""
    folder = tmp_path_factory.mktemp("family")

    def make(name, seed, **changes):
        logits = np.random.default_rng(seed).normal(0, 3, (10_000, 10))
        return make_checkpoint(folder / name, "resnet8", seed, logits, **CIFAR10_CARD | changes)

    teacher = make("teacher", 0)
    make("small-scratch", 1, run="r")
    make("small-response", 2, run="r", **distilled(teacher))
    return folder


@pytest.fixture
def family(own, built):
    """A copy of `built` that a test may damage."""
    shutil.copytree(built, own)
    return own


@pytest.fixture
def big(family, make_checkpoint):
    """A second teacher with two students."""
    known = {"logits": np.zeros((10_000, 10))} | CIFAR10_CARD
    teacher = make_checkpoint(family / "big", "resnet20", 5, **known)
    make_checkpoint(family / "big-scratch", "resnet8", 6, run="b", **known)
    make_checkpoint(family / "big-feature", "resnet8", 7, run="b", **known, **distilled(teacher, "feature"))


@pytest.fixture
def evaluated(own, make_checkpoint):
    """A teacher, a scratch baseline and a distilled student with 110, 60 and 80 of 120 synthetic images right."""
    teacher = make_checkpoint(own / "teacher", "resnet20", **figures(110))
    make_checkpoint(own / "small-scratch", seed=1, run="r", **figures(60, 1))
    known = figures(80, 2) | distilled(teacher) | {"test_terms": {"cross_entropy": 1.0, "kd": 1.0}}
    make_checkpoint(own / "small-response", seed=2, run="r", **known)
    return own


@pytest.fixture
def swept(evaluated):
    """A sweep with results in its folder, as its driver leaves it: the best setting is T = 2 with weight 0.7."""
    table, _ = make_grid((0.6, 0.6, 0.9, 0.6), dataset="synthetic", teacher="teacher")
    table = table.model_copy(update={"teacher": open_checkpoint(evaluated / "teacher").sha256})
    folder = open_study(StudyConfig(study=table.study))
    write_table(table, folder.path / "table.json")
    folder.write_status("stopped", runs=3, finished=2)
    return folder


@pytest.fixture
def human(tmp_path, monkeypatch):
    """Human labels that are divided between the label's class and the next; returns the shares."""
    labels = CIFAR10.test_labels()
    counts = 1 + 40 * np.eye(10)[labels] + 15 * np.eye(10)[(labels + 1) % 10]
    np.save(tmp_path / "cifar10h-counts.npy", counts)
    monkeypatch.setenv(HUMAN_VARIABLE, str(tmp_path))
    return counts / counts.sum(axis=1, keepdims=True)
