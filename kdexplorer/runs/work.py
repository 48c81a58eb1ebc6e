"""What works in a run's folder, whether it trains one run or drives many.

It is alone there, has a log, and works until it has finished, was stopped, or failed; `status.json` says which.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any

from filelock import FileLock, Timeout

from kdexplorer import processes
from kdexplorer.errors import KDError, RunError
from kdexplorer.runs.records import State
from kdexplorer.runs.run_folder import Run


class Stopped(Exception):
    """A signal or another process asked the work to stop; what it needs to continue is saved."""


class Work:
    """What the process that works in a folder has: its log, the request to stop, and the facts of its status."""

    def __init__(self, run: Run, logger: logging.Logger, stopping: threading.Event) -> None:
        self.run, self.logger = run, logger
        self.stopping = stopping
        """Is set by SIGTERM and SIGINT: the work saves what it needs to continue, and raises Stopped."""
        self.facts: dict[str, Any] = {}
        """Fields of `RunStatus` besides state and message."""

    def write(self, state: State, message: str = "") -> None:
        """Replaces the status. Raises OSError."""
        self.run.write_status(state, message, **self.facts)


def work_in(
    run: Run, do: Callable[[Work], object], lead: Callable[[Callable[[], object]], object] = lambda compute: compute()
) -> State:
    """Does the work of a folder, from where it was left.

    Args:
        run: a folder that `launch.create_run` wrote.
        do: the work. It returns when all is done, and raises Stopped when it has stopped before.
        lead: runs a function in the first of several processes that work in the folder together, see `ddp.Team.lead`.

    Returns:
        The final state, `finished` or `stopped`. Every outcome is also in `status.json`.

    Raises:
        RunError: when another process works in this folder; it is left alone.
        KDError, or anything else: what ended the work, which is then `failed`.
    """
    lock = FileLock(run.path / ".lock")

    def acquire() -> None:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunError(f"{run.run_id} is already running in another process: stop that one first.") from None

    lead(acquire)
    try:
        with processes.stop_signals() as stopping, run.log() as logger:
            return _report(Work(run, logger, stopping), do)
    finally:
        lock.release()


def _report(work: Work, do: Callable[[Work], object]) -> State:
    """Does the work and writes how it ended."""
    try:
        do(work)
        work.write("finished")
        return "finished"
    except Stopped:
        work.logger.info("stopped; it can be resumed")
        work.write("stopped", "stopped; it can be resumed")
        return "stopped"
    except BaseException as error:
        message = f"{type(error).__name__}: {error}"
        if isinstance(error, KDError):
            message = str(error)
            work.logger.error("%s", error)
        else:
            work.logger.exception("failed")
        if isinstance(error, OSError):
            message = f"writing to the disk failed ({error}): free some space and resume"
        with contextlib.suppress(OSError):
            work.write("failed", message[:500])
        raise
