"""How networks look in charts: colour, dash, shape and legend, for Altair and without streamlit.

Colour is the role's (see `charts`), with dash and shape as second cues; where two networks share a role, the second
one has another shape and a thin line. Data go in as plain lists, so that no chart needs pandas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from kdexplorer.ui.charts import COLOURS, DASHES, SHAPES

NEUTRAL = "#7F8C99"
"""For rules and diagonals: seen on white and on near-black."""

SECOND_SHAPES = {
    "teacher": "circle",
    "scratch": "cross",
    "response": "triangle-left",
    "feature": "M0,-1L0.95,-0.31L0.59,0.81L-0.59,0.81L-0.95,-0.31Z",
    "combined": "triangle-right",
}
"""Points of the second network of a role; the path is a pentagon."""


@dataclass(frozen=True)
class Series:
    """A network as charts draw it."""

    name: str
    role: str
    second: bool = False

    @property
    def colour(self) -> str:
        return COLOURS[self.role]

    @property
    def shape(self) -> str:
        return SECOND_SHAPES[self.role] if self.second else SHAPES[self.role]


def series(roles: dict[str, str]) -> list[Series]:
    """Name to role (`charts.role`) becomes name to look: the second network of a role looks a little different."""
    made: list[Series] = []
    for name, role in roles.items():
        role = role if role in COLOURS else "scratch"
        made.append(Series(name, role, second=sum(one.role == role for one in made) % 2 == 1))
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
    """Lines: thin for the second network of a role."""
    thin = alt.FieldOneOfPredicate("network", [s.name for s in looks if s.second])
    return alt.condition(thin, alt.value(1.5), alt.value(2.8))


def data(rows: list[dict[str, Any]]) -> alt.Data:
    """Rows as they are, inline."""
    return alt.Data(values=rows)


def spoken(values: dict[str, float], form: str) -> str:
    """Names with their values, for alt text."""
    return ", ".join(f"{name} {form.format(value)}" for name, value in values.items())
