"""What a machine does to a run: kills at every write, a disk that is full or read-only, a server that is killed.

Each time the run is shown for what it is, goes on to the bits of one that was never disturbed, and leaves nothing behind.
"""

import asyncio
import errno
import itertools
import os
import shutil
import signal
import subprocess
import threading
import time

import psutil
import pytest
from filelock import FileLock
from test_train import COMBINED, SCRATCH, configured, finished, hashes, wait_for

from benchmarks import load
from benchmarks.app import running
from kdexplorer import data, processes, runs, train
from kdexplorer.errors import RunError

WRITES = ("replace", "link", "fsync", "unlink")
"""Through these everything that a trainer writes becomes lasting."""


@pytest.fixture
def small(tiny, make_checkpoint, tmp_path):
    """Two epochs of three steps, saved after each step."""
    teacher = make_checkpoint(tmp_path / "teacher", seed=9)
    return configured(COMBINED, teacher=str(teacher.path), batch_size=100, save_minutes=1e-6)


def before_writes(do):
    """From now on `do(path)` comes before everything that makes the file or folder `path` lasting."""
    patch = pytest.MonkeyPatch()

    def preceded(real):
        def call(*arguments, **options):
            do(str(arguments[-1]))
            return real(*arguments, **options)

        return call

    for name in WRITES:
        patch.setattr(os, name, preceded(getattr(os, name)))
    return patch


def killed(run, number, ending=""):
    """Trains in a process that SIGKILL ends before its `number`-th write (to such a path); False when it was done."""
    child = os.fork()
    if child == 0:
        count = itertools.count(1)
        before_writes(
            lambda path: os.kill(os.getpid(), signal.SIGKILL) if path.endswith(ending) and next(count) == number else 0
        )
        try:
            train.execute(run)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def no_room():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def left_behind(run):
    """Scraps of writes; one of the status is written by whoever starts the run, and may be there."""
    return [path for path in run.path.rglob(".*") if path.name != ".lock" and not path.name.startswith(".status.json.")]


def goes_on(run, expected):
    """Not finished, it can be resumed; and it ends as if nothing had been."""
    state = run.status()["state"]
    assert state in (*runs.RESUMABLE, "finished")
    if state != "finished":
        assert train.execute(run) == "finished"
    assert hashes(run) == expected
    assert left_behind(run) == []


# --- Kills ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 4])
def test_a_kill_in_the_middle_of_a_save_costs_nothing(small, number):
    expected, run = hashes(finished(small)), runs.create(small)
    assert killed(run, number, "/state.pt")
    assert run.status()["state"] == "lost"
    assert len(left_behind(run)) == 1  # the state that was about to take its place
    goes_on(run, expected)


@pytest.mark.reliability
def test_a_kill_before_every_single_write_costs_nothing(small, reliability):
    expected = hashes(finished(small))
    for number in itertools.count(1):
        run = runs.create(small)
        if not killed(run, number):
            break
        goes_on(run, expected)
        reliability["kills between two writes survived, to the same bits"] += 1
    assert number > 50


@pytest.mark.reliability
def test_a_kill_before_every_single_write_of_a_run_that_goes_on_costs_nothing(small, reliability):
    """Killed again and again, each time one write later than it came before."""
    expected, run = hashes(finished(small)), runs.create(small)
    for number in itertools.count(1):
        if not killed(run, number):
            break
        assert run.status()["state"] in ("lost", "finished")
        reliability["kills between two writes survived, to the same bits"] += 1
    goes_on(run, expected)


def test_a_trainer_whose_files_are_garbage_is_still_not_deleted(small):
    run = runs.create(small)
    for name in ("status.json", "config.json"):
        (run.path / name).write_bytes(b"{")
    with FileLock(run.path / ".lock"), pytest.raises(RunError, match="still alive"):
        runs.delete(run)
    assert run.status()["state"] == "damaged"
    runs.delete(run)
    assert not run.path.exists()


@pytest.fixture
def halfway(small, monkeypatch):
    """A run that was stopped in the middle of its second epoch, and what it will come to."""
    expected, run, step = hashes(finished(small)), runs.create(small), train.Experiment.step

    def interrupted(experiment, *where):
        if where == (1, 1):
            os.kill(os.getpid(), signal.SIGTERM)
        step(experiment, *where)

    with monkeypatch.context() as patch:
        patch.setattr(train.Experiment, "step", interrupted)
        assert train.execute(run) == "stopped"
    return run, expected


def damage(run, name, garbage):
    """Garbage in place of a file; of the metrics, behind their last line, where a kill leaves half of one."""
    with open(run.path / name, "ab" if name == "metrics.jsonl" else "wb") as file:
        file.write(garbage)


WRITTEN = ("status.json", "metrics.jsonl", "teacher.json", "log.txt", "state.pt")


def test_garbage_in_every_file_but_the_configuration_costs_a_run_nothing(halfway):
    run, expected = halfway
    for name in WRITTEN:
        damage(run, name, b'{"state": "finished"')
    assert run.status()["state"] == "lost"
    goes_on(run, expected)


@pytest.mark.reliability
def test_garbage_in_any_file_costs_a_run_nothing(halfway, reliability, tmp_path):
    run, expected = halfway
    shutil.copytree(run.path, tmp_path / "kept")
    for name in (*WRITTEN, "state.old.pt", "config.json"):
        good = (run.path / name).read_bytes()
        for garbage in (b"", b"{", b"\xff\0" * 50, b"null", b"[" * 100_000, good[:-1], good[: len(good) // 2]):
            shutil.rmtree(run.path)
            shutil.copytree(tmp_path / "kept", run.path)
            damage(run, name, garbage)
            if name == "config.json" and runs.read_json(run.path / name) is None:
                assert run.status()["state"] == "damaged"
                with pytest.raises(RunError, match="damaged"):
                    runs.start(run)
            else:
                goes_on(run, expected)
            reliability["damaged files of a run, told or mended"] += 1
