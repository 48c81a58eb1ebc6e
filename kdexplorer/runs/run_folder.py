"""The run folder: the only contract between the trainer, the command line and the pages.

`runs/<run_id>/` contains `config.json`, `status.json`, `metrics.jsonl` (by epoch), `batches.jsonl` (twice a second, for
those who watch), `teacher.json` (the teacher's measures), `log.txt`, `state.pt`, the state before it as `state.old.pt`,
and a checkpoint folder for each finished student.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from filelock import FileLock, Timeout
from pydantic import Field

from kdexplorer import processes
from kdexplorer.config import MAX_EPOCHS, RUN_FILES, RunConfig
from kdexplorer.errors import ConfigError
from kdexplorer.files import LineReader, open_regular, read_json, read_once, write_bytes, write_json
from kdexplorer.schema import Name, Record, is_name, read_record

State = Literal["waiting", "queued", "running", "finished", "stopped", "failed", "lost", "damaged"]
"""`waiting`: a run of a study that has not begun; it has no process, and its study starts it."""
LIVE: tuple[State, ...] = ("queued", "running")
RESUMABLE: tuple[State, ...] = ("waiting", "stopped", "failed", "lost")
PLACES = {"epoch", "epochs", "step", "steps_per_epoch", "runs", "finished"}
"""Fields of a status that say how far the work is: they stay while it starts again."""

Epochs = Annotated[int, Field(ge=0, le=MAX_EPOCHS, strict=True)]
_Count = Annotated[int, Field(ge=0, lt=10**15, strict=True)]
_Number = Annotated[float, Field(ge=0, lt=1e15)]
Values = Annotated[dict[Annotated[str, Field(max_length=300)], float], Field(max_length=256)]
"""Loss terms and accuracy by name."""


class RunStatus(Record):
    """`status.json` of a run or a study."""

    state: State = "lost"
    message: str = ""
    warning: str = ""
    epoch: _Count | None = None
    """The current epoch, from 0."""
    epochs: _Count | None = None
    step: _Count | None = None
    """Steps done in the current epoch."""
    steps_per_epoch: _Count | None = None
    images_per_second: _Number | None = None
    seconds_left: _Number | None = None
    teacher_stored: bool | None = None
    """Whether the current epoch reads the teacher's predictions instead of computing them."""
    machine: str | None = None
    pid: Any = None
    pid_started: Any = None
    boot: Any = None
    runs: _Count | None = None
    """Of a study: how many it has."""
    finished: _Count | None = None
    working: tuple[str, ...] = ()
    failed: dict[str, str] = {}
    """Of a study: why runs failed, by run."""

    def share_done(self, epochs: int) -> float | None:
        """Of the steps of a run of so many epochs, 0 to 1; None where it does not say."""
        if self.epoch is None or self.step is None or not self.steps_per_epoch:
            return None
        return min(1.0, (self.epoch + self.step / self.steps_per_epoch) / epochs)


class EpochMeasures(Record):
    """One point of a learning curve: the epoch (from 0), and loss terms and accuracy by name."""

    epoch: Epochs
    train: Values = {}
    """Means over the epoch's batches."""
    test: Values = {}
    """The same on the evaluation split."""


class EpochMetrics(EpochMeasures):
    """A line of `metrics.jsonl`: one student after one epoch."""

    student: Name
    learning_rate: float | None = None
    probes: list[list[float]] = []
    """Logits of the first images of the evaluation split."""
    seconds: float | None = None
    images_per_second: float | None = None
    step_seconds: float | None = None
    """Of the student's part of a step: forward pass, objective, backward pass and update; the epoch's median."""
    batch_seconds: float | None = None
    """Of loading a batch with the teacher's forward pass, which all students share; the epoch's median."""


class BatchMetrics(Record):
    """A line of `batches.jsonl`: one student's means over the batches since its line before."""

    epoch: Annotated[float, Field(ge=0, lt=10**6)]
    """Epochs done, with a fraction."""
    student: Name
    train: Values = {}


class TeacherMeasures(Record):
    """`teacher.json`: the teacher on the run's evaluation split."""

    name: str = ""
    accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    cross_entropy: _Number | None = None
    probes: list[list[float]] = []
    probe_labels: list[Annotated[int, Field(ge=0, strict=True)]] = []
    note: str = ""
    """What the images are, where the measures are not those of unseen evaluation images."""


