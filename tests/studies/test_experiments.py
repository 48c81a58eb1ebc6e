"""A tiny experiment from its declaration to its tables, through the command line; what the tables are good for.

How long it takes: what is added up before it starts, and what is left while it runs.
"""

import csv
import io
import shutil
from dataclasses import replace

import numpy as np
import pytest

from kdexplorer.cli import study as cli
from kdexplorer.errors import ConfigError
from kdexplorer.files import write_json
from kdexplorer.runs import launch
from kdexplorer.runs.checkpoints import bundled_checkpoints, find_teachers
from kdexplorer.studies import driver, experiments
from kdexplorer.studies.driver import describe_state, list_left, seconds_left
from kdexplorer.studies.experiments import Experiment, all_experiments, get_experiment, read, table_path
from kdexplorer.studies.experiments.base import Claim
from kdexplorer.studies.folder import experiment_folder, open_experiment, open_study, prepare, settle
from kdexplorer.studies.study import Study
from kdexplorer.studies.table import Entry, Row, Table, read_table, write_table
from kdexplorer.training import objective
from kdexplorer.training.estimate import Estimate
from tests.studies.sample import change, first, make_measured, make_results

RECIPE = {
    "dataset": "synthetic", "epochs": 2, "evaluate_every": 2, "batch_size": 20, "train_images": 40,
    "precision": "float32", "device": "cpu",
}  # fmt: skip


def make_studies(small):
    teaching = Study(
        name="tiny-teachers", seeds=[7], references=["plain"], entries={"plain": "resnet8:scratch"},
        recipe=RECIPE | {"snapshots": 1},
    )  # fmt: skip
    taught = Study(
        name="tiny-students", seeds=[3, 5], references=["scratch"],
        entries={"scratch": "resnet8:scratch", "kd": "resnet8:kd"},
        recipe=RECIPE | {"teacher": f"{teaching.run_id(7)}/plain-after-1"},
    )  # fmt: skip
    return {"teachers": teaching, "students": taught}


def count(logits, labels, teacher_logits):
    return {"images": float(len(labels)), "teacher_images": float(1 if teacher_logits is None else len(teacher_logits))}


def measure(table, small):
    for number in range(len(table.rows), 3):
        entry = Entry(name=f"network-{number}", key="kd")
        rows = [*table.rows, Row(part="a", entry=entry.name, measures={"accuracy": 0.5})]
        yield (table := table.model_copy(update={"rows": rows, "entries": [*table.entries, entry]}))


TEXTS = "title", "question", "literature", "protocol", "comparison", "expected", "change"
WORDS = dict.fromkeys(TEXTS, "words") | {"figure": None}
WORDS["judge"] = lambda results: [Claim("A claim", "Evidence.", "cannot be decided")]
RANGES = dict.fromkeys(("images", "teacher_images"), (1, 1e9))
TINY = Experiment(order=1, key="tiny", studies=make_studies, more=count, ranges=RANGES, **WORDS)
COUNTED = Experiment(order=2, key="counted", measure=measure, cost="nothing", **WORDS)


@pytest.fixture
def shelf(tiny, own, monkeypatch, make_checkpoint):
    """Two experiments, and a folder for their tables with a network by which their time is estimated."""
    make_checkpoint(own / "stand-in", "resnet8")
    monkeypatch.setattr(experiments, "all_experiments", lambda: (TINY, COUNTED))
    monkeypatch.setattr(cli, "all_experiments", lambda: (TINY, COUNTED))


def parts(started):
    """Of the runs that were started: the studies and the seeds."""
    return [(run_id.split("-")[1], int(run_id.rpartition("-")[2])) for run_id in started]


