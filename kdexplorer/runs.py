"""The run folder: the only contract between the trainer, the command line and the pages.

`runs/<run_id>/` holds `config.json`, `status.json`, `metrics.jsonl`, `teacher.json` (the teacher's own test
figures), `log.txt`, `state.pt`, the state before it as `state.old.pt`, and a checkpoint folder per finished
student. This module launches trainers as processes of their own and never imports the training loop. There is no
scheduler: a queued run is a process that waits for a lock.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
from filelock import FileLock, Timeout

from kdexplorer import processes
from kdexplorer.config import ExperimentConfig, is_name
from kdexplorer.errors import ConfigError, RunError
from kdexplorer.files import parse_json, read_json, sync_folder, write_bytes, write_json

State = Literal["queued", "running", "finished", "stopped", "failed", "lost", "damaged"]
LIVE: tuple[State, ...] = ("queued", "running")
FINAL: tuple[State, ...] = ("finished", "stopped", "failed")
RESUMABLE: tuple[State, ...] = ("stopped", "failed", "lost")

MESSAGES = ("message", "warning")
COUNTS = ("epoch", "epochs", "step", "steps_per_epoch", "images_per_second", "seconds_left", "heartbeat")
"""What a status may say besides its state and its process: texts, and numbers that are finite and not negative."""


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

    @staticmethod
    def home() -> Path:
        """The folder that holds all of its kind: nothing outside it is ever deleted."""
        return runs_root()

    def config(self) -> ExperimentConfig:
        """Raises ConfigError when `config.json` is missing or damaged."""
        return ExperimentConfig.load(self.path / "config.json")

    def status(self) -> dict[str, Any]:
        """`status.json` with `state` put right (a live state whose process is gone is `lost`) and garbage left out."""
        found = read_json(self.path / "status.json") or {"state": "lost", "message": "its status cannot be read"}
        status = {key: value for key, value in found.items() if _is_fact(key, value)}
        if status.get("state") in LIVE:
            if processes.live(status) is not None:
                return status
            status |= {"state": "lost", "message": "its process is gone; it can be resumed"}
        elif status.get("state") not in FINAL:
            status["state"] = "lost"
        if read_json(self.path / "config.json") is None:
            status |= {"state": "damaged", "message": "its config.json is missing or cannot be read"}
        return status

    def is_held(self) -> bool:
        """Whether a trainer has the run in its hands, whatever its files say. Raises OSError."""
        lock = FileLock(self.path / ".lock")
        try:
            with lock.acquire(timeout=0):
                return False
        except Timeout:
            return True

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl` that can be read, one a student and epoch, in order."""
        rows = []
        with contextlib.suppress(OSError):
            for line in (self.path / "metrics.jsonl").read_bytes().splitlines():
                with contextlib.suppress(ValueError, RecursionError):
                    row = parse_json(line)
                    if not isinstance(row, dict):
                        continue
                    student = row.get("student")
                    if _is_count(row.get("epoch"), 10**6) and isinstance(student, str) and is_name(student):
                        rows.append(row)
        return rows

    def teacher(self, classes: int) -> dict[str, Any] | None:
        """The teacher's own figures from `teacher.json`, garbage left out; None where there are none.

        Args:
            classes: how many there are: what a label must be below.

        Returns:
            `accuracy` (0 to 1), `cross_entropy` (nats), `probes` (rows of logits) and `probe_labels` (class indices).
        """
        found = read_json(self.path / "teacher.json")
        if found is None:
            return None
        labels = found.get("probe_labels")
        if not isinstance(labels, list) or not all(_is_count(label, classes) for label in labels):
            found.pop("probe_labels", None)
        return {k: v for k, v in found.items() if k not in ("accuracy", "cross_entropy") or _is_number(v)}

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the log."""
        with contextlib.suppress(OSError), open(self.path / "log.txt", "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 200 * lines))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
        return ""

    # What the trainer writes.

    @contextlib.contextmanager
    def log(self) -> Iterator[logging.Logger]:
        """A logger whose lines are appended to `log.txt`, until the end of the block."""
        logger = logging.getLogger(f"kdexplorer.{self.run_id}")
        logger.setLevel(logging.INFO)
        logger.propagate = False
        handler = self._log_handler()
        logger.addHandler(handler)
        try:
            yield logger
        finally:
            logger.removeHandler(handler)
            handler.close()

    def _log_handler(self) -> logging.Handler:
        handler = logging.FileHandler(self.path / "log.txt", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        return handler

    def write_status(self, state: State, message: str = "", **facts: Any) -> None:
        """Replaces the status; the process that calls it is the run's process."""
        identity = processes.identity() | {"heartbeat": time.time()}
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

    def _log_handler(self) -> logging.Handler:
        return logging.NullHandler()

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
    made = False
    try:
        run.path.mkdir(parents=True)
        made = True
        write_json(run.path / "config.json", config.model_dump(mode="json"))
        run.write_status("queued", "waiting to start")
    except OSError as error:
        if made:  # a folder that was there before is somebody's
            shutil.rmtree(run.path, ignore_errors=True)
        raise RunError(
            f"a run cannot be written to {root} ({error.strerror}): check the folder and the disk."
        ) from error
    sync_folder(root)
    return run


