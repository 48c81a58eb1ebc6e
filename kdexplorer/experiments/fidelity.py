"""Fidelity is not accuracy: does the student that agrees most with its teacher classify best?"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from kdexplorer.analysis import metrics
from kdexplorer.analysis.claims import Claim, Verdict
from kdexplorer.analysis.results import describe_evaluation, evaluation_labels
from kdexplorer.analysis.statistics import holm, paired_test
from kdexplorer.experiments.base import Figure, MeasuredExperiment, Point
from kdexplorer.experiments.results import MeasuredTable, Measurement, Results, pack_bits, unpack_bits
from kdexplorer.runs import lineage
from kdexplorer.runs.checkpoints import Checkpoint, bundled_checkpoints
from kdexplorer.sweeps.league_table import bundled_leagues
from kdexplorer.sweeps.results import bundled_sweeps

BUNDLED = "bundled networks"


class Fidelity(MeasuredExperiment):
    """Stanton et al. 2021 over all students that exist here."""

    order, key, title = 6, "fidelity", "Fidelity is not accuracy"
    question = "Is the student that agrees most with its teacher the most accurate one?"
    literature = (
        "Students often agree far less with their teachers than they could, and those that agree more do not always "
        "generalize better (Stanton et al., “Does Knowledge Distillation Really Work?”, NeurIPS 2021)."
    )
    protocol = (
        "All bundled students with stored logits of the 10,000 test images, and the bundled tables of sweeps and "
        "leagues. Nothing is trained. Agreement is the share of test images on which student and teacher predict the "
        "same class."
    )
    comparison = (
        "Each two distilled bundled students of one architecture and one teacher, in agreement and in accuracy; the "
        "unit is the image, exact paired tests with Holm's correction. Supported where one of two agrees clearly more "
        "and is clearly less accurate; not supported where pairs differ clearly in both and always the same way."
    )
    expected = "Agreement and accuracy rise together, because the teacher is mostly right; the order differs in places."
    change = "Train a student for longer or with another method; its card is compared on the page Compare."
    cost = "A few seconds: everything follows from stored logits and tables."

    def measure(self, table: MeasuredTable, small: bool, keep: Callable[[MeasuredTable], None]) -> MeasuredTable:
        """All of it anew, which takes seconds."""
        checkpoints = bundled_checkpoints()
        rows, networks, described = list[Measurement](), dict[str, str](), ""
        for checkpoint in checkpoints:
            teacher = _find_teacher(checkpoint, checkpoints)
            row = _measure(checkpoint, teacher) if teacher else None
            if teacher is not None and row is not None:
                rows.append(row)
                networks |= {one.name: one.sha256 for one in (checkpoint, teacher)}
                described = describe_evaluation(checkpoint)
        rows += _rows_of_tables()
        found = {"rows": rows, "networks": networks, "evaluated_on": described}
        keep(table := table.model_copy(update=found))
        return table

    def judge(self, results: Results) -> Claim:
        """Pairs of bundled students."""
        claim = "The student that agrees most with its teacher need not be the most accurate"
        pairs = [(own, other, *_compare(own, other)) for own, other in _pairs(results)]
        if not pairs:
            return Claim(claim, "There are no two students of one teacher and architecture.", "cannot be decided")
        corrected = holm([test["p"] for pair in pairs for test in pair[2:]])
        signs = [
            (np.sign(agreement["difference"]) * (corrected[2 * i] < 0.05),
             np.sign(accuracy["difference"]) * (corrected[2 * i + 1] < 0.05))
            for i, (_, _, agreement, accuracy) in enumerate(pairs)
        ]  # fmt: skip
        opposed = [pair for pair, (a, b) in zip(pairs, signs, strict=True) if a * b < 0]
        same = [pair for pair, (a, b) in zip(pairs, signs, strict=True) if a * b > 0]
        agreement_alone = sum(bool(a) and not b for a, b in signs)
        verdict: Verdict = "supported" if opposed else "not supported" if same else "cannot be decided"
        named = "; ".join(f"{own.entry} and {other.entry}" for own, other, *_ in opposed)
        against = f" The two orders differ clearly for {named}." if opposed else ""
        return Claim(
            claim,
            f"Of {len(pairs)} pairs of students, {len(same)} differ clearly in agreement and accuracy the same way, "
            f"{len(opposed)} in opposite ways, {agreement_alone} in agreement alone (images, after Holm's correction)."
            f"{against} {_describe_gap(results)}",
            verdict,
        )

    def figure(self, results: Results) -> Figure:
        """Accuracy over agreement."""
        rows = results.measured.rows if results.measured else []
        points, roles = list[Point](), dict[str, str]()
        for row in rows:
            if row.teacher_agreement is not None:
                series = f"{_architecture(row)}, {'distilled' if _is_distilled(row) else 'scratch'}"
                label = f"{row.entry} ({row.part})"
                points.append(Point(series, 100 * row.teacher_agreement, 100 * row.accuracy, label))
                roles.setdefault(series, "kd" if _is_distilled(row) else "scratch")
        return Figure(
            "scatter", "Agreement with the teacher, and accuracy", f"{len(points)} students", "same class as the "
            "teacher (% of test images)", tuple(points), roles, "test accuracy (%)",
        )  # fmt: skip


def _find_teacher(checkpoint: Checkpoint, found: list[Checkpoint]) -> Checkpoint | None:
    """Its own teacher, or for a scratch baseline that of a student whose baseline it is."""
    if lineage.is_distilled(checkpoint):
        return lineage.teacher_of(checkpoint, found)
    for other in found:
        baseline = lineage.scratch_baseline_of(other, found) if lineage.is_distilled(other) else None
        if baseline is not None and baseline.sha256 == checkpoint.sha256:
            return lineage.teacher_of(other, found)
    return None


def _measure(checkpoint: Checkpoint, teacher: Checkpoint) -> Measurement | None:
    labels, logits, taught = evaluation_labels(checkpoint), checkpoint.logits_or_none(), teacher.logits_or_none()
    if labels is None or logits is None or taught is None or not len(labels) == len(logits) == len(taught):
        return None
    predicted = logits.argmax(axis=1)
    agrees = predicted == taught.argmax(axis=1)
    return Measurement(
        part=f"{BUNDLED}, teacher {teacher.name}", entry=checkpoint.name, role=checkpoint.card.objective_key,
        images=len(labels), accuracy=float((predicted == labels).mean()),
        calibration_error=metrics.expected_calibration_error(logits, labels), teacher_agreement=float(agrees.mean()),
        right=pack_bits(predicted == labels), agrees=pack_bits(agrees),
    )  # fmt: skip


def _rows_of_tables() -> Iterator[Measurement]:
    """Students of which only the figures are bundled."""
    for name, sweep in bundled_sweeps().items():
        for one in sweep.students:
            place = "scratch" if one.temperature is None else f"T{one.temperature:g}-w{one.weight:g}"
            yield Measurement(
                part=f"sweep {name}", entry=f"{sweep.student}-{place}", seed=one.seed, images=10_000,
                role="scratch" if one.temperature is None else "kd", accuracy=one.accuracy,
                teacher_agreement=one.teacher_agreement,
            )  # fmt: skip
    for name, league in bundled_leagues().items():
        roles = {entry.name: entry.objective.key for entry in league.entries}
        for row in league.rows:
            yield Measurement(
                part=name, entry=f"{league.declaration.student}-{row.entry}", seed=row.seed, images=10_000,
                role=roles[row.entry], accuracy=row.accuracy, teacher_agreement=row.teacher_agreement,
            )  # fmt: skip


def _is_distilled(row: Measurement) -> bool:
    return row.role != "scratch"


def _architecture(row: Measurement) -> str:
    return row.entry.partition("-")[0]


def _pairs(results: Results) -> list[tuple[Measurement, Measurement]]:
    """Each two distilled bundled students of one architecture and teacher."""
    measured = results.measured.rows if results.measured else []
    rows = [row for row in measured if row.right and row.agrees and _is_distilled(row)]
    return [
        (own, other)
        for number, own in enumerate(rows)
        for other in rows[number + 1 :]
        if (own.part, _architecture(own), own.images) == (other.part, _architecture(other), other.images)
    ]


def _compare(own: Measurement, other: Measurement) -> tuple[dict[str, float], dict[str, float]]:
    """The exact paired tests in agreement and in accuracy."""
    agreement = paired_test(*(unpack_bits(one.agrees, one.images)[None] for one in (own, other)))
    return agreement, paired_test(*(unpack_bits(one.right, one.images)[None] for one in (own, other)))


def _describe_gap(results: Results) -> str:
    rows = [row for row in results.measured.rows if _is_distilled(row)] if results.measured else []
    most = max(rows, key=lambda row: row.teacher_agreement or 0)
    return (
        f"The closest of {len(rows)} distilled students, {most.entry}, predicts another class than its teacher on "
        f"{100 * (1 - (most.teacher_agreement or 0)):.1f} % of the test images."
    )
