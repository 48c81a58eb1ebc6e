"""A study's results as they are stored: one row for each entry and seed, and what was declared.

The table alone decides what is left to train: run folders need not be kept. Networks that exist and are only measured
have tables too, without a study; their rows have a part, the condition under which they were measured.
"""

from __future__ import annotations

import base64
import contextlib
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from kdexplorer.analysis.measures import MEASURES
from kdexplorer.config import Objective, objective_label
from kdexplorer.errors import ConfigError
from kdexplorer.files import read_json, read_once, write_bytes, write_json
from kdexplorer.runs.checkpoints import Checkpoint, bundled_root, find_teachers, refer_to, try_checkpoint
from kdexplorer.schema import Name, StrictModel, validate
from kdexplorer.studies.study import Study, bundled_studies

BySeed = dict[int, float]

SHARES = {key for key, measure in MEASURES.items() if measure.unit == "%"} | {"test_accuracy"}
"""Measures that are 0 to 1."""


class Row(StrictModel):
    """One network on the evaluation split: its measures by key, and which images are right, as bits (see `pack_bits`).

    Shares are 0 to 1, cross-entropies in nats, times in seconds.
    """

    entry: str
    seed: int = 0
    part: str = ""  # of networks that exist: the condition, or where they come from
    run: str = ""
    measures: dict[str, float]
    right: str = ""  # which images it predicts correctly
    agrees: str = ""  # on which images it predicts its teacher's class

    @model_validator(mode="after")
    def _is_consistent(self) -> Row:
        if "accuracy" not in self.measures:
            raise ValueError("accuracy is missing")
        for name in self.measures.keys() & SHARES:
            if not 0 <= self.measures[name] <= 1:
                raise ValueError(f"{name} is not from 0 to 1")
        return self

    @property
    def accuracy(self) -> float:
        return self.measures["accuracy"]


class Entry(StrictModel):
    """A student with every setting in full, so that a default that changes later is noticed; or a measured network."""

    name: str
    key: str  # of its objective, such as `kd+at`
    objective: Objective | None = None
    state_bytes: int | None = (
        None  # weights, gradients, momentum of the student and of what its methods train beside it
    )
    kept_bytes: int | None = None  # what autograd keeps of a batch for the backward pass of the whole objective
    sha256: str = ""  # of the weights that were measured

    @property
    def memory(self) -> int | None:
        """Bytes that training it takes beside the data and the teacher; None where they were not counted."""
        known = self.state_bytes is not None and self.kept_bytes is not None
        return (self.state_bytes or 0) + (self.kept_bytes or 0) if known else None

    @model_validator(mode="after")
    def _has_a_known_objective(self) -> Entry:
        try:
            objective_label(self.key)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return self


class StudyRun(StrictModel):
    """A run that trains some entries with one seed; how it was trained, once it has finished."""

    run: Name
    seed: int
    entries: tuple[Name, ...] = Field(min_length=1)
    seconds: float | None = None  # of the whole run
    batch_seconds: float | None = None  # of loading a batch with the teacher's forward pass, which all entries share
    device: str | None = None
    precision: str | None = None
    versions: dict[str, str] = {}


class Table(StrictModel):
    """What was declared, and the results so far."""

    version: Literal[1] = 1
    study: Study | None = None  # None of networks that were only measured
    sha256: str = ""  # of the study when the table was begun
    earlier_sha256: str = ""  # of the same declaration in the format before, in which it was made before the training
    teacher: str = ""  # the SHA-256 of its weights
    evaluated_on: str = ""
    images: int | None = Field(None, ge=1)
    entries: list[Entry] = []
    runs: list[StudyRun] = []
    rows: list[Row] = []
    image_p: dict[str, float] = {}  # the tests over images by entry, of a table whose bits were not kept

    @model_validator(mode="after")
    def _has_a_bit_for_each_image(self) -> Table:
        for bits in (bits for row in self.rows for bits in (row.right, row.agrees) if bits):
            unpack_bits(bits, self.images or 0)
        return self

    @property
    def declared(self) -> Study:
        """The study. Raises ConfigError for a table of measured networks."""
        if self.study is None:
            raise ConfigError("this table has no study: its networks were only measured.")
        return self.study

    def rows_of(self, entry: str) -> list[Row]:
        """An entry's rows, by seed."""
        return sorted((row for row in self.rows if row.entry == entry), key=lambda row: row.seed)

    def values(self, entry: str, measure: str = "accuracy") -> BySeed:
        """An entry's values of a measure by seed; without the seeds of which it is unknown."""
        return {row.seed: row.measures[measure] for row in self.rows_of(entry) if measure in row.measures}

    def right(self, row: Row) -> np.ndarray | None:
        """Which images a row has right, bool `[N]`; None where that was not kept."""
        return unpack_bits(row.right, self.images or 0) if row.right else None

    def missing(self) -> dict[int, list[str]]:
        """By seed: the declared entries without a row."""
        known = {(row.entry, row.seed) for row in self.rows}
        left = {
            seed: [name for name in self.declared.entries if (name, seed) not in known] for seed in self.declared.seeds
        }
        return {seed: names for seed, names in left.items() if names}


