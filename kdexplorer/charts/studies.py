"""Charts of studies and experiments: rows of dots, lines, a point for each student, and the surface of a grid."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle
from typing import Any

import altair as alt
import numpy as np

from kdexplorer.analysis.measures import MEASURES, Measure
from kdexplorer.charts import style
from kdexplorer.charts.common import INK, Rows, Spec, data, spec, tooltips
from kdexplorer.charts.style import area, em
from kdexplorer.config import SCRATCH
from kdexplorer.studies.experiments.base import Plot, Point, row_of
from kdexplorer.studies.table import Summary, Table, find_best

ROW, NARROW_ROW, HEIGHT = 36, 26, 300
"""Pixels of a row of dots, of one of more than ten rows, and of the other charts."""
DASHES = ((1, 0), (6, 4))
"""Dashes of lines with a slider by what they are of, the points' labels in order; the color is the student's."""


def figure_chart(figure: Plot) -> Spec | None:
    """The figure as a specification; None where it has no points."""
    if not figure.points:
        return None
    present = [name for name in figure.roles if any(point.series == name for point in figure.points)]
    looks = style.series({name: figure.roles[name] for name in present})
    layers = {"dots": _dots, "scatter": _scatter, "lines": _lines}[figure.kind](figure, looks)
    rows = len({point.label for point in figure.points})
    height = (ROW if rows <= 10 else NARROW_ROW) * rows if figure.kind == "dots" else HEIGHT
    return spec(layers, figure.title, figure.subtitle, _describe(figure), height, *_slider(figure))


def _describe(figure: Plot) -> str:
    """The alternative text."""
    if figure.kind == "dots":
        form = "+.2f" if figure.rule == 0 else ".2f"
        names = (", ".join(dict.fromkeys([point.label, point.series])) for point in figure.points)
        listed = "; ".join(f"{name} {point.x:{form}}" for name, point in zip(names, figure.points, strict=True))
        return f"{figure.title}: {figure.x_title}. {listed}."
    ends: dict[str, list[Point]] = {}
    for point in sorted(figure.points, key=lambda point: point.x):
        ends.setdefault(point.series, []).append(point)
    listed = "; ".join(
        f"{name} {points[0].y:.1f} at {points[0].x:g}"
        if len(points) == 1
        else f"{name} from {points[0].y:.1f} at {points[0].x:g} to {points[-1].y:.1f} at {points[-1].x:g}"
        for name, points in ends.items()
    )
    rule = "" if figure.rule is None else f" {figure.rule_title}: {figure.rule:.1f}."
    return f"{figure.title}: {figure.y_title} over {figure.x_title}. {listed}.{rule}"


def _rows(figure: Plot) -> Rows:
    kept = ("label", "x", "y", "low", "high")
    return [{"network": point.series} | {key: getattr(point, key) for key in kept} for point in figure.points]


def _intervals(figure: Plot, base: alt.Chart, width: int, **encoding: Any) -> list[alt.Chart]:
    """A rule for each point that has an interval; no layer where none has, which a screen reader would find empty."""
    if all(point.low is None for point in figure.points):
        return []
    rules = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=width, opacity=0.5)
    return [rules.encode(**encoding)]


def _dots(figure: Plot, looks: list[style.Series]) -> list[alt.Chart]:
    labels = list(dict.fromkeys(point.label for point in figure.points))
    axis = alt.Axis(labelLimit=em(290), ticks=False)
    y: dict[str, Any] = {"y": alt.Y("label:N", sort=labels, title=None, axis=axis)}
    if len({(point.label, point.series) for point in figure.points}) > len(labels):  # beside each other in a row
        y["yOffset"] = alt.YOffset("network:N", sort=[one.name for one in looks])
    color, shape = style.color(looks), style.shape(looks)
    names = [("network:N", "series"), ("label:N", "student")]
    if all(point.label == point.series for point in figure.points):  # the rows' names are the legend
        color, shape, names = color.legend(None), shape.legend(None), [("network:N", "network")]
    base = alt.Chart(data(_rows(figure))).encode(**y, color=color)
    scale = alt.Scale(zero=figure.rule == 0, padding=12)
    x = alt.X("x:Q", title=figure.x_title, scale=scale, axis=alt.Axis(tickCount=5))
    seeds = [{"network": one.series, "label": one.label, "x": value} for one in figure.points for value in one.seeds]
    small = alt.Chart(data(seeds)).mark_point(size=area(16), filled=True, opacity=0.5).encode(x=x, **y, color=color)
    layers = [
        *_intervals(figure, base, 4, x=alt.X("low:Q", title=figure.x_title), x2="high:Q"),
        *([small] if seeds else []),
        base.mark_point(size=area(170), filled=True, opacity=1).encode(
            x=x, shape=shape, tooltip=tooltips(*names, ("x:Q", figure.x_title, "+.2f" if figure.rule == 0 else ".2f"))
        ),
    ]
    if figure.rule is not None:
        zero = alt.Chart(data([{"x": figure.rule}])).mark_rule(color=style.NEUTRAL, strokeDash=[4, 3])
        layers.insert(0, zero.encode(x=alt.X("x:Q", title=figure.x_title)))
    return layers


def _lines(figure: Plot, looks: list[style.Series]) -> list[alt.Chart]:
    kind: Any = {"type": "log"} if figure.logarithmic else {"zero": False}
    kind |= {"padding": em(40), "nice": False}
    values = sorted({point.x for point in figure.points})
    within = f"datum.value < {values[0]:g} || datum.value > {values[-1]:g} ? '' : datum.label"
    many = len(values) > 6
    axis = alt.Axis(tickMinStep=1, labelExpr=within) if many else alt.Axis(values=values, format=",.6~r")
    x = alt.X("x:Q", title=figure.x_title, scale=alt.Scale(**kind), axis=axis)
    y = alt.Y("y:Q", title=figure.y_title, scale=alt.Scale(zero=False))
    base = alt.Chart(data(_rows(figure))).encode(x=x, y=y)
    tips = tooltips(("network:N", "series"), ("x:Q", figure.x_title, "~r"), ("y:Q", figure.y_title, ".2f"))
    if figure.slider:
        return _with_slider(figure, looks, base, tips)
    colored = base.encode(color=style.color(looks))
    return [
        *_intervals(figure, colored, 3, y=alt.Y("low:Q", title=figure.y_title), y2="high:Q"),
        colored.mark_line().encode(strokeWidth=style.width(looks, in_legend=False)),
        colored.mark_point(size=area(110), filled=True, opacity=1).encode(shape=style.shape(looks), tooltip=tips),
    ]


def _with_slider(figure: Plot, looks: list[style.Series], base: alt.Chart, tips: list[alt.Tooltip]) -> list[alt.Chart]:
    """Lines with one marker each, which the slider moves; right of the plot their values and names, as a legend."""
    labels = {point.series: point.label for point in figure.points}
    dashes = dict(zip(dict.fromkeys(labels.values()), cycle(DASHES), strict=False))
    dashed = [replace(one, look=replace(one.look, dash=dashes[labels[one.name]])) for one in looks]
    dash, color = style.dash(dashed, in_legend=False), style.color(looks).legend(None)
    colored = base.encode(color=color)
    lines = colored.mark_line(strokeWidth=style.WIDTHS[0]).encode(strokeDash=dash)
    chosen = colored.transform_filter(f"abs(datum.x - {figure.slider}) < 1e-6")
    shape = style.shape(looks, in_legend=False)
    marker = chosen.mark_point(size=area(140), filled=True, opacity=1).encode(shape=shape, tooltip=tips)
    # The values stand in a column, the largest first: no line goes through them.
    ranked = alt.Chart(data(_rows(figure))).transform_filter(f"abs(datum.x - {figure.slider}) < 1e-6")
    ranked = ranked.transform_window(rank="row_number()", sort=[alt.SortField("y", order="descending")])
    middle: dict[str, Any] = {"x": alt.ExprRef("width + 1.5 * em"), "y": alt.ExprRef("1.5 * datum.rank * em")}
    number = ranked.transform_calculate(said="format(datum.y, '.1f') + '  ' + datum.network")
    words = number.mark_text(align="left", dx=em(28), **middle).encode(text="said:N", color=alt.value(INK))
    long: dict[str, Any] = {"shape": "stroke", "size": area(1600), "strokeWidth": style.WIDTHS[0], "opacity": 1}
    line = ranked.mark_point(**long, **middle).encode(color=color, strokeDash=dash)
    key = ranked.mark_point(size=area(110), filled=True, opacity=1, **middle).encode(color=color, shape=shape)
    return [lines, marker, line, key, words]


def _slider(figure: Plot) -> list[alt.Parameter]:
    """The slider that moves the marker along x, in steps of the points."""
    values = sorted({point.x for point in figure.points})
    if not figure.slider or len(values) < 2:
        return []
    name = f"{figure.slider.capitalize()} {figure.x_title}"
    bind = alt.binding_range(min=values[0], max=values[-1], step=values[1] - values[0], name=name)
    return [alt.param(name=figure.slider, value=values[0], bind=bind)]


def _scatter(figure: Plot, looks: list[style.Series]) -> list[alt.Chart]:
    x = alt.X("x:Q", title=figure.x_title, scale=alt.Scale(zero=False, padding=12))
    y = alt.Y("y:Q", title=figure.y_title, scale=alt.Scale(zero=False, padding=12))
    base = alt.Chart(data(_rows(figure))).encode(x=x, color=style.color(looks))
    tips = tooltips(("label:N", "point"), ("x:Q", figure.x_title, ".2f"), ("y:Q", figure.y_title, ".2f"))
    layers = [
        *_intervals(figure, base, 3, y=alt.Y("low:Q", title=figure.y_title), y2="high:Q"),
        base.mark_point(size=area(120), filled=True, opacity=0.85).encode(y=y, shape=style.shape(looks), tooltip=tips),
    ]
    if figure.rule is not None:
        marked = alt.Chart(data([{"y": figure.rule, "title": figure.rule_title}])).encode(y=y)
        named = marked.mark_text(align="left", baseline="bottom", dx=em(6), dy=em(-3))
        layers += [
            marked.mark_rule(color=style.look_of(SCRATCH).color, strokeDash=[4, 3]),
            named.encode(x=alt.value(0), text="title:N", color=alt.value(INK)),
        ]
    return layers


_DRAWN = (
    "accuracy", "teacher_agreement", "calibration_error", "scaled_calibration_error", "cross_entropy",
    "scaled_cross_entropy",
)  # fmt: skip
SURFACES = {key: MEASURES[key].label for key in _DRAWN} | {"teacher_agreement": "Agreement"}
"""What can be drawn over a grid, by measure."""


def known_surfaces(summaries: list[Summary]) -> list[str]:
    """The measures of `SURFACES` that are known of a cell."""
    cells = [one for one in summaries if one.place]
    return [key for key in SURFACES if any(key in one.means for one in cells)]


def _format(measure: Measure) -> str:
    return ".1f" if measure.unit == "%" else measure.format


def surface(table: Table, summaries: list[Summary], key: str) -> Spec:
    """A heat map over temperature and weight, each cell with its mean and its spread over seeds.

    `summaries` are those of the table, `key` is one of `known_surfaces`.
    """
    measure = MEASURES[key]
    marks = _marks(table, summaries)
    cells = [one for one in summaries if one.place and key in one.means]
    rows = [_surface_row(one, measure, marks[one.name]) for one in cells]
    best = next((row for row in rows if "★" in row["text"]), rows[0])
    counts = {len(one.rows) for one in cells}
    seeds = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else str(max(counts))
    over = f"mean over {seeds} seeds ± standard deviation" if max(counts) > 1 else "one seed"
    heading, subtitle = f"{SURFACES[key]} over temperature and weight", f"{over}; ★ most accurate, ◆ the lab's default"
    low, high = min(row["value"] for row in rows), max(row["value"] for row in rows)
    described = (
        f"{measure.axis_title} over temperature and weight, {low:.4g} to {high:.4g}; the most accurate cell has "
        f"T {best['T']}, weight {best['weight']} and {best['value']:.4g}. All: "
    )
    described += "; ".join(f"T {row['T']}, weight {row['weight']}: {row['value']:.4g} {row['spread']}" for row in rows)
    height = 56 * len({row["weight"] for row in rows})
    return spec(_heat_map(table, rows, measure, low, high), heading, subtitle, described, height)


def _surface_row(one: Summary, measure: Measure, marks: str) -> dict[str, Any]:
    assert one.place is not None
    form, mean = _format(measure), measure.scale * one.means[measure.key]
    values = [measure.scale * value for value in one.values(measure.key)]
    return {
        "T": f"{one.place.temperature:g}",
        "weight": f"{one.place.weight:g}",
        "value": round(mean, 4),
        "text": f"{marks}{mean:{form}}",
        "spread": f"± {np.std(values, ddof=1):{form}}" if len(values) > 1 else "",
        "seeds": ", ".join(f"{value:{form}}" for value in values),
    }


def _heat_map(table: Table, rows: Rows, measure: Measure, low: float, high: float) -> list[alt.Chart]:
    plain = alt.Axis(labelAngle=0, ticks=False, domain=False, grid=False)
    places = table.declared.places().values()
    temperatures = [f"{t:g}" for t in sorted({place.temperature for place in places})]
    weights = [f"{weight:g}" for weight in sorted({place.weight for place in places}, reverse=True)]
    base = alt.Chart(data(rows)).encode(
        x=alt.X("T:O", sort=temperatures, title="Temperature T", axis=plain),
        y=alt.Y("weight:O", sort=weights, title="Weight of the teacher's term", axis=plain),
        tooltip=tooltips(
            ("T:O", "Temperature"), ("weight:O", "Weight"), ("value:Q", measure.axis_title, _format(measure)),
            ("seeds:N", "By seed"),
        ),
    )  # fmt: skip
    legend = alt.Legend(
        orient="bottom", title=measure.axis_title, gradientLength=em(240), titleLimit=em(330), tickCount=4
    )
    scale = alt.Scale(scheme="cividis", domain=[low, high] if high > low else [low - 1, high + 1])
    ink = alt.condition(f"datum.value > {(low + high) / 2}", alt.value("#111111"), alt.value("#FFFFFF"))
    return [
        base.mark_rect().encode(color=alt.Color("value:Q", scale=scale, legend=legend)),
        base.mark_text(fontWeight="bold", dy=em(-9)).encode(text="text:N", color=ink),
        base.mark_text(dy=em(11)).encode(text="spread:N", color=ink),
    ]


def spread(table: Table, summaries: list[Summary]) -> Spec | None:
    """Every cell's accuracy by seed with the 95 % interval for its mean, the best first; None without any."""
    marks = _marks(table, summaries)
    points = list[Point]()
    for one in sorted(summaries, key=lambda one: (one.place is None, -one.accuracy)):  # the scratch baseline is last
        points += row_of(f"{marks[one.name]}{one.place or 'scratch baseline'}", one.entry.key, one.values())
    subtitle = "A small point for each seed; large point: their mean"
    subtitle += "; line: 95 % interval for the mean over seeds" * any(point.low is not None for point in points)
    roles = {one.entry.key: one.entry.key for one in summaries}
    return figure_chart(Plot("dots", "Every cell, seed by seed", subtitle, "accuracy (%)", tuple(points), roles))


