"""Runs are created, started as processes of their own, stopped and deleted here; training itself is never imported.

There is no scheduler: a queued run is a process that waits for a lock. What works in a folder, whether it trains one
run or drives many, is alone there, has a log, and works until it has finished, was stopped, or failed; `status.json`
says which.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psutil
from filelock import FileLock, Timeout
from pydantic import BaseModel

from kdexplorer import processes
from kdexplorer.config import RunConfig
from kdexplorer.errors import KDError, RunError
from kdexplorer.files import sync_folder, write_json
from kdexplorer.runs.run_folder import LIVE, PLACES, RESUMABLE, Run, State, is_run_folder, list_runs, runs_root
from kdexplorer.schema import is_name

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""Errors of a disk that cannot be written."""


def create_run(config: BaseModel, name: str, run: Run | None = None) -> Run:
    """Writes a new run folder in state queued. Raises RunError when it cannot be written.

    Its id is the date, the time, the name and four random digits; callers that must find the same run again (a study,
    a process that torchrun restarts) say which `run` it is.
    """
    run = run or Run(runs_root() / f"{time.strftime('%Y%m%d-%H%M%S')}-{name[:40]}-{secrets.token_hex(2)}")
    root, created = run.path.parent, False
    try:
        run.path.mkdir(parents=True)
        created = True
        write_config(run, config)
        run.write_status("queued", "starting the training process")
    except OSError as error:
        if created:  # an existing folder is somebody else's
            shutil.rmtree(run.path, ignore_errors=True)
        raise RunError(
            f"a {run.kind} cannot be written to {root} ({error.strerror}): check the folder and the disk."
        ) from error
    sync_folder(root)
    return run


def write_config(run: Run, config: BaseModel) -> None:
    """Replaces `config.json`, of a run or of what else works in a folder. Raises OSError."""
    write_json(run.path / "config.json", {"kind": run.kind, **config.model_dump(mode="json")})


def launch_run(config: RunConfig) -> Run:
    """Creates a run and starts its trainer as a process of its own, which outlives the caller. Raises RunError."""
    run = create_run(config, config.name)
    try:
        start_run(run)
    except RunError as error:
        with contextlib.suppress(OSError):
            run.write_status("failed", str(error)[:500])  # otherwise it would look queued as long as this process lives
        raise
    return run


def start_run(run: Run) -> None:
    """Starts (or continues) a run as a process in a session of its own, output to the log. One start at a time.

    Raises RunError when the run may not start, see `require_resumable`, or its folder cannot be written.
    """
    try:
        with FileLock(run.path.parent / ".start.lock", timeout=30):
            require_resumable(run)
            command = [sys.executable, "-m", "kdexplorer", "start", str(run.path.resolve()), "--quiet"]
            with open(run.path / "log.txt", "ab") as log, processes.hold_signals():
                pid = processes.start(command, log)
            processes.lower_priority(pid)
            status = run.status()
            if status.pid != pid:  # which has not written one yet
                run.write_status("queued", "starting", pid, **status.model_dump(include=PLACES))
    except OSError as error:  # filelock's Timeout is one
        raise RunError(
            f"{run.run_id} cannot be started ({error.strerror or 'another start is taking long'}): check its folder "
            "and the disk."
        ) from error


def require_resumable(run: Run) -> None:
    """Raises RunError for a run that is alive, finished or damaged, or uses what is not installed.

    One that is queued may start in the process that created it, and in the one that was started for it.
    """
    status = run.status()
    if status.state in RESUMABLE or (status.state == "queued" and status.pid in (os.getpid(), os.getppid())):
        if type(run) is Run and (missing := run.config().missing()):
            raise RunError(f"{run.run_id}: {'; '.join(missing)}.")
        return
    reason = status.message if status.state == "damaged" else "there is nothing to start."
    raise RunError(f"{run.run_id} is {status.state}: {reason}")


