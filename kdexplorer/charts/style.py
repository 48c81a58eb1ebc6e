"""How charts look: text and lengths that grow with the window, and each network's color, marker and dash.

The color follows the family of the method, marker and dash follow the method: the registry of methods says which. Where
networks share a look, the second and the third one have other markers and thinner lines.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle, product
from typing import Any

import altair as alt

from kdexplorer.config import SCRATCH, objective_label
from kdexplorer.methods import Method, all_methods, find_method
from kdexplorer.runs.checkpoints import Checkpoint

EM = "file ? file.em : max(12, 0.014 * (windowSize()[0] || 1280) + 0 * width)"
"""The size of all text in a chart, in pixels, as a Vega expression: 1.4 % of the window's width, which can be read from
the last row; never below 12. A chart's other lengths are multiples of it, by the parameter `em`. It names `width` so
that it is computed again when the window changes. While a file is made of the chart, the parameter `file` gives its
text size, and by how much its plot is taller (`web/save_chart.js`)."""

PROJECTOR_EM = "file ? file.em : max(14, 0.0225 * (windowSize()[0] || 1280) + 0 * width)"
"""As `EM`, for a chart that a whole room reads: 28.8 pixels in a window of 1280."""

DESIGN_EM = 18
"""What `em` is in a window of 1280 pixels, for which lengths are written down."""

INK = "currentColor"
"""For text in a chart: the page's own text color, in the light theme and in the dark one (charts are SVG)."""

_TEXT = {
    "labelFontSize": {"expr": "em"}, "titleFontSize": {"expr": "em"}, "labelColor": INK, "titleColor": INK,
}  # fmt: skip
CONFIG: dict[str, Any] = {
    "axis": _TEXT | {"labelLimit": {"expr": "11 * em"}, "titlePadding": {"expr": "em / 3"}},
    "axisX": {"labelFlush": False},
    "axisY": {"labelFlush": False},
    "legend": _TEXT
    | {"labelLimit": {"expr": "11 * em"}, "titleLimit": {"expr": "18 * em"}, "rowPadding": {"expr": "em / 8"}},
    "text": {"fontSize": {"expr": "em"}},
    "mark": {"tooltip": None},
}
"""Sizes and color of text in every chart, and no tooltip but what a chart names: Streamlit's theme would list
positions. Labels are aligned with their tick: that theme moves the first and the last one inwards."""


def em(pixels: float) -> Any:
    """A length that grows with the text: its pixels in a window of 1280 pixels."""
    return alt.expr(f"{pixels / DESIGN_EM:.4g} * em")


def area(pixels: float) -> Any:
    """A marker's area that grows with the text: its square pixels in a window of 1280 pixels."""
    return alt.expr(f"{pixels / DESIGN_EM**2:.4g} * em * em")


REM = "max(16, 0.01875 * windowSize()[0])"
"""The size of a lecture's text in pixels, as a Vega expression: 24 in a window of 1280 (`app/style.css`)."""


def fill(spec: dict[str, Any], sliders: Sequence[str], untitled: bool) -> dict[str, Any]:
    """A chart as high as its place below these sliders, with the text of a lecture; the chart itself is not modified.

    On a phone, where the page scrolls, it keeps its own height. A chart whose parts do not follow its height by
    themselves has a parameter `room`, which is 0 elsewhere. With `untitled`, only the smaller part of its title is
    drawn.
    """
    above = " + ".join(f"{SLIDER_HEIGHT.get(name, 2.25):g} * {REM}" for name in sliders) or "0"
    known = {param["name"]: param for param in spec["params"]}
    tall = f"max(8 * em, containerSize()[1] - {above})"
    new: dict[str, Any] = {"em": {"expr": f"(windowSize()[0] > 640 ? {REM} : 13) + 0 * width"}}
    changed: dict[str, Any] = {}
    if "room" in known:
        new["room"] = {"expr": f"windowSize()[0] > 640 ? {tall} - {1.7 if untitled else 3.2} * em : 0"}
    else:
        new["height"] = {"expr": f"windowSize()[0] > 640 ? {tall} : {known['height']['expr']} + 9 * em"}
        changed["autosize"] = {"type": "fit", "contains": "padding"}
    if untitled:
        new["heading"] = {"value": known["subtitle"]["value"]}
        said = {name: value for name, value in spec["title"].items() if name != "subtitle"} | {"fontWeight": "normal"}
        changed["title"] = said if new["heading"]["value"] else None
    params = [{"name": p["name"], **new[p["name"]]} if p["name"] in new else p for p in spec["params"]]
    return spec | changed | {"params": params}


