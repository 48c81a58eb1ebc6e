"""Networks and human labels: how close they are, and whether distillation transfers the annotators' uncertainty.

Cross-entropy to human labels at T = 1 mostly says how confident a network is. So students are compared each at its own
closest temperature, which corrects the level of confidence; then on the images that both classify correctly, so that
not only accuracy is compared; then by the *wrong* classes alone, the label's class left out of all distributions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kdexplorer.analysis.metrics import cross_entropy_to_humans
from kdexplorer.analysis.results import evaluation_labels, whole_split_logits
from kdexplorer.analysis.statistics import MeanDifference, paired_interval
from kdexplorer.analysis.tables import markdown_table
from kdexplorer.analysis.temperature_scaling import fit_temperature
from kdexplorer.datasets.cifar10 import Cifar10
from kdexplorer.runs import lineage
from kdexplorer.runs.checkpoints import Checkpoint

CURVE_TEMPERATURES = np.geomspace(0.5, 20.0, 40)
"""The temperatures of a curve of closeness."""

UNCERTAIN = 0.1
"""Wrong classes are compared on images for which at least this share of the annotators chose one."""


@dataclass(frozen=True)
class Closeness:
    """A network's mean cross-entropy to human labels in nats: at `CURVE_TEMPERATURES`, at T = 1, at the closest T.

    `temperature` and `least` are None where no temperature is closest; see `fit_temperature`.
    """

    curve: np.ndarray
    at_one: float
    temperature: float | None
    least: float | None


@dataclass(frozen=True)
class AgreementRow:
    """A network compared with the human labels, and with its scratch baseline where that is available.

    Differences are its cross-entropy minus the baseline's, each at its own closest temperature: below zero it is closer
    to the human labels.
    """

    name: str
    at_one: float  # cross-entropy to the human labels at T = 1
    temperature: float | None  # the closest one
    least: float  # cross-entropy there, or at T = 1 where none is closest
    scratch_baseline: str | None = None
    all_images: MeanDifference | None = None
    both_right: MeanDifference | None = None  # on the images that both classify correctly
    wrong_classes: MeanDifference | None = None  # by the wrong classes alone, on images about which annotators disagree


def closeness(human_labels: np.ndarray, logits: np.ndarray) -> Closeness:
    """How close a network is to the human labels of one image (`[classes]` each), or on average (`[N, classes]`)."""

    def mean(temperature: float) -> float:
        return float(cross_entropy_to_humans(human_labels, logits, temperature).mean())

    closest = fit_temperature(human_labels, logits)
    curve = np.array([mean(temperature) for temperature in CURVE_TEMPERATURES])
    return Closeness(curve, mean(1.0), closest, None if closest is None else mean(closest))


def build_rows(checkpoints: Sequence[Checkpoint], human_labels: np.ndarray) -> list[AgreementRow]:
    """One row for each network whose logits of CIFAR-10's whole test split are stored; the others are left out.

    A scratch baseline is searched among the networks. Temperatures are fitted to the images on which they are used.
    `human_labels` are `[10000, classes]`, as `load_human_labels` gives them.
    """
    stored = {c.path: whole_split_logits(c, c.logits_or_none(), Cifar10.key) for c in checkpoints}
    logits = {path: one for path, one in stored.items() if one is not None}
    fitted = {path: _fit(human_labels, one) for path, one in logits.items()}
    rows = []
    for checkpoint in checkpoints:
        path = checkpoint.path
        if path not in logits:
            continue
        temperature, costs = fitted[path]
        at_one = float(cross_entropy_to_humans(human_labels, logits[path]).mean())
        row = AgreementRow(checkpoint.name, at_one, temperature, float(costs.mean()))
        baseline = lineage.scratch_baseline_of(checkpoint, checkpoints)
        if baseline is not None and baseline.path in logits:
            difference, labels = costs - fitted[baseline.path][1], evaluation_labels(checkpoint)
            row = replace(row, scratch_baseline=baseline.name, all_images=paired_interval(difference))
            if labels is not None:
                pair = logits[path], logits[baseline.path]
                right = (pair[0].argmax(axis=1) == labels) & (pair[1].argmax(axis=1) == labels)
                wrong = _compare_wrong_classes(human_labels, *pair, labels)
                both = paired_interval(difference[right]) if right.any() else None
                row = replace(row, both_right=both, wrong_classes=wrong)
        rows.append(row)
    return rows


def _fit(human_labels: np.ndarray, logits: np.ndarray) -> tuple[float | None, np.ndarray]:
    """The closest temperature, and each image's cross-entropy there (at T = 1 where there is none)."""
    temperature = fit_temperature(human_labels, logits)
    return temperature, cross_entropy_to_humans(human_labels, logits, temperature or 1.0)


def _compare_wrong_classes(
    human_labels: np.ndarray, logits: np.ndarray, baseline: np.ndarray, labels: np.ndarray
) -> MeanDifference | None:
    others = np.arange(human_labels.shape[1]) != labels[:, None]
    shares, *wrong = (part[others].reshape(len(labels), -1) for part in (human_labels, logits, baseline))
    uncertain = shares.sum(axis=1) >= UNCERTAIN
    if not uncertain.any():
        return None
    shares = shares[uncertain] / shares[uncertain].sum(axis=1, keepdims=True)
    costs, baseline_costs = (_fit(shares, part[uncertain])[1] for part in wrong)
    return paired_interval(costs - baseline_costs)


def describe_agreement(rows: Sequence[AgreementRow]) -> str | None:
    """Whether distillation transferred the annotators' uncertainty, for each student that has a baseline, if any."""
    sentences, places = [], ("on all images", "on those that both classify correctly", "by the wrong classes alone")
    for row in rows:
        verdicts = []
        for paired, where in zip((row.all_images, row.both_right, row.wrong_classes), places, strict=True):
            if paired is not None:
                words = {-1: "closer", 0: "no clear difference", 1: "further away"}[paired.sign]
                verdicts.append(f"{words} {where} ({paired})")
        if verdicts:
            sentences.append(f"{row.name} against {row.scratch_baseline}: {', '.join(verdicts)}.")
    if not sentences:
        return None
    return (
        "Is a distilled student closer to the human labels than its scratch baseline, each at its own closest "
        f"temperature? {' '.join(sentences)} Differences of the cross-entropy in nats, with 95 % intervals over "
        "images; they do not cover another seed."
    )


def format_table(rows: Sequence[AgreementRow]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells as text, numbers rounded for reading."""
    headings = ["Network", "Cross-entropy against human labels at T = 1", "Closest T", "Cross-entropy there"]
    headings += ["To its scratch baseline there", "… on images both get right", "… by the wrong classes"]
    cells = []
    for row in rows:
        temperature = "none" if row.temperature is None else f"{row.temperature:.2f}"
        compared = [str(one or "") for one in (row.all_images, row.both_right, row.wrong_classes)]
        cells.append([row.name, f"{row.at_one:.3f}", temperature, f"{row.least:.3f}", *compared])
    return headings, cells


def to_markdown(rows: Sequence[AgreementRow]) -> str:
    """`format_table` as Markdown."""
    return markdown_table(*format_table(rows))
