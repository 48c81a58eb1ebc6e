"""One process works in a folder, and its status says how the work ended."""

import errno
import os
import signal

import pytest

from kdexplorer.errors import RunError, TrainingError
from kdexplorer.runs.launch import Stopped, create_run, delete_run, work_in
from kdexplorer.runs.run_folder import Run, find_run
from tests.runs.conftest import CONFIG, write_status


class Other(Run):
    """Another kind of work."""

    kind = "other"

    @staticmethod
    def parent_folder():
        return Run.parent_folder() / "others"


def test_work_that_ends_has_finished_and_what_it_said_stays(run):
    def do(work):
        work.facts["warning"] = "careful"
        work.write("running", "half of it")
        with pytest.raises(RunError, match="already running"):
            work_in(run, lambda other: other.write("running"))
        assert run.status().message == "half of it"

    assert work_in(run, do) == "finished"
    assert (run.status().state, run.status().message, run.status().warning) == ("finished", "", "careful")
    assert not run.is_locked()


def test_a_signal_sets_the_event_and_work_that_stops_can_be_resumed(run):
    def do(work):
        os.kill(os.getpid(), signal.SIGTERM)
        if work.stopping.wait(10):
            raise Stopped

    assert work_in(run, do) == "stopped"
    assert run.status().state == "stopped"


@pytest.mark.parametrize(
    ("error", "message", "traceback"),
    [
        (TrainingError("a: objective became nan"), "a: objective became nan", False),
        (OSError(errno.ENOSPC, "No space left on device"), "free some space and resume", True),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero", True),
        (KeyboardInterrupt(), "KeyboardInterrupt", True),
    ],
)
def test_work_that_fails_says_why_and_raises_the_error(run, error, message, traceback):
    def do(_):
        raise error

    with pytest.raises(type(error)):
        work_in(run, do)
    assert run.status().state == "failed"
    assert message in run.status().message
    assert ("Traceback" in run.log_tail()) == traceback
    assert not run.is_locked()


def test_a_folder_says_its_kind(run):
    other = create_run(CONFIG, "lab", kind=Other)
    assert other.path.parent == Run.parent_folder() / "others"
    for kinds in ((Run, Other), (Other, Run)):
        assert [type(find_run(str(one.path), kinds)) for one in (run, other)] == [Run, Other]
        assert [type(find_run(one.run_id, kinds)) for one in (run, other)] == [Run, Other]
    with pytest.raises(RunError, match="no run"):
        find_run(str(other.path))
    with pytest.raises(RunError, match="no run"):
        find_run(other.run_id)


def test_work_that_begins_again_keeps_its_place_until_it_knows_another(run):
    write_status(run, "stopped", epoch=15, epochs=30, step=2, steps_per_epoch=9)

    def do(work):
        work.write("queued", "waiting")
        raise Stopped

    assert work_in(run, do) == "stopped"
    assert (run.status().epoch, run.status().step) == (15, 2)


def test_a_folder_that_was_deleted_meanwhile_does_not_come_back(run):
    write_status(run, "stopped")
    delete_run(run)
    with pytest.raises(RunError, match="was deleted"):
        work_in(run, lambda work: None)
    assert not run.path.exists()
