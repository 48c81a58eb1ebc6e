"""The run folder: the only contract between the trainer, the command line and the pages.

`runs/<run_id>/` holds `config.json`, `status.json`, `metrics.jsonl`, `teacher.json` (the teacher's own test
figures), `log.txt`, `state.pt`, and a checkpoint folder per finished student. This module launches trainers as
processes of their own and never imports the training loop. There is no scheduler: a queued run is a process
that waits for a lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from kdexplorer.config import ExperimentConfig, is_name
from kdexplorer.errors import ConfigError, RunError
from kdexplorer.files import read_json, sync_folder, write_bytes, write_json

State = Literal["queued", "running", "finished", "stopped", "failed", "lost", "damaged"]
FINAL: tuple[State, ...] = ("finished", "stopped", "failed")
RESUMABLE: tuple[State, ...] = ("stopped", "failed", "lost")


def runs_root() -> Path:
    """Where runs are kept: `KDEXPLORER_RUNS`, else `./runs`."""
    return Path(os.environ.get("KDEXPLORER_RUNS") or "runs").expanduser()


def imported_root() -> Path:
    """Where imported checkpoints are kept: `imported/` among the runs, so that `imported/NAME` names one."""
    return runs_root() / "imported"


@dataclass(frozen=True)
class Run:
    """A run folder. Reading never fails on garbage: what cannot be read counts as absent."""

    path: Path

    @property
    def run_id(self) -> str:
        return self.path.name

    def config(self) -> ExperimentConfig:
        """Raises ConfigError when `config.json` is missing or damaged."""
        return ExperimentConfig.load(self.path / "config.json")

    def status(self) -> dict[str, Any]:
        """`status.json` with `state` put right: a live state whose process is gone is `lost`."""
        status = read_json(self.path / "status.json") or {"state": "lost", "message": "its status cannot be read"}
        if (
            status.get("state") in ("queued", "running")
            and live_process(status.get("pid"), status.get("pid_started")) is None
        ):
            status |= {"state": "lost", "message": "its process is gone; it can be resumed"}
        elif status.get("state") not in (*FINAL, "queued", "running"):
            status["state"] = "lost"
        if not (self.path / "config.json").is_file():
            status |= {"state": "damaged", "message": "its config.json is missing"}
        return status

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl` that can be read, one a student and epoch, in order."""
        rows = []
        with contextlib.suppress(OSError):
            for line in (self.path / "metrics.jsonl").read_bytes().splitlines():
                with contextlib.suppress(ValueError, RecursionError):
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        continue
                    if isinstance(row.get("epoch"), int) and isinstance(row.get("student"), str):
                        rows.append(row)
        return rows

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the log."""
        with contextlib.suppress(OSError), open(self.path / "log.txt", "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 200 * lines))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
        return ""

    # What the trainer writes.

    def write_status(self, state: State, message: str = "", **facts: Any) -> None:
        """Replaces the status; the process that calls it is the run's process."""
        me = psutil.Process()
        identity = {"pid": me.pid, "pid_started": me.create_time(), "heartbeat": time.time()}
        write_json(self.path / "status.json", {"state": state, "message": message, **identity, **facts})

    def append_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Appends lines and syncs them."""
        with open(self.path / "metrics.jsonl", "ab") as file:
            file.write("".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode())
            file.flush()
            os.fsync(file.fileno())

    def drop_metrics_from(self, epoch: int) -> None:
        """Forgets lines of epochs that will be done (again) by a resumed run, and a half-written last line."""
        kept = [row for row in self.metrics() if row["epoch"] < epoch]
        write_bytes(self.path / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in kept).encode())


class Reader(Run):
    """A run for the processes of a team that do not lead: they write nothing."""

    def write_status(self, state: State, message: str = "", **facts: Any) -> None:
        pass

    def append_metrics(self, rows: list[dict[str, Any]]) -> None:
        pass

    def drop_metrics_from(self, epoch: int) -> None:
        pass


def create(config: ExperimentConfig, root: Path | None = None, run_id: str | None = None) -> Run:
    """Writes a new run folder in state queued. Its id is the date, the time, the label and four random digits.

    Who must find the same run again (a sweep, a process that torchrun starts anew) gives the id.
    """
    root = root or runs_root()
    run_id = run_id or f"{time.strftime('%Y%m%d-%H%M%S')}-{config.name[:40]}-{secrets.token_hex(2)}"
    run = Run(root / run_id)
    try:
        run.path.mkdir(parents=True)
        write_json(run.path / "config.json", config.model_dump(mode="json"))
        run.write_status("queued", "waiting to start")
    except OSError as error:
        raise RunError(
            f"a run cannot be written to {root} ({error.strerror}): check the folder and the disk."
        ) from error
    sync_folder(root)
    return run


def launch(config: ExperimentConfig, root: Path | None = None) -> Run:
    """Creates a run and starts its trainer as a process of its own, which outlives the caller."""
    run = create(config, root)
    start(run)
    return run


def start(run: Run) -> None:
    """Starts (or resumes) a run's trainer in its own session, output to the log.

    Raises:
        RunError: when the run is alive, finished or damaged.
    """
    state = run.status()["state"]
    status = read_json(run.path / "status.json") or {}
    if state in ("finished", "damaged", "running") or (state == "queued" and status.get("pid") != os.getpid()):
        raise RunError(f"{run.run_id} is {state}: there is nothing to start.")
    with open(run.path / "log.txt", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "kdexplorer", "resume", str(run.path.resolve()), "--quiet"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=Path.cwd(),
        )
    adopt(process)
    started = time.time()
    with contextlib.suppress(psutil.NoSuchProcess):
        started = psutil.Process(process.pid).create_time()
    latest = read_json(run.path / "status.json") or {}
    if latest.get("pid") != process.pid:
        facts = {key: value for key, value in latest.items() if key not in ("state", "message")}
        identity = {"pid": process.pid, "pid_started": started, "heartbeat": time.time()}
        write_json(run.path / "status.json", {**facts, "state": "queued", "message": "starting", **identity})


_children: list[subprocess.Popen] = []
"""Trainers started here, polled so that a finished one does not stay a zombie that looks alive."""


def find(run_id: str, root: Path | None = None) -> Run:
    """The run of that id (or a path to its folder). Raises RunError when there is none."""
    root = root or runs_root()
    if is_name(run_id) and (root / run_id).is_dir():
        return Run(root / run_id)
    with contextlib.suppress(OSError, ValueError):  # too long for a path, or a zero byte in it
        path = Path(run_id)
        if not is_name(run_id) and path.is_dir() and (path / "config.json").is_file():
            return Run(path)
    raise RunError(f"there is no run '{run_id[:100]}' in {root}. List them with 'python -m kdexplorer runs list'.")


def list_runs(root: Path | None = None) -> list[Run]:
    """All run folders, the newest first."""
    root = root or runs_root()
    if not root.is_dir():
        return []
    folders = [path for path in root.iterdir() if is_name(path.name) and _is_run(path)]
    return [Run(path) for path in sorted(folders, key=lambda path: path.name, reverse=True)]


def _is_run(path: Path) -> bool:
    return any((path / name).is_file() for name in ("config.json", "status.json"))


def stop(run: Run) -> None:
    """Asks the trainer to save its state and end. Raises RunError when it is not alive."""
    status = run.status()
    if status["state"] not in ("queued", "running"):
        raise RunError(f"{run.run_id} is {status['state']}: there is nothing to stop.")
    if status["pid"] == os.getpid():
        raise RunError(f"{run.run_id} has not started yet: try again in a moment.")
    with contextlib.suppress(ProcessLookupError):
        os.kill(status["pid"], signal.SIGTERM)


def delete(run: Run, root: Path | None = None) -> None:
    """Removes a run folder. Raises RunError when it is alive or not directly inside the runs folder."""
    root = (root or runs_root()).resolve()
    path = run.path.resolve()
    if run.path.is_symlink() or path.parent != root or not is_name(path.name):
        raise RunError(f"'{run.run_id[:100]}' is not a run in {root}: nothing was deleted.")
    if run.status()["state"] in ("queued", "running"):
        raise RunError(f"{run.run_id} is still alive: stop it first.")
    shutil.rmtree(path)


def students(run: Run) -> list[Path]:
    """The checkpoint folders of a run's finished students, in the order of its configuration."""
    with contextlib.suppress(ConfigError):
        names = [student.name for student in run.config().students]
        return [run.path / name for name in names if (run.path / name / "card.json").is_file()]
    return []


def adopt(process: subprocess.Popen) -> None:
    """Remembers a process that was started here, so that its end is noticed and it does not stay a zombie."""
    _children.append(process)
    _children[:] = [child for child in _children if child.poll() is None]


def live_process(pid: Any, started: Any) -> psutil.Process | None:
    """The very process, where it lives: pid and start time (seconds since the epoch) agree, and it is no zombie."""
    if not isinstance(pid, int) or isinstance(pid, bool) or not isinstance(started, (int, float)) or pid <= 0:
        return None
    for child in _children:
        child.poll()
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        if abs(process.create_time() - started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None
