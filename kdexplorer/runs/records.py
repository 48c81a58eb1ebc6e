"""The records of a run's folder, as they are read: what is damaged is left out and never fails."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kdexplorer.files import open_regular, parse_json
from kdexplorer.schema import Name

State = Literal["waiting", "queued", "running", "finished", "stopped", "failed", "lost", "damaged"]
"""`waiting`: a run of a study that has not begun; it has no process, and its study starts it."""
LIVE: tuple[State, ...] = ("queued", "running")
RESUMABLE: tuple[State, ...] = ("waiting", "stopped", "failed", "lost")
PLACES = {"epoch", "epochs", "step", "steps_per_epoch", "runs", "finished"}
"""Fields of a status that say how far the work is: they stay while it starts again."""

_Count = Annotated[int, Field(ge=0, lt=10**15, strict=True)]
_Number = Annotated[float, Field(ge=0, lt=1e15)]
Figures = Annotated[dict[Annotated[str, Field(max_length=300)], float], Field(max_length=256)]
"""Loss terms and accuracy by name."""


class Record(BaseModel):
    """What is read from a file that another version may have written: unknown fields are left out."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


Kind = TypeVar("Kind", bound=Record)


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
    heartbeat: _Number | None = None
    """When it was written, in seconds since 1970."""
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


class EpochMetrics(Record):
    """A line of `metrics.jsonl`: one student after one epoch."""

    epoch: Annotated[int, Field(ge=0, lt=10**6, strict=True)]
    student: Name
    learning_rate: float | None = None
    train: Figures = {}
    """Means over the epoch's batches: objective, cross-entropy, terms, accuracy."""
    test: Figures = {}
    """The same on the evaluation split."""
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
    train: Figures = {}


class TeacherFigures(Record):
    """`teacher.json`: the teacher on the run's evaluation split."""

    name: str = ""
    evaluation_split: str = "test"
    accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    cross_entropy: _Number | None = None
    probes: list[list[float]] = []
    probe_labels: list[Annotated[int, Field(ge=0, strict=True)]] = []
    note: str | None = None
    """What the images are, where the figures are not those of unseen evaluation images; None where it was not said."""

    @property
    def described_images(self) -> str:
        """`note`; held-out images are training images of every teacher that did not hold out the same ones."""
        if self.note is not None:
            return self.note
        return "on training images that it may have been trained on" if self.evaluation_split == "holdout" else ""


def read_record(model: type[Kind], values: dict[str, Any]) -> Kind:
    """The record with every field that is valid; the others have their defaults, which every field needs."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        invalid = {item["loc"][0] for item in error.errors()}
        return model.model_validate({key: value for key, value in values.items() if key not in invalid})


# --- Files of one record a line, which grow while a run trains ---

MAX_ROWS, MAX_BYTES, MAX_LINE = 200_000, 256 << 20, 1 << 20
"""What is read of a file at most; 64 students over 1,000 epochs write 64,000 lines by epoch, of about 3 kB each."""


class LineReader(Generic[Kind]):
    """Reads the lines that were added since the last call; a file that was replaced or shortened is read anew."""

    def __init__(self, path: Path, model: type[Kind]) -> None:
        self.path, self.model = path, model
        self._lock = threading.Lock()
        self._rows: list[Kind] = []
        self._inode, self._offset, self._last = 0, 0, b""

    def read(self) -> list[Kind]:
        """All readable records so far, in order; half a line at the end and what is damaged are left out."""
        with self._lock, contextlib.suppress(OSError), open_regular(self.path) as file:
            inode = os.fstat(file.fileno()).st_ino
            file.seek(self._offset - len(self._last))
            if inode != self._inode or file.read(len(self._last)) != self._last:
                self._rows, self._inode, self._offset, self._last = [], inode, 0, b""
                file.seek(0)
            while len(self._rows) < MAX_ROWS and self._offset < MAX_BYTES:
                line = file.readline(MAX_LINE)
                if not line.endswith(b"\n") and len(line) < MAX_LINE:  # the end, or half a line
                    break
                self._offset, self._last = self._offset + len(line), line
                with contextlib.suppress(ValueError, RecursionError):  # pydantic's error is a ValueError
                    self._rows.append(self.model.model_validate(parse_json(line)))
            return list(self._rows)
        return []
