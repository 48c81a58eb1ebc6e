"""A tiny experiment from its declaration to its tables, through the command line; what the tables are good for."""

import csv
import io
import shutil

import pytest

from kdexplorer.cli import study as command
from kdexplorer.cli.main import main
from kdexplorer.errors import ConfigError
from kdexplorer.runs import launch
from kdexplorer.studies import driver, experiments
from kdexplorer.studies.experiments import Experiment, all_experiments, get_experiment
from kdexplorer.studies.experiments.base import Claim, Figure, row_of
from kdexplorer.studies.experiments.results import read, table_path
from kdexplorer.studies.folder import experiment_folder
from kdexplorer.studies.study import Study
from kdexplorer.studies.table import Row, read_table

RECIPE = {
    "dataset": "synthetic", "epochs": 2, "evaluate_every": 2, "batch_size": 20, "train_images": 40,
    "precision": "float32", "device": "cpu",
}  # fmt: skip
TEXTS = ("title", "question", "literature", "protocol", "comparison", "expected", "change")


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


def judge(results):
    return [Claim("A claim", "Evidence.", "cannot be decided")]


def draw(results):
    values = list(results.values("students", "kd").values())
    return Figure("dots", "Title", "", "accuracy", tuple(row_of("KD", "KD", values)), {"KD": "kd"})


def measure(table, small, keep):
    for number in range(len(table.rows), 3):
        row = Row(part="a", entry=f"network-{number}", measures={"accuracy": 0.5})
        table = table.model_copy(update={"rows": [*table.rows, row]})
        keep(table)
    return table


WORDS = dict.fromkeys(TEXTS, "words") | {"judge": judge, "figure": draw}
TINY = Experiment(order=1, key="tiny", studies=make_studies, more=count, counts=("images", "teacher_images"), **WORDS)
COUNTED = Experiment(order=2, key="counted", measure=measure, cost="nothing", **WORDS)


@pytest.fixture
def shelf(tiny, monkeypatch, tmp_path):
    """Two experiments, and a folder for their tables."""
    monkeypatch.setenv("KDEXPLORER_CHECKPOINTS", str(tmp_path / "bundled"))
    monkeypatch.setattr(experiments, "all_experiments", lambda: (TINY, COUNTED))
    monkeypatch.setattr(command, "all_experiments", lambda: (TINY, COUNTED))


@pytest.fixture
def listed(shelf, started, make_checkpoint, tmp_path):
    """What was started: a function that lists the studies and the seeds."""
    make_checkpoint(tmp_path / "bundled" / "stand-in", "resnet8")

    def list_started():
        return [(run_id.split("-")[1], int(run_id.rpartition("-")[2])) for run_id in started]

    return list_started


def results():
    return read(TINY)


def test_parts_are_trained_in_turn_and_continue_from_their_tables(listed, trained, runs_root, capsys):
    assert main(["experiment", "tiny", "--yes"]) == 0
    assert listed() == [("teachers", 7), ("students", 3), ("students", 5)]
    found = results()
    assert found.values("students/kd", "images") == {3: 60, 5: 60}
    assert found.values("students/kd", "teacher_images") == {3: 60, 5: 60}
    assert found.values("teachers/plain", "teacher_images") == {7: 1}
    assert found.values("students/scratch", "teacher_agreement").keys() == {3, 5}
    assert "cannot be decided" in capsys.readouterr().out
    assert main(["experiment", "tiny", "--yes", "--csv"]) == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
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
    assert main(["experiment", "tiny", "--yes", "--quiet"]) == 0
    assert listed() == [("teachers", 7), ("students", 5)]
    again = {(row.entry, row.seed): row.accuracy for row in results().tables["students"].rows}
    assert again == {(row.entry, row.seed): row.accuracy for row in table.rows}


def test_what_is_stopped_continues(listed, monkeypatch):
    train = launch.start_run
    monkeypatch.setattr(launch, "start_run", lambda run: run.write_status("stopped"))
    assert main(["experiment", "tiny", "--yes", "--quiet"]) == 130
    assert experiment_folder("tiny").status().state == "stopped"
    assert not results()
    monkeypatch.setattr(launch, "start_run", train)
    assert main(["start", str(experiment_folder("tiny").path), "--quiet"]) == 0
    assert [part for part, _ in listed()] == ["teachers", "students", "students"]
    assert experiment_folder("tiny").status().state == "finished"