def runs_root() -> Path:
    """Where runs are stored: `KDEXPLORER_RUNS`, else `./runs`."""
    return Path(os.environ.get("KDEXPLORER_RUNS") or "runs").expanduser()


def imported_root() -> Path:
    """Where imported checkpoints are stored: `imported/` among the runs, so that `imported/NAME` names one."""
    return runs_root() / "imported"


@dataclass(frozen=True)
class Run:
    """A run folder. Reading never fails on damaged files: what cannot be read counts as missing.

    Other kinds of work have folders of the same form, and subclasses of this one.
    """

    path: Path
    writes: bool = True
    """Whether this process writes to the folder: of several that train a run together only the first one does."""
    kind: ClassVar[str] = "run"
    """Stands in `config.json`; a folder without it is that of a run."""
    place: ClassVar[str] = ""
    """The folder among the runs that contains all of its kind."""

    @property
    def run_id(self) -> str:
        return self.path.name

    @classmethod
    def parent_folder(cls) -> Path:
        """The folder that contains all of its kind: nothing outside it is ever deleted."""
        return runs_root() / cls.place

    def read_values(self) -> dict[str, Any] | None:
        """What `config.json` contains besides the kind; None where it is missing or damaged."""
        values = read_json(self.path / "config.json")
        return values and {name: value for name, value in values.items() if name != "kind"}

    def config(self) -> RunConfig:
        """Raises ConfigError when `config.json` is missing or damaged."""
        return read_once(RunConfig.load, self.path / "config.json")

    def needs(self, run_id: str) -> bool:
        """Whether it has not finished and a student of that run teaches it, or is what one of its students began as."""
        with contextlib.suppress(ConfigError):
            config, own = self.config(), (self.path.parent / run_id).resolve()
            names = [*(config.teacher or "").split("+"), *(one.initial for one in config.students if one.initial)]
            uses = f"+{run_id}/" in f"+{'+'.join(names)}"  # a run's name may have a plus, too
            uses |= any(Path(name).resolve().parent == own for name in names if name)
            return uses and self.status().state != "finished"
        return False

    def check(self) -> None:
        """Raises ConfigError, with the reason, where the run cannot be used: a bad configuration, files of others."""
        for name in RUN_FILES:
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISREG(os.lstat(self.path / name).st_mode):
                    raise ConfigError(f"{name} is a link or no file: remove it.")
        self.config()

    def status(self) -> RunStatus:
        """`status.json`, corrected: without its process a live state is `lost`, a run that `check` refuses `damaged`.

        Damaged fields are left out.
        """
        values = read_json(self.path / "status.json")
        status = read_record(RunStatus, {"message": "its status cannot be read"} if values is None else values)
        if status.state in LIVE:
            if processes.live(values or {}) is not None:
                return status
            status = status.model_copy(update={"state": "lost", "message": "its process is gone; it can be resumed"})
        try:
            self.check()
        except (ConfigError, OSError) as error:
            status = status.model_copy(update={"state": "damaged", "message": str(error).replace(f"{self.path}/", "")})
        return status

    def is_locked(self) -> bool:
        """Whether a trainer is using the run, whatever its files say. Raises OSError."""
        with contextlib.suppress(Timeout), FileLock(self.path / ".lock", timeout=0):
            return False
        return True

    def metrics(self) -> list[EpochMetrics]:
        """The readable lines of `metrics.jsonl`, one for each student and epoch, in order."""
        return self.readers()[0].read()

    def readers(self) -> tuple[LineReader[EpochMetrics], LineReader[BatchMetrics]]:
        """Of `metrics.jsonl` and `batches.jsonl`, for those who look again and again: they read the new lines only."""
        by_epoch = LineReader(self.path / "metrics.jsonl", EpochMetrics)
        return by_epoch, LineReader(self.path / "batches.jsonl", BatchMetrics)

    def teacher(self, classes: int) -> TeacherMeasures | None:
        """The teacher's measures from `teacher.json`; None where there are none.

        Damaged fields are left out, and so are labels that are not below the number of classes.
        """
        if (values := read_json(self.path / "teacher.json")) is None:
            return None
        measures = read_record(TeacherMeasures, values)
        if any(label >= classes for label in measures.probe_labels):
            measures = measures.model_copy(update={"probe_labels": []})
        return measures

    def log_tail(self, lines: int = 20) -> str:
        with contextlib.suppress(OSError), open_regular(self.path / "log.txt") as file:
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
        handler = logging.FileHandler(self.path / "log.txt" if self.writes else os.devnull, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
        try:
            yield logger
        finally:
            logger.removeHandler(handler)
            handler.close()

    def write_status(self, state: State, message: str = "", pid: int | None = None, **facts: Any) -> None:
        """Replaces the status; the process that works in the folder is the calling one if no other is given.

        `facts` are other fields of `RunStatus`. Raises OSError.
        """
        if self.writes:
            status = RunStatus(state=state, message=message, **facts, **processes.identity(pid))
            write_json(self.path / "status.json", status.model_dump(mode="json", exclude_defaults=True))

    def append_metrics(self, rows: list[EpochMetrics]) -> None:
        """Appends lines and syncs them."""
        if self.writes:
            with open(self.path / "metrics.jsonl", "ab") as file:
                file.write(_lines(rows))
                file.flush()
                os.fsync(file.fileno())

    def append_batch_metrics(self, rows: list[BatchMetrics]) -> None:
        """Appends lines. They may be lost: nothing is computed from them."""
        if self.writes:
            with open(self.path / "batches.jsonl", "ab") as file:
                file.write(_lines(rows))

    def drop_metrics_from(self, epoch: int, step: int, steps_per_epoch: int) -> None:
        """Removes lines of what a resumed run will do again, from that step on, and half-written last lines."""
        if self.writes:
            by_epoch, within = self.readers()
            whole = [row for row in by_epoch.read() if row.epoch < epoch]
            parts = [row for row in within.read() if row.epoch <= epoch + step / steps_per_epoch]
            write_bytes(self.path / "metrics.jsonl", _lines(whole))
            write_bytes(self.path / "batches.jsonl", _lines(parts))


def _lines(rows: list[EpochMetrics] | list[BatchMetrics]) -> bytes:
    return "".join(json.dumps(row.model_dump(mode="json"), allow_nan=False) + "\n" for row in rows).encode()


def is_run_folder(path: Path) -> bool:
    """Whether a folder is that of a run, or of what else works in one."""
    return any((path / name).is_file() for name in ("config.json", "status.json"))


def find_run(run_id: str, kinds: Sequence[type[Run]] = (Run,)) -> Run:
    """The run of that id or folder; a folder's `config.json` says which kind it is. Raises ConfigError."""
    places = [(kind, kind.parent_folder() / run_id) for kind in kinds] if is_name(run_id) else []
    with contextlib.suppress(OSError, ValueError):  # too long for a path, or a zero byte in it
        path = Path(os.path.normpath(Path.cwd() / run_id))  # `.` has no name
        if run_id and not is_name(run_id) and path.is_dir() and (path / "config.json").is_file():
            own = (read_json(path / "config.json") or {}).get("kind", Run.kind)
            places += [(kind, path) for kind in kinds if kind.kind == own]
    for kind, path in places:
        if is_run_folder(path):
            return kind(path)
    raise ConfigError(
        f"there is no run '{run_id[:100]}' in {kinds[0].parent_folder()}. List the runs with "
        "'python -m kdexplorer runs list'."
    )


def count_live() -> int:
    """How many runs train or wait, of the twenty in whose folders something was written last."""

    def written(run: Run) -> float:
        with contextlib.suppress(OSError):
            return run.path.stat().st_mtime
        return 0.0

    return sum(run.status().state in LIVE for run in sorted(list_runs(), key=written, reverse=True)[:20])


def list_runs(root: Path | None = None) -> list[Run]:
    """All run folders, the newest first."""
    root = root or runs_root()
    paths = sorted(root.iterdir(), key=_created, reverse=True) if root.is_dir() else []
    readable = (path for path in paths if is_name(path.name) and os.access(path, os.X_OK))  # not lost+found
    return [Run(path) for path in readable if is_run_folder(path)]


def _created(path: Path) -> tuple[str, str]:
    """When a run was created, as its name says, or, where a study has named it, its configuration's file; the name."""
    if re.match(r"\d{8}-\d{6}-", path.name):
        return path.name[:15], path.name
    with contextlib.suppress(OSError):
        return time.strftime("%Y%m%d-%H%M%S", time.localtime((path / "config.json").stat().st_mtime)), path.name
    return "", path.name


def finished_students(run: Run) -> list[Path]:
    """The checkpoint folders of a run's finished students, in the order of its configuration."""
    with contextlib.suppress(ConfigError):
        names = [student.name for student in run.config().students]
        return [run.path / name for name in names if (run.path / name / "card.json").is_file()]
    return []
