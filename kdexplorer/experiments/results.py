"""An experiment's results: tables of trained students, one for each part, or one table of measured networks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, ValidationError, field_validator, model_validator

from kdexplorer.config import SCRATCH
from kdexplorer.errors import ConfigError
from kdexplorer.files import read_json, read_once
from kdexplorer.methods import all_methods
from kdexplorer.runs.checkpoints import Checkpoint, bundled_root, try_checkpoint
from kdexplorer.runs.run_folder import runs_root
from kdexplorer.schema import StrictModel
from kdexplorer.sweeps.declaration import Declaration
from kdexplorer.sweeps.league_table import LeagueTable, find_conflicts, read_table

BySeed = dict[int, float]


class Measurement(StrictModel):
    """One network under one condition. Shares are 0 to 1, cross-entropies in nats."""

    part: str  # the condition, or where the network comes from
    entry: str  # the network
    role: str  # the key of its objective
    seed: int = 0
    images: int = Field(ge=1)
    accuracy: float = Field(ge=0, le=1)
    calibration_error: float | None = None
    teacher_agreement: float | None = None
    right: str = ""  # which images it predicts correctly: bits in base64, see `pack_bits`
    agrees: str = ""  # on which images it predicts its teacher's class

    @field_validator("role")
    @classmethod
    def _is_an_objective(cls, value: str) -> str:
        unknown = set(value.split("+")) - {SCRATCH, *(method.key for method in all_methods())}
        if unknown:
            raise ValueError(f"there is no method '{min(unknown)[:60]}'")
        return value

    @model_validator(mode="after")
    def _has_a_bit_for_each_image(self) -> Measurement:
        for bits in filter(None, (self.right, self.agrees)):
            unpack_bits(bits, self.images)
        return self


class MeasuredTable(StrictModel):
    """`KEY.json`: what was measured, and the weights of the networks that were."""

    kind: Literal["measured"] = "measured"
    version: Literal[1] = 1
    experiment: str
    evaluated_on: str = ""
    networks: dict[str, str] = {}  # the SHA-256 of the weights by name
    rows: list[Measurement] = []

    @model_validator(mode="after")
    def _is_of_the_same_images(self) -> MeasuredTable:
        if len({row.images for row in self.rows}) > 1:
            raise ValueError("its rows have different numbers of images")
        return self


@dataclass(frozen=True)
class Results:
    """What is known of an experiment so far."""

    tables: Mapping[str, LeagueTable] = field(default_factory=dict)  # by part, in the declared order
    measured: MeasuredTable | None = None
    left_out: tuple[str, ...] = ()
    """Why tables that exist are not among these, in sentences."""

    def __bool__(self) -> bool:
        return bool(self.measured and self.measured.rows) or any(table.rows for table in self.tables.values())

    def accuracies(self, part: str, entry: str) -> BySeed:
        """A student's accuracy by seed; empty where the part is not trained."""
        table = self.tables.get(part)
        return {row.seed: row.accuracy for row in table.rows_of(entry)} if table else {}

    def more(self, part: str, entry: str, name: str) -> dict[int, list[float]]:
        """What an experiment measured besides, by seed."""
        rows = self.tables[part].rows_of(entry) if part in self.tables else []
        return {row.seed: row.more[name] for row in rows if name in row.more}

    def setting(self, part: str, name: str) -> float:
        """A number that a part's students share, such as `train_images`; NaN where the part is not trained."""
        value = self.tables[part].declaration.settings.get(name) if part in self.tables else None
        return float(value) if isinstance(value, int | float) else float("nan")


def differences(own: BySeed, other: BySeed) -> BySeed:
    """One student minus another, over the seeds that both have."""
    return {seed: own[seed] - other[seed] for seed in own if seed in other}


def pack_bits(values: np.ndarray) -> str:
    """Bool `[N]` as base64."""
    import base64

    return base64.b64encode(np.packbits(values).tobytes()).decode()


def unpack_bits(text: str, count: int) -> np.ndarray:
    """Bool `[N]` from `pack_bits`. Raises ValueError where it has fewer."""
    import base64

    bits = np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8))[:count]
    if len(bits) < count:
        raise ValueError(f"{len(bits)} bits instead of {count}")
    return bits.astype(bool)


def tables_folder(small: bool = False) -> Path:
    """Where the tables are: bundled in `sweeps/experiments/`, those of small variants among the runs."""
    return runs_root() / "experiments" / "tables" if small else bundled_root().parent / "sweeps" / "experiments"


def part_path(key: str, part: str, small: bool = False) -> Path:
    """The table of a part of an experiment."""
    return tables_folder(small) / key / f"{part}.json"


def measured_path(key: str, small: bool = False) -> Path:
    """The table of an experiment that trains nothing."""
    return tables_folder(small) / f"{key}.json"


def read_measured(key: str, small: bool = False) -> MeasuredTable | None:
    """The table of a measured experiment; None where there is none. Raises ConfigError for another kind of file."""
    path = measured_path(key, small)
    if not path.exists():
        return None
    try:
        return MeasuredTable.model_validate(read_json(path))
    except ValidationError as error:
        raise ConfigError(f"{path} is not the table of an experiment: move it elsewhere, or restore it.") from error


def read_results(
    key: str,
    declarations: Mapping[str, Declaration],
    small: bool,
    columns: Mapping[str, tuple[str, ...]],
    counts: Collection[str],
) -> Results:
    """What is known of an experiment; tables that belong to something else, or cannot be read, are left out.

    Args:
        key: the experiment.
        declarations: by part, in order.
        small: read the small variant's tables.
        columns: see `find_damage`.
        counts: see `find_damage`.
    """
    left_out: list[str] = []
    tables = {}
    for part, declaration in declarations.items():
        path = part_path(key, part, small)
        try:
            table = read_once(read_table, path)
        except ConfigError as error:
            left_out.append(str(error))
            continue
        if table is None or not table.rows:
            continue
        if reason := " ".join(find_conflicts(table, declaration)) or find_damage(table, columns, counts):
            left_out.append(f"{path.name} is left out. {reason}")
        else:
            tables[part] = table
    try:
        measured = read_measured(key, small)
    except ConfigError as error:
        measured, left_out = None, [*left_out, str(error)]
    if measured is not None and (changed := find_changed(measured)):
        left_out.append(
            f"{measured_path(key, small).name} is left out. Other weights than those that were measured: "
            f"{', '.join(changed)}. Measure again."
        )
        measured = None
    return Results(tables, measured, tuple(left_out))


def find_damage(table: LeagueTable, columns: Mapping[str, tuple[str, ...]], counts: Collection[str]) -> str:
    """Why what an experiment measured besides cannot be used; empty where it can.

    Args:
        table: of a part.
        columns: by name of what was measured, one for each value; see `PreparedExperiment`.
        counts: the names whose values are numbers of images; all others are shares.
    """
    names = {frozenset(row.more) for row in table.rows}
    if len(names) > 1 or not names.pop() <= columns.keys():
        return "Its rows do not have what this experiment measures."
    for row in table.rows:
        for name, values in row.more.items():
            least, most = (1, 1e9) if name in counts else (0, 1)
            if len(values) != len(columns[name]) or not all(least <= value <= most for value in values):
                return f"{row.entry}, seed {row.seed}: its values of '{name}' are damaged."
    return ""


def find_changed(table: MeasuredTable) -> list[str]:
    """The measured networks whose bundled weights are others now."""
    found = {name: try_checkpoint(bundled_root() / name) for name in table.networks}
    return [
        name for name, one in found.items() if isinstance(one, Checkpoint) and one.sha256 != table.networks[name]
    ]  # fmt: skip
