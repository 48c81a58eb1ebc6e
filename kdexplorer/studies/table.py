"""A study's results as they are stored, one row for each entry and seed, and what these say about the entries.

The table alone decides what is left to train: run folders need not be kept. Networks that exist and are only measured
have tables too, without a study; their rows have a part, the condition under which they were measured.

Over seeds (is one method or setting better?) entries of one seed saw the same batches from the same initial weights, so
differences are taken seed by seed, with the correction for all entries that are compared with the same reference. Over
images (do these trained networks differ?) an image counts once, whatever the number of seeds.
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from kdexplorer.analysis.difference import Difference, compare_pooled, correct, over_images, t_interval
from kdexplorer.analysis.measures import MEASURES, Evaluation, measure
from kdexplorer.config import Objective, objective_label
from kdexplorer.datasets import find_dataset
from kdexplorer.errors import ConfigError
from kdexplorer.files import MAX_BYTES, read_json, read_once, write_bytes, write_json
from kdexplorer.runs.checkpoints import Checkpoint, bundled_root, find_teachers, refer_to, try_checkpoint
from kdexplorer.schema import RECORDED, Name, StrictModel, validate
from kdexplorer.studies.study import Place, Study, bundled_studies

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
    state_bytes: int | None = None  # weights, gradients and momentum, also of what its methods train beside it
    kept_bytes: int | None = None  # what autograd keeps of a batch for the backward pass of the whole objective
    sha256: str = ""  # of the weights that were measured

    @property
    def label(self) -> str:
        """Its name as a reader knows it, with its methods' label in place of their keys: `KD`, `KD paper`."""
        if not f"{self.name}_".startswith(f"{self.key}_"):
            return self.name
        return objective_label(self.key) + self.name.removeprefix(self.key).replace("_", " ", 1).replace("_", ".")

    @property
    def memory(self) -> int | None:
        """Bytes that training it takes beside the data and the teacher; None where they were not counted."""
        return None if self.state_bytes is None or self.kept_bytes is None else self.state_bytes + self.kept_bytes


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
    def _is_consistent(self) -> Table:
        if strange := {row.entry for row in self.rows} - {entry.name for entry in self.entries}:
            raise ValueError(f"{min(strange)} has a row but is no entry")
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
        known, study = {(row.entry, row.seed) for row in self.rows}, self.declared
        left = {seed: [name for name in study.entries if (name, seed) not in known] for seed in study.seeds}
        return {seed: names for seed, names in left.items() if names}


def describe_network(checkpoint: Checkpoint) -> Entry:
    """A network that is only measured."""
    return Entry(name=checkpoint.name, key=checkpoint.card.objective_key, sha256=checkpoint.sha256)


def evaluate_row(entry: str, one: Evaluation, measures: Iterable[str], part: str) -> Row:
    """The row of a network's logits: these measures of the registry, and where it is right and as its teacher."""
    predicted = one.logits.argmax(axis=1)
    agrees = "" if one.teacher is None else pack_bits(predicted == one.teacher.argmax(axis=1))
    found = measure(one, measures)
    return Row(entry=entry, part=part, measures=found, right=pack_bits(predicted == one.labels), agrees=agrees)


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
    return read_once(_load_table, path) if os.path.lexists(path) else None  # None, too, for a name that is too long


def _load_table(path: Path) -> Table:
    try:
        return validate(Table, read_json(path, MAX_BYTES), context=RECORDED)
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
        return [*found, f"The declaration was changed after the table was begun ({changed})."]
    stored = {entry.name: entry.objective for entry in table.entries}
    for student in study.students.values() if stored else ():
        if not student.objective.unknown and stored.get(student.name) != student.objective:
            found.append(f"{student.name} meant other settings when the table was begun: a default has changed.")
    return found


def find_changed(table: Table) -> list[str]:
    """The measured networks whose bundled weights are others now."""
    measured = {entry.name: entry.sha256 for entry in table.entries if entry.sha256}
    found = {name: try_checkpoint(bundled_root() / name) for name in measured}
    return [name for name, one in found.items() if isinstance(one, Checkpoint) and one.sha256 != measured[name]]


def begin_table(study: Study, path: Path) -> Table:
    """The table at `path`, where it belongs to the study, or one without rows. Nothing is written.

    Raises ConfigError, with the reason, when the table belongs to something else.
    """
    table, sha256 = read_table(path), ""
    with contextlib.suppress(ConfigError):  # a teacher that is not trained yet
        sha256 = refer_to(find_teachers(study.shared.teacher)).sha256 if study.shared.teacher else ""
    if table is None:
        return Table(study=study, sha256=study.sha256, teacher=sha256)
    conflicts, data = find_conflicts(table, study), find_dataset(study.shared.dataset)
    if table.teacher and sha256 and table.teacher != sha256 and table.missing():
        conflicts.append("The teacher's weights have changed since the table was begun.")
    if table.rows and data.sha256 and data.label not in table.evaluated_on and table.missing():
        conflicts.append(f"{data.label} has other images than the table, which is of the {table.evaluated_on}.")
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


