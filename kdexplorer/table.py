"""The results table: the lab's rows with what they can bear, intervals and paired tests.

Cross-entropy is comparable between rows; the objective is not, because each method minimises another sum.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kdexplorer import checkpoints, metrics, relatives, runs
from kdexplorer.checkpoints import Checkpoint
from kdexplorer.comparison import measured_on, p_text
from kdexplorer.data import CLASSES, data_root, find_cifar10, load_split
from kdexplorer.errors import CheckpointError


def of_run(run: runs.Run) -> list[Checkpoint]:
    """The finished students of a run whose checkpoints can be read."""
    found = []
    for path in runs.students(run):
        try:
            found.append(checkpoints.open_checkpoint(path))
        except CheckpointError:
            continue
    return found


def rows(chosen: list[Checkpoint]) -> list[dict[str, Any]]:
    """A row per checkpoint from its card alone, with the paired tests against its scratch twin and its teacher.

    Where the twin or the teacher (see `relatives`) is among the chosen and was measured on the same images, `to_twin`
    or `to_teacher` holds its `name`, the `difference` of the accuracies, and McNemar's `p`. The test needs which images
    were right: `p` is computed from the stored test logits, and left out where they or the labels are not at hand.
    """
    table = []
    for checkpoint in chosen:
        card = checkpoint.card
        count = int(card.get("data", {}).get("measured_images", 10_000))
        low, high = metrics.wilson_interval(round(card["test_accuracy"] * count), count)
        row = {
            "name": checkpoint.name,
            "architecture": checkpoint.architecture,
            "method": card.get("method"),
            "parameters": card["parameters"],
            "epochs": card.get("epochs"),
            "objective": card.get("test_objective"),
            "cross_entropy": card["test_cross_entropy"],
            "accuracy": card["test_accuracy"],
            "accuracy_low": low,
            "accuracy_high": high,
            "measured_on": f"{count:,} {card.get('data', {}).get('measured_on', 'test')} images",
            "seconds": card.get("seconds"),
            "device": card.get("device"),
        }
        for key, relative_of in (("to_twin", relatives.twin_of), ("to_teacher", relatives.teacher_of)):
            other = relative_of(checkpoint, chosen)
            if other is not None and measured_on(other) == measured_on(checkpoint):
                row[key] = _paired(checkpoint, other)
        table.append(row)
    return table


def markdown(table: list[dict[str, Any]]) -> str:
    """The table as Markdown, numbers rounded for reading."""
    lines = [
        "| Network | Method | Objective | Cross-entropy | Accuracy, 95 % interval "
        "| To its scratch twin | To its teacher |",
        "|---|---|---:|---:|---|---:|---:|",
    ]
    for row in table:
        interval = f"{100 * row['accuracy_low']:.2f} – {100 * row['accuracy_high']:.2f}"
        objective = "" if row["objective"] is None else f"{row['objective']:.3f}"
        twin, teacher = (_in_words(row.get(key)) for key in ("to_twin", "to_teacher"))
        lines.append(
            f"| {row['name']} | {row['method'] or ''} | {objective} | {row['cross_entropy']:.3f} "
            f"| {100 * row['accuracy']:.2f} % ({interval}) | {twin} | {teacher} |"
        )
    return "\n".join(lines)


def _in_words(paired: dict[str, Any] | None) -> str:
    if paired is None:
        return ""
    p = f" ({p_text(paired['p'])})" if "p" in paired else ""
    return f"{100 * paired['difference']:+.2f}{p}"


def measured_dataset(checkpoint: Checkpoint) -> str | None:
    """The data set whose test split a card was measured on; None for held-out images and for classes of its own."""
    facts = checkpoint.card.get("data") or {}
    dataset = facts.get("dataset", "cifar10")
    known = facts.get("measured_on", "test") == "test" and checkpoint.classes == CLASSES.get(dataset)
    return dataset if known else None


def measured_labels(checkpoint: Checkpoint) -> np.ndarray | None:
    """The labels of the split that a card was measured on, or None where they are not at hand."""
    dataset = measured_dataset(checkpoint)
    if dataset is None or (dataset == "cifar10" and find_cifar10(data_root()) is None):
        return None
    return load_split(dataset, "test").labels


def _paired(checkpoint: Checkpoint, other: Checkpoint) -> dict[str, Any]:
    difference = checkpoint.card["test_accuracy"] - other.card["test_accuracy"]
    facts: dict[str, Any] = {"name": other.name, "difference": difference}
    labels = measured_labels(checkpoint)
    try:
        mine, theirs = checkpoint.logits(), other.logits()
    except CheckpointError:
        return facts
    if labels is None or not len(labels) == len(mine) == len(theirs):
        return facts
    p = metrics.mcnemar(mine, theirs, labels)["p"]
    return facts | ({} if math.isnan(p) else {"p": p})
