"""What all charts share: specifications, titles, and which classes are shown.

A chart is a Vega-Lite specification, a dict, built by Altair. Large charts that are redrawn often are built once per
shape (how many networks, how many classes), and rows and values are put into a copy: for the soft labels building
takes a hundred times as long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
from altair.utils import schemapi

from kdexplorer.charts import style
from kdexplorer.charts.style import CONFIG, DESIGN_EM, EM, INK

alt.theme.enable("none")  # the page's theme is applied in the browser
schemapi.disable_debug_mode()  # Altair would validate every part while it is made, see `spec`

Spec = dict[str, Any]
"""A Vega-Lite specification."""

Rows = list[dict[str, Any]]
"""A chart's data."""

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


@dataclass(frozen=True)
class Source:
    """What the charts of one picture's predictions are drawn from."""

    logits: list[NetworkLogits]
    """Of the networks, the teacher first."""
    classes: tuple[str, ...]
    label: int | None
    """The hard label; None where there is none."""
    temperature: float
    """Where the slider starts."""
    alpha: float = 0.0
    """The weight of the teacher's term, for the gradient on a student's logits: where its slider starts."""
    student: NetworkLogits | None = None
    """Whose gradient or prediction is shown."""

    @property
    def teacher(self) -> NetworkLogits:
        return self.logits[0]

    @property
    def students(self) -> list[NetworkLogits]:
        return self.logits[1:]


def fresh_student(teacher: NetworkLogits) -> NetworkLogits:
    """A student before its training, beside a teacher: its logits count as zero, so all classes are as probable."""
    return NetworkLogits(style.FRESH, style.FRESH, np.zeros_like(teacher.logits))


def _broken(name: str, width: float) -> dict[str, str]:
    """A parameter's text as lines that fit the chart, as a Vega expression; `width` is a letter's, in `em`.

    At their end there is room for the page's button that saves the chart.
    """
    count = f"max(12, floor(((containerSize()[0] || width) - 3 * em) / ({width} * em)))"
    pattern = f"regexp('(.{{1,' + {count} + '}})( |$)|(.{{' + {count} + '}})', 'g')"
    return {"expr": f"split(trim(replace({name}, {pattern}, '$1$3\\n')), '\\n')"}


_LAYOUT: dict[str, Any] = {
    "title": {
        "text": _broken("heading", 0.62), "fontSize": {"expr": "1.1 * em"},
        "subtitle": _broken("subtitle", 0.52), "subtitleFontSize": {"expr": "em"}, "subtitleColor": INK,
        "anchor": "start", "frame": "bounds", "offset": {"expr": "em / 2"}, "limit": 0,
    },
    # The width is the page's; title, axes and legend add to the height instead of shrinking the plot.
    "width": "container", "height": 300, "autosize": {"type": "fit-x", "contains": "padding"},
    "padding": {"left": 2, "right": 2, "top": 2, "bottom": 6},  # Streamlit's is more, and the first screen is short
    "config": CONFIG,
    # Streamlit would draw thousands of marks on a canvas, where text has not the page's color.
    "usermeta": {"embedOptions": {"renderer": "svg"}},
}  # fmt: skip
"""What all charts have: texts and sizes are in their parameters."""


def spec(
    layers: Sequence[alt.Chart],
    heading: str | alt.ExprRef,
    subtitle: str,
    description: str,
    height: float | str,
    *params: alt.Parameter,
    size: str = EM,
) -> Spec:
    """The specification of layers, as wide as the page; its title breaks into lines where the chart ends.

    Not validated, which would take longer than all else: tests validate each chart.

    Args:
        layers: what is drawn.
        heading: the title, which says what the chart shows, or a Vega expression of it.
        subtitle: a smaller text below it, see `join_parts`.
        description: the alternative text.
        height: of the plot, in pixels in a window of 1280 pixels, or as a Vega expression.
        params: of the chart; those of its text sizes are added.
        size: of the text, `EM` or `PROJECTOR_EM`.
    """
    tall = height if isinstance(height, str) else f"{height / DESIGN_EM:.4g} * em"
    tall = f"({tall}) * (file ? file.taller : 1)"
    own = [
        alt.param(name="file", value=None),
        alt.param(name="em", expr=size),
        alt.param(name="height", expr=tall),
        *params,
        alt.param(name="heading", **({"value": heading} if isinstance(heading, str) else {"expr": heading.expr})),
        alt.param(name="subtitle", value=subtitle),
    ]
    apart, names = dict[str, Rows](), dict[int, alt.NamedData]()
    named = [_name_rows(layer, names, apart) for layer in layers]
    made = alt.layer(*named).add_params(*own).to_dict(validate=False) | _LAYOUT | {"description": description}
    return made | {"datasets": made.get("datasets", {}) | apart} if apart else made


