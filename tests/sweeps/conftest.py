"""What the tests of sweeps share: a teacher, a recipe of seconds, a sweep of four experiments."""

import pytest

from kdexplorer.sweeps import grid


@pytest.fixture(scope="session")
def teacher(make_checkpoint, tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("teachers") / "teacher", seed=9)


@pytest.fixture
def recipe(teacher):
    return {
        "dataset": "synthetic",
        "teacher": str(teacher.path),
        "epochs": 1,
        "batch_size": 20,
        "train_images": 60,
        "learning_rate": 0.1,
        "precision": "float32",
        "device": "cpu",
    }


@pytest.fixture
def small(recipe):
    """Two seeds of four students (scratch, default, and two more), at most two in an experiment: four experiments."""
    return grid.configure("resnet8", recipe, temperatures=[2.0], weights=[0.5, 0.9], seeds=2, students_per_experiment=2)
