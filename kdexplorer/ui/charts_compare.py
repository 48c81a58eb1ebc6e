"""Charts of networks side by side: cost, calibration, classes, confusion. No streamlit."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from kdexplorer.metrics import calibration_bins, confusion, log_softmax, per_class_accuracy
from kdexplorer.ui import style
from kdexplorer.ui.charts import FIT, Spec, spec, title

COSTS: dict[str, tuple[str, str, float]] = {
    "multiply_adds": ("Multiply-adds", "Multiply-adds of one image (millions)", 1e-6),
    "parameters": ("Parameters", "Parameters (thousands)", 1e-3),
    "size": ("Size on disk", "Weights on disk (kB)", 1e-3),
    "latency": ("Latency", "Time for one image on this machine (ms)", 1e3),
}
"""What a network costs: key of a table's row to short name, axis title and factor."""

ASIDE = 9
"""Pixels between networks that cost the same."""


def accuracy_cost(table: list[dict[str, Any]], looks: Sequence[style.Series], cost: str) -> Spec | None:
    """Accuracy with its interval against what the network costs; None where the cost is not known."""
    short, unit, factor = COSTS[cost]
    rows = [
        {
            "network": row["name"],
            "cost": row[cost] * factor,
            "accuracy": row["accuracy"],
            "low": row["accuracy_low"],
            "high": row["accuracy_high"],
        }
        for row in table
        if row.get(cost)
    ]
    if not rows:
        return None
    for row in rows:  # networks of one architecture cost the same: beside each other, their intervals can be told apart
        equal = [other["network"] for other in rows if other["cost"] == row["cost"]]
        row["aside"] = ASIDE * (equal.index(row["network"]) - (len(equal) - 1) / 2)
    looks = [look for look in looks if any(row["network"] == look.name for row in rows)]
    x = alt.X(
        "cost:Q",
        title=unit,
        scale=alt.Scale(
            type="log", nice=False, domain=[min(c["cost"] for c in rows) / 1.5, max(c["cost"] for c in rows) * 1.5]
        ),
        axis=alt.Axis(format=",~r", tickCount=5),
    )
    y = alt.Y(
        "accuracy:Q", title="Accuracy, with 95 % interval", axis=alt.Axis(format=".2~%"), scale=alt.Scale(zero=False)
    )
    tips = [
        alt.Tooltip("network:N", title="Network"),
        alt.Tooltip("cost:Q", title=unit, format=",.4~g"),
        alt.Tooltip("accuracy:Q", title="Accuracy", format=".2%"),
    ]
    base = alt.Chart(style.data(rows)).encode(x=x, color=style.colour(looks), tooltip=tips)
    aside = alt.ExprRef("datum.aside")
    bars = base.mark_rule(strokeWidth=2, xOffset=aside).encode(
        y=alt.Y("low:Q", title="Accuracy, with 95 % interval"), y2="high:Q"
    )
    points = base.mark_point(size=130, filled=True, strokeWidth=2, xOffset=aside).encode(y=y, shape=style.shape(looks))
    return spec(
        alt.layer(bars, points).properties(
            title=title(f"Accuracy against {short.lower()}", "Upper left is better; equal costs stand side by side"),
            height=320,
            width="container",
            autosize=FIT,
            description=f"Accuracy against {short.lower()}: "
            + "; ".join(f"{row['network']} {row['accuracy']:.1%} at {row['cost']:.3g}" for row in rows),
        )
    )


def reliability(logits: dict[str, np.ndarray], labels: np.ndarray, looks: Sequence[style.Series]) -> Spec:
    """How often an answer of a given confidence is right; on the diagonal a network is calibrated."""
    rows = [
        {"network": name, **{key: round(value, 5) for key, value in row.items()}}
        for name, values in logits.items()
        for row in calibration_bins(values, labels, bins=10)
    ]
    looks = [look for look in looks if look.name in logits]
    unit = alt.Scale(domain=[0, 1])
    x = alt.X("confidence:Q", title="Mean confidence of the bin", scale=unit, axis=alt.Axis(format=".0%"))
    y = alt.Y("accuracy:Q", title="Share that is right", scale=unit, axis=alt.Axis(format=".0%"))
    tips = [
        alt.Tooltip("network:N", title="Network"),
        alt.Tooltip("confidence:Q", title="Confidence", format=".1%"),
        alt.Tooltip("accuracy:Q", title="Right", format=".1%"),
        alt.Tooltip("count:Q", title="Images"),
    ]
    base = alt.Chart(style.data(rows)).encode(x=x, y=y, color=style.colour(looks), tooltip=tips)
    ends = style.data([{"confidence": 0, "accuracy": 0}, {"confidence": 1, "accuracy": 1}])
    diagonal = alt.Chart(ends).mark_line(color=style.NEUTRAL, strokeDash=[4, 4]).encode(x=x, y=y)
    return spec(
        alt.layer(
            diagonal,
            base.mark_line().encode(strokeDash=style.dash(looks), strokeWidth=style.width(looks)),
            base.mark_point(size=70, filled=True, strokeWidth=1.5).encode(shape=style.shape(looks)),
        ).properties(
            title=title(
                "Is a confident answer right as often as it says?", "Below the grey diagonal: too sure of itself"
            ),
            height=340,
            width="container",
            autosize=FIT,
            description="Reliability diagram in ten bins of confidence: "
            + "; ".join(
                f"{name} is right on {np.mean(values.argmax(axis=1) == labels):.1%} at a mean confidence of "
                f"{np.exp(log_softmax(values)).max(axis=1).mean():.1%}"
                for name, values in logits.items()
            ),
        )
    )


