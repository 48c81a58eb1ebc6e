"""Every start of a study continues from the one before, whatever ended it; the table alone says what is left."""

import functools
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from kdexplorer.analysis import metrics
from kdexplorer.datasets import get_dataset
from kdexplorer.errors import ConfigError, RunError, TrainingError
from kdexplorer.runs import launch
from kdexplorer.runs.checkpoints import open_checkpoint, run_checkpoints
from kdexplorer.runs.run_folder import Run, list_runs
from kdexplorer.studies.collect import ATTEMPTS, measure_choice
from kdexplorer.studies.driver import execute
from kdexplorer.studies.folder import StudyConfig, StudyFolder, left_to_train, list_sweeps, open_study
from kdexplorer.studies.report import to_markdown
from kdexplorer.studies.study import make_grid_study
from kdexplorer.studies.table import find_best, read_table, summarize, unpack_bits
from tests.training.configs import wait_for


def test_every_run_is_trained_once_and_a_second_start_finds_them_finished(tiny, small, trained):
    study = open_study(small)
    study.runs()[0].path.mkdir()  # an earlier start made it in part
    assert execute(study) == "finished"
    ids = [f"{study.run_id}-{end}" for end in ("0", "0-2", "1", "1-2")]
    assert trained == ids
    status = study.status()
    assert (status.state, status.runs, status.finished) == ("finished", 4, 4)
    assert [run.config().seed for run in study.runs()] == [0, 0, 1, 1]
    assert execute(open_study(small)) == "finished"
    assert trained == ids
    table = study.table()
    summaries = summarize(table)
    assert {one.place: len(one.rows) for one in summaries} == {None: 2, (2, 0.5): 2, (2, 0.9): 2, (4, 0.7): 2}
    assert find_best(summaries).accuracy == max(one.accuracy for one in summaries[1:])
    labels = get_dataset("synthetic").load("test").labels
    for row in table.rows:
        logits = open_checkpoint(study.path.parent.parent / row.run / row.entry).logits()
        right = logits.argmax(axis=1) == labels
        assert np.array_equal(unpack_bits(row.right, table.images), right)
        assert row.accuracy == right.mean()
        assert row.measures["calibration_error"] == metrics.expected_calibration_error(logits, labels)
        assert row.measures["scaled_cross_entropy"] < row.measures["cross_entropy"] + 0.2
        assert row.measures["step_seconds"] > 0
        assert "teacher_agreement" not in row.measures  # it has no logits
    assert all(one.batch_seconds > 0 and one.device and one.seconds for one in table.runs)
    assert (study.path / "table.md").read_text() == to_markdown(table)
    shutil.rmtree(study.path)
    again = open_study(small.model_copy(update={"students_per_run": None}))
    assert execute(again) == "finished"
    assert trained == ids  # the runs are found, with their students
    assert again.table().rows == table.rows


def test_a_run_that_fails_costs_itself_alone_and_one_that_is_stopped_stops_the_study(tiny, small, started, monkeypatch):
    study, finish = open_study(small), launch.start_run
    ends = {"-0": ("failed", "no luck"), "-1": ("stopped",)}

    def start(run):
        if end := ends.get(run.run_id.removeprefix(study.run_id)):
            started.append(run.run_id)
            if end[0] == "refused":
                raise RunError(end[1])
            run.write_status(*end)
        else:
            finish(run)

    monkeypatch.setattr(launch, "start_run", start)
    assert execute(study) == "stopped"
    assert (study.status().state, study.status().finished) == ("stopped", 1)
    assert [run.status().state for run in study.runs()] == ["failed", "finished", "stopped", "waiting"]
    assert [len(one.entries) for one in left_to_train(small)] == [2, 2, 2]
    ends = {"-0": ("refused", "no luck")}
    with pytest.raises(TrainingError, match=f"{study.run_id}-0: no luck"):
        execute(study)
    status = study.status()
    assert (status.state, status.failed, status.finished) == ("failed", {f"{study.run_id}-0": "no luck"}, 3)
    ends.clear()
    assert execute(study) == "finished"
    names = [name.removeprefix(study.run_id) for name in started]
    assert names == ["-0", "-0-2", "-1", "-0", "-1", "-1-2", "-0"]


