"""Sweeps: what they are made of, how they are packed, and that every start goes on from the one before."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from kdexplorer import cli, estimate, runs, surface, sweep, train
from kdexplorer.config import ExperimentConfig
from kdexplorer.errors import ConfigError, RunError, TrainingError


@pytest.fixture(scope="session")
def teacher(make_checkpoint, tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("teachers") / "teacher", seed=9)


@pytest.fixture
def recipe(teacher):
    return {
        "dataset": "synthetic", "teacher": str(teacher.path), "epochs": 1, "batch_size": 50, "train_images": 100,
        "learning_rate": 0.1, "precision": "float32", "device": "cpu",
    }  # fmt: skip


@pytest.fixture
def small(recipe):
    """Two seeds of four students (scratch, default, and two more), at most two in an experiment: four experiments."""
    return sweep.configure(
        "resnet8", recipe, temperatures=[2.0], response_weights=[0.5, 0.9], seeds=2, students_per_experiment=2
    )


@pytest.fixture
def here(monkeypatch):
    """Experiments run in this process; the list says which, in order."""
    begun = []

    def start(run):
        begun.append(run.run_id)
        with contextlib.suppress(TrainingError):  # its status says so
            train.execute(run)

    monkeypatch.setattr(runs, "start", start)
    return begun


# --- What a sweep is ----------------------------------------------------------------------------------------


def test_a_sweep_is_its_references_and_its_grid(recipe):
    made = sweep.configure("resnet8", recipe, temperatures=[1.0, 4.0], response_weights=[0.7, 1.0])
    names = [student.name for student in made.students()]
    assert names == ["resnet8-scratch", "resnet8-T4-w0.7", "resnet8-T1-w0.7", "resnet8-T1-w1", "resnet8-T4-w1"]
    scratch, default, *_, last = made.students()
    assert (scratch.ce_weight, scratch.response_weight) == (1.0, 0.0)
    assert (default.ce_weight, default.response_weight, default.temperature) == (0.3, 0.7, 4.0)
    assert (last.ce_weight, last.response_weight) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("student", "changes", "grid", "message"),
    [
        ("resnet9", {}, {}, "not a network"),
        ("resnet8", {"teacher": None}, {}, "needs a teacher"),
        ("resnet8", {"epochs": 0}, {}, "epochs"),
        ("resnet8", {}, {"temperatures": [2.0, 2.0]}, "twice"),
        ("resnet8", {}, {"temperatures": []}, "temperatures"),
        ("resnet8", {}, {"response_weights": [1.5]}, "response_weights"),
        ("resnet8", {}, {"seeds": 0}, "seeds"),
    ],
)
def test_what_cannot_be_a_sweep_is_said(recipe, student, changes, grid, message):
    with pytest.raises(ConfigError, match=message):
        sweep.configure(student, recipe | changes, **grid)


def test_the_same_configuration_is_the_same_sweep_and_another_is_not(small, recipe):
    first = sweep.create(small)
    assert sweep.create(small) == first
    assert [s.run_id for s in sweep.list_sweeps()] == [first.run_id]
    assert first.config() == small
    other = sweep.create(sweep.configure("resnet8", recipe | {"epochs": 2}, seeds=2))
    assert other.run_id != first.run_id
    assert sweep.find(first.run_id) == sweep.find(str(first.path)) == first
    assert sweep.find("nothing") is None
    assert not runs.list_runs()  # sweeps do not stand among the runs


def test_the_command_line_of_a_sweep_reads_back_to_the_same_sweep(recipe, capsys, monkeypatch):
    made = sweep.configure(
        "resnet8", recipe | {"name": "mine", "seed": 5, "compile": True}, temperatures=[1.5, 20.0],
        response_weights=[0.25], seeds=4, students_per_experiment=3, memory_gib=2.5,
    )  # fmt: skip
    monkeypatch.setattr(sweep, "start", lambda found: None)
    assert cli.main([*cli.sweep_command_line(made).split()[3:], "--detach"]) == 0
    assert sweep.find(capsys.readouterr().out.strip()).config() == made


# --- Packing ------------------------------------------------------------------------------------------------


def test_students_of_one_seed_share_an_experiment_while_memory_lasts(recipe, monkeypatch):
    monkeypatch.setattr(estimate, "free_memory", lambda device: 2**30)
    monkeypatch.setattr(estimate, "memory", lambda config, elsewhere: 2**28 * len(config.students))
    made = sweep.configure("resnet8", recipe, temperatures=[1.0, 2.0], response_weights=[0.3, 0.5], seeds=2)
    packed = sweep.pack(made, "id")  # six students a seed, of which four fit: three and three
    assert [(e["seed"], len(e["students"])) for e in packed] == [(0, 3), (0, 3), (1, 3), (1, 3)]
    assert [e["run"] for e in packed] == ["id-1", "id-2", "id-3", "id-4"]
    for seed in (0, 1):
        names = [name for e in packed if e["seed"] == seed for name in e["students"]]
        assert names == [student.name for student in made.students()]
    assert len(sweep.pack(made.model_copy(update={"memory_gib": 64.0}), "id")) == 2
    assert len(sweep.pack(made.model_copy(update={"memory_gib": 0.001}), "id")) == 12  # one each, never none


def test_the_estimate_of_memory_grows_with_what_fills_it(recipe):
    def memory(**changes):
        students = changes.pop("students", [("a", "resnet8")])
        values = recipe | {"threads": 1, "students": [{"name": n, "architecture": a} for n, a in students]} | changes
        return estimate.memory(ExperimentConfig(**values))

    alone = memory()
    twins = memory(students=[("a", "resnet8"), ("b", "resnet8")])
    parameters = 75_290  # of a ResNet-8 with ten classes: seven float32 each, activations of one student at a time
    assert twins - alone == 28 * parameters
    assert memory(batch_size=100) > alone
    assert memory(students=[("a", "resnet18")]) > memory(students=[("a", "resnet20")]) > alone
    # ResNet-8 keeps per image, in float32: 7 convolutions' inputs and outputs, most of them 16 x 32 x 32.
    kept = estimate._activations("resnet8", torch.float32)[0]
    assert 5 * 16 * 32 * 32 * 4 < kept < 30 * 16 * 32 * 32 * 4
    # A ResNet-50's widest output is its first stage's; its largest weights are far larger.
    assert estimate._activations("resnet50", torch.float32)[1] == 256 * 32 * 32 * 4


# --- Carrying out -------------------------------------------------------------------------------------------


def test_every_experiment_runs_once_and_a_second_start_finds_them_finished(tiny, small, here):
    made = sweep.create(small)
    assert sweep.execute(made) == "finished"
    ids = [f"{made.run_id}-{number}" for number in (1, 2, 3, 4)]
    assert here == ids
    status = made.status()
    assert (status["state"], status["experiments"], status["finished"]) == ("finished", 4, 4)
    assert sum(len(runs.students(run)) for run in made.runs()) == 8
    assert [run.config().seed for run in made.runs()] == [0, 0, 1, 1]
    assert sweep.execute(sweep.create(small)) == "finished"
    assert here == ids
    table = made.table()
    assert surface.readable(table)
    assert len(table["students"]) == 8
    assert table["best"] is not None
    assert (made.path / "table.md").read_text() == surface.markdown(table)


def test_stopping_a_run_stops_the_sweep_and_the_next_start_goes_on(tiny, small, here, monkeypatch):
    made = sweep.create(small)
    train_one = runs.start

    def stop_the_second(run):
        if run.run_id.endswith("-2"):
            here.append(run.run_id)
            run.write_status("stopped")
        else:
            train_one(run)

    monkeypatch.setattr(runs, "start", stop_the_second)
    assert sweep.execute(made) == "stopped"
    assert (made.status()["state"], made.status()["finished"]) == ("stopped", 1)
    monkeypatch.setattr(runs, "start", train_one)
    assert sweep.execute(made) == "finished"
    assert [name[-2:] for name in here] == ["-1", "-2", "-2", "-3", "-4"]


def test_an_experiment_that_fails_costs_itself_alone(tiny, small, here):
    made = sweep.create(small)
    sweep.prepare(made)
    config = json.loads((made.runs()[0].path / "config.json").read_text())
    (made.runs()[0].path / "config.json").write_text(json.dumps(config | {"learning_rate": 20, "epochs": 30}))
    with np.errstate(all="ignore"):
        state = sweep.execute(made)
    assert state == "failed"
    assert "1 of 4 experiments failed" in made.status()["message"]
    assert "Lower the learning rate" in made.status()["message"]
    assert made.status()["finished"] == 3


def test_a_process_that_vanishes_again_and_again_is_not_tried_for_ever(tiny, small, monkeypatch):
    made = sweep.create(small.model_copy(update={"seeds": 1, "students_per_experiment": 64}))
    tries = []

    def vanish(run):
        tries.append(run.run_id)
        status = json.loads((run.path / "status.json").read_text())
        (run.path / "status.json").write_text(json.dumps(status | {"state": "running", "pid": 2**22 + 1}))

    monkeypatch.setattr(runs, "start", vanish)
    assert sweep.execute(made) == "failed"
    assert len(tries) == sweep.ATTEMPTS
    assert "vanished" in made.status()["message"]


def test_one_sweep_has_one_driver(small):
    made = sweep.create(small)
    with sweep.FileLock(made.path / ".lock"), pytest.raises(RunError, match="another process"):
        sweep.execute(made)


def test_the_command_prints_the_table_and_resume_takes_a_sweep(tiny, teacher, here, capsys):
    words = ["sweep", "--teacher", str(teacher.path), "--student", "resnet8", "--temperature", "2", "4"]
    words += ["--response-weight", "0.7", "--seeds", "2", "--dataset", "synthetic", "--epochs", "1"]
    words += ["--batch-size", "50", "--train-images", "100", "--device", "cpu"]
    assert cli.main(words) == 0
    printed = capsys.readouterr()
    (made,) = sweep.list_sweeps()
    assert made.run_id in printed.err
    assert "| 2 | 0.7 | 2 |" in printed.out
    assert "The best of 2 cells is" in printed.out
    assert cli.main(["resume", made.run_id, "--quiet"]) == 0
    assert len(here) == 2
    assert cli.main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sweep"] == made.run_id
    assert cli.main(["sweep", "--student", "resnet8"]) == 2
    assert "needs a teacher" in capsys.readouterr().err


@pytest.mark.slow
def test_a_driver_that_is_killed_leaves_a_sweep_that_goes_on(small, runs_root):
    """Real processes: the driver dies by SIGKILL, the next one waits for the trainer it left."""
    made = sweep.create(small)
    command = [sys.executable, "-m", "kdexplorer", "resume", str(made.path), "--quiet"]
    driver = subprocess.Popen(command, env=os.environ | {"KDEXPLORER_RUNS": str(runs_root)})
    deadline = time.monotonic() + 600
    while not any((run.path / "log.txt").exists() for run in made.runs()) and time.monotonic() < deadline:
        time.sleep(0.2)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert made.status()["state"] == "lost"
    assert subprocess.run(command, env=os.environ | {"KDEXPLORER_RUNS": str(runs_root)}, check=False).returncode == 0
    assert made.status()["finished"] == 4
    for run in made.runs():
        assert (run.path / "log.txt").read_text().count("epoch 1 ") == 2  # each of its two students once


def test_an_experiment_whose_configuration_was_lost_keeps_what_it_has(tiny, small, here):
    made = sweep.create(small)
    assert sweep.execute(made) == "finished"
    run = made.runs()[0]
    students, config = runs.students(run), run.config()
    (run.path / "config.json").unlink()
    sweep.prepare(made)
    assert run.config() == config
    assert runs.students(run) == students
    assert len(students) == 2


def test_a_cluster_is_driven_from_a_machine_without_its_devices(recipe):
    there = recipe | {"device": "cuda", "threads": 2}
    made = sweep.configure("resnet8", there, temperatures=[2.0], response_weights=[0.5], seeds=1)
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError):
        sweep.pack(made, "id")
    assert [len(e["students"]) for e in sweep.pack(made, "id", elsewhere=True)] == [3]
