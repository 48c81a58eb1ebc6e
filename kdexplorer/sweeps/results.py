"""A sweep's results as they are stored; `report` says them in words and as a table."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from kdexplorer.analysis.statistics import SeedTest, holm, seed_test
from kdexplorer.config import ArchitectureKey
from kdexplorer.errors import ConfigError
from kdexplorer.files import read_json, read_once
from kdexplorer.runs.card import Text
from kdexplorer.runs.checkpoints import bundled_root
from kdexplorer.schema import StrictModel, validate
from kdexplorer.sweeps.grid import MAX_VALUES, GridPoint

Share = Annotated[float, Field(ge=0, le=1)]
Nats = Annotated[float, Field(ge=0, lt=1e15)]
Difference = Annotated[float, Field(gt=-1e3, lt=1e3)]


class Measured(GridPoint):
    """What is known of a student, or as a mean over seeds of a cell; None where labels or logits are missing."""

    accuracy: Share
    cross_entropy: Nats
    calibration_error: Share | None = None
    scaled_cross_entropy: Nats | None = None  # after temperature scaling
    scaled_calibration_error: Share | None = None
    teacher_agreement: Share | None = None  # share of images on which student and teacher predict the same class
    teacher_kl: Nats | None = None  # `KL(teacher || student)`


class SweepStudent(Measured):
    """One trained student."""

    seed: int
    run: str = ""
    test_accuracy: float | None = Field(None, ge=0, le=1)  # measured once after the choice, see `Card.after_choice`


class SweepCell(Measured):
    """A place in the grid: means over its seeds, the values by seed, and the paired test against the default.

    Differences are in accuracy, over the seeds that both have; None for the default and where labels are missing. The
    stored p is over images, so it speaks of these trained networks; `SweepResults.seed_tests` speaks of the settings.
    """

    seeds: int = Field(ge=1, le=100)
    accuracy_values: list[Share] = Field(min_length=1)
    accuracy_low: Difference | None = None  # the 95 % t interval over seeds, None with one seed; it may leave 0 to 1
    accuracy_high: Difference | None = None
    cross_entropy_values: list[Nats] = Field(min_length=1)
    calibration_error_values: list[Share] | None = None
    scaled_cross_entropy_values: list[Nats] | None = None
    scaled_calibration_error_values: list[Share] | None = None
    teacher_agreement_values: list[Share] | None = None
    teacher_kl_values: list[Nats] | None = None
    difference: Difference | None = None
    differences: list[Difference] | None = None  # by seed
    ahead: int | None = Field(None, ge=0)  # in how many seeds the difference is positive
    p: Share | None = None  # of the paired test of these trained networks on the same images
    p_holm: Share | None = None  # corrected for all cells that are tested

    @model_validator(mode="after")
    def _is_consistent(self) -> SweepCell:
        for measure in Measured.model_fields.keys() - GridPoint.model_fields.keys():
            values = getattr(self, f"{measure}_values")
            if (values is None) != (getattr(self, measure) is None) or len(values or range(self.seeds)) != self.seeds:
                raise ValueError(f"{measure} has not one value for each seed")
        return self


@dataclass(frozen=True)
class SettingTest(SeedTest):
    """The test of a cell's setting against the default, paired by seed, with Holm's correction for all cells."""

    p_holm: float


class SweepResults(StrictModel):
    """The results of the students that have finished: `table.json` of a sweep, and the bundled tables."""

    version: Literal[2] = 2
    sweep: Text = ""
    student: ArchitectureKey
    teacher: Text
    evaluated_on: Text | None  # the images; None before the first student has finished
    temperatures: list[Annotated[float, Field(gt=0, le=1000)]]
    weights: list[Annotated[float, Field(ge=0, le=1e6)]]
    seeds: list[int] = []
    recipe: dict[str, Any] = {}
    students: list[SweepStudent] = []
    cells: list[SweepCell] = Field(max_length=(MAX_VALUES + 1) ** 2)
    scratch: SweepCell | None  # the scratch baseline
    default: GridPoint
    best: GridPoint | None
    weight_factors: dict[float, float] = {}
    """By which the weights of the teacher's term were multiplied, by temperature, see `grid.weight_factors`."""

    @model_validator(mode="after")
    def _is_consistent(self) -> SweepResults:
        if any(point.temperature is None for point in (*self.cells, self.default)):
            raise ValueError("a cell of the grid has no temperature")
        if len({cell.point for cell in self.cells}) < len(self.cells):
            raise ValueError("a cell is in the grid twice")
        if bool(self.cells) != (self.cell_at(self.best) is not None):
            raise ValueError("the best cell is not in the grid")
        return self

    def cell_at(self, point: GridPoint | None) -> SweepCell | None:
        """The cell of a point, or None."""
        return next((cell for cell in self.cells if cell.point == point), None)

    def all_cells(self) -> list[SweepCell]:
        """The scratch baseline, where it has finished, and the cells of the grid."""
        return [*([self.scratch] if self.scratch else []), *self.cells]

    @property
    def is_held_out(self) -> bool:
        """Whether the students were evaluated on held-out training images."""
        return bool(self.recipe.get("holdout"))

    def seed_tests(self) -> dict[GridPoint, SettingTest]:
        """Student's paired t test over seeds against the default, for each cell of at least two seeds."""
        tested = {
            cell.point: test for cell in self.all_cells() if cell.differences and (test := seed_test(cell.differences))
        }
        corrected = holm([test.p for test in tested.values()])
        return {
            point: SettingTest(**vars(test), p_holm=p)
            for (point, test), p in zip(tested.items(), corrected, strict=True)
        }

    def seed_deviation(self) -> float | None:
        """The standard deviation of accuracy between seeds of one cell, pooled over all cells; None with one seed."""
        values = [np.array(cell.accuracy_values) for cell in self.all_cells() if cell.seeds > 1]
        squares = sum(float(((one - one.mean()) ** 2).sum()) for one in values)
        return (squares / sum(len(one) - 1 for one in values)) ** 0.5 if values else None

    def accuracies_by(self, setting: Literal["temperature", "weight"]) -> dict[float, list[float]]:
        """Accuracies by seed for each value of a setting, means over the other setting's values that all have.

        Only of seeds that have all these students; empty where there is none.
        """
        other = "weight" if setting == "temperature" else "temperature"
        points = {(getattr(cell, setting), getattr(cell, other)) for cell in self.cells}
        values = sorted({value for value, _ in points})
        shared = [two for two in sorted({two for _, two in points}) if all((value, two) in points for value in values)]
        known = {(one.seed, getattr(one, setting), getattr(one, other)): one.accuracy for one in self.students}
        seeds = sorted({one.seed for one in self.students})
        complete = [seed for seed in seeds if all((seed, v, two) in known for v in values for two in shared)]
        if not shared or not complete:
            return {}
        return {
            value: [float(np.mean([known[seed, value, two] for two in shared])) for seed in complete]
            for value in values
        }

    def measured_after_choice(self, point: GridPoint | None) -> dict[int, float]:
        """The accuracies by seed of a cell's students on the test split, measured once after the choice."""
        students = [one for one in self.students if one.point == point]
        return {one.seed: one.test_accuracy for one in students if one.test_accuracy is not None}


