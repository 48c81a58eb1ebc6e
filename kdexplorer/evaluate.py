"""Measures a checkpoint again, from its weights, against its card; and makes one from foreign weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from kdexplorer import checkpoints, data, metrics
from kdexplorer.checkpoints import Checkpoint
from kdexplorer.config import is_name
from kdexplorer.errors import CheckpointError, DataError
from kdexplorer.inference import predict
from kdexplorer.models import StagedNetwork, parameter_count
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
    logits = _logits(checkpoint.network(), split, checkpoint.card["normalisation"], checkpoint.name if show else None)
    report = {"name": checkpoint.name, **metrics.summary(logits, split.labels)}
    report["per_class_accuracy"] = metrics.per_class_accuracy(logits, split.labels, len(split.classes))
    report["card_accuracy"] = checkpoint.card["test_accuracy"]
    report["card_cross_entropy"] = checkpoint.card["test_cross_entropy"]
    report["matches_card"] = bool(
        report["accuracy"] == checkpoint.card["test_accuracy"]
        and abs(report["cross_entropy"] - checkpoint.card["test_cross_entropy"]) < 1e-4
    )
    return report


def import_checkpoint(
    source: Path, architecture: str, name: str, output: Path, normalisation: dict[str, list[float]], show: bool = False
) -> Checkpoint:
    """Makes a checkpoint folder from somebody's CIFAR-10 weights, measured on the test split: bring your own teacher.

    Args:
        source: a PyTorch file (read with `weights_only=True`) or safetensors, holding a state dict.
        architecture: a name from `config.ARCHITECTURES`; torchvision's parameter names for resnet18/34/50.
        name: what the network will be called.
        output: the folder in which the checkpoint folder is made.
        normalisation: `mean` and `std` of the channels (0..1) with which the network was trained.
        show: draw a progress bar on stderr.

    Raises:
        CheckpointError: when the weights or the normalisation do not fit, or the name is taken.
        DataError: when CIFAR-10 is not there.
    """
    if not is_name(name) or (output / name).exists():
        raise CheckpointError(f"'{name[:60]}' is not a free name in {output}: choose letters, digits and . _ - only.")
    checkpoints.check_normalisation(normalisation, where=name)
    state = checkpoints.import_weights(source, architecture)
    network = checkpoints.network_from_state(architecture, state, len(data.CIFAR10_CLASSES), where=str(source))
    half = checkpoints.half_precision(network)
    network = checkpoints.network_from_state(
        architecture, half, len(data.CIFAR10_CLASSES), where=f"{source} as float16"
    )
    split = data.load_split("cifar10", "test")
    logits = _logits(network, split, normalisation, name if show else None)
    cross_entropy = metrics.cross_entropy(logits, split.labels)
    card = {
        "name": name,
        "architecture": architecture,
        "parameters": parameter_count(network),
        "classes": list(split.classes),
        "normalisation": normalisation,
        "method": None,
        "objective": None,
        "teacher": None,
        "data": {"dataset": "cifar10", "measured_on": "test", "measured_images": len(split)},
        "test_accuracy": metrics.accuracy(logits, split.labels),
        "test_cross_entropy": cross_entropy,
    }
    return checkpoints.save(output / name, half, card, logits)


def _logits(network: StagedNetwork, split: data.Split, normalisation: dict, shown: str | None) -> np.ndarray:
    """Logits `[N, classes]` float16, as they are stored."""
    from tqdm import tqdm

    parts = []
    for start in tqdm(range(0, len(split), 500), desc=shown, disable=shown is None, file=sys.stderr, leave=False):
        parts.append(predict(network, split.images[start : start + 500], normalisation))
    return np.concatenate(parts).astype(np.float16)


def sentence(report: dict[str, Any]) -> str:
    """The report for a reader."""
    said = f"ITS CARD SAYS {100 * report['card_accuracy']:.2f} % AND {report['card_cross_entropy']:.4f}"
    agrees = "agrees with its card" if report["matches_card"] else said
    return (
        f"{report['name']}: accuracy {100 * report['accuracy']:.2f} % "
        f"({100 * report['accuracy_low']:.2f} – {100 * report['accuracy_high']:.2f}, Wilson 95 %, "
        f"{report['images']} images), cross-entropy {report['cross_entropy']:.4f}, "
        f"calibration error {report['calibration_error']:.4f}; {agrees}"
    )