def launch(config: ExperimentConfig, root: Path | None = None) -> Run:
    """Creates a run and starts its trainer as a process of its own, which outlives the caller."""
    run = create(config, root)
    try:
        start(run)
    except RunError as error:
        with contextlib.suppress(OSError):
            run.write_status("failed", str(error)[:500])  # else it would wait for this process as long as it lives
        raise
    return run


def start(run: Run) -> None:
    """Starts (or resumes) a run's trainer in its own session, output to the log. One start at a time, for all callers.

    Raises:
        RunError: when the run is alive, finished or damaged, or its folder cannot be written.
    """
    try:
        with FileLock(run.path.parent / ".start.lock", timeout=30):
            _start(run)
    except OSError as error:  # filelock's Timeout is one
        raise RunError(
            f"{run.run_id} cannot be started ({error.strerror or 'another start takes long'}): check its folder and "
            "the disk."
        ) from error


def _start(run: Run) -> None:
    status = run.status()
    state = status["state"]
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
    processes.adopt(process)
    processes.step_back(process.pid)
    identity = processes.identity(process.pid) | {"heartbeat": time.time()}
    latest = read_json(run.path / "status.json") or {}
    if latest.get("pid") != process.pid:
        write_json(run.path / "status.json", {**latest, "state": "queued", "message": "starting", **identity})


def find(run_id: str, root: Path | None = None) -> Run:
    """The run of that id (or a path to its folder). Raises RunError when there is none."""
    root = root or runs_root()
    if is_name(run_id) and _is_run(root / run_id):
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
    if status["state"] not in LIVE:
        raise RunError(f"{run.run_id} is {status['state']}: there is nothing to stop.")
    if status["pid"] == os.getpid():
        raise RunError(f"{run.run_id} has not started yet: try again in a moment.")
    process = processes.live(status)
    with contextlib.suppress(psutil.NoSuchProcess):  # psutil looks at the start time once more
        if process is not None:
            process.send_signal(signal.SIGTERM)


def delete(run: Run) -> None:
    """Removes a run folder. Raises RunError when it is alive, no run, or not directly inside `run.home()`.

    The folder leaves the list in one step, so that an end in the middle leaves no half of a run.
    """
    root = run.home().resolve()
    path = run.path.resolve()
    if run.path.is_symlink() or path.parent != root or not is_name(path.name) or not _is_run(path):
        raise RunError(f"'{run.run_id[:100]}' is not a run in {root}: nothing was deleted.")
    scrap = root / f".deleted-{path.name}-{secrets.token_hex(2)}"
    try:
        with FileLock(root / ".start.lock", timeout=30):
            if run.status()["state"] in LIVE or run.is_held():
                raise RunError(f"{run.run_id} is still alive: stop it first.")
            path.rename(scrap)
    except OSError as error:
        raise RunError(
            f"{run.run_id} cannot be deleted ({error.strerror or 'another start takes long'}): nothing was deleted."
        ) from error
    try:
        shutil.rmtree(scrap)
    except OSError as error:
        raise RunError(f"{run.run_id} is gone from the list; some of its files stay in {scrap} ({error}).") from error


def history(run: Run, student: str) -> list[dict[str, Any]]:
    """A student's learning curve for its card: `epoch` (from 0), `train` and `test` of each line of its metrics."""

    def rounded(part: Any) -> dict[str, float]:
        return {key: float(f"{value:.5g}") for key, value in part.items()} if isinstance(part, dict) else {}

    rows = [row for row in run.metrics() if row["student"] == student]
    return [{"epoch": row["epoch"], **{part: rounded(row.get(part)) for part in ("train", "test")}} for row in rows]


def students(run: Run) -> list[Path]:
    """The checkpoint folders of a run's finished students, in the order of its configuration."""
    with contextlib.suppress(ConfigError):
        names = [student.name for student in run.config().students]
        return [run.path / name for name in names if (run.path / name / "card.json").is_file()]
    return []


def _is_count(value: Any, below: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < below


def _is_number(value: Any) -> bool:
    """Finite and not negative; JSON knows integers that no float holds."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and 0 <= value < 1e15 and math.isfinite(value)


def _is_fact(key: str, value: Any) -> bool:
    if key in COUNTS:
        return _is_number(value)
    return isinstance(value, str) if key in MESSAGES else True
