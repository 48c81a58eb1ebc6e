"""Measures a checkpoint again, from its weights, and holds the result against its card."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from kdexplorer import data, metrics
from kdexplorer.errors import DataError
from kdexplorer.inference import predict
from kdexplorer.train import find_checkpoint


def evaluate(name: str, show: bool = False) -> dict[str, Any]:
    """Accuracy with its Wilson interval, cross-entropy and calibration error on the split of the card.

    The network runs in float32; its logits are rounded to float16 as they are stored, so that the figures are those
    that the application computes from the stored logits.

    Args:
        name: see `train.find_checkpoint`.
        show: draw a progress bar on stderr.

    Returns:
        The figures of `metrics.summary`, per-class accuracy, and `matches_card`: the same count of right answers, and
        cross-entropy within 1e-4.
    """
    checkpoint = find_checkpoint(name)
    facts = checkpoint.card.get("data", {})
    if facts.get("measured_on", "test") != "test":
        raise DataError(f"{name} was measured on images held out of training while tuning, not on the test split.")
    split = data.load_split(facts.get("dataset", "cifar10"), "test")
    network = checkpoint.network()
    from tqdm import tqdm

    parts = []
    for start in tqdm(range(0, len(split), 500), desc=checkpoint.name, disable=not show, file=sys.stderr, leave=False):
        parts.append(predict(network, split.images[start : start + 500], checkpoint.card["normalisation"]))
    logits = np.concatenate(parts).astype(np.float16)
    report = {"name": checkpoint.name, **metrics.summary(logits, split.labels)}
    report["per_class_accuracy"] = metrics.per_class_accuracy(logits, split.labels, len(split.classes))
    report["card_accuracy"] = checkpoint.card["test_accuracy"]
    report["matches_card"] = bool(
        report["accuracy"] == checkpoint.card["test_accuracy"]
        and abs(report["cross_entropy"] - checkpoint.card["test_cross_entropy"]) < 1e-4
    )
    return report


def sentence(report: dict[str, Any]) -> str:
    """The report for a reader."""
    agrees = (
        "agrees with its card" if report["matches_card"] else f"ITS CARD SAYS {100 * report['card_accuracy']:.2f} %"
    )
    return (
        f"{report['name']}: accuracy {100 * report['accuracy']:.2f} % "
        f"({100 * report['accuracy_low']:.2f} – {100 * report['accuracy_high']:.2f}, Wilson 95 %, "
        f"{report['images']} images), cross-entropy {report['cross_entropy']:.4f}, "
        f"calibration error {report['calibration_error']:.4f}; {agrees}"
    )
