"""Bars of one probability vector, and accuracies with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np

from kdexplorer.analysis.records import ResultRow
from kdexplorer.charts import style
from kdexplorer.charts.common import FIT, INK, Spec, data, describe_selection, select_classes, spec, title


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
    rows: list[dict[str, Any]] = [
        {
            "class": f"★ {classes[index]}" if index == label else classes[index],
            "p": float(probabilities[index]),
            "percent": f"{probabilities[index]:.0%}",
        }
        for index in shown
    ]
    base = alt.Chart(data(rows)).encode(
        x=alt.X(
            "p:Q",
            title="probability",
            scale=alt.Scale(domain=[0, 1.15]),
            axis=alt.Axis(format=".0%", values=[0, 0.5, 1]),
        ),
        y=alt.Y("class:N", sort=[row["class"] for row in rows], title=None),
        tooltip=["class:N", alt.Tooltip("p:Q", format=".2%", title="probability")],
    )
    bars = base.mark_bar(color=style.look_of(role).color)
    text = base.transform_filter("datum.p >= 0.005").mark_text(color=INK, align="left", dx=4, fontSize=13)
    top = ", ".join(f"{classes[k]} {probabilities[k]:.0%}" for k in np.argsort(-probabilities)[:3])
    selection = describe_selection(len(shown), len(classes), "the most probable")
    chart = alt.layer(bars, text.encode(text="percent:N")).properties(
        height=27 * len(rows),
        autosize=FIT,
        title=title(heading, subtitle, selection),
        description=f"{heading}, {subtitle}: {top}.",
    )
    return spec(chart)


def accuracies(rows: Sequence[ResultRow], roles: Mapping[str, str]) -> Spec:
    """Test accuracy with its 95 % interval, a line a network; `roles` by the rows' names."""
    looks = style.series({row.name: roles[row.name] for row in rows})
    points = [
        {
            "network": row.name,
            "accuracy": 100 * row.accuracy,
            "low": 100 * row.accuracy_low,
            "high": 100 * row.accuracy_high,
        }
        for row in rows
    ]
    names = [look.name for look in looks]
    y = alt.Y("network:N", sort=names, title=None, axis=alt.Axis(labelLimit=260))
    base = alt.Chart(data(points)).encode(y=y, color=style.color(looks).legend(None))
    axis = alt.X(
        "low:Q", title="test accuracy (%)", scale=alt.Scale(zero=False, padding=12), axis=alt.Axis(tickCount=5)
    )
    intervals = base.mark_rule(strokeWidth=4, opacity=0.5).encode(x=axis, x2="high:Q")
    marks = base.mark_point(size=170, filled=True, opacity=1).encode(
        x=alt.X("accuracy:Q", title="test accuracy (%)"),
        shape=style.shape(looks).legend(None),
        tooltip=["network:N", alt.Tooltip("accuracy:Q", format=".2f", title="accuracy (%)")],
    )
    chart = alt.layer(intervals, marks).properties(
        height=36 * len(names),
        autosize=FIT,
        title=title("Test accuracy of each network", "lines: 95 % interval"),
        description="Accuracy: " + ", ".join(f"{row.name} {100 * row.accuracy:.1f} %" for row in rows) + ".",
    )
    return spec(chart)
