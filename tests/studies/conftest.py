"""What the tests of studies share: a recipe of seconds, a study of four runs."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from kdexplorer.cli import study as cli
from kdexplorer.runs import launch
from kdexplorer.studies.folder import StudyConfig
from kdexplorer.studies.study import make_grid_study
from kdexplorer.training.train import execute


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
def declared(tmp_path, recipe):
    """The file that declares three students and two seeds."""
    path = tmp_path / "league.toml"
    settings = "\n".join(f"{name} = {json.dumps(value)}" for name, value in recipe.items())
    path.write_text(f"""
version = 2
name = "league"
seeds = [3, 5]
references = ["scratch", "plain-kd"]
[recipe]
{settings}
[entries]
scratch = "resnet8:scratch"
plain-kd = "resnet8:kd:T=4:weight=0.7:ce_weight=0.3"
attention = "resnet8:at:weight=1000"
""")
    return path


@pytest.fixture
def started(monkeypatch, make_checkpoint):
    """Runs end at once, with students of random weights, and nothing is timed; the list says which, in order."""
    ids = []

    def end(run):
        ids.append(run.run_id)
        config = run.config()
        for place, student in enumerate(config.students):
            logits = np.random.default_rng([config.seed, place]).normal(size=(60, 10))
            facts = {"objective": student.objective, "run": run.run_id, "epochs": config.epochs}
            facts |= {"test_accuracy": 0.3, "data": {"dataset": config.dataset, "evaluation_images": 60}}
            for name in [student.name, *(f"{student.name}-after-{epoch}" for epoch in range(1, config.epochs))]:
                make_checkpoint(run.path / name, seed=config.seed, logits=logits, **facts)
        run.write_status("finished")

    monkeypatch.setattr(launch, "start_run", end)
    monkeypatch.setattr(
        cli, "measure_left", lambda left: SimpleNamespace(wait=lambda: [90.0 * len(one.runs) for one in left])
    )
    return ids


@pytest.fixture
def trained(started, monkeypatch):
    """As `started`, and runs really train, in this process."""

    def train(run):
        started.append(run.run_id)
        execute(run)

    monkeypatch.setattr(launch, "start_run", train)
    return started
