"""Evaluates a checkpoint again, from its weights, against its card."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from kdexplorer.analysis import metrics
from kdexplorer.analysis.inference import predict
from kdexplorer.analysis.results import evaluation_dataset
from kdexplorer.analysis.statistics import wilson_interval
from kdexplorer.datasets import Normalization, Split
from kdexplorer.errors import DataError
from kdexplorer.runs.checkpoints import find_checkpoint

if TYPE_CHECKING:
    from kdexplorer.networks.base import StagedNetwork


@dataclass(frozen=True)
class EvaluationReport:
    """A network's figures on the test split beside those of its card; shares are 0 to 1, cross-entropies in nats."""

    name: str
    images: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float  # Wilson's 95 % interval
    cross_entropy: float
    calibration_error: float
    per_class_accuracy: list[float]
    card_accuracy: float
    card_cross_entropy: float
    matches_card: bool
    """Whether as many images are classified correctly, and the cross-entropies differ by less than 1e-4."""


def evaluate_checkpoint(name: str, show: bool = False) -> EvaluationReport:
    """Evaluates a network (see `find_checkpoint`) on the test split that its card names, in float32.

    Its logits are rounded to float16 as they are stored, so that the figures are those that the application computes
    from the stored logits. `show` draws a progress bar on stderr.

    Raises:
        KDError: when the checkpoint or the data cannot be used.
    """
    checkpoint = find_checkpoint(name)
    card, dataset = checkpoint.card, evaluation_dataset(checkpoint)
    if dataset is None:
        known = "the test split of a known data set"
        raise DataError(f"{name} was not evaluated on {known}, so there is nothing to compare.")
    split = dataset.load("test")
    logits = predict_split(checkpoint.network(), split, card.normalization, card.name, show)
    accuracy, cross_entropy = metrics.accuracy(logits, split.labels), metrics.cross_entropy(logits, split.labels)
    low, high = wilson_interval(round(accuracy * len(split)), len(split))
    return EvaluationReport(
        name=card.name, images=len(split),
        accuracy=accuracy, accuracy_low=low, accuracy_high=high, cross_entropy=cross_entropy,
        calibration_error=metrics.expected_calibration_error(logits, split.labels),
        per_class_accuracy=metrics.per_class_accuracy(logits, split.labels, len(split.classes)),
        card_accuracy=card.test_accuracy, card_cross_entropy=card.test_cross_entropy,
        matches_card=accuracy == card.test_accuracy and abs(cross_entropy - card.test_cross_entropy) < 1e-4,
    )  # fmt: skip


def format_report(report: EvaluationReport) -> str:
    """The report as a sentence."""
    differs = f"DIFFERS FROM ITS CARD: {100 * report.card_accuracy:.2f} % and {report.card_cross_entropy:.4f}"
    return (
        f"{report.name}: accuracy {100 * report.accuracy:.2f} % "
        f"({100 * report.accuracy_low:.2f} – {100 * report.accuracy_high:.2f}, Wilson 95 %, {report.images:,} images), "
        f"cross-entropy {report.cross_entropy:.4f}, calibration error {report.calibration_error:.4f}; "
        + ("agrees with its card" if report.matches_card else differs)
    )


def predict_split(
    network: StagedNetwork, split: Split, normalization: Normalization, name: str, show: bool
) -> np.ndarray:
    """Logits `[N, classes]` float16, as they are stored. `show` draws a progress bar on stderr."""
    starts = tqdm(range(0, len(split), 500), name, disable=not show, file=sys.stderr, leave=False)
    parts = [predict(network, split.images[start : start + 500], normalization) for start in starts]
    return np.concatenate(parts).astype(np.float16)
