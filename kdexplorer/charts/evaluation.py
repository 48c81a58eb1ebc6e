"""Networks side by side: accuracy, losses, cost, calibration, classes, and whose errors a student repeats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import altair as alt
import numpy as np

from kdexplorer.analysis.measures import MEASURES
from kdexplorer.analysis.metrics import accuracy, calibration_bins, per_class_accuracy, softmax
from kdexplorer.analysis.results import ResultRow
from kdexplorer.analysis.verdicts import OWN, REPEATED, RIGHT, Outcomes, share_of
from kdexplorer.charts import style
from kdexplorer.charts.common import INK, Spec, data, describe_selection, join_parts, largest_classes, spec, tooltips
from kdexplorer.charts.studies import figure_chart
from kdexplorer.charts.style import DESIGN_EM, area, em
from kdexplorer.studies.experiments.base import Plot, Point

_LOSSES = ("cross-entropy", "objective")


def accuracies(rows: Sequence[ResultRow], roles: Mapping[str, str]) -> Spec | None:
    """Test accuracy with its 95 % interval, a line a network; `roles` by the rows' names."""
    points = tuple(
        Point(r.name, 100 * r.accuracy, label=r.name, low=100 * r.accuracy_low, high=100 * r.accuracy_high)
        for r in rows
    )
    said = "Accuracy of each network", "lines: 95 % interval", "accuracy (%)"
    return figure_chart(Plot("dots", *said, points, {row.name: roles[row.name] for row in rows}))


def _keep_end(letters: int) -> dict[str, Any]:
    """For an axis of networks' names before so many letters: of what is too long the middle of the name is left out."""
    name = f"truncate(slice(datum.label, 0, -{letters}), {38 - letters}, 'center')"
    return {"labelLimit": em(360), "labelExpr": f"{name} + slice(datum.label, -{letters})"}


def losses(rows: Sequence[ResultRow], roles: Mapping[str, str]) -> Spec:
    """Cross-entropy and objective of each network as two bars beside its accuracy; `roles` by the rows' names."""
    looks = style.series({row.name: roles[row.name] for row in rows})
    names = {row.name: f"{row.name}, {row.accuracy:.1%}" for row in rows}
    points: list[dict[str, Any]] = [
        {"network": row.name, "line": names[row.name], "loss": loss, "value": value, "text": f"{loss} {value:.3f}"}
        for row in rows
        for loss, value in zip(_LOSSES, (row.cross_entropy, row.objective), strict=True)
        if value is not None
    ]
    top = max((point["value"] for point in points), default=1.0)
    scale, axis = alt.Scale(domain=[0, 1.4 * top]), alt.Axis(tickCount=7)
    base = alt.Chart(data(points)).encode(
        x=alt.X("value:Q", title="loss (nats; objectives in units of their own)", scale=scale, axis=axis),
        y=alt.Y("line:N", sort=list(names.values()), title=None, axis=alt.Axis(**_keep_end(7))),
        yOffset=alt.YOffset("loss:N", sort=list(_LOSSES)),
        tooltip=tooltips(("network:N", "network"), ("loss:N", "loss"), ("value:Q", "value", ".3f")),
    )
    opacity = alt.condition(f"datum.loss == '{_LOSSES[0]}'", alt.value(1.0), alt.value(0.45))
    marks = base.mark_bar().encode(color=style.color(looks).legend(None), opacity=opacity)
    text = base.mark_text(color=INK, align="left", dx=em(4)).encode(text="text:N")
    said = "; ".join(f"{point['line']}: {point['text']}" for point in points)
    heading = "Cross-entropy and objective of each network"
    return spec([marks, text], heading, "beside its name: accuracy", f"Losses: {said}.", 52 * len(rows))


COSTS = {key: MEASURES[key] for key in ("multiply_adds", "parameters", "size", "latency")}
COSTS["parameters"] = replace(COSTS["parameters"], scale=1e-3, axis="Parameters (thousands)")
COSTS["size"] = replace(COSTS["size"], label="Size on disk")
"""What a network costs, by the attribute of a result row."""

ASIDE = 9
"""Pixels between networks that cost the same."""