def test_a_process_that_vanishes_is_not_started_for_ever_unless_it_gets_further(tiny, small, monkeypatch):
    study = open_study(small.model_copy(update={"study": small.study.model_copy(update={"seeds": [0]})}))
    starts = []

    def vanish(run):  # after a step more than before, four times, as a process does that ends without a word
        starts.append(run.run_id)
        lost = {"state": "running", "pid": 2**22 + 1, "epoch": 0, "step": min(starts.count(run.run_id), 4)}
        (run.path / "status.json").write_text(json.dumps(lost))

    monkeypatch.setattr(launch, "start_run", vanish)
    with pytest.raises(TrainingError):
        execute(study)
    assert len(starts) == 2 * (4 + ATTEMPTS)
    assert set(study.status().failed) == set(starts)


def test_a_choice_on_held_out_images_is_measured_once_on_the_test_split(tiny, small, recipe, trained, command):
    with pytest.raises(ConfigError, match="--holdout"):
        measure_choice(open_study(small))
    made = make_grid_study("resnet8", recipe | {"holdout": 20}, 1, temperatures=[2.0], weights=[0.5])
    study = open_study(StudyConfig(study=made))
    with pytest.raises(RunError, match="not finished"):
        measure_choice(study)
    execute(study)
    before = study.table()
    assert "20 held-out training images" in before.evaluated_on
    assert "Measured once after the choice" in command("evaluate", "--after-choice", study.run_id).out
    table, default = study.table(), made.references[0]
    best = find_best(summarize(table)).name
    assert {row.entry for row in table.rows if "test_accuracy" in row.measures} == {best, default}
    assert table.rows_of("resnet8-scratch") == before.rows_of("resnet8-scratch")
    card = next(c for c in run_checkpoints(study.runs()[0]) if c.name == default).card
    assert (card.after_choice.images, card.data.evaluation_images) == (60, 20)
    assert table.values(default, "test_accuracy") == {0: card.after_choice.accuracy}


@pytest.fixture
def league(tiny, declared, started, command):
    """Trains what the table of the declared study lacks, through the command line."""
    return functools.partial(command, "league", str(declared), "--yes")


def test_the_command_of_a_grid_starts_it_prints_its_table_and_start_takes_it(tiny, recipe, started, command):
    changed = recipe | {"name": "mine", "seed": 5, "compile": True}
    made = make_grid_study("resnet8", changed, 2, temperatures=[1.5, 20.0], weights=[0.25])
    words = [*shlex.split(made.grid_command())[3:], "--memory", "2.5"]
    unanswered = command(*words, code=2).err
    assert "8 students to train in 2 runs, about 3 min on this machine" in unanswered
    assert list_runs(StudyFolder.parent_folder()) == []
    printed = command(*words, "--yes")
    (study,) = list_sweeps()
    assert (study.config().study, study.config().memory_gib) == (made, 2.5)
    assert study.run_id in printed.err
    assert to_markdown(study.table()) in printed.out
    study.write_status("stopped")
    command("start", study.run_id, "--quiet")
    assert len(started) == 2
    assert json.loads(command(*words, "--json").out)["sha256"] == made.sha256  # nothing is left, nothing to ask


