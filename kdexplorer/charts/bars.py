"""Bars of one probability vector, and accuracies with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np

from kdexplorer.analysis.metrics import softmax
from kdexplorer.analysis.results import ResultRow
from kdexplorer.charts import style
from kdexplorer.charts.common import (
    INK,
    NetworkLogits,
    Spec,
    data,
    describe_selection,
    select_classes,
    spec,
    title,
    tooltips,
)
from kdexplorer.charts.sizes import area, em

_LOSSES = ("cross-entropy", "objective")


def probability_bars(
    probabilities: np.ndarray,
    classes: Sequence[str],
    label: int | None,
    role: str,
    heading: str,
    subtitle: str,
    shown: Sequence[int] | None = None,
) -> Spec:
    """One image's probabilities, a bar a class, the hard label starred.

    Args:
        probabilities: `[K]`, a network's or the shares of annotators (`style.HUMAN`).
        classes: the names of all K classes.
        label: the hard label, or None where there is none.
        role: see `style.role_of`.
        heading: the title.
        subtitle: its second part.
        shown: indices of the classes to show; by default see `select_classes`, with these probabilities as logits.
    """
    shown = select_classes(probabilities, label) if shown is None else shown
    names = {index: f"★ {classes[index]}" if index == label else classes[index] for index in shown}
    rows = [
        {"class": name, "p": float(probabilities[index]), "percent": f"{probabilities[index]:.0%}"}
        for index, name in names.items()
    ]
    axis = alt.Axis(format=".0%", values=[0, 0.5, 1])
    base = alt.Chart(data(rows)).encode(
        x=alt.X("p:Q", title="probability", scale=alt.Scale(domain=[0, 1.25]), axis=axis),
        y=alt.Y("class:N", sort=list(names.values()), title=None),
        tooltip=tooltips(("class:N", "class"), ("p:Q", "probability", ".2%")),
    )
    bars = base.mark_bar(color=style.look_of(role).color)
    text = base.transform_filter("datum.p >= 0.005").mark_text(color=INK, align="left", dx=em(4))
    top = ", ".join(f"{classes[k]} {probabilities[k]:.0%}" for k in np.argsort(-probabilities)[:3])
    said = title(heading, subtitle, describe_selection(len(shown), len(classes), "the most probable"))
    return spec([bars, text.encode(text="percent:N")], said, f"{heading}, {subtitle}: {top}.", 27 * len(rows))


def prediction(
    network: NetworkLogits,
    classes: Sequence[str],
    label: int | None,
    temperature: float,
    heading: str,
    shown: Sequence[int] | None = None,
) -> Spec:
    """`probability_bars` of a network's logits, softened by a temperature."""
    probabilities = softmax(network.logits, temperature)
    return probability_bars(
        probabilities, classes, label, network.role, heading, f"{network.name}, T = {temperature:g}", shown
    )


def hard_label(classes: Sequence[str], label: int) -> Spec:
    """The hard label as probabilities: one for its class, zero for every other."""
    probabilities = np.eye(len(classes))[label]
    return probability_bars(probabilities, classes, label, style.HUMAN, "The hard label", classes[label])


def accuracies(rows: Sequence[ResultRow], roles: Mapping[str, str]) -> Spec:
    """Test accuracy with its 95 % interval, a line a network; `roles` by the rows' names."""
    looks = style.series({row.name: roles[row.name] for row in rows})
    points = [
        {"network": r.name, "accuracy": 100 * r.accuracy, "low": 100 * r.accuracy_low, "high": 100 * r.accuracy_high}
        for r in rows
    ]
    y = alt.Y("network:N", sort=[look.name for look in looks], title=None, axis=alt.Axis(labelLimit=em(300)))
    base = alt.Chart(data(points)).encode(y=y, color=style.color(looks).legend(None))
    scale, axis = alt.Scale(zero=False, padding=12), alt.Axis(tickCount=5)
    intervals = base.mark_rule(strokeWidth=em(4), opacity=0.5).encode(
        x=alt.X("low:Q", title="test accuracy (%)", scale=scale, axis=axis), x2="high:Q"
    )
    marks = base.mark_point(size=area(170), filled=True, opacity=1).encode(
        x=alt.X("accuracy:Q", title="test accuracy (%)"),
        shape=style.shape(looks).legend(None),
        tooltip=tooltips(("network:N", "network"), ("accuracy:Q", "accuracy (%)", ".2f")),
    )
    described = "Accuracy: " + ", ".join(f"{row.name} {100 * row.accuracy:.1f} %" for row in rows) + "."
    heading = title("Test accuracy of each network", "lines: 95 % interval")
    return spec([intervals, marks], heading, described, 36 * len(points))


def losses(rows: Sequence[ResultRow], roles: Mapping[str, str]) -> Spec:
    """Cross-entropy and objective of each network as two bars beside its accuracy; `roles` by the rows' names."""
    looks = style.series({row.name: roles[row.name] for row in rows})
    names = {row.name: f"{row.name}, {row.accuracy:.1%}" for row in rows}
    values = [
        (row.name, *loss) for row in rows for loss in zip(_LOSSES, (row.cross_entropy, row.objective), strict=True)
    ]
    points = [
        {"network": name, "line": names[name], "loss": loss, "value": value, "text": f"{loss} {value:.3f}"}
        for name, loss, value in values
        if value is not None
    ]
    top = max((value for *_, value in values if value is not None), default=1.0)
    x = alt.X("value:Q", title="loss (nats; objectives in units of their own)", scale=alt.Scale(domain=[0, 1.4 * top]))
    lines = [names[look.name] for look in looks]
    base = alt.Chart(data(points)).encode(
        x=x,
        y=alt.Y("line:N", sort=lines, title=None, axis=alt.Axis(labelLimit=em(360))),
        yOffset=alt.YOffset("loss:N", sort=list(_LOSSES)),
        tooltip=tooltips(("network:N", "network"), ("loss:N", "loss"), ("value:Q", "value", ".3f")),
    )
    opacity = alt.condition(f"datum.loss == '{_LOSSES[0]}'", alt.value(1.0), alt.value(0.45))
    marks = base.mark_bar().encode(color=style.color(looks).legend(None), opacity=opacity)
    text = base.mark_text(color=INK, align="left", dx=em(4)).encode(text="text:N")
    said = "; ".join(f"{point['line']}: {point['text']}" for point in points)
    heading = title("Cross-entropy and objective of each network", "beside its name: test accuracy")
    return spec([marks, text], heading, f"Losses: {said}.", 52 * len(rows))