def differences(own: BySeed, other: BySeed) -> BySeed:
    """One student minus another, over the seeds that both have."""
    return {seed: own[seed] - other[seed] for seed in own if seed in other}


def pack_bits(values: np.ndarray) -> str:
    """Bool `[N]` as base64."""
    return base64.b64encode(np.packbits(values).tobytes()).decode()


def unpack_bits(text: str, count: int) -> np.ndarray:
    """Bool `[N]` from `pack_bits`. Raises ValueError where it has fewer."""
    bits = np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8))[:count]
    if not count or len(bits) < count:
        raise ValueError(f"{len(bits)} bits instead of {count}")
    return bits.astype(bool)


def read_table(path: Path) -> Table | None:
    """The table in a file; None where there is no file. Raises ConfigError where it is no table."""
    return read_once(_load_table, path) if path.exists() else None


def _load_table(path: Path) -> Table:
    try:
        return validate(Table, read_json(path))
    except ConfigError as error:
        raise ConfigError(f"{path} is not the table of a study: move it elsewhere, or restore it.") from error


def find_conflicts(table: Table, study: Study) -> list[str]:
    """Why a table does not belong to a study, in sentences; empty where it does."""
    found = []
    if table.sha256 != table.declared.sha256:
        found.append("The declaration that is stored in the table was altered.")
    if table.sha256 != study.sha256:
        old, new = table.declared.model_dump(), study.model_dump()
        changed = ", ".join(name for name in new if old[name] != new[name])
        found.append(f"The declaration was changed after the table was begun ({changed}).")
        return found
    stored = {entry.name: entry.objective for entry in table.entries}
    for student in study.students.values() if stored else ():
        if stored.get(student.name) != student.objective:
            found.append(f"{student.name} meant other settings when the table was begun: a default has changed.")
    return found


def find_changed(table: Table) -> list[str]:
    """The measured networks whose bundled weights are others now."""
    measured = {entry.name: entry.sha256 for entry in table.entries if entry.sha256}
    found = {name: try_checkpoint(bundled_root() / name) for name in measured}
    return [name for name, one in found.items() if isinstance(one, Checkpoint) and one.sha256 != measured[name]]


def begin_table(study: Study, path: Path) -> Table:
    """The table at `path`, where it belongs to the study, or one without rows. Nothing is written.

    Raises:
        ConfigError: when the table belongs to something else; it says why.
    """
    table, sha256 = read_table(path), ""
    with contextlib.suppress(ConfigError):  # a teacher that is not trained yet
        sha256 = refer_to(find_teachers(study.shared.teacher)).sha256 if study.shared.teacher else ""
    if table is None:
        return Table(study=study, sha256=study.sha256, teacher=sha256)
    conflicts = find_conflicts(table, study)
    if table.teacher and sha256 and table.teacher != sha256:
        conflicts.append("The teacher's weights have changed since the table was begun.")
    if conflicts:
        raise ConfigError(f"{path} does not belong to this declaration. {' '.join(conflicts)} Move it elsewhere.")
    return table


def write_table(table: Table, path: Path, text: str = "") -> None:
    """Writes a table, and its `text` beside it as `.md`. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [row.model_dump(mode="json", exclude_defaults=True) for row in table.rows]
    write_json(path, table.model_dump(mode="json", exclude={"rows"}) | {"rows": rows})
    if text:
        write_bytes(path.with_suffix(".md"), text.encode())


def bundled_tables(with_grid: bool) -> dict[str, Table]:
    """The bundled tables that can be read and have rows, by name: those of grids, or the others."""
    found = {}
    for path in sorted(bundled_studies().glob("*.json")):
        with contextlib.suppress(ConfigError):
            table = read_table(path)
            if table is not None and table.rows and (table.declared.grid is not None) == with_grid:
                found[path.stem] = table
    return found
