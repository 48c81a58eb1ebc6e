"""Who may be started, stopped or deleted; what the disk refuses; what comes at once; how the work in a folder ends."""

import errno
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock, patch

import psutil
import pytest
from filelock import FileLock

from kdexplorer import processes
from kdexplorer.errors import RunError, TrainingError
from kdexplorer.runs import launch
from kdexplorer.runs.launch import Stopped, create_run, delete_run, launch_run, start_run, stop_run, work_in
from kdexplorer.runs.run_folder import Run, RunStatus, list_runs
from tests.accidents import refuse
from tests.runs.conftest import CONFIG, SLEEP
from tests.training.configs import wait_for


@pytest.fixture
def popen(monkeypatch):
    """Stands in for the trainer: remembers how it was called, and sleeps."""
    calls, real = [], subprocess.Popen

    def start(arguments, **options):
        assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, [])  # until it can answer
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        process = real(SLEEP, start_new_session=True)
        calls.append((arguments, options, process))
        return process

    monkeypatch.setattr(subprocess, "Popen", start)
    yield calls
    for *_, process in calls:
        process.kill()
        process.wait()


def test_a_launched_run_outlives_its_caller_and_is_not_started_twice_nor_deleted_and_stops_without_a_zombie(popen):
    run = launch_run(CONFIG)
    ((arguments, options, process),) = popen
    assert arguments[:5] == [sys.executable, "-m", "kdexplorer", "start", str(run.path.resolve())]
    assert options["start_new_session"]
    assert options["stdin"] == subprocess.DEVNULL
    assert "shell" not in options
    status = run.status()
    assert status.state == "queued"
    assert status.pid == process.pid != os.getpid()
    assert psutil.Process(status.pid).nice() > psutil.Process().nice()  # the pages go first
    with pytest.raises(RunError, match="queued"):
        start_run(run)
    with pytest.raises(RunError, match="running"):
        delete_run(run)
    stop_run(run)
    wait_for(lambda: not psutil.pid_exists(process.pid), 60)  # nobody here has asked for its end
    assert process.wait() == -signal.SIGTERM
    with pytest.raises(RunError, match="lost"):
        stop_run(run)
    start_run(run)
    assert len(popen) == 2
    assert run.status().state == "queued"


def test_starting_keeps_what_the_trainer_has_already_written(run, monkeypatch, popen):
    monkeypatch.setattr(processes, "lower_priority", lambda pid: run.write_status("running", pid=pid, epoch=3))
    start_run(run)
    assert (run.status().state, run.status().epoch) == ("running", 3)


def test_another_process_with_the_same_pid_or_of_another_user_is_not_signalled(run, sleeper, monkeypatch):
    """Between the look at the status and the signal, the pid goes to another process."""
    run.write_status("running", pid=sleeper.pid)
    denied = patch.object(psutil.Process, "send_signal", side_effect=psutil.AccessDenied(sleeper.pid))
    with denied, pytest.raises(RunError, match="another user"):
        stop_run(run)
    monkeypatch.setattr(Run, "status", lambda self: RunStatus(state="running", pid=sleeper.pid, pid_started=1.0))
    stop_run(run)
    assert sleeper.status() != psutil.STATUS_ZOMBIE


def test_two_tabs_that_start_one_run_start_one_trainer(run, popen):
    run.write_status("stopped")
    with ThreadPoolExecutor(6) as tabs:
        errors = [tab.exception() for tab in [tabs.submit(start_run, run) for _ in range(6)]]
    assert len(popen) == 1
    refusals = [error for error in errors if error is not None]
    assert len(refusals) == 5
    assert all(isinstance(error, RunError) and "queued" in str(error) for error in refusals)


def test_nothing_outside_the_runs_folder_is_deleted(run, runs_root, tmp_path):
    run.write_status("finished")
    outside = tmp_path / "precious"
    outside.mkdir()
    (outside / "config.json").write_text("{}")
    (runs_root / "link").symlink_to(outside)
    (runs_root / "inside").symlink_to(run.path)
    tricks = [runs_root / name for name in ("", "..", "link", "inside")]
    for path in (outside, run.path / "..", run.path / "a", *tricks):
        with pytest.raises(RunError, match="nothing was deleted"):
            delete_run(Run(path))
    assert (outside / "config.json").exists()
    assert (run.path / "config.json").exists()


