"""Charts of networks side by side: cost, calibration, accuracy by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np

from kdexplorer.analysis.metrics import accuracy, calibration_bins, per_class_accuracy, softmax
from kdexplorer.analysis.results import ResultRow
from kdexplorer.charts import style
from kdexplorer.charts.common import Spec, data, describe_selection, largest_classes, spec, title, tooltips
from kdexplorer.charts.sizes import DESIGN_EM, area, em


@dataclass(frozen=True)
class Cost:
    """What a network costs: a name, the title of the axis, and what a result row's value is multiplied by."""

    label: str
    axis_title: str
    factor: float


COSTS = {
    "multiply_adds": Cost("Multiply-adds", "Multiply-adds of one image (millions)", 1e-6),
    "parameters": Cost("Parameters", "Parameters (thousands)", 1e-3),
    "size": Cost("Size on disk", "Weights on disk (kB)", 1e-3),
    "latency": Cost("Latency", "Time for one image on this machine (ms)", 1e3),
}
"""By the attribute of a result row."""

ASIDE = 9
"""Pixels between networks that cost the same."""


def accuracy_cost(rows: Sequence[ResultRow], looks: Sequence[style.Series], cost: str) -> Spec | None:
    """Accuracy with its interval against a cost (a key of `COSTS`); None where the cost is unknown."""
    facts = COSTS[cost]
    points = _cost_points(rows, cost)
    if not points:
        return None
    looks = [look for look in looks if any(point["network"] == look.name for point in points)]
    ends = [min(point["cost"] for point in points) / 1.5, max(point["cost"] for point in points) * 1.5]
    scale, axis = alt.Scale(type="log", nice=False, domain=ends), alt.Axis(format=",~r", tickCount=5)
    base = alt.Chart(data(points)).encode(
        x=alt.X("cost:Q", title=facts.axis_title, scale=scale, axis=axis),
        color=style.color(looks),
        tooltip=tooltips(
            ("network:N", "Network"), ("cost:Q", facts.axis_title, ",.4~g"), ("accuracy:Q", "Accuracy", ".2%")
        ),
    )
    aside, heading = alt.ExprRef(f"datum.aside * em / {DESIGN_EM}"), "Accuracy, with 95 % interval"
    intervals = base.mark_rule(strokeWidth=em(2), xOffset=aside).encode(y=alt.Y("low:Q", title=heading), y2="high:Q")
    markers = base.mark_point(size=area(130), filled=True, strokeWidth=2, xOffset=aside).encode(
        y=alt.Y("accuracy:Q", title=heading, axis=alt.Axis(format=".2~%"), scale=alt.Scale(zero=False)),
        shape=style.shape(looks),
    )
    against = f"Accuracy against {facts.label.lower()}"
    listed = "; ".join(f"{point['network']} {point['accuracy']:.1%} at {point['cost']:.3g}" for point in points)
    said = title(against, "Upper left is better; equal costs are side by side")
    return spec([intervals, markers], said, f"{against}: {listed}", 240)


def _cost_points(rows: Sequence[ResultRow], cost: str) -> list[dict[str, Any]]:
    """The networks whose cost is known; those of equal cost get an offset, so that their intervals do not overlap."""
    points: list[dict[str, Any]] = [
        {"network": row.name, "cost": value * COSTS[cost].factor, "accuracy": row.accuracy}
        | {"low": row.accuracy_low, "high": row.accuracy_high}
        for row in rows
        if (value := getattr(row, cost))
    ]
    for point in points:
        equal = [other["network"] for other in points if other["cost"] == point["cost"]]
        point["aside"] = ASIDE * (equal.index(point["network"]) - (len(equal) - 1) / 2)
    return points


