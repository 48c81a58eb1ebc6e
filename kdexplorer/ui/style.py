"""How networks look in charts: colour, dash, shape and legend, for Altair and without streamlit.

Colour is the role's (see `charts`), with dash and shape as second cues; where networks share a role, the second and the
third one have other shapes and thinner lines. Data go in as plain lists, so that no chart needs pandas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from kdexplorer.ui.charts import COLOURS, DASHES, SHAPES

NEUTRAL = "#7F8C99"
"""For rules and diagonals: seen on white and on near-black."""

MORE_SHAPES = {
    "teacher": ("M-1,0.5A1,1,0,0,1,1,0.5Z", "M0,-1A1,1,0,0,1,0,1Z"),
    "scratch": ("cross", "M-1,-0.3L1,-0.3L1,0.3L-1,0.3Z"),
    "response": ("triangle-left", "arrow"),
    "feature": (
        "M0,-1L0.95,-0.31L0.59,0.81L-0.59,0.81L-0.95,-0.31Z",
        "M-0.5,-0.87L0.5,-0.87L1,0L0.5,0.87L-0.5,0.87L-1,0Z",
    ),
    "combined": ("triangle-right", "wedge"),
}
"""Points of the second and the third network of a role; paths are half discs, a bar, a pentagon and a hexagon."""

WIDTHS = (2.8, 1.5, 0.8)
"""Lines of the first, second and third network of a role."""


@dataclass(frozen=True)
class Series:
    """A network as charts draw it."""

    name: str
    role: str
    rank: int = 0
    """Which network of its role it is, from 0; after the third the looks come again."""

    @property
    def colour(self) -> str:
        return COLOURS[self.role]

    @property
    def shape(self) -> str:
        return (SHAPES[self.role], *MORE_SHAPES[self.role])[self.rank]


def series(roles: dict[str, str]) -> list[Series]:
    """Name to role (`charts.role`) becomes name to look: further networks of a role look a little different."""
    made: list[Series] = []
    for name, role in roles.items():
        role = role if role in COLOURS else "scratch"
        made.append(Series(name, role, sum(one.role == role for one in made) % len(WIDTHS)))
    return made


def legend(count: int) -> alt.Legend:
    """Below the plot: one name a line, so that none is cut on a phone, unless there are many."""
    few = count <= 10
    return alt.Legend(
        orient="bottom",
        columns=1 if few else 2,
        title=None,
        labelLimit=260 if few else 150,
        symbolStrokeWidth=2,
        symbolSize=90,
    )


def colour(looks: Sequence[Series]) -> alt.Color:
    """Each network's colour, with a legend."""
    scale = alt.Scale(domain=[s.name for s in looks], range=[s.colour for s in looks])
    return alt.Color("network:N", scale=scale, legend=legend(len(looks)))


def dash(looks: Sequence[Series]) -> alt.StrokeDash:
    """Each network's dash, the second cue on lines."""
    scale = alt.Scale(domain=[s.name for s in looks], range=[DASHES[s.role] for s in looks])
    return alt.StrokeDash("network:N", scale=scale, legend=legend(len(looks)))


def shape(looks: Sequence[Series]) -> alt.Shape:
    """Each network's point, the second cue on points."""
    scale = alt.Scale(domain=[s.name for s in looks], range=[s.shape for s in looks])
    return alt.Shape("network:N", scale=scale, legend=legend(len(looks)))


def width(looks: Sequence[Series]) -> Any:
    """Lines: the thinner the further a network of its role."""
    scale = alt.Scale(domain=[s.name for s in looks], range=[WIDTHS[s.rank] for s in looks])
    return alt.StrokeWidth("network:N", scale=scale, legend=None)


def data(rows: list[dict[str, Any]]) -> alt.Data:
    """Rows as they are, inline."""
    return alt.Data(values=rows)


def spoken(values: dict[str, float], form: str) -> str:
    """Names with their values, for alt text."""
    return ", ".join(f"{name} {form.format(value)}" for name, value in values.items())