SLIDER_HEIGHT = {"logT": 3.1, "wipe": 1.5}
"""Of a slider above a chart, in `REM`, where it is not that of a line; the wipe may stand beside another."""


TEACHER = "teacher"
"""The role of a network that others are distilled from; every other network's role is its objective's key."""

STUDENT = "student, "
"""Before an objective's label."""

HUMAN = "human"
"""The role of human labels, beside the networks' roles."""

FRESH = "an untrained student"
"""The role and the name of a student at the start of training."""

AUDIENCE = "audience"
"""The role of the audience's votes."""

NEUTRAL = "#7F8C99"
"""For rules, diagonals and the scratch baseline: visible on white and on near-black."""

FAMILY_COLORS = {"response": "#009E73", "feature": "#CC79A7", "relation": "#56B4E9"}
"""From the Okabe-Ito set, as the other colors: distinguishable for color-blind eyes, on white and on near-black."""

SEVERAL_FAMILIES = "#E69F00"
"""The color of objectives whose methods belong to several families."""


def _path(points: Iterable[tuple[float, float]]) -> str:
    """A polygon as a Vega symbol: corners within -1 and 1, the second axis down."""
    return "M" + "L".join(f"{x:g},{y:g}" for x, y in points) + "Z"


def _regular(corners: int, inner: float | None = None) -> list[tuple[float, float]]:
    """A regular polygon with a corner at the top; with an inner radius, a star."""
    radii = [1.0] if inner is None else [1.0, inner]
    count = corners * len(radii)
    angles = [(radii[k % len(radii)], 2 * math.pi * k / count) for k in range(count)]
    return [(round(r * math.sin(angle), 2), round(-r * math.cos(angle), 2)) for r, angle in angles]


_POLYGONS: dict[str, list[tuple[float, float]]] = {
    "pentagon": _regular(5),
    "hexagon": [(y, x) for x, y in _regular(6)],
    "star": _regular(5, 0.4),
    "six-star": _regular(6, 0.35),
    "hourglass": [(-0.8, -1), (0.8, -1), (0.15, 0), (0.8, 1), (-0.8, 1), (-0.15, 0)],
    "bowtie": [(-1, -0.8), (0, -0.15), (1, -0.8), (1, 0.8), (0, 0.15), (-1, 0.8)],
    "parallelogram": [(-0.4, -0.6), (1, -0.6), (0.4, 0.6), (-1, 0.6)],
    "saltire": [
        (-0.6, -1), (0, -0.4), (0.6, -1), (1, -0.6), (0.4, 0), (1, 0.6),
        (0.6, 1), (0, 0.4), (-0.6, 1), (-1, 0.6), (-0.4, 0), (-1, -0.6),
    ],
    "cross": [
        (-0.35, -1), (0.35, -1), (0.35, -0.35), (1, -0.35), (1, 0.35), (0.35, 0.35),
        (0.35, 1), (-0.35, 1), (-0.35, 0.35), (-1, 0.35), (-1, -0.35), (-0.35, -0.35),
    ],
    "arrow": [(0, -1), (0.9, -0.1), (0.35, -0.1), (0.35, 1), (-0.35, 1), (-0.35, -0.1), (-0.9, -0.1)],
    "house": [(-0.8, 1), (-0.8, -0.2), (0, -1), (0.8, -0.2), (0.8, 1)],
    "triangle-right": [(-0.8, -0.9), (0.9, 0), (-0.8, 0.9)],
    "triangle-left": [(0.8, -0.9), (-0.9, 0), (0.8, 0.9)],
}  # fmt: skip
"""Markers that are drawn as polygons: the names of `Method.marker` that Vega does not know, and some that it does."""