def test_parts_are_trained_in_turn_and_continue_from_their_tables(shelf, trained, runs_root, command):
    assert "cannot be decided" in command("experiment", "tiny", "--yes").out
    assert parts(trained) == [("teachers", 7), ("students", 3), ("students", 5)]
    found = read(TINY)
    assert found.values("students/kd", "images") == {3: 60, 5: 60}
    assert found.values("students/kd", "teacher_images") == {3: 60, 5: 60}
    assert found.values("teachers/plain", "teacher_images") == {7: 1}
    assert found.values("students/scratch", "teacher_agreement").keys() == {3, 5}
    lines = list(csv.DictReader(io.StringIO(command("experiment", "tiny", "--yes", "--csv").out)))
    assert len(lines) == 1 + 4
    assert {(line["part"], line["images"], line["teacher_images"]) for line in lines} == {
        ("teachers", "60.0", "1.0"), ("students", "60.0", "60.0"),
    }  # fmt: skip
    assert len(trained) == 3
    path = table_path("tiny", "students")
    table = found.tables["students"]
    path.write_text(table.model_copy(update={"rows": [row for row in table.rows if row.seed == 3]}).model_dump_json())
    shutil.rmtree(runs_root)  # another machine: the teacher's weights are no part of the tables
    trained.clear()
    command("experiment", "tiny", "--yes", "--quiet")
    assert parts(trained) == [("teachers", 7), ("students", 5)]
    again = {(row.entry, row.seed): row.accuracy for row in read(TINY).tables["students"].rows}
    assert again == {(row.entry, row.seed): row.accuracy for row in table.rows}


def test_what_is_stopped_continues(shelf, started, command, monkeypatch):
    train = launch.start_run
    monkeypatch.setattr(launch, "start_run", lambda run: run.write_status("stopped"))
    command("experiment", "tiny", "--yes", "--quiet", code=130)
    assert experiment_folder("tiny").status().state == "stopped"
    assert not read(TINY)
    monkeypatch.setattr(launch, "start_run", train)
    command("start", str(experiment_folder("tiny").path), "--quiet")
    assert [part for part, _ in parts(started)] == ["teachers", "students", "students"]
    assert experiment_folder("tiny").status().state == "finished"
    command("runs", "delete", "tiny", "--yes")  # the tables are elsewhere
    assert not experiment_folder("tiny").path.exists()
    assert read(TINY)


def test_a_part_that_fails_costs_itself_alone(shelf, started, runs_root, command, monkeypatch):
    studies, finish = make_studies(False), launch.start_run
    studies = {"other": Study.model_validate(studies["teachers"].model_dump() | {"name": "tiny-other"}), **studies}
    monkeypatch.setattr(experiments, "all_experiments", lambda: (replace(TINY, studies=lambda small: studies),))
    fail = {"other": lambda run: run.write_status("failed", "no luck")}
    monkeypatch.setattr(launch, "start_run", lambda run: fail.get(run.run_id.split("-")[1], finish)(run))
    assert f"{studies['other'].run_id(7)}: no luck" in command("experiment", "tiny", "--yes", "--quiet", code=1).err
    assert [part for part, _ in parts(started)] == ["teachers", "students", "students"]
    fail.clear()
    table_path("tiny", "students").unlink()
    (runs_root / started[1] / "kd" / "card.json").unlink()
    assert "kd" in command("experiment", "tiny", "--yes", "--quiet", code=1).err
    assert (parts(started)[3:], read(TINY).values("students/kd").keys()) == ([("other", 7)], {5})


def test_nothing_starts_without_a_yes(shelf, started, command, monkeypatch):
    printed = command("experiment", "tiny", "--estimate")
    assert "About 4 min 30 s in total." in printed.err
    assert printed.out == ""
    assert "--yes" in command("experiment", "tiny", code=2).err
    assert "Not measured yet. It trains 5 students" in command("experiment", "tiny", "--show", "--estimate").out
    assert command("experiment").out.count("not measured yet") == 2
    table_path("tiny").parents[2].write_text("no folder")
    assert "cannot be written" in command("experiment", "tiny", "--yes", code=2).err
    monkeypatch.setattr(cli.shared, "confirm", lambda options, question: False)
    command("experiment", "tiny", code=1)
    assert not experiment_folder("tiny").path.exists()
    assert started == []