def accuracy_cost(rows: Sequence[ResultRow], looks: Sequence[style.Series], cost: str) -> Spec | None:
    """Accuracy with its interval against a cost (a key of `COSTS`); None where the cost of these looks is unknown."""
    facts, names = COSTS[cost], {look.name for look in looks}
    points: list[dict[str, Any]] = [
        {"network": row.name, "cost": value * facts.scale, "accuracy": row.accuracy}
        | {"low": row.accuracy_low, "high": row.accuracy_high}
        for row in rows
        if row.name in names and (value := getattr(row, cost))
    ]
    if not points:
        return None
    for point in points:  # intervals of equal cost must not overlap
        equal = [other["network"] for other in points if other["cost"] == point["cost"]]
        point["aside"] = ASIDE * (equal.index(point["network"]) - (len(equal) - 1) / 2)
    looks = [look for look in looks if any(point["network"] == look.name for point in points)]
    costs = [point["cost"] for point in points]
    ends = [min(costs) / 1.5, max(costs) * 1.5]
    scale, axis = alt.Scale(type="log", nice=False, domain=ends), alt.Axis(format=",~r", tickCount=5)
    base = alt.Chart(data(points)).encode(
        x=alt.X("cost:Q", title=facts.axis_title, scale=scale, axis=axis),
        color=style.color(looks),
        tooltip=tooltips(
            ("network:N", "Network"), ("cost:Q", facts.axis_title, ",.4~g"), ("accuracy:Q", "Accuracy", ".2%")
        ),
    )
    beside, heading = alt.ExprRef(f"datum.aside * em / {DESIGN_EM}"), "Accuracy, with 95 % interval"
    intervals = base.mark_rule(strokeWidth=em(2), xOffset=beside).encode(y=alt.Y("low:Q", title=heading), y2="high:Q")
    markers = base.mark_point(size=area(130), filled=True, strokeWidth=2, xOffset=beside).encode(
        y=alt.Y("accuracy:Q", title=heading, axis=alt.Axis(format=".2~%"), scale=alt.Scale(zero=False)),
        shape=style.shape(looks),
    )
    against = f"Accuracy against {facts.label.lower()}"
    listed = "; ".join(f"{point['network']} {point['accuracy']:.1%} at {point['cost']:.3g}" for point in points)
    aside = "; equal costs are side by side" if any(point["aside"] for point in points) else ""
    return spec([intervals, markers], against, f"Upper left is better{aside}", f"{against}: {listed}", 225)


LEAST_IN_BIN = 20
"""Images of a point in the reliability diagram: of fewer, the share that is correct is mostly chance."""