def stop_run(run: Run) -> None:
    """Asks the trainer to save its state and end. Raises RunError when it is not running."""
    if (status := run.status()).state not in LIVE:
        raise RunError(f"{run.run_id} is {status.state}: there is nothing to stop.")
    if status.pid == os.getpid():
        raise RunError(f"{run.run_id} has not started yet: try again in a moment.")
    if process := processes.live(status.model_dump()):
        try:
            with contextlib.suppress(psutil.NoSuchProcess):  # psutil checks the start time once more
                process.send_signal(signal.SIGTERM)
        except psutil.AccessDenied as error:
            raise RunError(f"{run.run_id} was started by another user, who can stop it.") from error


def delete_run(run: Run) -> None:
    """Removes a run folder. Raises RunError when it is running, no run, or not directly in `run.parent_folder()`.

    The folder leaves the list in one step, so that an interruption leaves no half of a run.
    """
    root = run.parent_folder().resolve()
    path = run.path.resolve()
    if run.path.is_symlink() or path.parent != root or not is_name(path.name) or not is_run_folder(path):
        raise RunError(f"'{run.run_id[:100]}' is not a run in {root}: nothing was deleted.")
    deleted = root / f".deleted-{path.name}-{secrets.token_hex(2)}"
    try:
        with FileLock(root / ".start.lock", timeout=30):
            if run.status().state in LIVE or run.is_locked():
                raise RunError(f"{run.run_id} is still running: stop it first.")
            if needed := [other.run_id for other in list_runs(root) if other.needs(run.run_id)]:
                raise RunError(f"{needed[0]} has not finished and needs a student of it: delete that run first.")
            path.rename(deleted)
    except OSError as error:
        raise RunError(
            f"{run.run_id} cannot be deleted ({error.strerror or 'another start is taking long'}): nothing was deleted."
        ) from error
    try:
        shutil.rmtree(deleted)
    except OSError as error:
        raise RunError(f"{run.run_id} is deleted, but some of its files remain in {deleted} ({error}).") from error


# --- What works in a folder ---


class Stopped(Exception):
    """A signal or another process asked the work to stop; what it needs to continue is saved."""


@dataclass
class Work:
    """What the process that works in a folder has: its log, the request to stop, and the facts of its status."""

    run: Run
    logger: logging.Logger
    stopping: threading.Event
    """Is set by SIGTERM and SIGINT: the work saves what it needs to continue, and raises Stopped."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Fields of `RunStatus` besides state and message."""

    def write(self, state: State, message: str = "") -> None:
        """Replaces the status. Raises OSError."""
        self.run.write_status(state, message, **self.facts)


def work_in(
    run: Run, do: Callable[[Work], object], lead: Callable[[Callable[[], object]], object] = lambda compute: compute()
) -> State:
    """Does the work of a folder, from where it was left, and returns its final state, which is also in `status.json`.

    `do` returns when all is done, which is `finished`, and raises Stopped when it has `stopped` before; anything else
    that it raises is raised here, too, and the work is then `failed`. `lead` runs a function in the first of several
    processes that work in the folder together, see `ddp.Team.lead`. Raises RunError when another process works in this
    folder; it is left alone.
    """
    lock = FileLock(run.path / ".lock")

    def acquire() -> None:
        if not is_run_folder(run.path):
            raise RunError(f"{run.run_id} was deleted.")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunError(f"{run.run_id} is already running in another process: stop that one first.") from None

    lead(acquire)
    try:
        with processes.stop_signals() as stopping, run.log() as logger:
            work = Work(run, logger, stopping, run.status().model_dump(include=PLACES))
            try:
                do(work)
                work.write("finished")
                return "finished"
            except Stopped:
                logger.info("stopped; it can be resumed")
                work.write("stopped", "stopped; it can be resumed")
                return "stopped"
            except BaseException as error:
                expected = isinstance(error, KDError)
                message = str(error) if expected else f"{type(error).__name__}: {error}"
                logger.error("%s", message, exc_info=not expected)
                if isinstance(error, OSError) and error.errno in DISK:
                    message = f"writing to the disk failed ({error}): free some space and resume"
                with contextlib.suppress(OSError):
                    work.write("failed", message[:500])
                raise
    finally:
        lock.release()
