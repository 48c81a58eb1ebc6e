"""What the tests of studies share: a teacher, a recipe of seconds, a study of four runs."""

import contextlib

import pytest

from kdexplorer.cli import study as command
from kdexplorer.errors import TrainingError
from kdexplorer.runs import launch
from kdexplorer.studies.folder import StudyConfig
from kdexplorer.studies.study import make_grid_study
from kdexplorer.training.train import execute


@pytest.fixture(scope="session")
def teacher(make_checkpoint, tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("teachers") / "teacher", seed=9)


@pytest.fixture
def recipe(teacher):
    return {
        "dataset": "synthetic", "teacher": str(teacher.path), "epochs": 1, "batch_size": 20, "train_images": 60,
        "learning_rate": 0.1, "precision": "float32", "device": "cpu",
    }  # fmt: skip


@pytest.fixture
def small(recipe):
    """Two seeds of four students (scratch, default, and two more), at most two in a run: four runs."""
    study = make_grid_study("resnet8", recipe, 2, temperatures=[2.0], weights=[0.5, 0.9])
    return StudyConfig(study=study, students_per_run=2)


@pytest.fixture
def started(monkeypatch):
    """Runs train in this process and nothing is timed beforehand; the list says which, in order."""
    ids = []

    def start(run):
        ids.append(run.run_id)
        with contextlib.suppress(TrainingError):  # its status says so
            execute(run)

    monkeypatch.setattr(launch, "start_run", start)
    monkeypatch.setattr(command, "measure_seconds", lambda left: 90.0 * len(left.runs))
    return ids