def test_a_measurement_keeps_what_it_has_and_continues(shelf, monkeypatch, command):
    kept = []

    def write(table, path):
        write_table(table, path)
        kept.append(len(table.rows))
        if len(kept) == 2:
            raise OSError("the disk is full")

    monkeypatch.setattr(driver, "write_table", write)
    command("experiment", "counted", "--yes", code=1)
    assert experiment_folder("counted").status().state == "failed"
    assert len(read_table(table_path("counted")).rows) == 2
    assert "network-2" in command("experiment", "counted", "--yes").err
    assert kept == [1, 2, 3]
    monkeypatch.setattr(experiments, "all_experiments", lambda: (replace(COUNTED, measure=lambda *_: [Table()]),))
    assert "are missing" in command("experiment", "counted", "--yes", code=1).err


def test_each_trains_or_measures_and_the_small_variant_has_one_seed_and_its_teachers():
    """What is declared in full has its hash, see test_bundled.py."""
    for experiment in all_experiments():
        assert bool(experiment.studies(False)) != bool(experiment.measure and experiment.cost)
        assert " 0.0 million" not in experiment.describe_cost(small=True)
        studies = experiment.studies(True)
        taught = {study.run_id(seed) for study in studies.values() for seed in study.seeds}
        for name, study in studies.items():
            assert (study.name, len(study.seeds)) == (f"{experiment.key}-{name}", 1)
            assert study.shared.evaluate_every == study.shared.epochs
            if study.shared.teacher and study.shared.teacher.split("/")[0] not in taught:
                assert find_teachers(study.shared.teacher)


@pytest.mark.parametrize("key", ["fidelity", "lab-claims"])
def test_measuring_again_gives_the_same_table(key, tmp_path, make_checkpoint, monkeypatch):
    """Whatever network of other images is beside these."""
    experiment, networks = get_experiment(key), [make_checkpoint(tmp_path / "other"), *bundled_checkpoints()]
    module = f"kdexplorer.studies.experiments.{key.replace('-', '_')}"
    monkeypatch.setattr(f"{module}.bundled_checkpoints", lambda: networks)
    ((found, stored),) = zip(experiment.measure(Table(), False), [read(experiment).measured], strict=True)
    rows = list(zip(found.rows, stored.rows, strict=True))
    for one, other in rows:
        assert one.measures == pytest.approx(other.measures, rel=1e-12)  # not every processor adds in the same order
    same = [one.model_copy(update={"measures": other.measures}) for one, other in rows]
    assert found.model_copy(update={"rows": same}) == stored


def store(experiment, part, change=lambda values: None):
    """Writes a table of that part, changed before."""
    values = make_results(experiment, lambda part, entry: 0.7).tables[part].model_dump(mode="json")
    change(values)
    path = table_path(experiment.key, part)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, values)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda values: values["study"]["recipe"].update(epochs=9), "stored in the table was altered"),
        (lambda values: values["entries"][1]["objective"]["terms"][0].update(temperature=3.0), "a default has changed"),
        (lambda values: values.update(rows=3), "is not the table of a study"),
        (lambda values: values.update(entries=[]), "is not the table of a study"),
    ],
)
def test_a_table_of_another_declaration_is_left_out_with_the_reason(own, change, reason, command):
    experiment = get_experiment("few-labels")
    store(experiment, "many")
    store(experiment, "few", change)
    results = read(experiment)
    assert list(results.tables) == ["many"]
    assert "few" in results.left_out[0]
    assert reason in results.left_out[0]
    assert results.left_out[0] in experiments.to_markdown(experiment, results)
    assert results.left_out[0] in command("experiment").out


@pytest.mark.parametrize("changed", [[], ["resnet8-b"]])
def test_measured_networks_that_have_other_weights_now_are_left_out(own, make_checkpoint, changed):
    experiment = get_experiment("fidelity")
    weights = {
        name: make_checkpoint(own / name, seed=seed).sha256 for seed, name in enumerate(("resnet8-a", "resnet8-b"))
    }
    networks = weights | dict.fromkeys(changed, "0" * 64) | {"resnet8-gone": "1" * 64}
    table = make_measured([("bundled, teacher t", "resnet8-a", "kd", first(800), first(900))]).measured
    entries = [Entry(name=name, key="kd", sha256=sha256) for name, sha256 in networks.items()]
    write_table(table.model_copy(update={"entries": entries}), table_path(experiment.key))
    results = read(experiment)
    assert bool(results) == (not changed)
    assert len(results.left_out) == len(changed)
    assert all("fidelity: networks.json" in reason and "measured: resnet8-b." in reason for reason in results.left_out)


