"""From a sweep's finished students to its results: every cell with its spread over seeds, the best one, and the tests.

Everything is computed from stored logits and cards. The paired test on the same images is of these trained networks;
the settings are tested over seeds, see `SweepResults.seed_tests`. Both have Holm's correction for all cells.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from kdexplorer.analysis.metrics import agreement, average_logits, expected_calibration_error, kl_divergence
from kdexplorer.analysis.results import describe_evaluation
from kdexplorer.analysis.statistics import holm, paired_test, seed_interval
from kdexplorer.analysis.temperature_scaling import ScaledMetrics, scaled_metrics
from kdexplorer.config import RunConfig
from kdexplorer.datasets import get_dataset
from kdexplorer.datasets.sampling import hold_out
from kdexplorer.errors import CheckpointError, ConfigError, DataError
from kdexplorer.runs.checkpoints import open_checkpoint
from kdexplorer.runs.teachers import find_teachers
from kdexplorer.sweeps.folder import Sweep
from kdexplorer.sweeps.grid import DEFAULT_POINT, GridPoint, point_of
from kdexplorer.sweeps.results import Measured, SweepCell, SweepResults, SweepStudent

Right = dict[tuple[GridPoint, int], np.ndarray]
"""Which images a student predicts correctly, `[images]` bool, by place and seed; only where labels are available."""


def build_results(sweep: Sweep) -> SweepResults:
    """The results of the students that have finished. Raises ConfigError when the configuration cannot be read."""
    config = sweep.config()
    labels, teacher = load_labels(config.recipe), load_teacher_logits(config.recipe)
    by_name = {student.name: student for student in config.students()}
    students: list[SweepStudent] = []
    right: Right = {}
    evaluated_on = None
    for experiment, run in zip(sweep.experiments(), sweep.runs(), strict=True):
        for name in experiment.students:
            try:
                checkpoint = open_checkpoint(run.path / name)
                logits = checkpoint.logits()
            except CheckpointError:
                continue
            point, card = point_of(by_name[name]), checkpoint.card
            facts = point.model_dump() | {"accuracy": card.test_accuracy, "cross_entropy": card.test_cross_entropy}
            if labels is not None and len(labels) == len(logits):
                scaled = _scaled_metrics(checkpoint.sha256, config.recipe, logits, labels)
                facts["calibration_error"] = expected_calibration_error(logits, labels)
                facts["scaled_cross_entropy"] = scaled.cross_entropy
                facts["scaled_calibration_error"] = scaled.calibration_error
                right[point, experiment.seed] = logits.argmax(axis=1) == labels
            if card.after_choice is not None:
                facts["test_accuracy"] = card.after_choice.accuracy
            if teacher is not None and teacher.shape == logits.shape:
                facts |= {"teacher_agreement": agreement(logits, teacher), "teacher_kl": kl_divergence(teacher, logits)}
            students.append(SweepStudent(**facts, seed=experiment.seed, run=run.run_id))
            evaluated_on = describe_evaluation(checkpoint)
    cells = build_cells(students, right, DEFAULT_POINT)
    grid = [cell for cell in cells if cell.temperature is not None]
    best = max(grid, key=lambda cell: cell.accuracy, default=None)
    return SweepResults(
        sweep=sweep.run_id, student=config.student, teacher=config.recipe.teacher or "", evaluated_on=evaluated_on,
        temperatures=sorted({*config.temperatures, DEFAULT_POINT.temperature}),
        weights=sorted({*config.weights, DEFAULT_POINT.weight}),
        seeds=[config.recipe.seed + number for number in range(config.seeds)],
        recipe=config.recipe.model_dump(mode="json", exclude={"version", "students", "seed"}),
        students=students, cells=grid, scratch=next((cell for cell in cells if cell.temperature is None), None),
        default=DEFAULT_POINT, best=best.point if best else None, weight_factors=config.weight_factors,
    )  # fmt: skip


_SCALED: dict[tuple[str, str, int], ScaledMetrics] = {}
"""By weights and evaluation images: a driver builds the results again after each experiment."""


def _scaled_metrics(weights: str, recipe: RunConfig, logits: np.ndarray, labels: np.ndarray) -> ScaledMetrics:
    key = weights, recipe.dataset, recipe.holdout
    if key not in _SCALED:
        _SCALED[key] = scaled_metrics(logits, labels)
    return _SCALED[key]


def build_cells(students: list[SweepStudent], right: Right, default: GridPoint) -> list[SweepCell]:
    """A cell for each place, tested against the default: the scratch baseline, then by temperature and weight."""
    by_point: dict[GridPoint, list[SweepStudent]] = {}
    for student in students:
        by_point.setdefault(student.point, []).append(student)
    cells = []
    for point in sorted(by_point, key=lambda point: (point.temperature or 0, point.weight)):
        facts: dict[str, Any] = {"seeds": len(by_point[point])}
        for measure in Measured.model_fields.keys() - GridPoint.model_fields.keys():
            values = [getattr(student, measure) for student in by_point[point]]
            if None not in values:
                facts |= {measure: float(np.mean(values)), f"{measure}_values": values}
        facts["accuracy_low"], facts["accuracy_high"] = seed_interval(facts["accuracy_values"]) or (None, None)
        cells.append(SweepCell(**point.model_dump(), **facts, **_compare(point, default, right)))
    adjusted = iter(holm([cell.p for cell in cells if cell.p is not None]))
    return [cell if cell.p is None else cell.model_copy(update={"p_holm": next(adjusted)}) for cell in cells]


def _compare(point: GridPoint, default: GridPoint, right: Right) -> dict[str, Any]:
    """The test of a place against the default over the seeds that both have; empty where that is not possible."""
    seeds = [seed for place, seed in right if place == point and (default, seed) in right]
    if point == default or not seeds:
        return {}
    own, other = (np.stack([right[place, seed] for seed in seeds]) for place in (point, default))
    by_seed, tested = own.mean(axis=1) - other.mean(axis=1), paired_test(own, other)
    ahead = int((by_seed > 0).sum())
    return {"difference": tested["difference"], "differences": by_seed.tolist(), "ahead": ahead, "p": tested["p"]}


def load_labels(config: RunConfig) -> np.ndarray | None:
    """The labels of the images that the students are evaluated on, or None where they are missing."""
    try:
        labels = get_dataset(config.dataset).load("train" if config.holdout else "test").labels
    except DataError:
        return None
    return labels[hold_out(labels, config.holdout)] if config.holdout else labels


def load_teacher_logits(config: RunConfig) -> np.ndarray | None:
    """The teacher's stored logits on the test split; None where the students are evaluated on other images.

    Those of several teachers are the logarithm of the mean of their probabilities.
    """
    with contextlib.suppress(CheckpointError, ConfigError):
        teachers = find_teachers(config.teacher or "")
        if not config.holdout and all(teacher.card.data.evaluation_split == "test" for teacher in teachers):
            logits = [teacher.logits() for teacher in teachers]
            if len({one.shape for one in logits}) == 1:
                return average_logits(logits)
    return None