def reliability(
    logits: Mapping[str, np.ndarray], labels: np.ndarray, looks: Sequence[style.Series], scaled: bool = False
) -> Spec:
    """How often a prediction of a given confidence is right; on the diagonal a network is calibrated.

    Args:
        logits: `[N, K]` by network.
        labels: int `[N]`.
        looks: the networks.
        scaled: whether the logits are those after temperature scaling.
    """
    rows = [
        {"network": name, **{key: round(value, 5) for key, value in row.items()}}
        for name, values in logits.items()
        for row in calibration_bins(values, labels, bins=10)
    ]
    looks = [look for look in looks if look.name in logits]
    unit: dict[str, Any] = {"scale": alt.Scale(domain=[0, 1]), "axis": alt.Axis(format=".0%")}
    x = alt.X("confidence:Q", title="Mean confidence of the bin", **unit)
    y = alt.Y("accuracy:Q", title="Share of correct predictions", **unit)
    tips = tooltips(
        ("network:N", "Network"), ("confidence:Q", "Confidence", ".1%"), ("accuracy:Q", "Correct", ".1%"),
        ("count:Q", "Images"),
    )  # fmt: skip
    base = alt.Chart(data(rows)).encode(x=x, y=y, color=style.color(looks), tooltip=tips)
    ends = data([{"confidence": 0, "accuracy": 0}, {"confidence": 1, "accuracy": 1}])
    means = (
        f"{name} has {accuracy(values, labels):.1%} accuracy at a mean confidence of "
        f"{softmax(values).max(axis=1).mean():.1%}"
        for name, values in logits.items()
    )
    layers = [
        alt.Chart(ends).mark_line(color=style.NEUTRAL, strokeDash=[4, 4]).encode(x=x, y=y),
        base.mark_line().encode(
            strokeDash=style.dash(looks, in_legend=False), strokeWidth=style.width(looks, in_legend=False)
        ),
        base.mark_point(size=area(80), filled=True, strokeWidth=1.5).encode(shape=style.shape(looks)),
    ]
    after = "after temperature scaling" if scaled else ""
    heading = title("Accuracy of predictions by their confidence", "Below the gray diagonal: overconfident", after)
    described = f"Reliability diagram in ten bins of confidence{', ' * scaled}{after}: " + "; ".join(means)
    return spec(layers, heading, described, 340)


def per_class(
    logits: Mapping[str, np.ndarray], labels: np.ndarray, looks: Sequence[style.Series], classes: Sequence[str]
) -> Spec:
    """The share of each class's images that are classified correctly, all networks on one axis.

    Args:
        logits: `[N, K]` by network.
        labels: int `[N]`.
        looks: the networks.
        classes: the names of all K classes; of more than ten, those with the lowest mean accuracy are shown.
    """
    accuracies = {name: np.array(per_class_accuracy(values, labels, len(classes))) for name, values in logits.items()}
    shown = largest_classes(-np.mean(list(accuracies.values()), axis=0))
    rows: list[dict[str, Any]] = [
        {"network": name, "class": classes[index], "accuracy": round(float(values[index]), 5)}
        for name, values in accuracies.items()
        for index in shown
        if np.isfinite(values[index])
    ]
    looks = [look for look in looks if look.name in logits]
    heading = "Share of the class's images that are correct"
    y = alt.Y("class:N", sort=[classes[i] for i in shown], title=None, axis=alt.Axis(ticks=False))
    base = alt.Chart(data(rows)).encode(y=y)
    span = base.mark_rule(color=style.NEUTRAL, opacity=0.5).encode(
        x=alt.X("min(accuracy):Q", title=heading), x2="max(accuracy):Q"
    )
    points = base.mark_point(size=area(100), filled=True, strokeWidth=1.8).encode(
        x=alt.X("accuracy:Q", title=heading, axis=alt.Axis(format=".2~%"), scale=alt.Scale(zero=False)),
        color=style.color(looks),
        shape=style.shape(looks),
        tooltip=tooltips(("network:N", "Network"), ("class:N", "Class"), ("accuracy:Q", "Correct", ".1%")),
    )
    worst = min(rows, key=lambda row: row["accuracy"])
    described = f"Accuracy by class; the lowest is {worst['class']} by {worst['network']}, {worst['accuracy']:.1%}"
    selection = describe_selection(len(shown), len(classes), "the least accurate")
    return spec([span, points], title("Accuracy by class", selection), described, 27 * len(shown))