def require_writable(path: Path) -> None:
    """Raises ConfigError where a table cannot be written there, before anything is trained for it."""
    place = next(one for one in path.absolute().parents if one.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise ConfigError(f"the table cannot be written to {place}: check its permissions; a study has --table.")


def bundled_tables(with_grid: bool) -> dict[str, Table]:
    """The bundled tables that can be read and have rows, by name, those without all seeds last: of grids, or others."""
    found = {}
    for path in sorted(bundled_studies().glob("*.json"), key=lambda path: path.stem):
        with contextlib.suppress(ConfigError):
            table = read_table(path)
            if table is not None and table.rows and (table.declared.grid is not None) == with_grid:
                found[path.stem] = table
    return dict(sorted(found.items(), key=lambda item: bool(item[1].missing())))


@dataclass(frozen=True)
class Summary:
    """One entry over its seeds; what is unknown is missing or None."""

    entry: Entry
    place: Place | None  # in a grid
    rows: list[Row]
    means: dict[str, float]  # of the measures that all its rows have
    interval: tuple[float, float] | None  # 95 % of the mean accuracy, over seeds
    differences: dict[str, Difference]  # in accuracy over seeds, by reference; a reference has none to itself
    over_images: Difference | None  # in accuracy to the first reference
    own_step: float | None  # its part of a step relative to the first reference's in the same run: mean over seeds
    whole_step: float | None  # with the batch and the teacher, relative to the last reference's

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def label(self) -> str:
        """Its place in a grid, or its name as a reader knows it."""
        return str(self.place or self.entry.label)

    @property
    def accuracy(self) -> float:
        return self.means["accuracy"]

    def values(self, measure: str = "accuracy") -> list[float]:
        """By seed; empty where one is unknown."""
        return [row.measures[measure] for row in self.rows] if measure in self.means else []


def summarize(table: Table) -> list[Summary]:
    """Every entry that has rows: of a grid by place, else in the declared order.

    Differences pool the variance of all entries and have the paired tests beside them.
    """
    study, found = table.declared, []
    references, places = study.references, study.places()
    accuracies = {entry.name: values for entry in table.entries if (values := table.values(entry.name))}
    by_reference = {
        reference: compare_pooled(
            {name: values for name, values in accuracies.items() if name != reference}, accuracies.get(reference, {})
        )
        for reference in references
    }
    images = _compare_images(table, by_reference[references[0]]) if study.grid else {}
    batches = {run.run: run.batch_seconds for run in table.runs}
    for entry in table.entries:
        if not (rows := table.rows_of(entry.name)):
            continue
        known = [name for name in rows[0].measures if all(name in row.measures for row in rows)]
        needs_teacher = entry.objective is not None and entry.objective.needs
        whole = _relative_step(table, rows, references[-1], batches) if needs_teacher else None
        found.append(Summary(
            entry=entry, place=places.get(entry.name), rows=rows,
            means={name: float(np.mean([row.measures[name] for row in rows])) for name in known},
            interval=t_interval([row.accuracy for row in rows]),
            differences={ref: one[entry.name] for ref, one in by_reference.items() if entry.name in one},
            over_images=images.get(entry.name),
            own_step=_relative_step(table, rows, references[0], dict.fromkeys(batches, 0.0)), whole_step=whole,
        ))  # fmt: skip
    return sorted(found, key=lambda one: one.place or (0, 0))


def _compare_images(table: Table, over_seeds: dict[str, Difference]) -> dict[str, Difference]:
    """Each entry to the first reference over the seeds whose right images are known of both: one family."""
    reference = table.declared.references[0]
    if table.image_p:
        known = [name for name in table.image_p if name in over_seeds]
        return correct({name: Difference(over_seeds[name].estimate, p_alone=table.image_p[name]) for name in known})
    right = {(row.entry, row.seed): bits for row in table.rows if (bits := table.right(row)) is not None}
    found = {}
    for entry in table.entries:
        seeds = [seed for name, seed in right if name == entry.name and (reference, seed) in right]
        if entry.name != reference and seeds:
            own, other = (np.stack([right[name, seed] for seed in seeds]) for name in (entry.name, reference))
            found[entry.name] = over_images(own, other, reference)
    return correct(found)


def _relative_step(table: Table, rows: list[Row], reference: str, shared: dict[str, float | None]) -> float | None:
    """The mean over seeds of a step's seconds divided by the reference's in the same run, `shared` included in both."""
    other = {row.run: row.measures.get("step_seconds") for row in table.rows_of(reference)}
    ratios = []
    for row in rows:
        own, theirs, both = row.measures.get("step_seconds"), other.get(row.run), shared.get(row.run)
        if own is not None and theirs and both is not None:
            ratios.append((both + own) / (both + theirs))
    return float(np.mean(ratios)) if ratios else None


def find_best(summaries: list[Summary]) -> Summary | None:
    """The most accurate cell of a grid; None where there is none."""
    return max((one for one in summaries if one.place), key=lambda one: one.accuracy, default=None)


def accuracies_by(table: Table, axis: int) -> dict[float, list[float]]:
    """Accuracies by seed for each value of a grid's axis (0 temperature, 1 weight), means over the other axis.

    Of the seeds that have every cell; empty where there is none.
    """
    grid, cells = table.declared.grid, {one: table.values(name) for name, one in table.declared.places().items()}
    seeds = [seed for seed in table.declared.seeds if all(seed in values for values in cells.values())]
    if grid is None or not seeds:
        return {}
    values = [[[cells[Place(t, w)][seed] for seed in seeds] for w in grid.weights] for t in grid.temperatures]
    means = np.mean(values, axis=1 - axis).tolist()
    return dict(zip((grid.temperatures, grid.weights)[axis], means, strict=True))
