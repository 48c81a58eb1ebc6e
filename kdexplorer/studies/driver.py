"""Trains what is left of a study, run by run; what its table has is not repeated."""

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
from kdexplorer.studies import ray_backend
from kdexplorer.studies.collect import collect
from kdexplorer.studies.folder import StudyFolder, left_to_train, prepare
from kdexplorer.studies.progress import ATTEMPTS, Progress, Stopped

POLL = 0.5  # seconds between two looks at a run that trains


def execute_study(
    folder: StudyFolder, ray_address: str | None = None, show: bool = False, again: bool = False
) -> State:
    """Trains what is left of a study; the final state is `finished`, `stopped`, or `failed` where a run failed.

    Args:
        folder: of the study.
        ray_address: of a Ray cluster (`auto` finds it) that trains the runs; without one they are trained one after
            another on this machine.
        show: print a line for each run to stderr.
        again: see `folder.left_to_train`.

    Raises:
        KDError: when another process drives this study, it cannot be packed, or the cluster cannot be reached.
    """
    lock = FileLock(folder.path / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"{folder.run_id} is already running in another process: stop that one first.") from None
    with processes.stop_signals() as stopping, folder.log() as logger:
        progress = Progress(folder, logger, show)
        try:
            progress.write("running", "packing the students into runs")
            collect(folder)
            left = left_to_train(folder.config(), again, bool(ray_address))
            prepare(folder, left)
            todo = [folder.run(planned) for planned in left]
            if ray_address:
                ray_backend.train_on_cluster(todo, ray_address, stopping, progress)
            else:
                for run in todo:
                    train_in_turn(run, stopping, progress)
            state: State = "failed" if progress.failed else "finished"
            first = next((f"{run_id}: {reason}" for run_id, reason in progress.failed.items()), "")
            count = f"{len(progress.failed)} of {len(folder.packing())} runs failed"
            progress.write(state, f"{count}; {first}" if first else "")
            return state
        except Stopped:
            progress.write("stopped", "stopped; it can be resumed")
            return "stopped"
        except BaseException as error:
            with contextlib.suppress(OSError):
                progress.write("failed", str(error)[:500])
            raise
        finally:
            lock.release()


def train_in_turn(run: Run, stopping: threading.Event, progress: Progress) -> None:
    """Trains one run in a process of its own, as Launch does, and waits for its end.

    The trainer outlives a driver that is killed; the next driver waits for it. Raises Stopped when `stopping` was set,
    or the run was stopped.
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
            raise Stopped
        if not progress.may_start(run, status):
            progress.end(run, "failed", f"its process ended without a message; {ATTEMPTS} starts made no progress")
            return
        launch.start_run(run)
        started = True
