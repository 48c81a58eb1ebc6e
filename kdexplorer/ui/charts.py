"""Data to charts, no streamlit. The colours here are the application's: same method, same colour everywhere.

A chart is a Vega-Lite specification, a dict. Altair builds it. Large charts that are drawn again and again are built
once per shape (how many networks, how many classes), and rows and values are put into a copy: for the mirrored bars
building takes a hundred times as long as that.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

alt.theme.enable("none")  # the page's theme is laid over a chart in the browser

Spec = dict[str, Any]
"""A Vega-Lite specification."""

INK = "currentColor"
"""For text in a chart: the page's own text colour, in the light theme and in the dark one (charts are SVG)."""

FIT = alt.AutoSizeParams(type="fit-x", contains="padding")
"""The width is the page's; title, axes and legend come on top of the height, they take nothing from the plot."""

COLOURS = {
    "teacher": "#0072B2",
    "scratch": "#D55E00",
    "response": "#009E73",
    "feature": "#CC79A7",
    "combined": "#E69F00",
}
"""A role's colour, from the Okabe-Ito set: told apart by colour-blind eyes, visible on white and on near-black."""

PEOPLE = "#56B4E9"
"""People's answers: the same set's sky blue."""

DASHES = {"teacher": [1, 0], "scratch": [6, 3], "response": [2, 2], "feature": [10, 3, 2, 3], "combined": [12, 4]}
"""The second cue on lines."""

SHAPES = {
    "teacher": "circle",
    "scratch": "square",
    "response": "triangle-up",
    "feature": "diamond",
    "combined": "triangle-down",
}
"""The second cue on points."""

MARKS = {"teacher": "●", "scratch": "■", "response": "▲", "feature": "◆", "combined": "▼"}
"""The same shapes as characters, where a page is text."""

ROLE_NAMES = {
    "teacher": "teacher",
    "scratch": "from scratch",
    "response": "response-based",
    "feature": "feature-based",
    "combined": "combined",
}


def role(checkpoint: Any, teacher: Any = None) -> str:
    """A network's role: `teacher`, `scratch`, `response`, `feature` or `combined`.

    Where the page has a chosen teacher, give it and it alone is one. Else a network is taken for a teacher when it
    learnt from labels alone and is not called a scratch student.
    """
    method = checkpoint.card.get("method") or "scratch"
    if teacher is not None:
        return "teacher" if checkpoint.sha256 == teacher.sha256 else method if method in COLOURS else "scratch"
    if method == "scratch" and "scratch" not in checkpoint.name.lower():
        return "teacher"
    return method if method in COLOURS else "scratch"


def spec(chart: alt.TopLevelMixin) -> Spec:
    """A chart's specification. Not validated here, which would take longer than all else: tests validate each chart.

    Labels stand at their row: Streamlit's theme moves the first and the last one inwards.
    """
    return chart.to_dict(validate=False) | {"config": {"axisY": {"labelFlush": False}}}


def filled(shape: Spec, datasets: dict[str, list[dict[str, Any]]], values: dict[str, Any], **top: Any) -> Spec:
    """A copy of a shape with everything in it that changes; the shape itself is left alone.

    Args:
        shape: a specification whose marks read named data.
        datasets: the rows by name.
        values: parameters' values by name.
        top: what is put over the shape's top level; a `title` (a dict) over the shape's title.
    """
    params = [p | {"value": values[p["name"]]} if p["name"] in values else p for p in shape["params"]]
    title = shape["title"] | top.pop("title", {})
    return shape | {"datasets": shape.get("datasets", {}) | datasets, "params": params, "title": title} | top


def title(text: Any, subtitle: str = "", size: Any = 17) -> alt.TitleParams:
    """A chart's title that says what it shows, with a smaller second part.

    Text breaks before it runs out of a telephone's screen; a Vega expression does not, so keep it short.
    """
    return alt.Title(
        text=broken(text) if isinstance(text, str) else text,
        subtitle=broken(subtitle, 46),
        subtitleColor=INK,
        subtitleFontSize=14,
        fontSize=size,
        anchor="start",
        frame="bounds",
        offset=14,
    )


def broken(text: str, width: int = 30) -> str | list[str]:
    """Text as lines of so many characters at the most; by default those of a title on a telephone."""
    lines = textwrap.wrap(text, width)
    return lines if len(lines) > 1 else text


def answer(
    probabilities: np.ndarray, classes: Sequence[str], label: int | None, role_: str, heading: str, subtitle: str
) -> Spec:
    """One network's answer to one image (or people's: `people`), a bar a class, the hard label starred."""
    names = [f"★ {name}" if index == label else name for index, name in enumerate(classes)]
    frame = pd.DataFrame({"class": names, "p": probabilities, "percent": [f"{p:.0%}" for p in probabilities]})
    base = alt.Chart(frame).encode(
        x=alt.X(
            "p:Q",
            title="probability",
            scale=alt.Scale(domain=[0, 1.15]),
            axis=alt.Axis(format=".0%", values=[0, 0.5, 1]),
        ),
        y=alt.Y("class:N", sort=names, title=None),
        tooltip=["class:N", alt.Tooltip("p:Q", format=".2%", title="probability")],
    )
    bars = base.mark_bar(color=COLOURS.get(role_, PEOPLE))
    text = base.transform_filter("datum.p >= 0.005").mark_text(color=INK, align="left", dx=4, fontSize=13)
    shown = ", ".join(f"{classes[k]} {probabilities[k]:.0%}" for k in np.argsort(-probabilities)[:3])
    chart = alt.layer(bars, text.encode(text="percent:N")).properties(
        height=270, autosize=FIT, title=title(heading, subtitle), description=f"{heading}, {subtitle}: {shown}."
    )
    return spec(chart)


def accuracies(rows: Sequence[dict[str, Any]]) -> Spec:
    """Test accuracy with its 95 % interval, a line per network; rows have `name`, `role` and `table.rows`' numbers."""
    frame = pd.DataFrame(rows)
    names, roles = list(frame["name"]), list(frame["role"])
    y = alt.Y("name:N", sort=names, title=None, axis=alt.Axis(labelLimit=260))
    percent = {key: 100 * frame[key] for key in ("accuracy", "accuracy_low", "accuracy_high")}
    base = alt.Chart(frame.assign(**percent)).encode(
        y=y, color=alt.Color("name:N", scale=alt.Scale(domain=names, range=[COLOURS[r] for r in roles]), legend=None)
    )
    axis = alt.X(
        "accuracy_low:Q", title="test accuracy (%)", scale=alt.Scale(zero=False, padding=12), axis=alt.Axis(tickCount=5)
    )
    intervals = base.mark_rule(strokeWidth=4, opacity=0.5).encode(x=axis, x2="accuracy_high:Q")
    points = base.mark_point(size=170, filled=True, opacity=1).encode(
        x=alt.X("accuracy:Q", title="test accuracy (%)"),
        shape=alt.Shape("name:N", scale=alt.Scale(domain=names, range=[SHAPES[r] for r in roles]), legend=None),
        tooltip=["name:N", alt.Tooltip("accuracy:Q", format=".2f", title="accuracy (%)")],
    )
    chart = alt.layer(intervals, points).properties(
        height=36 * len(names),
        autosize=FIT,
        title=title("How accurate each network is", "lines: 95 % interval"),
        description="Accuracy: " + ", ".join(f"{r['name']} {100 * r['accuracy']:.1f} %" for r in rows) + ".",
    )
    return spec(chart)
