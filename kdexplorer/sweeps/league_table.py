"""A league's results as they are stored: one row for each entry and seed, and what was declared.

The table alone decides which seeds are left to train: run folders need not be kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from kdexplorer.config import Objective
from kdexplorer.errors import ConfigError
from kdexplorer.files import read_json
from kdexplorer.runs.checkpoints import bundled_root
from kdexplorer.schema import StrictModel
from kdexplorer.sweeps.declaration import Declaration


class LeagueEntry(StrictModel):
    """An entry with every setting in full, so that a default that changes later is noticed."""

    name: str
    objective: Objective
    state_bytes: int  # weights, gradients and momentum of the student and of what its methods train beside it
    kept_bytes: int  # what autograd keeps of a batch for the backward pass of the whole objective

    @property
    def memory(self) -> int:
        """Bytes that training this entry takes beside the data and the teacher."""
        return self.state_bytes + self.kept_bytes


class LeagueRow(StrictModel):
    """One trained student on the evaluation split. Shares are 0 to 1, cross-entropies in nats."""

    entry: str
    seed: int
    accuracy: float = Field(ge=0, le=1)
    cross_entropy: float
    calibration_error: float  # expected calibration error in 15 bins
    scaled_cross_entropy: float  # after temperature scaling in five folds, as the two below
    scaled_calibration_error: float
    scaling_temperature: float
    teacher_agreement: float | None  # share of images on which student and teacher predict the same class
    step_seconds: float | None  # of its part of a step, without the teacher: the mean over epochs of their medians
    more: dict[str, list[float]] = {}  # what a prepared experiment measures besides, by name


class LeagueSeed(StrictModel):
    """One experiment: how it was trained."""

    seed: int
    run: str
    seconds: float | None  # of the whole experiment
    batch_seconds: float | None  # of loading a batch with the teacher's forward pass, which all entries share
    device: str | None
    precision: str | None
    versions: dict[str, str] = {}


class LeagueTable(StrictModel):
    """`league-*.json`: what was declared, and the results of the seeds that are complete."""

    kind: Literal["league"] = "league"
    version: Literal[1] = 1
    declaration: Declaration
    declaration_sha256: str
    teacher: str  # the SHA-256 of its weights
    evaluated_on: str  # the images
    entries: list[LeagueEntry]
    seeds: list[LeagueSeed] = []
    rows: list[LeagueRow] = []

    def rows_of(self, entry: str) -> list[LeagueRow]:
        """An entry's rows, by seed."""
        return sorted((row for row in self.rows if row.entry == entry), key=lambda row: row.seed)

    def complete_seeds(self) -> set[int]:
        """The seeds of which every declared entry has a row."""
        names = set(self.declaration.entries)
        by_seed = {one.seed: {row.entry for row in self.rows if row.seed == one.seed} for one in self.seeds}
        return {seed for seed, found in by_seed.items() if names <= found}


def read_table(path: Path) -> LeagueTable | None:
    """The table in a file; None where there is no file. Raises ConfigError where it is not a league's table."""
    if not path.exists():
        return None
    try:
        return LeagueTable.model_validate(read_json(path))
    except ValidationError as error:
        raise ConfigError(f"{path} is not the table of a league: move it elsewhere, or restore it.") from error


def find_conflicts(table: LeagueTable, declaration: Declaration) -> list[str]:
    """Why a table does not belong to a declaration, in sentences; empty where it does."""
    found = []
    if table.declaration_sha256 != table.declaration.sha256:
        found.append("The declaration that is stored in the table was altered.")
    if table.declaration_sha256 != declaration.sha256:
        old, new = table.declaration.model_dump(), declaration.model_dump()
        changed = ", ".join(name for name in new if old[name] != new[name])
        found.append(f"The declaration was changed after the table was begun ({changed}).")
        return found
    stored = {entry.name: entry.objective for entry in table.entries}
    for student in declaration.students():
        if stored.get(student.name) != student.objective:
            found.append(f"{student.name} meant other settings when the table was begun: a default has changed.")
    return found


def bundled_leagues() -> dict[str, LeagueTable]:
    """The bundled tables that can be read and have rows, by name."""
    found = {}
    for path in sorted((bundled_root().parent / "sweeps").glob("league-*.json")):
        try:
            table = read_table(path)
        except ConfigError:
            continue
        if table is not None and table.rows:
            found[path.stem] = table
    return found