def per_class(
    logits: dict[str, np.ndarray], labels: np.ndarray, looks: Sequence[style.Series], classes: Sequence[str]
) -> Spec:
    """The share of each class's images that are right, all networks on one axis."""
    rows = [
        {"network": name, "class": classes[number], "accuracy": round(value, 5)}
        for name, values in logits.items()
        for number, value in enumerate(per_class_accuracy(values, labels, len(classes)))
        if value == value
    ]
    looks = [look for look in looks if look.name in logits]
    y = alt.Y("class:N", sort=list(classes), title=None, axis=alt.Axis(labelLimit=140, ticks=False))
    x = alt.X(
        "accuracy:Q",
        title="Share of the class's images that are right",
        axis=alt.Axis(format=".2~%"),
        scale=alt.Scale(zero=False),
    )
    tips = [
        alt.Tooltip("network:N", title="Network"),
        alt.Tooltip("class:N", title="Class"),
        alt.Tooltip("accuracy:Q", title="Right", format=".1%"),
    ]
    base = alt.Chart(style.data(rows)).encode(y=y)
    span = base.mark_rule(color=style.NEUTRAL, opacity=0.5).encode(
        x=alt.X("min(accuracy):Q", title="Share of the class's images that are right"), x2="max(accuracy):Q"
    )
    points = base.mark_point(size=100, filled=True, strokeWidth=1.8).encode(
        x=x, color=style.colour(looks), shape=style.shape(looks), tooltip=tips
    )
    worst = min(rows, key=lambda row: row["accuracy"])
    return spec(
        alt.layer(span, points).properties(
            title=title("Which classes are hard, and for whom"),
            height=alt.Step(27),
            width="container",
            autosize=FIT,
            description=(
                f"Accuracy by class; the lowest is {worst['class']} by {worst['network']}, {worst['accuracy']:.1%}"
            ),
        )
    )


def confusion_map(logits: np.ndarray, labels: np.ndarray, classes: Sequence[str], name: str) -> Spec:
    """How often each true class is taken for each class, a row sums to 100 %."""
    shares = confusion(logits, labels, len(classes))
    off = shares - np.diag(np.diag(shares))
    true, taken = np.unravel_index(int(off.argmax()), off.shape)
    scale = alt.Scale(scheme="cividis", domain=[0, 1], type="pow", exponent=0.5)
    colour = alt.Color("share:Q", scale=scale, legend=_bar("Share of the true class (square-root scale)", ".0%"))
    return spec(
        _cells(shares, classes, colour, ".0%", 0.005, "datum.share > 0.35").properties(
            title=title(f"{name}: what is taken for what"),
            description=f"Confusion matrix of {name}; most often {classes[true]} is taken for {classes[taken]}, "
            f"{off[true, taken]:.1%} of its images",
        )
    )


def confusion_difference(
    first: np.ndarray, second: np.ndarray, labels: np.ndarray, classes: Sequence[str], names: tuple[str, str]
) -> Spec:
    """The first network's confusion minus the second's, in points, on a scale that is symmetric about zero."""
    points = 100 * (confusion(first, labels, len(classes)) - confusion(second, labels, len(classes)))
    reach = max(1.0, float(np.abs(points).max()))
    i, j = np.unravel_index(int(np.abs(points).argmax()), points.shape)
    scale = alt.Scale(scheme="blueorange", domain=[-reach, reach], domainMid=0)
    colour = alt.Color("share:Q", scale=scale, legend=_bar("Difference (points of the true class)", "+.0f"))
    return spec(
        _cells(points, classes, colour, "+.0f", 0.5, f"abs(datum.share) < {0.6 * reach}").properties(
            title=title("The difference of the two", f"{names[0]} minus {names[1]}"),
            description=(
                f"Difference of the confusion matrices, {names[0]} minus {names[1]}; largest: {classes[i]} taken for "
                f"{classes[j]}, {points[i, j]:+.1f} points"
            ),
        )
    )


def _bar(heading: str, form: str) -> alt.Legend:
    lines = textwrap.wrap(heading, 26)  # a telephone's plot is no wider
    return alt.Legend(orient="bottom", title=lines, format=form, gradientLength=190, tickCount=5)


def _cells(
    values: np.ndarray, classes: Sequence[str], colour: alt.Color, form: str, least: float, dark_text: str
) -> alt.LayerChart:
    rows = [
        {"true": classes[i], "answer": classes[j], "share": round(float(values[i, j]), 4)}
        for i in range(len(classes))
        for j in range(len(classes))
    ]
    axis = alt.Axis(labelLimit=110, ticks=False, domain=False, grid=False)
    base = alt.Chart(style.data(rows)).encode(
        x=alt.X(
            "answer:N",
            sort=list(classes),
            title="Answer",
            axis=alt.Axis(labelAngle=-60, labelOverlap=False, labelLimit=110, ticks=False, domain=False, grid=False),
        ),
        y=alt.Y("true:N", sort=list(classes), title="True class", axis=axis),
        tooltip=[
            alt.Tooltip("true:N", title="True class"),
            alt.Tooltip("answer:N", title="Answer"),
            alt.Tooltip("share:Q", title="Value", format="+.1f" if "+" in form else ".1%"),
        ],
    )
    numbers = (
        base.transform_calculate(
            text=f"format(datum.share {'' if '+' in form else '* 100'}, '{'+.0f' if '+' in form else '.0f'}')"
        )
        .transform_filter(f"abs(datum.share) >= {least}")
        .mark_text(fontSize=11)
        .encode(text="text:N", color=alt.condition(dark_text, alt.value("#111111"), alt.value("#FFFFFF")))
    )
    return alt.layer(base.mark_rect().encode(color=colour), numbers).properties(
        height=380, width="container", autosize=FIT
    )
