"""Teacher and student as two rows of blocks, and each method where it connects them."""

from __future__ import annotations

from functools import lru_cache

import altair as alt

from kdexplorer.charts.common import INK, Spec, data, spec, title, tooltips
from kdexplorer.charts.style import FAMILY_COLORS, NEUTRAL, em, look_of
from kdexplorer.methods import FAMILIES, Method, all_methods

BLOCKS = ("image", "stages", "embedding", "logits", "label")
"""What a network computes, from left to right, and the hard label."""
_PLACES = {"stages": 1, "embedding": 2, "logits": 3}
_ROW, _EDGE = 21, 44
"""Pixels: of a method's name, and from a row of blocks to the first name."""


def place_of(method: type[Method]) -> int:
    """The position in `BLOCKS` at which a method connects the networks; without a teacher it is the label."""
    places = [_PLACES[need] for need in method.needs]
    return min(places) if places else len(BLOCKS) - 1


def taxonomy(chosen: str = "") -> Spec:
    """See `_taxonomy`; built once for each method that stands out."""
    return _taxonomy(chosen, all_methods())


@lru_cache(maxsize=32)
def _taxonomy(chosen: str, methods: tuple[type[Method], ...]) -> Spec:
    """The picture of all methods by place, colored by family; the one with the key `chosen` stands out."""
    columns: dict[int, list[type[Method]]] = {}
    for method in methods:
        columns.setdefault(place_of(method), []).append(method)
    most = max(len(column) for column in columns.values())
    height = most * _ROW + 2 * _EDGE + 20
    top, bottom = 16, height - 16
    names = [
        {
            "name": f"{look_of(method.key).mark} {method.label}", "family": method.family, "summary": method.summary,
            "x": place, "y": (top + bottom) / 2 + (rank - (len(column) - 1) / 2) * _ROW, "chosen": method.key == chosen,
        }
        for place, column in columns.items()
        for rank, method in enumerate(column)
    ]  # fmt: skip
    rows = [("teacher", top, BLOCKS[:-1]), ("student", bottom, BLOCKS)]
    blocks = [
        {"block": name, "network": network, "x": place, "y": y, "label": f"{network}: {name}" if not place else name}
        for network, y, row in rows
        for place, name in enumerate(row)
    ]
    links = [{"x": place, "y": top + 14, "y2": bottom - 14} for place in columns if place < len(BLOCKS) - 1]
    flows = [{"x": place + 0.38, "x2": place + 0.62, "y": y} for _, y, row in rows for place in range(len(row) - 1)]
    x = alt.X("x:Q", scale=alt.Scale(domain=[-0.55, len(BLOCKS) - 0.45]), axis=None)
    y = alt.Y("y:Q", scale=alt.Scale(domain=[height, 0], nice=False, zero=False), axis=None)
    scale = alt.Scale(domain=list(FAMILIES), range=[FAMILY_COLORS[family] for family in FAMILIES])
    color = alt.Color("family:N", scale=scale, title="family", legend=alt.Legend(orient="bottom", symbolType="circle"))
    layers = [
        alt.Chart(data(links)).mark_rule(color=NEUTRAL, strokeDash=[2, 4], opacity=0.6).encode(x=x, y=y, y2="y2:Q"),
        alt.Chart(data(flows)).mark_rule(color=NEUTRAL, strokeWidth=em(2)).encode(x=x, x2="x2:Q", y=y),
        alt.Chart(data(blocks)).mark_text(color=INK, fontWeight="bold").encode(x=x, y=y, text="block:N"),
        alt.Chart(data(names))
        .mark_text()
        .encode(
            x=x, y=y, text="name:N", color=color,
            opacity=alt.condition("datum.chosen", alt.value(1.0), alt.value(0.75)),
            tooltip=tooltips(("name:N", "method"), ("family:N", "family"), ("summary:N", "what the student imitates")),
        ),
        alt.Chart(data([row for row in names if row["chosen"]]))
        .mark_text(fontWeight="bold")
        .encode(x=x, y=y, text="name:N", color=color),
        alt.Chart(data([row for row in names if row["chosen"]]))
        .mark_rule(strokeWidth=em(3), yOffset=em(11), y2Offset=em(11))
        .encode(x=alt.X("from:Q", axis=None), x2="to:Q", y=y, color=color)
        .transform_calculate(**{"from": "datum.x - 0.35", "to": "datum.x + 0.35"}),
    ]  # fmt: skip
    described = "Teacher above, student below; between them the methods at the output that they compare: " + "; ".join(
        f"{BLOCKS[place]}: {', '.join(method.label for method in column)}" for place, column in sorted(columns.items())
    )
    heading = title("Where each method connects teacher (above) and student (below)")
    return spec(layers, heading, described, height)
