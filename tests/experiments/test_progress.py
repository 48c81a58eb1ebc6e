"""How long an experiment takes: what is added up before it starts, and what is left while it runs."""

import pytest

from kdexplorer.experiments import driver, get_experiment, progress
from kdexplorer.experiments.base import league_id
from kdexplorer.experiments.driver import Todo
from kdexplorer.experiments.progress import ExperimentEstimate, add_up, describe_state, sample_of, seconds_left
from kdexplorer.experiments.results import part_path
from kdexplorer.files import write_json
from kdexplorer.sweeps import league as leagues
from kdexplorer.training.estimate import Estimate
from tests.experiments.sample import make_results
from tests.experiments.test_driver import Tiny, shelf  # noqa: F401


def make_estimate(seconds, fixing=0.0):
    return Estimate(
        seconds=seconds, loading=1, step=0.1, evaluation=1, epoch=2, images_per_second=100, fixing=fixing
    )  # fmt: skip


def store(part, seconds):
    """Writes a part's table with these seeds, and how long each took."""
    table = make_results(Tiny(), lambda part, entry: 0.5).tables[part]
    seeds = [one.model_copy(update={"seconds": seconds[one.seed]}) for one in table.seeds if one.seed in seconds]
    rows = [row for row in table.rows if row.seed in seconds]
    path = part_path("tiny", part)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, table.model_copy(update={"seeds": seeds, "rows": rows}).model_dump(mode="json"))


def work_on(part, seed, **status):
    """A run that trains a seed of a part, with the status of its own process."""
    league = leagues.open_league(part.declaration, league_id("tiny", part.name, part.declaration))
    league.plan([seed])
    (run,) = league.runs()
    run.path.mkdir(parents=True, exist_ok=True)
    write_json(run.path / "config.json", part.declaration.experiment(seed).model_dump(mode="json"))
    run.write_status("running", "training", **status)
    league.write_status("running", "training", working=[run.run_id])
    return league


@pytest.fixture
def parts(shelf, make_checkpoint, tmp_path):  # noqa: F811
    make_checkpoint(tmp_path / "bundled" / "teacher", "resnet8")  # the stand-in
    return Tiny().parts()


def test_the_time_left_is_that_of_all_parts(parts):
    teachers, students = parts
    assert seconds_left(Tiny()) is None  # nothing has said how long it takes
    driver.open_run("tiny").write_status("running", "2 parts left, now teachers")
    league = work_on(teachers, 7, epoch=0, epochs=2, step=0, steps_per_epoch=2)
    assert seconds_left(Tiny()) is None
    assert "until all" not in describe_state("tiny")
    work_on(teachers, 7, epoch=1, epochs=2, step=0, steps_per_epoch=2, seconds_left=30)
    # A student's step costs three forward passes. Two seeds of two students and a teacher: 7 instead of 3 in each.
    assert seconds_left(Tiny()) == pytest.approx(30 + 2 * 60 * 7 / 3)
    assert "about 5 min 10 s until all of it is done" in describe_state("tiny")
    league.write_status("finished", "")
    store("teachers", {7: 90.0})
    assert seconds_left(Tiny()) == pytest.approx(2 * 90 * 7 / 3)
    work_on(students, 5, epoch=0, epochs=2, step=1, steps_per_epoch=2, seconds_left=75)
    assert seconds_left(Tiny()) == pytest.approx(75 + 100)
    store("students", {3: 80.0})
    assert seconds_left(Tiny()) == 75
    driver.get_run("tiny").write_status("finished", "")
    assert describe_state("tiny") == ""


def test_what_all_seeds_share_is_added_once(parts):
    part = parts[1]
    assert add_up(Todo(part, None, [3, 5]), make_estimate(100, fixing=40)) == 40 + 2 * 60
    assert add_up(Todo(part, None, [3]), make_estimate(100)) == 100
    assert sample_of(Todo(part, None, [5])).teacher == "teacher"
    assert sample_of(Todo(part, None, [5])).seed == 5


def test_an_estimate_times_one_part_after_the_other(parts, monkeypatch):
    timed = []

    class Timed:
        started = 0.0

        def __init__(self, config):
            timed.append((config.teacher, config.seed))
            self.looks = 0

        def poll(self):
            self.looks += 1
            return make_estimate(50, fixing=10) if self.looks == 2 else None

        def cancel(self):
            timed.append("canceled")

    monkeypatch.setattr(progress, "Measurement", Timed)
    estimate = ExperimentEstimate(Tiny())
    assert [estimate.poll() for _ in range(3)] == [None] * 3
    assert "part 2 of 2" in estimate.describe()
    assert [estimate.poll() for _ in range(2)] == [None, 50 + 10 + 2 * 40]
    assert timed == [(None, 7), ("teacher", 3)]
    assert estimate.poll() == 140
    other = ExperimentEstimate(Tiny())
    other.cancel()
    other.poll()
    other.cancel()
    assert timed[-1] == "canceled"


def test_a_teacher_that_is_fixed_is_timed_with_its_stand_in():
    experiment = get_experiment("better-teacher")
    todo = {one.part.name: one for one in driver.list_todo(experiment, small=False, read_only=True)}
    untrained = [one for one in todo.values() if one.table is None]
    assert all(sample_of(one).teacher == "resnet20-scratch" for one in untrained)
    assert all(sample_of(one).teacher_view == "fixed" for name, one in todo.items() if name != "teachers")