def read_results(path: Path) -> SweepResults | None:
    """The results in a file of this version or of version 1; None where there is none.

    Raises:
        ConfigError: when they are not valid.
    """
    return read_once(_load_results, path) if os.path.lexists(path) else None


def _load_results(path: Path) -> SweepResults:
    values = read_json(path)
    if values is None:
        raise ConfigError(f"{path.name} cannot be read as a sweep's results.")
    return validate(SweepResults, values if values.get("version") == 2 else _upgrade(values), path.name)


_RENAMED = {"response_weight": "weight", "response_weights": "weights", "measured_on": "evaluated_on"}


def _upgrade(values: Any) -> Any:
    """Version 1 as version 2: three names differ, at any depth."""
    if isinstance(values, dict):
        return {_RENAMED.get(name, name): _upgrade(value) for name, value in values.items()}
    return [_upgrade(value) for value in values] if isinstance(values, list) else values


def bundled_sweeps() -> dict[str, SweepResults]:
    """The bundled result tables that can be read, by name: those in `sweeps/` beside the bundled networks' folder."""
    found = {}
    for path in sorted((bundled_root().parent / "sweeps").glob("*.json")):
        with contextlib.suppress(ConfigError):
            results = read_results(path)
            if results is not None:
                found[path.stem] = results
    return found
