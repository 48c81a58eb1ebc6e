"""A sweep's results as they are stored; `report` says them in words and as a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from kdexplorer.analysis.statistics import SeedTest, holm, seed_test
from kdexplorer.files import read_json
from kdexplorer.runs.checkpoints import bundled_root
from kdexplorer.schema import StrictModel
from kdexplorer.sweeps.grid import GridPoint


class Measured(GridPoint):
    """What is known of a student, or as a mean over seeds of a cell; None where labels or logits are missing."""

    accuracy: float = Field(ge=0, le=1)
    cross_entropy: float  # nats
    calibration_error: float | None = None
    scaled_cross_entropy: float | None = None  # after temperature scaling, in nats
    scaled_calibration_error: float | None = None
    teacher_agreement: float | None = None  # share of images on which student and teacher predict the same class
    teacher_kl: float | None = None  # `KL(teacher || student)` in nats


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

    seeds: int = Field(ge=1)
    accuracy_values: list[float] = Field(min_length=1)
    accuracy_low: float | None = None  # the 95 % t interval over seeds; None with one seed
    accuracy_high: float | None = None
    cross_entropy_values: list[float] = Field(min_length=1)
    calibration_error_values: list[float] | None = None
    scaled_cross_entropy_values: list[float] | None = None
    scaled_calibration_error_values: list[float] | None = None
    teacher_agreement_values: list[float] | None = None
    teacher_kl_values: list[float] | None = None
    difference: float | None = None
    differences: list[float] | None = None  # by seed
    ahead: int | None = None  # in how many seeds the difference is positive
    p: float | None = None  # of the paired test of these trained networks on the same images
    p_holm: float | None = None  # corrected for all cells that are tested


@dataclass(frozen=True)
class SettingTest(SeedTest):
    """The test of a cell's setting against the default, paired by seed, with Holm's correction for all cells."""

    p_holm: float


class SweepResults(StrictModel):
    """The results of the students that have finished: `table.json` of a sweep, and the bundled tables."""

    version: Literal[2] = 2
    sweep: str = ""
    student: str
    teacher: str
    evaluated_on: str | None  # the images; None before the first student has finished
    temperatures: list[float]
    weights: list[float]
    seeds: list[int] = []
    recipe: dict[str, Any] = {}
    students: list[SweepStudent] = []
    cells: list[SweepCell]
    scratch: SweepCell | None  # the scratch baseline
    default: GridPoint
    best: GridPoint | None
    weight_factors: dict[float, float] = {}
    """By which the weights of the teacher's term were multiplied, by temperature, see `grid.weight_factors`."""

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
    """The results in a file of this version or of version 1; None where it is missing or not valid."""
    values = read_json(path)
    if values is None:
        return None
    try:
        return SweepResults.model_validate(values if values.get("version") == 2 else _upgrade(values))
    except ValidationError:
        return None


_RENAMED = {"response_weight": "weight", "response_weights": "weights", "measured_on": "evaluated_on"}


def _upgrade(values: Any) -> Any:
    """Version 1 as version 2: three names differ, at any depth."""
    if isinstance(values, dict):
        return {_RENAMED.get(name, name): _upgrade(value) for name, value in values.items()}
    return [_upgrade(value) for value in values] if isinstance(values, list) else values


def bundled_sweeps() -> dict[str, SweepResults]:
    """The bundled result tables that can be read, by name: those in `sweeps/` beside the bundled networks' folder."""
    paths = sorted((bundled_root().parent / "sweeps").glob("*.json"))
    return {path.stem: results for path in paths if (results := read_results(path)) is not None}