MARKS = {
    "circle": "●", "square": "■", "triangle-up": "▲", "diamond": "◆", "triangle-down": "▼", "cross": "✚",
    "triangle-right": "►", "triangle-left": "◄", "pentagon": "⬟", "hexagon": "⬢", "star": "★", "six-star": "✶",
    "hourglass": "⋈", "bowtie": "⧓", "parallelogram": "▰", "saltire": "✖", "arrow": "⬆",
    "house": "⌂",
}  # fmt: skip
"""Markers as characters, for pages that are text; `✦` stands for any other."""

_SHAPES = {
    "circle": ("circle", "M-1,0.5A1,1,0,0,1,1,0.5Z", "M0,-1A1,1,0,0,1,0,1Z"),  # half discs
    "square": ("square", "M-1,-0.45L1,-0.45L1,0.45L-1,0.45Z", "M-0.45,-1L0.45,-1L0.45,1L-0.45,1Z"),  # bars
    "triangle-up": ("triangle-up", "M-0.4,-0.7L0.4,-0.7L1,0.7L-1,0.7Z", "M0,-1L0.5,1L-0.5,1Z"),  # trapezoid
    "diamond": ("diamond", "M-0.9,-0.4L0,-1L0.9,-0.4L0.9,0.4L0,1L-0.9,0.4Z", "M-1,0L0,-0.5L1,0L0,0.5Z"),  # hexagon
    "triangle-down": ("triangle-down", "M-1,-0.7L1,-0.7L0.4,0.7L-0.4,0.7Z", "M-0.5,-1L0.5,-1L0,1Z"),  # trapezoid
} | {
    name: (_path(points), _path((x, 0.5 * y) for x, y in points), _path((0.5 * x, y) for x, y in points))
    for name, points in _POLYGONS.items()
}  # flat, narrow
"""Vega symbols of the first, second and third network of a look, by the first one's name."""

WIDTHS = (2.8, 1.5, 0.8)
"""Line widths of the first, second and third network of a look."""


@dataclass(frozen=True)
class Look:
    """How a role is drawn: a color, and a marker or a dash as the second cue."""

    color: str
    shape: str
    """A marker's name, or a Vega symbol."""
    dash: tuple[int, ...]
    """Pixels on, off, …"""
    label: str

    @property
    def what(self) -> str:
        """What a network of this look is: teacher, or student and its objective."""
        return self.label if self.label == TEACHER else f"{STUDENT}{self.label}"

    @property
    def mark(self) -> str:
        """The marker as a character."""
        return MARKS.get(self.shape, "✦")


def role_of(checkpoint: Checkpoint, teacher: Checkpoint | None = None) -> str:
    """A network's role: `TEACHER` or its objective's key.

    With a chosen teacher, that network alone is one. Otherwise a network counts as a teacher when it was trained on
    labels alone and is not called a scratch student.
    """
    key = checkpoint.card.objective_key
    if teacher is not None:
        return TEACHER if checkpoint.sha256 == teacher.sha256 else key
    return TEACHER if key == SCRATCH and SCRATCH not in checkpoint.name.lower() else key


_LOOKS = {
    TEACHER: Look("#0072B2", "circle", (1, 0), TEACHER),
    HUMAN: Look("#D55E00", "stroke", (1, 3), "human labels"),
    AUDIENCE: Look(INK, "stroke", (4, 2), "audience"),
    FRESH: Look(INK, "stroke", (16, 4), FRESH),
    SCRATCH: Look(NEUTRAL, "square", (6, 3), SCRATCH),
}
"""Of the roles that are no objective with methods."""


def look_of(role: str) -> Look:
    """How a role is drawn."""
    if role in _LOOKS:
        return _LOOKS[role]
    families = {find_method(key).family for key in role.split("+")}
    color = FAMILY_COLORS[families.pop()] if len(families) == 1 else SEVERAL_FAMILIES
    shape, dash = _cues(all_methods()).get(role, ("triangle-down", (12, 4)))  # several methods share theirs
    return Look(color, shape, dash, objective_label(role))


