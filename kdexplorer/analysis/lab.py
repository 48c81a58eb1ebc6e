"""The lab's reported figures, and the networks here beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kdexplorer.analysis.difference import Difference, over_counts
from kdexplorer.analysis.results import ResultRow
from kdexplorer.analysis.tables import markdown_table

LAB = {
    "resnet50": (0.43, 0.9090),
    "resnet18-scratch": (0.49, 0.9039),
    "resnet18-response": (0.84, 0.9135),
    "resnet18-feature": (1.82, 0.9151),
}
"""What the lab reported of 10,000 test images: loss and accuracy, by the name of the bundled network."""

LAB_IMAGES = 10_000


@dataclass(frozen=True)
class LabComparison:
    """A bundled network's accuracy minus the lab's, tested without pairs: the lab's predictions are unknown."""

    name: str
    lab_loss: float
    lab_accuracy: float
    objective: float | None
    cross_entropy: float
    accuracy: float
    difference: Difference


def compare_with_lab(rows: Sequence[ResultRow]) -> list[LabComparison]:
    """The networks that the lab trained too."""
    compared = []
    for row in rows:
        if row.name in LAB and row.images == LAB_IMAGES:
            loss, accuracy = LAB[row.name]
            counts = round(row.accuracy * row.images), row.images, round(accuracy * LAB_IMAGES), LAB_IMAGES
            difference = over_counts(*counts, "the lab")
            figures = (row.objective, row.cross_entropy, row.accuracy)
            compared.append(LabComparison(row.name, loss, accuracy, *figures, difference))
    return compared


def describe_lab(compared: Sequence[LabComparison]) -> str:
    """Which of the lab's accuracies are exceeded by more than chance, in a sentence or two."""
    kinds: dict[str, list[str]] = {"more than chance explains": [], "which can be chance": []}
    for one in compared:
        kind = "more than chance explains" if one.difference.sign else "which can be chance"
        kinds[kind].append(f"{one.name} {one.difference.points}")
    found = [f"{', '.join(names)}: {kind}." for kind, names in kinds.items() if names]
    text = "Points to the lab's accuracy, in an unpaired test because its predictions are unknown"
    return f"{text}: {' '.join(found)}" if found else "None of the lab's networks is among these."


def to_markdown(compared: Sequence[LabComparison]) -> str:
    """The lab's figures beside these networks' as a Markdown table, and `describe_lab` below it."""
    headings = ["Network", "The lab's loss", "The lab's accuracy"]
    headings += ["Objective", "Cross-entropy", "Accuracy", "To the lab"]
    cells = [
        [
            one.name, f"{one.lab_loss:.2f}", f"{100 * one.lab_accuracy:.2f} %",
            "" if one.objective is None else f"{one.objective:.3f}", f"{one.cross_entropy:.3f}",
            f"{100 * one.accuracy:.2f} %", one.difference.points,
        ]
        for one in compared
    ]  # fmt: skip
    return "\n\n".join([*([markdown_table(headings, cells)] if cells else []), describe_lab(compared)])
