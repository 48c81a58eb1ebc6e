"""A training process: it waits for its turn, trains one run, and writes how it ended."""

from __future__ import annotations

import contextlib
import threading

from filelock import FileLock, Timeout

from kdexplorer import processes
from kdexplorer.errors import KDError, RunError
from kdexplorer.files import read_json
from kdexplorer.runs.records import State
from kdexplorer.runs.run_folder import ReadOnlyRun, Run
from kdexplorer.training import ddp
from kdexplorer.training.hardware import configure_process
from kdexplorer.training.progress import RunProgress
from kdexplorer.training.train import Stopped, train


def execute(run: Run, show: bool = False) -> State:
    """Waits for its turn, then trains a run to its end, from its saved state where there is one.

    SIGTERM and SIGINT end it after the current step with its state saved.

    Args:
        run: a folder that `launch.create_run` wrote.
        show: draw a progress bar on stderr.

    Returns:
        The final state, `finished` or `stopped`. Every outcome is also in `status.json`.

    Raises:
        RunError: when another process trains this run; it is left alone.
        KDError, or anything else: what ended the run, which is then `failed`.
    """
    team = ddp.join()
    own = FileLock(run.path / ".lock")

    def acquire() -> None:
        try:
            own.acquire(timeout=0)
        except Timeout:
            raise RunError(f"{run.run_id} is already being trained by another process.") from None

    team.lead(acquire)
    try:
        run = run if team.leads else ReadOnlyRun(run.path)
        with processes.stop_signals() as stopping, run.log() as logger:
            return _execute_in_turn(RunProgress(run, logger, show), team, stopping)
    finally:
        own.release()


def _execute_in_turn(progress: RunProgress, team: ddp.Team, stopping: threading.Event) -> State:
    """What `execute` promises, once no other process has this run."""
    turn = FileLock(progress.run.path.parent / ".lock")
    try:
        _wait_for_turn(progress, team, stopping, turn)
        if team.lead(lambda: _is_finished(progress.run)):
            return "finished"
        configure_process(progress.run.config().threads)
        train(progress, stopping)
        progress.clear_warning()  # nothing is left to save
        progress.write("finished")
        return "finished"
    except Stopped:
        progress.logger.info("stopped; it can be resumed")
        progress.write("stopped", "stopped; it can be resumed")
        return "stopped"
    except KDError as error:
        progress.logger.error("%s", error)
        progress.write("failed", str(error))
        raise
    except BaseException as error:
        progress.logger.exception("failed")
        message = f"{type(error).__name__}: {error}"
        if isinstance(error, OSError):
            message = f"writing to the disk failed ({error}): free some space and resume"
        with contextlib.suppress(OSError):
            progress.write("failed", message[:500])
        raise
    finally:
        turn.release()


def _wait_for_turn(progress: RunProgress, team: ddp.Team, stopping: threading.Event, turn: FileLock) -> None:
    """Returns when no other run trains. Raises Stopped when it was stopped before."""
    while True:
        with contextlib.suppress(Timeout):
            if team.leads:
                turn.acquire(timeout=0.5)
        if team.any(turn.is_locked):
            return
        progress.write("queued", "waiting for the run before it")
        if team.any(stopping.is_set()):
            raise Stopped


def _is_finished(run: Run) -> bool:
    return read_json(run.path / "status.json") is not None and run.status().state == "finished"
