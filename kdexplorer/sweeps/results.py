"""A sweep's results as they are stored, and what they say in words and as a table."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from kdexplorer.analysis.statistics import format_p
from kdexplorer.analysis.tables import markdown_table
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

ENOUGH_SEEDS = 5  # with fewer it cannot be decided whether a setting is better in general


class Measured(GridPoint):
    """What is known of a student, or as a mean over seeds of a cell; None where labels or logits are missing."""

    accuracy: Share
    cross_entropy: Nats
    calibration_error: Share | None = None
    teacher_agreement: Share | None = None  # share of images on which student and teacher predict the same class
    teacher_kl: Nats | None = None  # `KL(teacher || student)`


class SweepStudent(Measured):
    """One trained student."""

    seed: int
    run: str = ""


class SweepCell(Measured):
    """A place in the grid: means over its seeds, the values by seed, and the paired test against the default.

    Differences are in accuracy, over the seeds that both have; None for the default and where labels are missing.
    """

    seeds: int = Field(ge=1, le=100)
    accuracy_values: list[Share] = Field(min_length=1)
    accuracy_low: Difference | None = None  # the 95 % t interval over seeds, None with one seed; it may leave 0 to 1
    accuracy_high: Difference | None = None
    cross_entropy_values: list[Nats] = Field(min_length=1)
    calibration_error_values: list[Share] | None = None
    teacher_agreement_values: list[Share] | None = None
    teacher_kl_values: list[Nats] | None = None
    difference: Difference | None = None
    differences: list[Difference] | None = None  # by seed
    ahead: int | None = Field(None, ge=0)  # in how many seeds the difference is positive
    p: Share | None = None  # of the paired test on the same images
    p_holm: Share | None = None  # corrected for all cells that are tested

    @model_validator(mode="after")
    def _is_consistent(self) -> SweepCell:
        for measure in Measured.model_fields.keys() - GridPoint.model_fields.keys():
            values = getattr(self, f"{measure}_values")
            if (values is None) != (getattr(self, measure) is None) or len(values or range(self.seeds)) != self.seeds:
                raise ValueError(f"{measure} has not one value for each seed")
        return self


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


def summarize(results: SweepResults) -> str:
    """Whether the best cell is really better than the default, in sentences, with what limits the conclusion."""
    best, default, scratch = results.cell_at(results.best), results.cell_at(results.default), results.scratch
    if best is None:
        return "No student has finished yet."
    count = len(results.cells)
    first = f"The best of {count} cells" if count > 1 else "The only cell"
    sentences = [f"{first} is {_describe_point(best)}: {_describe_accuracy(best)}."]
    if best is default:
        sentences.append("That is the lab's default itself.")
    elif default is None:
        sentences.append("The lab's default has not finished yet, so nothing is tested.")
    else:
        sentences.append(f"The lab's default, {_describe_point(default)}, has {_describe_accuracy(default)}.")
        sentences.append(_describe_test(best, results))
    if scratch is not None:
        sentences.append(f"The scratch baseline has {_describe_accuracy(scratch)}.")
    if count > 1:
        sentences.append("The best cell was selected on these images, so its accuracy is inflated by the selection.")
    one = "With one seed per cell, the variation between seeds is unknown."
    several = "The intervals are over seeds; the test is over images and does not include the variation between seeds."
    sentences.append(one if best.seeds == 1 else several)
    if best.seeds < ENOUGH_SEEDS:
        sentences.append(f"Fewer than {ENOUGH_SEEDS} seeds cannot decide which setting is better in general.")
    return " ".join(sentences)


def _describe_test(best: SweepCell, results: SweepResults) -> str:
    if best.p is None or best.p_holm is None or best.difference is None or best.differences is None:
        return "The paired test needs the labels of the evaluated images, which are missing on this machine."
    comparisons = sum(cell.p is not None for cell in results.all_cells())
    verdict = "more than chance on these images" if best.p_holm < 0.05 else "this could be chance"
    ahead = f"ahead by {100 * best.difference:.2f} points, in {best.ahead} of {len(best.differences)} seeds"
    holm = f"after Holm's correction for {comparisons} comparisons {format_p(best.p_holm)}"
    return f"The best is {ahead}; the paired test on the same images gives {format_p(best.p)}, {holm}: {verdict}."


def _describe_point(cell: SweepCell) -> str:
    return f"T = {cell.temperature:g} with weight {cell.weight:g}"


def _describe_accuracy(cell: SweepCell) -> str:
    text = f"{100 * cell.accuracy:.2f} %"
    if cell.accuracy_low is None or cell.accuracy_high is None:
        return text
    return f"{text} (mean of {cell.seeds} seeds, 95 % {100 * cell.accuracy_low:.2f} – {100 * cell.accuracy_high:.2f})"


def to_markdown(results: SweepResults) -> str:
    """The cells as a Markdown table, numbers rounded for reading, and the summary below it."""
    headings = ["T", "Weight", "Seeds", "Accuracy % (lowest – highest)", "Cross-entropy", "Calibration error %"]
    headings += ["Agreement with teacher %", "Difference to default", "Paired p", "Holm p"]
    rows = []
    for cell in results.all_cells():
        low, high = 100 * min(cell.accuracy_values), 100 * max(cell.accuracy_values)
        accuracy = f"{100 * cell.accuracy:.2f} ({low:.2f} – {high:.2f})"
        place = ["" if cell.temperature is None else f"{cell.temperature:g}", f"{cell.weight:g}", str(cell.seeds)]
        shares = [(cell.calibration_error, ".2f"), (cell.teacher_agreement, ".2f"), (cell.difference, "+.2f")]
        percent = ["" if share is None else format(100 * share, text) for share, text in shares]
        tests = ["" if p is None else "< 0.0001" if p < 1e-4 else f"{p:.4f}" for p in (cell.p, cell.p_holm)]
        rows.append([*place, accuracy, f"{cell.cross_entropy:.3f}", *percent, *tests])
    images = f"evaluated on the {results.evaluated_on}" if results.evaluated_on else "not evaluated yet"
    title = f"{results.student} distilled from {results.teacher}, {images}."
    return "\n\n".join([title, markdown_table(headings, rows, text_columns=0), summarize(results)]) + "\n"
