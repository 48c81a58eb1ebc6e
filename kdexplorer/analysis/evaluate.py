"""Evaluates a checkpoint again, from its weights, against its card."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from kdexplorer.analysis import metrics
from kdexplorer.analysis.difference import wilson_interval
from kdexplorer.analysis.inference import predict
from kdexplorer.analysis.results import evaluation_dataset, known_dataset
from kdexplorer.datasets import Normalization, Split
from kdexplorer.errors import DataError
from kdexplorer.runs.card import AfterChoice
from kdexplorer.runs.checkpoints import Checkpoint, find_checkpoint, replace_card

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
        held = card.data.evaluation_split == "holdout"
        instead = f": once its settings are chosen, use --after-choice {name}" if held else ""
        known = "the test split of a known data set"
        raise DataError(f"{name} was not evaluated on {known}, so there is nothing to compare{instead}.")
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


def measure_after_choice(checkpoint: Checkpoint, show: bool = False) -> AfterChoice:
    """Measures a network that was evaluated on held-out images on the test split, and records that in its card.

    The figures are an estimate without selection only if the choice is final, so they are measured once: a card that
    has them is not measured again.

    Raises:
        KDError: when the network was evaluated on the test split, or it or the data cannot be used.
    """
    card, dataset = checkpoint.card, known_dataset(checkpoint)
    if card.after_choice is not None:
        return card.after_choice
    if dataset is None or card.data.evaluation_split != "holdout":
        raise DataError(
            f"{card.name} was not evaluated on held-out training images of a known data set, so nothing was chosen on "
            "them: leave out --after-choice."
        )
    split = dataset.load("test")
    logits = predict_split(checkpoint.network(), split, card.normalization, card.name, show)
    accuracy, cross_entropy = metrics.accuracy(logits, split.labels), metrics.cross_entropy(logits, split.labels)
    found = AfterChoice(dataset=dataset.key, images=len(split), accuracy=accuracy, cross_entropy=cross_entropy)
    replace_card(checkpoint, card.model_copy(update={"after_choice": found}))
    return found


def format_after_choice(name: str, found: AfterChoice) -> str:
    """The fresh measurement as a sentence."""
    low, high = wilson_interval(round(found.accuracy * found.images), found.images)
    return (
        f"{name}: measured once after the choice, on {found.images:,} test images: accuracy {100 * found.accuracy:.2f} "
        f"% ({100 * low:.2f} – {100 * high:.2f}, Wilson 95 %), cross-entropy {found.cross_entropy:.4f}"
    )


def predict_split(
    network: StagedNetwork, split: Split, normalization: Normalization, name: str, show: bool
) -> np.ndarray:
    """Logits `[N, classes]` float16, as they are stored. `show` draws a progress bar on stderr."""
    starts = tqdm(range(0, len(split), 500), name, disable=not show, file=sys.stderr, leave=False)
    parts = [predict(network, split.images[start : start + 500], normalization) for start in starts]
    return np.concatenate(parts).astype(np.float16)