@lru_cache(maxsize=8)
def _cues(methods: tuple[type[Method], ...]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Each method's marker and dash: its own, or the next that its family has left; after the last one they repeat."""
    cues = {}
    for family in FAMILY_COLORS:
        members = [method for method in methods if method.family == family]
        taken = {"circle", "square", "triangle-down"} | {method.marker for method in members}
        shapes = cycle(name for name in MARKS if name not in taken)
        own = {method.dash for method in members}
        dashes = cycle(dash for dash in product((2, 5, 9, 14), (2, 4, 7)) if dash not in own)
        for method in members:
            cues[method.key] = method.marker or next(shapes, "star"), method.dash or next(dashes)
    return cues


@dataclass(frozen=True)
class Series:
    """A network as charts draw it."""

    name: str
    look: Look
    rank: int = 0
    """Which network of its look it is, from 0; after the third, markers and widths repeat in another shade."""

    @property
    def color(self) -> str:
        """The look's; mixed with a dark gray for the fourth to the sixth network, where markers repeat, and so on."""
        again, color = self.rank // len(WIDTHS), self.look.color
        if again == 0 or color == INK:
            return color
        pairs = zip(bytes.fromhex(color[1:]), bytes.fromhex("4D4D4D"), strict=True)
        return "#" + "".join(f"{round(own * 0.5**again + dark * (1 - 0.5**again)):02X}" for own, dark in pairs)

    @property
    def shape(self) -> str:
        """The Vega symbol."""
        other = (self.look.shape, "wedge", "M-1,-0.5L0,0.5L1,-0.5L0,0Z")
        return _SHAPES.get(self.look.shape, other)[self.rank % len(WIDTHS)]


def series(roles: Mapping[str, str]) -> list[Series]:
    """Assigns looks to networks, given each one's role by name (see `role_of`)."""
    found: list[Series] = []
    for name, role in roles.items():
        look = look_of(role)
        same = sum((one.look.color, one.look.shape) == (look.color, look.shape) for one in found)
        found.append(Series(name, look, same))
    return found


def _encode(channel: Any, looks: Sequence[Series], values: list[Any], in_legend: bool = True) -> Any:
    """A channel of each network's values with a legend below the plot, as many names a line as fit.

    What the legend does not show has no scale: Vega-Lite merges the legends of all scales, even of those without one.
    """
    names = [one.name for one in looks]
    if not in_legend:
        tests = [
            {"test": f"datum.network === {json.dumps(name)}", "value": value}
            for name, value in zip(names, values, strict=True)
        ]
        return getattr(alt, f"{channel.__name__}Value")(values[0], condition=tests)
    scale = alt.Scale(domain=names, range=values)
    columns = alt.expr(f"max(1, floor(width / ({0.55 * max(map(len, names)) + 3:.4g} * em)))")
    symbols: dict[str, Any] = {"symbolStrokeWidth": em(2), "symbolSize": area(110), "symbolOpacity": 1}
    limit = alt.expr("width - 3 * em")
    legend = alt.Legend(orient="bottom", columns=columns, title=None, labelLimit=limit, **symbols)
    return channel("network:N", scale=scale, legend=legend)


def color(looks: Sequence[Series]) -> alt.Color:
    """Encodes each network's color, with a legend."""
    return _encode(alt.Color, looks, [one.color for one in looks])


def dash(looks: Sequence[Series], in_legend: bool = True) -> Any:
    """Encodes each network's dash, the second cue on lines; in the legend only where it shows lines, no markers."""
    return _encode(alt.StrokeDash, looks, [list(one.look.dash) for one in looks], in_legend)


def shape(looks: Sequence[Series], in_legend: bool = True) -> Any:
    """Encodes each network's marker, the second cue on points; in the legend only where it shows no lines."""
    return _encode(alt.Shape, looks, [one.shape for one in looks], in_legend)


def width(looks: Sequence[Series], in_legend: bool = True) -> Any:
    """Encodes the line width: thinner for the second and third network of a look; `in_legend` as for `dash`."""
    return _encode(alt.StrokeWidth, looks, [WIDTHS[one.rank % len(WIDTHS)] for one in looks], in_legend)
