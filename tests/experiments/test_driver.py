"""A tiny experiment from its declaration to its tables, through the command line; what the tables are good for."""

import contextlib
import csv
import io
import shutil

import pytest

from kdexplorer import experiments
from kdexplorer.analysis.claims import Claim
from kdexplorer.cli import experiment as command
from kdexplorer.cli.main import main
from kdexplorer.errors import ConfigError, TrainingError
from kdexplorer.experiments import all_experiments, driver, get_experiment
from kdexplorer.experiments.base import Figure, MeasuredExperiment, Part, TrainedExperiment, count_training
from kdexplorer.experiments.better_teacher import run_of
from kdexplorer.experiments.points import row_of
from kdexplorer.experiments.report import read
from kdexplorer.experiments.results import Measurement, part_path, read_measured
from kdexplorer.runs import launch
from kdexplorer.sweeps.declaration import Declaration
from kdexplorer.training.train import execute

SETTINGS = {
    "dataset": "synthetic", "epochs": 2, "evaluate_every": 2, "batch_size": 20, "train_images": 40,
    "precision": "float32", "device": "cpu",
}  # fmt: skip


class Words:
    title = question = literature = protocol = comparison = expected = change = "words"


class Tiny(Words, TrainedExperiment):
    order, key = 1, "tiny"
    columns = {"count": ("images", "teacher_images")}
    counts = ("count",)

    def parts(self, small=False):
        teaching = Declaration(
            student="resnet8", seeds=[7], references=["plain"], entries={"plain": "scratch"},
            settings=SETTINGS | {"snapshots": 1},
        )  # fmt: skip
        taught = Declaration(
            student="resnet8", seeds=[3, 5], references=["scratch"], entries={"scratch": "scratch", "kd": "kd"},
            settings=SETTINGS | {"teacher": f"{run_of('tiny', 'teachers', teaching)}/plain-after-1"},
        )  # fmt: skip
        return Part("teachers", teaching, teaches=True), Part("students", taught, stand_in="teacher")

    def more(self, logits, labels, teacher_logits):
        return {"count": [float(len(labels)), float(1 if teacher_logits is None else len(teacher_logits))]}

    def judge(self, results):
        return Claim("A claim", "Evidence.", "cannot be decided")

    def figure(self, results):
        values = list(results.accuracies("students", "kd").values())
        return Figure("dots", "Title", "", "accuracy", tuple(row_of("KD", "KD", values)), {"KD": "kd"})


class Counted(Words, MeasuredExperiment):
    order, key, cost = 2, "counted", "nothing"

    def measure(self, table, small, keep):
        for number in range(len(table.rows), 3):
            row = Measurement(part="a", entry=f"network-{number}", role="kd", images=10, accuracy=0.5)
            table = table.model_copy(update={"rows": [*table.rows, row]})
            keep(table)
        return table

    judge, figure = Tiny.judge, Tiny.figure


@pytest.fixture
def shelf(tiny, monkeypatch, tmp_path):
    """Two experiments, and a folder for their tables."""
    monkeypatch.setenv("KDEXPLORER_CHECKPOINTS", str(tmp_path / "bundled"))
    monkeypatch.setattr(experiments, "all_experiments", lambda: (Tiny(), Counted()))
    monkeypatch.setattr(command, "all_experiments", lambda: (Tiny(), Counted()))


@pytest.fixture
def started(shelf, monkeypatch):
    """Runs train in this process and nothing is timed beforehand; the list says which."""
    runs = []

    def start(run):
        runs.append((run.run_id.split("-")[1], run.config().seed))
        with contextlib.suppress(TrainingError):
            execute(run)

    monkeypatch.setattr(launch, "start_run", start)
    monkeypatch.setattr(command, "_measure_seconds", lambda todo: 60.0 * len(todo.seeds))
    return runs


def results():
    return read(Tiny())


def test_parts_are_trained_in_turn_and_continue_from_their_tables(started, runs_root, capsys):
    assert main(["experiment", "tiny", "--yes"]) == 0
    assert started == [("teachers", 7), ("students", 3), ("students", 5)]
    found = results()
    assert sorted(found.accuracies("students", "kd")) == [3, 5]
    assert found.more("students", "kd", "count") == {3: [60.0, 60.0], 5: [60.0, 60.0]}
    assert found.more("teachers", "plain", "count") == {7: [60.0, 1.0]}
    rows = found.tables["students"].rows_of("scratch")
    assert {row.seed for row in rows if row.teacher_agreement is not None} == {3, 5}
    assert "cannot be decided" in capsys.readouterr().out
    assert main(["experiment", "tiny", "--yes", "--csv"]) == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(lines) == 1 + 4
    assert {(line["part"], line["images"], line["teacher_images"]) for line in lines} == {
        ("teachers", "60.0", "1.0"), ("students", "60.0", "60.0"),
    }  # fmt: skip
    assert len(started) == 3

    path = part_path("tiny", "students")
    table = found.tables["students"]
    rows, seeds = ([one for one in ones if one.seed == 3] for ones in (table.rows, table.seeds))
    path.write_text(table.model_copy(update={"rows": rows, "seeds": seeds}).model_dump_json())
    shutil.rmtree(runs_root)  # another machine: the teacher's weights are no part of the tables
    started.clear()
    assert main(["experiment", "tiny", "--yes", "--quiet"]) == 0
    assert started == [("teachers", 7), ("students", 5)]
    again = {(row.entry, row.seed): row.accuracy for row in results().tables["students"].rows}
    assert again == {(row.entry, row.seed): row.accuracy for row in table.rows}


