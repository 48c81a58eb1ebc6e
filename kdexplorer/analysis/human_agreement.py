"""Networks and human labels: how close they are, and whether distillation transfers the annotators' uncertainty.

Cross-entropy to human labels at T = 1 mostly says how confident a network is. So students are compared each at its own
closest temperature, which corrects the level of confidence; then on the images that both classify correctly, so that
not only accuracy is compared; then by the *wrong* classes alone, the label's class left out of all distributions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kdexplorer.analysis.difference import Difference, over_mean
from kdexplorer.analysis.measures import TextTable
from kdexplorer.analysis.metrics import cross_entropy_to_humans, fit_temperature
from kdexplorer.analysis.results import evaluation_labels
from kdexplorer.datasets.cifar10 import Cifar10
from kdexplorer.runs import lineage
from kdexplorer.runs.checkpoints import Checkpoint

CURVE_TEMPERATURES = np.geomspace(0.5, 20.0, 40)
"""The temperatures of a curve of closeness."""

UNCERTAIN = 0.1
"""Wrong classes are compared on images for which at least this share of the annotators chose one."""


@dataclass(frozen=True)
class Closeness:
    """A network's mean cross-entropy to human labels in nats, at `CURVE_TEMPERATURES` and at the closest T.

    `temperature` and `least` are None where no temperature is closest; see `fit_temperature`.
    """

    curve: np.ndarray
    temperature: float | None
    least: float | None


@dataclass(frozen=True)
class AgreementRow:
    """A network compared with the human labels, and with its scratch baseline where that is available.

    Differences are its cross-entropy minus the baseline's, each at its own closest temperature: below zero it is closer
    to the human labels. Their intervals cover all students together, separately for each of the three comparisons.
    """

    name: str
    at_one: float  # cross-entropy to the human labels at T = 1
    temperature: float | None  # the closest one
    least: float  # cross-entropy there, or at T = 1 where none is closest
    all_images: Difference | None = None
    both_right: Difference | None = None  # on the images that both classify correctly
    wrong_classes: Difference | None = None  # by the wrong classes alone, on images about which annotators disagree


def closeness(human_labels: np.ndarray, logits: np.ndarray) -> Closeness:
    """How close a network is to the human labels of one image (`[classes]` each), or on average (`[N, classes]`)."""
    curve = np.array([cross_entropy_to_humans(human_labels, logits, t).mean() for t in CURVE_TEMPERATURES])
    closest, costs = _fit(human_labels, logits)
    return Closeness(curve, closest, None if closest is None else float(costs.mean()))


def build_rows(checkpoints: Sequence[Checkpoint], human_labels: np.ndarray) -> list[AgreementRow]:
    """One row for each network whose logits of CIFAR-10's whole test split are stored; the others are left out.

    A scratch baseline is searched among the networks. Temperatures are fitted to the images on which they are used.
    `human_labels` are `[10000, classes]`, as `Dataset.human_labels` gives them.
    """
    stored = {c.path: c.card.split_logits(c.logits_or_none(), Cifar10.key) for c in checkpoints}
    logits = {path: one for path, one in stored.items() if one is not None}
    fitted = {path: _fit(human_labels, one) for path, one in logits.items()}
    rows = []
    for checkpoint in (one for one in checkpoints if one.path in logits):
        own, (temperature, costs) = logits[checkpoint.path], fitted[checkpoint.path]
        at_one = float(cross_entropy_to_humans(human_labels, own).mean())
        compared: dict[str, Difference] = {}
        baseline = lineage.scratch_baseline_of(checkpoint, checkpoints)
        if baseline is not None and baseline.path in logits:
            other, difference = logits[baseline.path], costs - fitted[baseline.path][1]
            compared["all_images"] = over_mean(difference, baseline.name)
            labels = evaluation_labels(checkpoint)
            if labels is not None:
                both_right = (own.argmax(axis=1) == labels) & (other.argmax(axis=1) == labels)
                by_part = {"both_right": difference[both_right]}
                by_part["wrong_classes"] = _compare_wrong_classes(human_labels, own, other, labels)
                compared |= {part: over_mean(one, baseline.name) for part, one in by_part.items() if len(one)}
        rows.append(AgreementRow(checkpoint.name, at_one, temperature, float(costs.mean()), **compared))
    for part in ("all_images", "both_right", "wrong_classes"):
        found = [getattr(row, part) for row in rows]
        family = sum(one is not None for one in found)
        joint = [one and replace(one, family=family).simultaneous for one in found]
        rows = [replace(row, **{part: one}) for row, one in zip(rows, joint, strict=True)]
    return rows


def _fit(human_labels: np.ndarray, logits: np.ndarray) -> tuple[float | None, np.ndarray]:
    """The closest temperature, and each image's cross-entropy there (at T = 1 where there is none)."""
    temperature = fit_temperature(human_labels, logits)
    return temperature, cross_entropy_to_humans(human_labels, logits, temperature or 1.0)


def _compare_wrong_classes(
    human_labels: np.ndarray, logits: np.ndarray, baseline: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Cross-entropy minus the baseline's without the label's class, of the images that `UNCERTAIN` keeps."""
    others = np.arange(human_labels.shape[1]) != labels[:, None]
    shares, *wrong = (part[others].reshape(len(labels), -1) for part in (human_labels, logits, baseline))
    kept = shares.sum(axis=1) >= UNCERTAIN
    if not kept.any():
        return np.zeros(0)
    shares = shares[kept] / shares[kept].sum(axis=1, keepdims=True)
    costs, baseline_costs = (_fit(shares, part[kept])[1] for part in wrong)
    return costs - baseline_costs


def describe_agreement(rows: Sequence[AgreementRow]) -> str | None:
    """Whether distillation transferred the annotators' uncertainty, for each student that has a baseline, if any."""
    sentences, places = [], ("on all images", "on those that both classify correctly", "by the wrong classes alone")
    kinds = {-1: "closer", 0: "no clear difference", 1: "further away"}
    for row in rows:
        compared = zip((row.all_images, row.both_right, row.wrong_classes), places, strict=True)
        verdicts = [f"{kinds[one.sign]} {where} ({one.nats})" for one, where in compared if one is not None]
        if row.all_images is not None:
            sentences.append(f"{row.name} against {row.all_images.other}: {', '.join(verdicts)}.")
    if not sentences:
        return None
    return (
        "Is a distilled student closer to the human labels than its scratch baseline, each at its own closest "
        f"temperature? {' '.join(sentences)} Differences of the cross-entropy in nats, with simultaneous 95 % "
        "intervals over images, for all students together; they do not cover another seed."
    )


def tabulate(rows: Sequence[AgreementRow]) -> TextTable:
    """The rows as text, numbers rounded for reading."""
    return [
        {
            "Network": row.name,
            "Cross-entropy against human labels at T = 1": f"{row.at_one:.3f}",
            "Closest T": "none" if row.temperature is None else f"{row.temperature:.2f}",
            "Cross-entropy there": f"{row.least:.3f}",
            "To its scratch baseline there": row.all_images.nats if row.all_images else "",
            "… on images both get right": row.both_right.nats if row.both_right else "",
            "… by the wrong classes": row.wrong_classes.nats if row.wrong_classes else "",
        }
        for row in rows
    ]
