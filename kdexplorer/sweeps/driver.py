"""Trains what is left of a sweep, experiment by experiment; finished experiments are not repeated."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable

from filelock import FileLock, Timeout

from kdexplorer import processes
from kdexplorer.errors import RunError
from kdexplorer.runs import launch
from kdexplorer.runs.records import LIVE, State
from kdexplorer.runs.run_folder import Run
from kdexplorer.sweeps import ray_backend
from kdexplorer.sweeps.choice import write_results
from kdexplorer.sweeps.folder import Sweep, prepare
from kdexplorer.sweeps.progress import ATTEMPTS, SweepProgress, SweepStopped

POLL = 0.5  # seconds between two looks at a running experiment


def execute_sweep(
    sweep: Sweep,
    ray_address: str | None = None,
    show: bool = False,
    write_results: Callable[[Sweep], object] = write_results,
) -> State:
    """Trains what is left of a sweep; the final state is `finished`, `stopped`, or `failed` where an experiment failed.

    With the address of a Ray cluster (`auto` finds it) that trains the experiments; without one they are trained one
    after another on this machine. `show` prints a line for each experiment to stderr; `write_results` is called
    whenever an experiment has ended.

    Raises:
        KDError: when another process drives this sweep, it cannot be packed, or the cluster cannot be reached.
    """
    lock = FileLock(sweep.path / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"{sweep.run_id} is already running in another process: stop that one first.") from None
    with processes.stop_signals() as stopping, sweep.log() as logger:
        progress = SweepProgress(sweep, logger, show, write_results)
        try:
            progress.write("running", "packing the students into experiments")
            todo = [run for run in prepare(sweep, bool(ray_address)) if run.status().state != "finished"]
            if ray_address:
                ray_backend.train_on_cluster(todo, ray_address, stopping, progress)
            else:
                for run in todo:
                    train_in_turn(run, stopping, progress)
            state: State = "failed" if progress.failed else "finished"
            first = next((f"{run_id}: {reason}" for run_id, reason in progress.failed.items()), "")
            count = f"{len(progress.failed)} of {len(sweep.runs())} experiments failed"
            progress.write(state, f"{count}; {first}" if first else "")
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

    The trainer outlives a driver that is killed; the next driver waits for it. Raises SweepStopped when `stopping` was
    set, or the run was stopped.
    """
    started = False
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
        if not progress.may_start(run, status):
            progress.end(run, "failed", f"its process ended without a message; {ATTEMPTS} starts made no progress")
            return
        launch.start_run(run)
        started = True