def test_what_is_stopped_continues(started, monkeypatch):
    train = launch.start_run
    monkeypatch.setattr(launch, "start_run", lambda run: run.write_status("stopped"))
    assert main(["experiment", "tiny", "--yes", "--quiet"]) == 130
    assert driver.get_run("tiny").status().state == "stopped"
    assert not results()
    monkeypatch.setattr(launch, "start_run", train)
    assert main(["resume", str(driver.get_run("tiny").path), "--quiet"]) == 0
    assert [part for part, _ in started] == ["teachers", "students", "students"]
    assert driver.get_run("tiny").status().state == "finished"


def test_a_run_that_fails_is_an_error_that_says_why(started, monkeypatch, capsys):
    monkeypatch.setattr(launch, "start_run", lambda run: run.write_status("failed", "no luck"))
    assert main(["experiment", "tiny", "--yes", "--quiet"]) == 1
    assert "no luck" in capsys.readouterr().err
    assert driver.get_run("tiny").status().state == "failed"


def test_nothing_starts_without_a_yes(started, capsys):
    assert main(["experiment", "tiny", "--estimate"]) == 0
    printed = capsys.readouterr()
    assert "About 3 min in total" in printed.err
    assert printed.out == ""
    assert main(["experiment", "tiny"]) == 2
    assert "--yes" in capsys.readouterr().err
    assert main(["experiment", "tiny", "--show"]) == 0
    assert "Not measured yet. It trains 5 students" in capsys.readouterr().out
    assert started == []


def test_an_unknown_name_lists_the_choices_and_no_name_lists_all(started, capsys):
    assert main(["experiment", "alchemy"]) == 2
    assert "tiny, counted" in capsys.readouterr().err
    assert main(["experiment"]) == 0
    assert capsys.readouterr().out.count("not measured yet") == 2


def test_a_measurement_keeps_what_it_has_and_continues(shelf, monkeypatch, capsys):
    from kdexplorer.files import write_json

    kept = []

    def write(path, values):
        write_json(path, values)
        if path.name == "counted.json":
            kept.append(len(values["rows"]))
            if len(kept) == 2:
                raise OSError("the disk is full")

    monkeypatch.setattr(driver, "write_json", write)
    assert main(["experiment", "counted", "--yes"]) == 1
    assert driver.get_run("counted").status().state == "failed"
    assert len(read_measured("counted").rows) == 2
    assert main(["experiment", "counted", "--yes"]) == 0
    assert kept == [1, 2, 3]
    assert "network-2" in capsys.readouterr().err


def test_a_file_that_is_no_table_is_not_overwritten(shelf, capsys):
    from kdexplorer.experiments.results import measured_path

    measured_path("counted").parent.mkdir(parents=True)
    measured_path("counted").write_text("{}")
    assert main(["experiment", "counted", "--yes"]) == 2
    assert measured_path("counted").read_text() == "{}"
    with pytest.raises(ConfigError, match="not the table"):
        read_measured("counted")


def test_small_tables_are_apart(started):
    assert main(["experiment", "tiny", "--small", "--yes", "--quiet"]) == 0
    assert not results()
    assert read(Tiny(), small=True)


@pytest.mark.parametrize("experiment", all_experiments(), ids=lambda experiment: experiment.key)
def test_each_declares_what_it_needs(experiment):
    """Before anything is trained: valid experiments, known teachers, five seeds where a verdict follows from them."""
    texts = [getattr(experiment, name) for name in Words.__dict__ if not name.startswith("_")]
    assert all(isinstance(text, str) and text.strip() == text for text in texts)
    assert experiment.parts() or experiment.cost
    for small in (False, True):
        names = [part.name for part in experiment.parts(small)]
        assert len(set(names)) == len(names)
        taught = {
            f"{run_of(experiment.key, part.name, part.declaration)}" for part in experiment.parts(small) if part.teaches
        }
        for part in experiment.parts(small):
            config = part.declaration.recipe
            assert config.evaluate_every == config.epochs
            three = experiment.key == "omitted-class" or part.name == "lab-pair"
            assert len(part.declaration.seeds) == (1 if small or part.teaches else 3 if three else 5)
            if config.teacher and (run := config.teacher.split("/")[0]) not in taught:
                assert run.startswith("resnet")


def test_the_shelf_has_eight_in_the_order_of_training():
    assert [experiment.order for experiment in all_experiments()] == list(range(1, 9))
    assert [get_experiment(one.key) for one in all_experiments()] == list(all_experiments())
    students = sum(count_training(one)[1] for one in all_experiments())
    assert students < 14_000_000  # images, each counted in every epoch
