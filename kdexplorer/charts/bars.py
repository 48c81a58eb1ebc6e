"""Bars of one probability vector, and accuracies with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np

from kdexplorer.analysis.tables import ResultRow
from kdexplorer.charts import style
from kdexplorer.charts.common import INK, Spec, data, describe_selection, select_classes, spec, title, tooltips
from kdexplorer.charts.sizes import area, em


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
