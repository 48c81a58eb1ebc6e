"""Every start of a sweep continues from the one before, whatever ended it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from filelock import FileLock

from kdexplorer.cli.main import main
from kdexplorer.errors import ConfigError, RunError, TrainingError
from kdexplorer.runs import launch
from kdexplorer.runs.checkpoints import run_checkpoints
from kdexplorer.runs.run_folder import finished_students
from kdexplorer.sweeps import driver, folder, grid, plan
from kdexplorer.sweeps.choice import measure_choice
from kdexplorer.sweeps.progress import ATTEMPTS
from kdexplorer.sweeps.report import to_markdown
from kdexplorer.training.train import execute


@pytest.fixture
def started(monkeypatch):
    """Experiments run in this process; the list says which, in order."""
    ids = []

    def start(run):
        ids.append(run.run_id)
        with contextlib.suppress(TrainingError):  # its status says so
            execute(run)

    monkeypatch.setattr(launch, "start_run", start)
    return ids


def test_every_experiment_runs_once_and_a_second_start_finds_them_finished(tiny, small, started):
    sweep = folder.create(small)
    assert driver.execute_sweep(sweep) == "finished"
    ids = [f"{sweep.run_id}-{number}" for number in (1, 2, 3, 4)]
    assert started == ids
    status = sweep.status()
    assert (status.state, status.experiments, status.finished) == ("finished", 4, 4)
    assert sum(len(finished_students(run)) for run in sweep.runs()) == 8
    assert [run.config().seed for run in sweep.runs()] == [0, 0, 1, 1]
    assert driver.execute_sweep(folder.create(small)) == "finished"
    assert started == ids
    results = sweep.results()
    assert len(results.students) == 8
    assert {(cell.temperature, cell.weight, cell.seeds) for cell in results.all_cells()} == {
        (None, 0, 2), (2, 0.5, 2), (2, 0.9, 2), (4, 0.7, 2)
    }  # fmt: skip
    assert results.cell_at(results.best).accuracy == max(cell.accuracy for cell in results.cells)
    assert all(cell.calibration_error is not None for cell in results.all_cells())  # the labels are available
    assert (sweep.path / "table.md").read_text() == to_markdown(results)


def test_stopping_a_run_stops_the_sweep_and_the_next_start_continues(tiny, small, started, monkeypatch):
    sweep = folder.create(small)
    train_one = launch.start_run

    def stop_the_second(run):
        if run.run_id.endswith("-2"):
            started.append(run.run_id)
            run.write_status("stopped")
        else:
            train_one(run)

    monkeypatch.setattr(launch, "start_run", stop_the_second)
    assert driver.execute_sweep(sweep) == "stopped"
    assert (sweep.status().state, sweep.status().finished) == ("stopped", 1)
    assert [run.status().state for run in sweep.runs()] == ["finished", "stopped", "waiting", "waiting"]
    left = plan.make_plan(small)
    assert (left.experiments, left.students, left.times) == (3, 6, pytest.approx(3))
    monkeypatch.setattr(launch, "start_run", train_one)
    assert driver.execute_sweep(sweep) == "finished"
    assert [name[-2:] for name in started] == ["-1", "-2", "-2", "-3", "-4"]


def test_an_experiment_that_fails_costs_itself_alone(tiny, small, started):
    sweep = folder.create(small)
    first = folder.prepare(sweep)[0]
    config = json.loads((first.path / "config.json").read_text())
    (first.path / "config.json").write_text(json.dumps(config | {"learning_rate": 20, "epochs": 30}))
    with np.errstate(all="ignore"):
        state = driver.execute_sweep(sweep)
    status = sweep.status()
    assert state == status.state == "failed"
    assert list(status.failed) == [first.run_id]
    assert first.run_id in status.message
    assert "learning rate" in status.failed[first.run_id]
    assert status.finished == 3


def test_a_process_that_vanishes_again_and_again_is_not_started_for_ever(tiny, small, monkeypatch):
    sweep = folder.create(small.model_copy(update={"seeds": 1, "students_per_experiment": 64}))
    starts = []

    def vanish(run):
        starts.append(run.run_id)
        status = json.loads((run.path / "status.json").read_text())
        (run.path / "status.json").write_text(json.dumps(status | {"state": "running", "pid": 2**22 + 1}))

    monkeypatch.setattr(launch, "start_run", vanish)
    assert driver.execute_sweep(sweep) == "failed"
    assert len(starts) == ATTEMPTS
    assert list(sweep.status().failed) == [starts[0]]


def test_progress_between_two_losses_counts_anew(tiny, small, monkeypatch):
    sweep = folder.create(small.model_copy(update={"seeds": 1, "students_per_experiment": 64}))
    steps = []

    def get_one_step_further(run):
        steps.append(len(steps))
        lost = {"state": "running", "pid": 2**22 + 1, "epoch": 0, "step": min(len(steps), 4)}
        (run.path / "status.json").write_text(json.dumps(lost))

    monkeypatch.setattr(launch, "start_run", get_one_step_further)
    assert driver.execute_sweep(sweep) == "failed"
    assert len(steps) == 4 + ATTEMPTS


def test_one_sweep_has_one_driver(small):
    sweep = folder.create(small)
    with FileLock(sweep.path / ".lock"), pytest.raises(RunError, match="another process"):
        driver.execute_sweep(sweep)


def test_an_experiment_whose_configuration_was_lost_keeps_what_it_has(tiny, small, started):
    sweep = folder.create(small.model_copy(update={"seeds": 1}))
    assert driver.execute_sweep(sweep) == "finished"
    run = sweep.runs()[0]
    students, config = finished_students(run), run.config()
    (run.path / "config.json").unlink()
    folder.prepare(sweep)
    assert run.config() == config
    assert finished_students(run) == students
    assert len(students) == 2


def test_without_labels_nothing_is_tested_and_the_rest_is_known(tiny, small, started, monkeypatch):
    from kdexplorer.sweeps import aggregate

    sweep = folder.create(small.model_copy(update={"seeds": 1}))
    assert driver.execute_sweep(sweep) == "finished"
    monkeypatch.setattr(aggregate, "load_labels", lambda config: None)
    results = aggregate.build_results(sweep)
    assert [cell.accuracy for cell in results.cells] == [cell.accuracy for cell in sweep.results().cells]
    assert all(cell.p is None and cell.calibration_error is None for cell in results.all_cells())


def test_a_choice_on_held_out_images_is_followed_by_one_measurement_on_the_test_split(tiny, recipe, started, capsys):
    sweep = folder.create(
        grid.configure("resnet8", recipe | {"holdout": 20}, temperatures=[2.0], weights=[0.5], seeds=1)
    )
    with pytest.raises(RunError, match="not finished"):
        measure_choice(sweep)
    driver.execute_sweep(sweep)
    before = sweep.results()
    assert "20 held-out training images" in before.evaluated_on
    assert not before.measured_after_choice(before.best)
    assert main(["evaluate", "--after-choice", sweep.run_id]) == 0
    assert "Measured once after the choice" in capsys.readouterr().out
    results = sweep.results()
    measured = {one.point for one in results.students if one.test_accuracy is not None}
    assert measured == {results.best, results.default}
    assert results.scratch == before.scratch
    card = next(c for c in run_checkpoints(sweep.runs()[0]) if c.name == "resnet8-T4-w0.7").card
    assert (card.after_choice.images, card.data.evaluation_images) == (60, 20)
    assert results.measured_after_choice(results.default) == {0: card.after_choice.accuracy}


def test_a_choice_on_the_test_split_has_no_fresh_measurement(small):
    with pytest.raises(ConfigError, match="--holdout"):
        measure_choice(folder.create(small))


def test_the_command_prints_the_results_and_resume_takes_a_sweep(tiny, teacher, started, capsys, monkeypatch):
    monkeypatch.setattr(plan, "estimate_seconds", lambda planned: planned.times * 600)
    words = ["sweep", "--teacher", str(teacher.path), "--student", "resnet8", "--temperature", "2", "4"]
    words += ["--weight", "0.7", "--seeds", "2", "--dataset", "synthetic", "--epochs", "1"]
    words += ["--batch-size", "20", "--train-images", "60", "--device", "cpu"]
    assert main(words) == 2  # nobody can answer
    assert folder.list_sweeps() == []
    assert "6 students to train in 2 experiments, about 20 min" in capsys.readouterr().err
    words.append("--yes")
    assert main(words) == 0
    printed = capsys.readouterr()
    (sweep,) = folder.list_sweeps()
    assert sweep.run_id in printed.err
    assert to_markdown(sweep.results()) in printed.out
    sweep.write_status("stopped")
    assert main(["resume", sweep.run_id, "--quiet"]) == 0
    assert len(started) == 2
    assert main([*words[:-1], "--json"]) == 0  # nothing is left, nothing to ask
    assert json.loads(capsys.readouterr().out)["sweep"] == sweep.run_id
    assert main(["sweep", "--student", "resnet8"]) == 2
    assert "teacher" in capsys.readouterr().err


@pytest.mark.slow
def test_a_driver_that_is_killed_leaves_a_sweep_that_continues(small, runs_root):
    """Real processes: the driver dies by SIGKILL, the next one waits for the trainer that it left."""
    sweep = folder.create(small)
    command = [sys.executable, "-m", "kdexplorer", "resume", str(sweep.path), "--quiet"]
    process = subprocess.Popen(command, env=os.environ | {"KDEXPLORER_RUNS": str(runs_root)})
    deadline = time.monotonic() + 600
    while not any((run.path / "log.txt").exists() for run in sweep.runs()) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert sweep.status().state == "lost"
    assert subprocess.run(command, env=os.environ | {"KDEXPLORER_RUNS": str(runs_root)}, check=False).returncode == 0
    assert sweep.status().finished == 4
    for run in sweep.runs():
        assert [row.epoch for row in run.metrics()] == [0, 0]  # each of its two students once