def test_a_run_that_cannot_be_written_leaves_nothing_behind_and_an_existing_folder_as_it_was(run, monkeypatch):
    before = sorted(run.path.parent.rglob("*"))
    with pytest.raises(RunError, match="File exists"):
        create_run(CONFIG, "lab", run)
    monkeypatch.setattr(launch, "write_json", refuse(errno.ENOSPC))
    with pytest.raises(RunError, match=r"No space left.*folder and the disk"):
        create_run(CONFIG, "lab")
    assert sorted(run.path.parent.rglob("*")) == before


def test_a_signal_is_for_all_work_that_goes_on():
    """A study is trained within an experiment's process: what comes after it must not begin."""
    with processes.stop_signals() as outer:
        with processes.stop_signals() as inner:
            os.kill(os.getpid(), signal.SIGTERM)
            assert inner.wait(60)
        assert outer.is_set()
    with processes.stop_signals() as later:
        assert not later.is_set()


def test_a_run_that_an_unfinished_one_needs_is_not_deleted(run):
    run.write_status("finished")
    create_run(CONFIG.model_copy(update={"teacher": "resnet56"}), "unrelated")
    own, plus = f"{run.run_id}/a", create_run(CONFIG, "a+b")
    plus.write_status("finished")
    begun = [CONFIG.students[0].model_copy(update={"initial": own})]
    for needing in ({"teacher": f"resnet56+{own}"}, {"teacher": str(run.path / "a")}, {"students": begun}):
        other = create_run(CONFIG.model_copy(update=needing), "other")
        with pytest.raises(RunError, match=f"{other.run_id} has not finished and needs"):
            delete_run(run)
        other.write_status("finished")
    delete_run(run)
    assert not run.path.exists()
    other = create_run(CONFIG.model_copy(update={"teacher": f"resnet56+{plus.run_id}/a"}), "other")
    with pytest.raises(RunError, match=f"{other.run_id} has not finished and needs"):
        delete_run(plus)


def test_a_deletion_leaves_the_whole_run_or_no_half_of_it(run, monkeypatch):
    run.write_status("finished")
    with FileLock(run.path / ".lock"), pytest.raises(RunError, match="running"):  # a trainer's, whatever the status
        delete_run(run)
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.rename", refuse(errno.EROFS))
        with pytest.raises(RunError, match=r"Read-only file system.*nothing was deleted"):
            delete_run(run)
    assert (run.status().state, run.config()) == ("finished", CONFIG)
    monkeypatch.setattr(launch.shutil, "rmtree", refuse(errno.EIO))
    with pytest.raises(RunError, match=r"remain in .*\.deleted-"):
        delete_run(run)
    assert list_runs() == []
    assert not run.path.exists()


def test_a_launch_that_cannot_start_is_a_failed_run_which_once_deleted_stays_away(runs_root, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", refuse(errno.ENOMEM))
    with pytest.raises(RunError, match="cannot be started"):
        launch_run(CONFIG)
    (run,) = list_runs()
    assert run.status().state == "failed"
    delete_run(run)
    with pytest.raises(RunError, match="was deleted"):
        work_in(run, lambda work: None)
    assert [path.name for path in runs_root.iterdir()] == [".start.lock"]


def test_work_keeps_its_place_when_it_begins_again_and_at_its_end_what_it_said(run):
    run.write_status("stopped", epoch=15, epochs=30, step=2, steps_per_epoch=9)

    def begin(work):
        work.write("queued", "waiting")
        raise Stopped

    def end(work):
        work.facts["warning"] = "careful"
        work.write("running", "half of it")
        with pytest.raises(RunError, match="already running"):
            work_in(run, lambda other: other.write("running"))
        assert run.status().message == "half of it"

    assert work_in(run, begin) == "stopped"
    assert (run.status().epoch, run.status().step) == (15, 2)
    assert work_in(run, end) == "finished"
    assert (run.status().state, run.status().message, run.status().warning) == ("finished", "", "careful")
    assert not run.is_locked()


@pytest.mark.parametrize(
    ("error", "message", "traceback"),
    [
        (TrainingError("a: objective became nan"), "a: objective became nan", False),
        (PermissionError(errno.EACCES, "Permission denied"), "PermissionError: [Errno 13] Permission denied", True),
        (KeyboardInterrupt(), "KeyboardInterrupt", True),
    ],
)
def test_work_that_fails_says_why_and_raises_the_error(run, error, message, traceback):
    with pytest.raises(type(error)):
        work_in(run, Mock(side_effect=error))
    assert run.status().state == "failed"
    assert message in run.status().message
    assert ("Traceback" in run.log_tail()) == traceback
    assert not run.is_locked()