@pytest.mark.parametrize("experiment", [one for one in all_experiments() if one.more], ids=lambda one: one.key)
def test_what_is_measured_besides_is_complete_and_within_its_range(experiment):
    own = experiment.ranges.keys()
    logits = np.random.default_rng(0).normal(size=(2, 40, 10))
    found = experiment.more(logits[0], np.arange(40) % 10, logits[1])
    assert found.keys() == own
    results = make_results(experiment, lambda part, entry: 0.7, more=lambda part, entry: found)
    table, first_of_them = next(iter(results.tables.values())), next(iter(own))
    assert experiments.find_faults(experiment, change(table, lambda row: {first_of_them: 1.5}), table.study)
    del table.rows[0].measures[first_of_them]
    assert experiments.find_faults(experiment, table, table.study)


def keep(seed):
    """Of a table that seed alone, trained on this machine."""
    return lambda values: values.update(rows=[row for row in values["rows"] if row["seed"] == seed], teacher="")


def work_on(part, seed, **status):
    """A run that trains a seed of a part, with the status of its own process."""
    left = next(one for one in list_left(TINY) if one.name == part)
    planned = next(run for run in left.runs if run.seed == seed)
    folder = open_study(left.config)
    prepare(folder, [planned])
    folder.run(planned).write_status("running", "training", **status)
    folder.write_status("running", "training", working=[planned.run])
    return folder


def test_the_time_left_is_that_of_all_parts(shelf, make_checkpoint):
    open_experiment("tiny").write_status("running", "2 parts left, now teachers")
    study = work_on("teachers", 7, epoch=0, epochs=2, step=0, steps_per_epoch=2)
    assert "until all" not in describe_state(open_experiment("tiny"))  # nothing has said how long it takes
    work_on("teachers", 7, epoch=1, epochs=2, step=0, steps_per_epoch=2, seconds_left=30)
    # A student's step costs three forward passes. Two seeds of two students and a teacher: 7 instead of 3 in each.
    assert seconds_left(TINY) == pytest.approx(30 + 2 * 60 * 7 / 3)
    assert "about 5 min 10 s until all of it is done" in describe_state(open_experiment("tiny"))
    study.write_status("finished", "")
    make_checkpoint(study.runs()[0].path / "plain-after-1")
    store(TINY, "teachers", keep(7))
    work_on("students", 5, epoch=0, epochs=2, step=1, steps_per_epoch=2, seconds_left=75)
    assert seconds_left(TINY) == pytest.approx(75 + 100)
    store(TINY, "students", keep(3))
    assert seconds_left(TINY) == pytest.approx(75)


def test_what_all_seeds_share_is_added_once(shelf, monkeypatch):
    teachers, students = list_left(TINY)
    assert (teachers.times, students.times) == (1, 2)
    assert (teachers.sample.teacher, students.sample.teacher) == (None, "stand-in")
    assert students.sample.seed == 3
    monkeypatch.setattr(driver, "Measurement", lambda configs, add_up, title: (configs, add_up, title))
    configs, add_up, title = driver.measure_left([teachers, students])
    assert configs == [teachers.sample, students.sample]
    alone = Estimate(seconds=50, evaluation=1, epoch=2, images_per_second=100)
    assert add_up([alone, alone.model_copy(update={"fixing": 10})]) == [50, 10 + 2 * 40]
    assert title == "Timing a few batches of part {part} of 2"


def test_a_teacher_that_cannot_be_trained_again_is_an_error_and_no_endless_loop(shelf, started, monkeypatch):
    monkeypatch.setattr(objective, "free_memory", lambda device: 0)
    teachers = list_left(TINY)[0]
    assert settle(teachers.config).students_per_run is None  # others name its networks by its one run
    folder = open_study(teachers.config)
    prepare(folder, teachers.runs)
    folder.run(teachers.runs[0]).write_status("finished")
    with pytest.raises(ConfigError, match="without a network that others learn from"):
        list_left(TINY)
