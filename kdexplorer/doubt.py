"""Does distillation carry human doubt over to the student? Networks and their scratch twins against people's answers.

Cross-entropy against people at T = 1 mostly says how confident a network is. So students are compared each at its own
closest temperature, which forgives a wrong level of confidence; then on the images that both get right, so that not
accuracy alone is compared; then by which *wrong* classes they name, the label's class left out of all answers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kdexplorer import comparison, metrics, people, relatives, table
from kdexplorer.checkpoints import Checkpoint

DOUBT = 0.1
"""By which wrong classes people name is asked on images of which at least this share of their answers was wrong."""

COMPARED = {
    "all": "To its scratch twin there",
    "both right": "… on images both get right",
    "wrong classes": "… by the wrong classes",
}


def rows(chosen: list[Checkpoint], answers: np.ndarray) -> list[dict[str, Any]]:
    """One row a network whose logits of CIFAR-10's whole test split are stored; others are left out.

    A row has `name`, `at_one` (cross-entropy against people at T = 1, nats), `temperature` (the closest) and `least`
    (there). Where the twin from scratch is among the chosen it has, for each of `COMPARED` that can be known, a dict of
    `difference` (to the twin's cross-entropy; below zero: closer to people), `half` of its 95 % interval (paired, over
    images) and `images`. Temperatures are fitted to the images that they are used on.

    Args:
        chosen: networks.
        answers: people's, `[10000, classes]`, as `people.load` gives them.
    """
    stored = {c.path: comparison.on_whole_split(c, comparison.stored_logits(c), "cifar10") for c in chosen}
    found = []
    for checkpoint in chosen:
        mine, twin = stored[checkpoint.path], relatives.twin_of(checkpoint, chosen)
        if mine is None:
            continue
        temperature, least = _at_closest(answers, mine)
        row = {"name": checkpoint.name, "at_one": float(people.cross_entropy(answers, mine).mean())}
        row |= {"temperature": temperature, "least": float(least.mean())}
        if twin is not None and stored[twin.path] is not None:
            row |= _against(mine, stored[twin.path], answers, table.measured_labels(checkpoint))
        found.append(row)
    return found


def _against(mine: np.ndarray, twin: np.ndarray, answers: np.ndarray, labels: np.ndarray | None) -> dict[str, Any]:
    both = (answers, mine, twin)
    found = {"all": metrics.paired_interval(_difference(*both))}
    if labels is not None:
        right = (mine.argmax(axis=1) == labels) & (twin.argmax(axis=1) == labels)
        others = np.arange(answers.shape[1]) != labels[:, None]
        wrong, *less = (part[others].reshape(len(labels), -1) for part in both)
        doubted = wrong.sum(axis=1) >= DOUBT
        shares = wrong[doubted] / wrong[doubted].sum(axis=1, keepdims=True)
        found["both right"] = metrics.paired_interval(_difference(*both)[right])
        found["wrong classes"] = metrics.paired_interval(_difference(shares, *(part[doubted] for part in less)))
    return found


def _difference(answers: np.ndarray, mine: np.ndarray, twin: np.ndarray) -> np.ndarray:
    """Each image's cross-entropy against people less the twin's, each at its own closest temperature."""
    return _at_closest(answers, mine)[1] - _at_closest(answers, twin)[1]


def _at_closest(answers: np.ndarray, logits: np.ndarray) -> tuple[float | None, np.ndarray]:
    """The closest temperature, and each image's cross-entropy there (at T = 1 where there is none)."""
    temperature = people.closest_temperature(answers, logits)
    return temperature, people.cross_entropy(answers, logits, temperature or 1.0)


def markdown(found: list[dict[str, Any]]) -> str:
    """The rows as Markdown, numbers rounded for reading."""
    heads = ["Network", "Cross-entropy against people at T = 1", "Closest T", "Cross-entropy there", *COMPARED.values()]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for row in found:
        temperature = "none" if row["temperature"] is None else f"{row['temperature']:.2f}"
        cells = [row["name"], f"{row['at_one']:.3f}", temperature, f"{row['least']:.3f}"]
        known = (row.get(key) for key in COMPARED)
        lines.append(cells + [f"{one['difference']:+.3f} ± {one['half']:.3f}" if one else "" for one in known])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
