"""How long studies take: what is added up before they start, and what is left while they run."""

import pytest

from kdexplorer.errors import ConfigError
from kdexplorer.studies import driver
from kdexplorer.studies.driver import describe_state, list_left, seconds_left
from kdexplorer.studies.experiments import get_experiment, table_path
from kdexplorer.studies.folder import StudyConfig, open_experiment, open_study, prepare, settle
from kdexplorer.studies.table import StudyRun, write_table
from kdexplorer.training import objective
from kdexplorer.training.estimate import Estimate
from tests.studies.sample import make_results
from tests.studies.test_experiments import TINY, shelf  # noqa: F401


def store(name, seed):
    """Writes a study's table with that seed."""
    table = make_results(TINY, lambda study, entry: 0.5).tables[name]
    rows = [row for row in table.rows if row.seed == seed]
    write_table(table.model_copy(update={"rows": rows, "teacher": ""}), table_path("tiny", name))


def work_on(name, seed, **status):
    """A run that trains a seed of a study, with the status of its own process."""
    config = StudyConfig(study=TINY.studies(False)[name], experiment="tiny", table=str(table_path("tiny", name)))
    folder = open_study(config)
    planned = StudyRun(run=config.study.run_id(seed), seed=seed, entries=tuple(config.study.entries))
    prepare(folder, [planned])
    folder.run(planned).write_status("running", "training", **status)
    folder.write_status("running", "training", working=[planned.run])
    return folder


def test_the_time_left_is_that_of_all_parts(shelf, make_checkpoint):  # noqa: F811
    open_experiment("tiny").write_status("running", "2 parts left, now teachers")
    study = work_on("teachers", 7, epoch=0, epochs=2, step=0, steps_per_epoch=2)
    assert "until all" not in describe_state(open_experiment("tiny"))  # nothing has said how long it takes
    work_on("teachers", 7, epoch=1, epochs=2, step=0, steps_per_epoch=2, seconds_left=30)
    # A student's step costs three forward passes. Two seeds of two students and a teacher: 7 instead of 3 in each.
    assert seconds_left(TINY) == pytest.approx(30 + 2 * 60 * 7 / 3)
    assert "about 5 min 10 s until all of it is done" in describe_state(open_experiment("tiny"))
    study.write_status("finished", "")
    make_checkpoint(study.runs()[0].path / "plain-after-1")
    store("teachers", 7)
    work_on("students", 5, epoch=0, epochs=2, step=1, steps_per_epoch=2, seconds_left=75)
    assert seconds_left(TINY) == pytest.approx(75 + 100)
    store("students", 3)
    assert seconds_left(TINY) == pytest.approx(75)


def test_what_all_seeds_share_is_added_once(shelf, monkeypatch):  # noqa: F811
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


def test_a_teacher_that_cannot_be_trained_again_is_an_error_and_no_endless_loop(shelf, started, monkeypatch):  # noqa: F811
    monkeypatch.setattr(objective, "free_memory", lambda device: 0)
    teachers = list_left(TINY)[0]
    assert settle(teachers.config).students_per_run is None  # others name its networks by its one run
    folder = open_study(teachers.config)
    prepare(folder, teachers.runs)
    folder.run(teachers.runs[0]).write_status("finished")
    with pytest.raises(ConfigError, match="without a network that others learn from"):
        list_left(TINY)


def test_complete_tables_need_no_teacher():
    assert list_left(get_experiment("better-teacher")) == []  # whose trained teachers are not bundled