def _marks(table: Table, summaries: list[Summary]) -> dict[str, str]:
    """Symbols of the most accurate cell and of the lab's default, by entry."""
    best, default = find_best(summaries), table.declared.references[0]
    return {one.name: ("★ " if one is best else "") + ("◆ " if one.name == default else "") for one in summaries}


def differences(summaries: list[Summary], reference: str) -> Spec | None:
    """The mean difference to the reference with simultaneous 95 % intervals, a point a seed, the best entry first.

    None where no entry can be compared with the reference.
    """
    compared = [(one, one.differences[reference]) for one in summaries if reference in one.differences]
    compared.sort(key=lambda pair: -pair[1].estimate)
    points = []
    for one, found in compared:
        low, high = found.ends
        row = row_of(one.entry.label, _family(one), found.values)
        points += [replace(point, x=100 * found.estimate, low=low, high=high) for point in row]
    other = next((one.entry.label for one in summaries if one.name == reference), reference)
    heading, x_title = f"Accuracy compared with {other}", f"difference to {other} (percentage points)"
    tested = ", simultaneous 95 % intervals (Dunnett's test)" * any(point.low is not None for point in points)
    subtitle = f"mean{tested}; small points: seeds"
    roles = {_family(one): one.entry.key for one, _ in reversed(compared)}
    return figure_chart(Plot("dots", heading, subtitle, x_title, tuple(points), roles, rule=0))


def _family(one: Summary) -> str:
    """The family of the entry's methods; `scratch` without any, `several` where they differ."""
    families = sorted({method.family for method in one.entry.objective.methods}) if one.entry.objective else []
    return families[0] if len(families) == 1 else "several" if families else SCRATCH