def test_a_study_continues_from_its_table(league, declared, started, runs_root, command, monkeypatch):
    printed = league("--seeds", "1")
    assert "3 students to train in 1 run, about 1 min 30 s" in printed.err
    path = declared.with_suffix(".json")
    table = read_table(path)
    assert list(table.missing()) == [5]
    assert all(entry.memory > 0 for entry in table.entries)
    assert to_markdown(table) in printed.out
    assert declared.with_suffix(".md").read_text() == to_markdown(table)
    path.unlink()  # the driver was killed before it was written
    league("--seeds", "1", "--quiet")
    assert read_table(path) == table
    with monkeypatch.context() as patch:  # the other seed in the background
        patch.setattr(launch, "start_run", lambda run: started.append(run.run_id))
        league("--detach", "--quiet")
    assert [run.run_id for run in list_runs(StudyFolder.parent_folder())] == [started.pop()]  # its driver
    shutil.rmtree(runs_root)  # another machine
    command("study", str(declared), "--yes")
    assert [Run(runs_root / name).config().seed for name in started[1:]] == [5]
    table = read_table(path)
    assert [(row.seed, row.entry) for row in table.rows] == [
        (seed, entry) for seed in (3, 5) for entry in ("scratch", "plain-kd", "attention")
    ]
    rows = [row for row in table.rows if (row.entry, row.seed) != ("attention", 5)]  # a part of a seed is left
    path.write_text(table.model_copy(update={"rows": rows}).model_dump_json())
    shutil.rmtree(runs_root)
    league("--students-per-run", "1")
    assert [one.name for one in Run(runs_root / started[-1]).config().students] == ["attention"]
    league()
    assert len(started) == 3
    table = read_table(path)
    assert len(table.rows) == 6
    other = table.model_copy(update={"teacher": "0" * 64})  # trained again on another machine
    path.write_text(other.model_dump_json())
    league("--quiet")
    path.write_text(other.model_copy(update={"rows": table.rows[1:]}).model_dump_json())
    assert "teacher's weights have changed" in league(code=2).err
    assert "end in .json" in league("--table", str(path.with_suffix(".md")), code=2).err


def test_rows_of_one_run_are_of_one_training(league, declared, runs_root):
    """Whatever of it a table had from another machine, where the students were packed otherwise."""
    words = ["--seeds", "1", "--quiet"]
    league(*words, "--students-per-run", "2")
    path = declared.with_suffix(".json")
    table = read_table(path)
    first = [row.model_copy(update={"measures": row.measures | {"step_seconds": 9.0}}) for row in table.rows[:1]]
    path.write_text(table.model_copy(update={"rows": first}).model_dump_json())
    shutil.rmtree(runs_root)
    league(*words)
    table = read_table(path)
    assert [row.entry for row in table.rows] == ["scratch", "plain-kd", "attention"]
    assert len({row.run for row in table.rows}) == len(table.runs) == 1
    assert table.rows[0].measures.get("step_seconds") != 9.0
    league(*words, "--students-per-run", "2")
    path.unlink()
    (runs_root / table.runs[0].run / "attention" / "card.json").unlink()  # which costs that run alone
    league("--quiet", code=1)
    assert {row.seed for row in read_table(path).rows} == {5}


def test_a_table_of_something_else_is_not_overwritten(league, declared, started):
    path = declared.with_suffix(".json")

    def check_refused(reason):
        before = path.read_bytes()
        assert reason in league(code=2).err
        assert path.read_bytes() == before

    league("--seeds", "1", "--quiet")
    other = read_table(path).model_copy(update={"evaluated_on": "60 test images of photos (6509eb)"})
    path.write_text(other.model_dump_json())
    league("--quiet", code=2)  # the run of the other seed ends
    check_refused("the rows so far on 60 test images of photos")
    declared.write_text(declared.read_text().replace("epochs = 1", "epochs = 2"))
    check_refused("recipe")
    path.write_text(json.dumps({"rows": 1}))
    check_refused("is not the table of a study")
    assert len(started) == 2


@pytest.mark.slow
def test_a_driver_that_is_killed_leaves_a_study_that_continues(small, runs_root):
    """Real processes: the driver dies by SIGKILL, the next one waits for the trainer that it left."""
    study = open_study(small)
    study.write_status("stopped")
    command = [sys.executable, "-m", "kdexplorer", "start", str(study.path), "--quiet"]
    process = subprocess.Popen(command, env=os.environ | {"KDEXPLORER_RUNS": str(runs_root)})
    wait_for(lambda: any((run.path / "log.txt").exists() for run in study.runs()), 600)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert study.status().state == "lost"
    assert subprocess.run(command, env=os.environ | {"KDEXPLORER_RUNS": str(runs_root)}, check=False).returncode == 0
    assert study.status().finished == 4
    for run in study.runs():
        assert [row.epoch for row in run.metrics()] == [0, 0]  # each of its two students once
