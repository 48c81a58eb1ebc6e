"""Trains what is left of a sweep, experiment by experiment; finished experiments are not repeated."""

from __future__ import annotations

import contextlib
import os
import threading
import time

from filelock import FileLock, Timeout

from kdexplorer import processes
from kdexplorer.errors import RunError
from kdexplorer.runs import launch
from kdexplorer.runs.records import LIVE, State
from kdexplorer.runs.run_folder import Run
from kdexplorer.sweeps import ray_backend
from kdexplorer.sweeps.folder import Sweep, prepare
from kdexplorer.sweeps.progress import ATTEMPTS, Attempts, SweepProgress, SweepStopped

POLL = 0.5
"""Seconds between two looks at a running experiment."""


def execute_sweep(sweep: Sweep, ray_address: str | None = None, show: bool = False) -> State:
    """Trains what is left of a sweep.

    Args:
        sweep: a folder that `folder.create` wrote.
        ray_address: of a Ray cluster that trains the experiments (`auto` finds it); without one they are trained
            one after another on this machine.
        show: print a line for each experiment to stderr.

    Returns:
        The final state: `finished`, `stopped`, or `failed` where at least one experiment failed.

    Raises:
        RunError: when another process drives this sweep.
        KDError: when it cannot be packed, or the cluster cannot be reached.
    """
    lock = FileLock(sweep.path / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"{sweep.run_id} is driven by another process: stop that one first.") from None
    with processes.stop_signals() as stopping, sweep.log() as logger:
        progress = SweepProgress(sweep, logger, show)
        try:
            progress.write("running", "packing the students into experiments")
            todo = [run for run in prepare(sweep, bool(ray_address)) if not progress.is_finished(run)]
            if ray_address:
                ray_backend.train_on_cluster(todo, ray_address, stopping, progress)
            else:
                for run in todo:
                    train_in_turn(run, stopping, progress)
            state: State = "failed" if progress.failed else "finished"
            progress.write(state, progress.describe_failures())
            return state
        except SweepStopped:
            progress.write("stopped", "stopped; it can be resumed")
            return "stopped"
        except BaseException as error:
            with contextlib.suppress(OSError):
                progress.write("failed", str(error)[:500])
            raise
        finally:
            lock.release()


def train_in_turn(run: Run, stopping: threading.Event, progress: SweepProgress) -> None:
    """Trains one experiment in a process of its own, as Launch does, and waits for its end.

    The trainer outlives a driver that is killed; the next driver waits for it.

    Raises:
        SweepStopped: when `stopping` was set, or the run was stopped.
    """
    attempts, started = Attempts(), False
    progress.begin(run)
    while True:
        status = run.status()
        if status.state in LIVE and status.pid != os.getpid():
            started = True  # perhaps by an earlier driver
            if stopping.is_set():
                with contextlib.suppress(RunError):
                    launch.stop_run(run)
            progress.refresh()
            time.sleep(POLL)
            continue
        if status.state == "finished" or (started and status.state == "failed"):
            progress.end(run, status.state, status.message)
            return
        if stopping.is_set() or (started and status.state == "stopped"):
            raise SweepStopped
        if not attempts.add(status):
            progress.end(run, "failed", f"its process vanished; {ATTEMPTS} starts got no further")
            return
        launch.start_run(run)
        started = True
