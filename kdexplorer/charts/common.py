"""What all charts share: specifications, titles, and which classes are shown.

A chart is a Vega-Lite specification, a dict, built by Altair. Large charts that are redrawn often are built once per
shape (how many networks, how many classes), and rows and values are put into a copy: for the mirrored bars building
takes a hundred times as long.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np

from kdexplorer.charts import style

alt.theme.enable("none")  # the page's theme is applied in the browser

Spec = dict[str, Any]
"""A Vega-Lite specification."""

INK = "currentColor"
"""For text in a chart: the page's own text color, in the light theme and in the dark one (charts are SVG)."""

FIT = alt.AutoSizeParams(type="fit-x", contains="padding")
"""The width is the page's; title, axes and legend add to the height instead of shrinking the plot."""

CLASS_LIMIT = 10
"""Charts with a row or a column for each class show so many."""


@dataclass(frozen=True)
class NetworkLogits:
    """One network's logits `[K]` of the image, its name in the chart, and its role (see `style.role_of`)."""

    name: str
    role: str
    logits: np.ndarray

    @property
    def shifted(self) -> np.ndarray:
        """The logits less the largest one, so that no exponential overflows."""
        return self.logits - self.logits.max()


def fresh_student(teacher: NetworkLogits) -> NetworkLogits:
    """A student before its training, beside a teacher: its logits count as zero, so all classes are as probable."""
    return NetworkLogits(style.FRESH, style.FRESH, np.zeros_like(teacher.logits))


def spec(
    layers: Sequence[alt.Chart], heading: alt.TitleParams, description: str, height: Any, *params: alt.Parameter
) -> Spec:
    """The specification of layers, as wide as the page; see `title` for the heading.

    Not validated, which would take longer than all else: tests validate each chart. Labels are aligned with their row:
    Streamlit's theme moves the first and the last one inwards.
    """
    chart = alt.layer(*layers).properties(title=heading, height=height, width="container", autosize=FIT)
    filled = chart.properties(description=description).add_params(*params).to_dict(validate=False)
    return filled | {"config": {"axisY": {"labelFlush": False}}}


def fill_shape(
    shape: Spec, datasets: dict[str, list[dict[str, Any]]], values: dict[str, Any], title: Spec, description: str
) -> Spec:
    """Copies a shape with everything in it that changes; the shape itself is not modified.

    Args:
        shape: a specification whose marks read named data.
        datasets: the rows by name.
        values: parameters' values by name.
        title: what replaces parts of the shape's title.
        description: the alternative text.
    """
    return shape | {
        "datasets": shape.get("datasets", {}) | datasets,
        "params": [p | {"value": values[p["name"]]} if p["name"] in values else p for p in shape["params"]],
        "title": shape["title"] | title,
        "description": description,
    }


def data(rows: list[dict[str, Any]]) -> alt.Data:
    """Rows of a chart; the specification keeps them apart from what draws them."""
    return alt.InlineData(values=rows)


def tooltips(*fields: tuple[str, ...]) -> list[alt.Tooltip]:
    """Tooltips from fields, each with its title and, if it is a number, the number's format."""
    return [alt.Tooltip(field, title=text, format=form[0] if form else alt.Undefined) for field, text, *form in fields]


def title(text: Any, *subtitles: str, size: Any = 17) -> alt.TitleParams:
    """A chart's title that says what it shows, with smaller parts below, see `break_subtitle`.

    Text is broken to fit a phone's screen; a Vega expression is not, so keep it short.
    """
    text, subtitle = break_lines(text) if isinstance(text, str) else text, break_subtitle(*subtitles)
    lines: dict[str, Any] = {"subtitle": subtitle, "subtitleColor": INK, "subtitleFontSize": 14, "fontSize": size}
    return alt.Title(text=text, anchor="start", frame="bounds", offset=14, **lines)


def break_lines(text: str, width: int = 30) -> str | list[str]:
    """Breaks text into lines of at most so many characters; by default those of a title on a phone."""
    lines = textwrap.wrap(text, width)
    return lines if len(lines) > 1 else text


def break_subtitle(*parts: str) -> str | list[str]:
    """Joins the parts that are not empty and breaks them into lines for a phone."""
    return break_lines("; ".join(filter(None, parts)), 46)


def select_classes(teacher_logits: np.ndarray, label: int | None) -> list[int]:
    """Which classes a chart of one image shows, as indices.

    All in their own order where there are at most `CLASS_LIMIT`; otherwise those to which the teacher gives the largest
    logits, in descending order, and the label's class where it is not among them.
    """
    if len(teacher_logits) <= CLASS_LIMIT:
        return list(range(len(teacher_logits)))
    top = np.argsort(-np.asarray(teacher_logits), kind="stable")[:CLASS_LIMIT].tolist()
    return top if label is None or label in top else [*top, label]


def largest_classes(scores: np.ndarray) -> list[int]:
    """The `CLASS_LIMIT` classes with the largest scores `[K]` in their own order; NaN counts as the smallest."""
    return sorted(np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")[:CLASS_LIMIT].tolist())


def describe_selection(shown: int, count: int, rule: str) -> str:
    """The part of a subtitle that says which classes are shown; empty where all are."""
    if shown == count:
        return ""
    return f"{shown} of {count} classes: {rule}" + (" and the hard label" if shown > CLASS_LIMIT else "")