def _name_rows(layer: alt.Chart, names: dict[int, alt.NamedData], apart: dict[str, Rows]) -> alt.Chart:
    """The layer without its rows, which are added to `apart`.

    Altair copies what is in a layer several times, which takes longer than all else where there are thousands of rows.
    `names` are those of rows by their `id`: layers with the same ones have the same name.
    """
    if not isinstance(layer.data, alt.InlineData):
        return layer
    name = names.setdefault(id(layer.data.values), alt.NamedData(f"rows{len(names)}"))
    apart[name.name], layer = layer.data.values, layer.copy(deep=False)
    layer.data = name
    return layer


def fill_shape(shape: Spec, datasets: dict[str, Rows], values: dict[str, Any], description: str) -> Spec:
    """Copies a specification whose marks read named data, with new rows and parameters' values by name."""
    return shape | {
        "datasets": shape.get("datasets", {}) | datasets,
        "params": [p | {"value": values[p["name"]]} if p["name"] in values else p for p in shape["params"]],
        "description": description,
    }


def data(rows: Rows) -> alt.Data:
    """Rows of a chart; the specification keeps them apart from what draws them."""
    return alt.InlineData(values=rows)


def tooltips(*fields: tuple[str, ...]) -> list[alt.Tooltip]:
    """Tooltips from fields, each with its title and, if it is a number, the number's format."""
    return [alt.Tooltip(field, title=text, format=form[0] if form else alt.Undefined) for field, text, *form in fields]


def across(field: str) -> alt.X:
    """A field that is a place in pixels from the left."""
    return alt.X(f"{field}:Q", scale=None, axis=None)


_LETTERS = "max(9, floor((column - em / 4) / (em / 2)))"
"""Of a line of a name in its column; so many have a network's first word, though a narrow column has less room."""
NAMES = f"(1.3 + 1.1 * ceil(longest / {_LETTERS})) * em"
"""The height of what `name_networks` draws, as a Vega expression; `longest` is the length of the longest name."""


def name_networks(base: alt.Chart) -> list[alt.Chart]:
    """At the top of each column the network's color, what it is (teacher, or which student), and its name below.

    Its rows have `network`, `what` and `color` (of its look), and `left`, in pixels; the parameter `column` is a
    column's width. A name has as many lines as it needs.
    """
    pattern = f"regexp('.{{1,' + {_LETTERS} + '}}([-_ ]|$)|.{{' + {_LETTERS} + '}}', 'g')"
    lines = f"replace(datum.network, {pattern}, '$&\\n')"
    short = f"column < 11 * em ? replace(datum.what, '{style.STUDENT}', '') : datum.what"
    base = base.transform_calculate(
        lines=lines, short=short, middle="datum.left + em / 2", begin="datum.left + 1.2 * em"
    )
    text: dict[str, Any] = {"color": INK, "align": "left", "baseline": "top"}
    names = base.mark_text(**text, lineBreak="\n", lineHeight=style.em(19))

    color = alt.Color("color:N", scale=None, legend=None)
    square = base.mark_square(size=style.area(200), opacity=1, aria=False)
    return [
        square.encode(x=across("middle"), y=alt.YValue(style.em(9)), color=color),
        base.mark_text(**text, fontWeight="bold").encode(x=across("begin"), y=alt.YValue(0), text="short:N"),
        names.encode(x=across("left"), y=alt.YValue(style.em(20)), text="lines:N"),
    ]


def format_share(share: float) -> str:
    """A share in percent; what is less than all is never said to be."""
    return "> 99%" if 0.995 <= share < 1 else f"{share:.0%}"


def join_parts(*parts: str) -> str:
    """A subtitle of the parts that are not empty."""
    return "; ".join(filter(None, parts))


def select_classes(teacher_logits: np.ndarray, label: int | None) -> list[int]:
    """Which classes a chart of one image shows, as indices.

    All in their own order where there are at most `CLASS_LIMIT`; otherwise those to which the teacher gives the largest
    logits, in descending order, and the label's class where it is not among them.
    """
    if len(teacher_logits) <= CLASS_LIMIT:
        return list(range(len(teacher_logits)))
    top = np.argsort(-np.asarray(teacher_logits), kind="stable")[:CLASS_LIMIT].tolist()
    return top if label is None or label in top else [*top, label]


def largest_classes(scores: np.ndarray, limit: int = CLASS_LIMIT) -> list[int]:
    """The classes with the largest scores `[K]` in their own order; NaN counts as the smallest."""
    return sorted(np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")[:limit].tolist())


def describe_selection(shown: int, count: int, rule: str) -> str:
    """The part of a subtitle that says which classes are shown; empty where all are."""
    if shown == count:
        return ""
    return f"{shown} of {count} classes: {rule}" + (" and the hard label" if shown > CLASS_LIMIT else "")


def slider_value(temperature: float) -> float:
    """The temperature slider's value: its log2."""
    return round(math.log2(temperature), 4)