def test_a_run_that_fails_is_an_error_that_says_why(listed, monkeypatch, capsys):
    monkeypatch.setattr(launch, "start_run", lambda run: run.write_status("failed", "no luck"))
    assert main(["experiment", "tiny", "--yes", "--quiet"]) == 1
    assert "no luck" in capsys.readouterr().err
    assert experiment_folder("tiny").status().state == "failed"


def test_nothing_starts_without_a_yes(listed, started, capsys):
    assert main(["experiment", "tiny", "--estimate"]) == 0
    printed = capsys.readouterr()
    assert "About 4 min 30 s in total." in printed.err
    assert printed.out == ""
    assert main(["experiment", "tiny"]) == 2
    assert "--yes" in capsys.readouterr().err
    assert main(["experiment", "tiny", "--show"]) == 0
    assert "Not measured yet. It trains 5 students" in capsys.readouterr().out
    assert started == []


def test_an_unknown_name_lists_the_choices_and_no_name_lists_all(listed, started, capsys):
    assert main(["experiment", "alchemy"]) == 2
    assert "tiny, counted" in capsys.readouterr().err
    assert main(["experiment"]) == 0
    assert capsys.readouterr().out.count("not measured yet") == 2


def test_a_measurement_keeps_what_it_has_and_continues(shelf, monkeypatch, capsys):
    kept, write_table = [], driver.write_table

    def write(table, path):
        write_table(table, path)
        kept.append(len(table.rows))
        if len(kept) == 2:
            raise OSError("the disk is full")

    monkeypatch.setattr(driver, "write_table", write)
    assert main(["experiment", "counted", "--yes"]) == 1
    assert experiment_folder("counted").status().state == "failed"
    assert len(read_table(table_path("counted")).rows) == 2
    assert main(["experiment", "counted", "--yes"]) == 0
    assert kept == [1, 2, 3]
    assert "network-2" in capsys.readouterr().err


def test_a_file_that_is_no_table_is_not_overwritten(shelf, capsys):
    path = table_path("counted")
    path.parent.mkdir(parents=True)
    path.write_text('{"rows": 3}')
    assert main(["experiment", "counted", "--yes"]) == 2
    assert path.read_text() == '{"rows": 3}'
    with pytest.raises(ConfigError, match="not the table"):
        read_table(path)


def test_small_tables_are_apart(listed):
    assert main(["experiment", "tiny", "--small", "--yes", "--quiet"]) == 0
    assert not results()
    assert read(TINY, small=True)


@pytest.mark.parametrize("experiment", all_experiments(), ids=lambda experiment: experiment.key)
def test_each_declares_what_it_needs(experiment):
    """Before anything is trained: valid experiments, known teachers, five seeds where a verdict follows from them."""
    texts = [getattr(experiment, name) for name in TEXTS]
    assert all(isinstance(text, str) and text.strip() == text for text in texts)
    assert bool(experiment.studies(False)) != bool(experiment.measure and experiment.cost)
    for small in (False, True):
        studies = experiment.studies(small)
        taught = {study.run_id(seed) for study in studies.values() for seed in study.seeds}
        assert {study.name for study in studies.values()} == {f"{experiment.key}-{name}" for name in studies}
        for name, study in studies.items():
            config = study.shared
            assert config.evaluate_every == config.epochs
            three = experiment.key == "omitted-class" or name == "lab-pair"
            assert len(study.seeds) == (1 if small or name == "teachers" else 3 if three else 5)
            if config.teacher and (run := config.teacher.split("/")[0]) not in taught:
                assert run.startswith("resnet")


def test_the_shelf_has_nine_in_the_order_of_training():
    assert [experiment.order for experiment in all_experiments()] == list(range(1, 10))
    assert [get_experiment(one.key) for one in all_experiments()] == list(all_experiments())
    assert sum(one.count_training()[1] for one in all_experiments()) < 14_000_000  # images, each counted in every epoch