def reliability(
    logits: Mapping[str, np.ndarray], labels: np.ndarray, looks: Sequence[style.Series], scaled: bool = False
) -> Spec:
    """How often a prediction of a given confidence is right; on the diagonal a network is calibrated.

    Of logits `[N, K]` by network, with `scaled` those after temperature scaling, labels, int `[N]`, and the looks of
    these and perhaps other networks.
    """
    rows = [
        {"network": name, **{key: round(value, 5) for key, value in row.items()}}
        for name, values in logits.items()
        for row in calibration_bins(values, labels, bins=10)
        if row["count"] >= LEAST_IN_BIN
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
    tolerance = alt.Chart(data(rows)).transform_calculate(
        low="max(0, datum.confidence - 1.96 * datum.noise)", high="min(1, datum.confidence + 1.96 * datum.noise)"
    )
    ends = data([{"confidence": 0, "accuracy": 0}, {"confidence": 1, "accuracy": 1}])
    means = (
        f"{name} has {accuracy(values, labels):.1%} accuracy at a mean confidence of "
        f"{softmax(values).max(axis=1).mean():.1%}"
        for name, values in logits.items()
    )
    layers = [
        tolerance.mark_rule(color=style.NEUTRAL, strokeWidth=em(7), opacity=0.35).encode(
            x=x, y=alt.Y("low:Q", title="Share of correct predictions", **unit), y2="high:Q"
        ),
        alt.Chart(ends).mark_line(color=style.NEUTRAL, strokeDash=[4, 4]).encode(x=x, y=y),
        base.mark_line().encode(strokeDash=style.dash(looks, False), strokeWidth=style.width(looks, False)),
        base.mark_point(size=area(80), filled=True, strokeWidth=1.5).encode(shape=style.shape(looks)),
    ]
    after = "after temperature scaling" if scaled else ""
    cues = "Below the diagonal: overconfident; gray: where sampling alone puts 95 %"
    few = f"bins of fewer than {LEAST_IN_BIN} images are left out"
    described = f"Reliability diagram in ten bins of confidence{', ' * scaled}{after}: " + "; ".join(means)
    heading = "Accuracy of predictions by their confidence"
    return spec(layers, heading, join_parts(cues, few, after), described, 270)


def per_class(
    logits: Mapping[str, np.ndarray], labels: np.ndarray, looks: Sequence[style.Series], classes: Sequence[str]
) -> Spec:
    """The share of each class's images that are classified correctly, all networks on one axis.

    Of logits `[N, K]` by network, labels, int `[N]`, and the looks of these and perhaps other networks. Of more than
    ten classes, those with the lowest mean accuracy are shown.
    """
    accuracies = {name: per_class_accuracy(values, labels) for name, values in logits.items()}
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
    lowest = f"{worst['class']} by {worst['network']}, {worst['accuracy']:.1%}"
    described = f"Accuracy by class; the lowest of those shown is {lowest}"
    selection = describe_selection(len(shown), len(classes), "the least accurate")
    return spec([span, points], "Accuracy by class", selection, described, 27 * len(shown))


OUTCOMES = {RIGHT: "#009E73", REPEATED: "#D55E00", OWN: style.NEUTRAL}
"""Outcomes in their order along a bar, with their colors; the order and the numbers are the second cue."""


def inheritance(counts: Mapping[str, Outcomes], teacher: str) -> Spec:
    """Each network's predictions as bars of shares, on the images that the teacher gets wrong and on the others."""
    rows: list[dict[str, Any]] = []  # one for each part of a bar
    for name, one in counts.items():
        for where, outcomes in one.items():
            for place, (outcome, count) in enumerate(outcomes.items()):
                share = count / (sum(outcomes.values()) or 1)
                row = {"bar": f"{name}, teacher {where}", "outcome": outcome, "images": count, "share": share}
                rows.append(row | {"place": place, "text": f"{share:.0%}" if share >= 0.06 else ""})
    order = [f"{name}, teacher {where}" for where in ("wrong", "right") for name in counts]
    scale = alt.Scale(domain=list(OUTCOMES), range=list(OUTCOMES.values()))
    legend = alt.Legend(orient="bottom", columns=1, title=None, labelLimit=0)
    axis = alt.Axis(format=".0%", tickCount=5)
    base = alt.Chart(data(rows)).encode(
        x=alt.X("share:Q", stack="zero", title="Share of the images", axis=axis, scale=alt.Scale(domain=[0, 1])),
        y=alt.Y("bar:N", sort=order, title=None, axis=alt.Axis(ticks=False, **_keep_end(15))),
        order="place:Q",
        tooltip=tooltips(
            ("bar:N", "Network"), ("outcome:N", "Predicts"), ("images:Q", "Images", ","), ("share:Q", "Share", ".1%")
        ),
    )
    bars = base.mark_bar().encode(color=alt.Color("outcome:N", scale=scale, legend=legend))
    middle = alt.X("share:Q", stack="zero", bandPosition=0.5, title="Share of the images")
    numbers = base.mark_text(color="#000000").encode(x=middle, detail="outcome:N", text="text:N")
    wrong, right = (sum(outcomes.values()) for outcomes in next(iter(counts.values())).values())
    images = f"on the {wrong:,} images that it gets wrong, and the {right:,} that it gets right"
    heading = f"Predictions on {teacher}'s errors"
    described = "; ".join(
        f"{name}: where {teacher} is wrong, right on {share_of(one, 'wrong', RIGHT):.1%} and the same wrong class on "
        f"{share_of(one, 'wrong', REPEATED):.1%}; where it is right, right on {share_of(one, 'right', RIGHT):.1%}"
        for name, one in counts.items()
    )
    return spec([bars, numbers], heading, images, f"Error inheritance. {described}", 34 * len(order))
