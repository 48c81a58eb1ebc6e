"""Charts of a study: the surface of a grid, its cells seed by seed, and each entry's difference to a reference."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from kdexplorer.analysis.difference import Difference
from kdexplorer.analysis.measures import MEASURES, Measure
from kdexplorer.charts import style
from kdexplorer.charts.common import Spec, data, spec, title, tooltips
from kdexplorer.charts.style import area, em
from kdexplorer.config import SCRATCH
from kdexplorer.studies.summary import Summary, find_best, summarize
from kdexplorer.studies.table import Table

SURFACES = {
    "accuracy": "Accuracy",
    "teacher_agreement": "Agreement",
    "calibration_error": "Calibration error",
    "scaled_calibration_error": "Scaled calibration error",
    "cross_entropy": "Cross-entropy",
    "scaled_cross_entropy": "Scaled cross-entropy",
}
"""What can be drawn over a grid, by measure."""


def known_surfaces(table: Table) -> list[str]:
    """The measures of `SURFACES` that are known of a cell."""
    summaries = summarize(table)
    cells = [one for one in summaries if one.place and one.place.temperature]
    return [key for key in SURFACES if any(key in one.means for one in cells)]


def _format(measure: Measure) -> str:
    return ".1f" if measure.unit == "%" else measure.format


def surface(table: Table, key: str) -> Spec | None:
    """A heat map over temperature and weight, each cell with its mean and its spread over seeds.

    `key` is one of `SURFACES`. None where the measure is known of no cell.
    """
    measure, summaries = MEASURES[key], summarize(table)
    marks = _marks(table, summaries)
    cells = [one for one in summaries if one.place and one.place.temperature and key in one.means]
    rows = [_surface_row(one, measure, marks.get(one.name, "")) for one in cells]
    if not rows:
        return None
    best = next((row for row in rows if "★" in row["text"]), rows[0])
    seeds = max(len(one.rows) for one in summaries)
    over = f"mean over {seeds} seeds ± standard deviation" if seeds > 1 else "one seed"
    heading = title(f"{SURFACES[key]} over temperature and weight", f"{over}; ★ most accurate, ◆ the lab's default")
    low, high = min(row["value"] for row in rows), max(row["value"] for row in rows)
    described = (
        f"{measure.axis_title} over temperature and weight, {low:.4g} to {high:.4g}; the most accurate cell has "
        f"T {best['T']}, weight {best['weight']} and {best['value']:.4g}. All: "
    )
    described += "; ".join(f"T {row['T']}, weight {row['weight']}: {row['value']:.4g} {row['spread']}" for row in rows)
    height = 56 * len({row["weight"] for row in rows})
    return spec(_heat_map(table, rows, measure, low, high), heading, described, height)


def _surface_row(one: Summary, measure: Measure, marks: str) -> dict[str, Any]:
    assert one.place is not None
    form = _format(measure)
    values = [measure.scale * value for value in one.values(measure.key)]
    mean, deviation = measure.scale * one.means[measure.key], float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {
        "T": f"{one.place.temperature:g}",
        "weight": f"{one.place.weight:g}",
        "value": round(mean, 4),
        "text": marks + format(mean, form),
        "spread": "" if deviation is None else f"± {format(deviation, form)}",
        "seeds": ", ".join(format(value, form) for value in values),
    }


def _heat_map(table: Table, rows: list[dict[str, Any]], measure: Measure, low: float, high: float) -> list[alt.Chart]:
    plain = alt.Axis(labelAngle=0, ticks=False, domain=False, grid=False)
    places = [place for place in table.declared.places().values() if place.temperature is not None]
    temperatures = [f"{t:g}" for t in sorted({place.temperature or 0 for place in places})]
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


def spread(table: Table) -> Spec | None:
    """Every cell's accuracy by seed with the 95 % interval for its mean, the best first; None without cells."""
    summaries = summarize(table)
    marks = _marks(table, summaries)
    # The scratch baseline, which has no temperature, is the last.
    summaries.sort(key=lambda one: (one.place is None or one.place.temperature is None, -one.accuracy))
    named = {f"{marks.get(one.name, '')}{one.place}": one for one in summaries}
    if find_best(summaries) is None:
        return None
    legend = "A point for each seed; bar: their mean; line: 95 % interval for the mean over seeds"
    listed = "; ".join(f"{name} {one.accuracy:.2%}" for name, one in named.items())
    described = f"Accuracy by cell, the best first: {listed}"
    return spec(_spread_layers(named), title("Every cell, seed by seed", legend), described, 24 * len(named))


def _spread_layers(named: dict[str, Summary]) -> list[alt.Chart]:
    looks = style.series({key: key for key in dict.fromkeys(one.entry.key for one in named.values())})
    rows = [
        {"cell": name, "network": one.entry.key, "accuracy": value}
        for name, one in named.items()
        for value in one.values()
    ]
    intervals = [
        {"cell": name, "low": one.interval[0], "high": one.interval[1], "mean": one.accuracy}
        for name, one in named.items()
        if one.interval is not None
    ]
    y = alt.Y("cell:N", sort=list(named), title=None, axis=alt.Axis(labelLimit=em(230), ticks=False, labelFlush=False))
    percent, scale = alt.Axis(format=".2~%", tickCount=4), alt.Scale(zero=False, padding=8)
    points = alt.Chart(data(rows)).mark_point(size=area(60), filled=True)
    points = points.encode(
        x=alt.X("accuracy:Q", title="Accuracy", axis=percent, scale=scale),
        y=y,
        color=style.color(looks).legend(None),
        shape=style.shape(looks).legend(None),
        tooltip=tooltips(("cell:N", "Cell"), ("accuracy:Q", "Accuracy", ".2%")),
    )
    if not intervals:
        return [points]
    bars = alt.Chart(data(intervals)).encode(y=y)
    lines = bars.mark_rule(strokeWidth=em(2), color=style.NEUTRAL, clip=True)
    means = bars.mark_tick(thickness=3, height=em(14), color=style.NEUTRAL)
    return [
        lines.encode(x=alt.X("low:Q", title="Accuracy"), x2="high:Q"),
        points,
        means.encode(x=alt.X("mean:Q", title="Accuracy")),
    ]


def _marks(table: Table, summaries: list[Summary]) -> dict[str, str]:
    """Symbols of the most accurate cell and of the lab's default, by entry."""
    best = find_best(summaries)
    default = table.declared.references[0]
    return {
        one.name: ("★ " if one is best else "") + ("◆ " if one.name == default else "") for one in summaries
    }  # fmt: skip


def differences(table: Table, reference: str) -> Spec | None:
    """The mean difference to the reference with its 95 % interval over seeds, a point a seed, the best entry first.

    None where no entry can be compared with the reference.
    """
    compared = [(one, one.differences[reference]) for one in summarize(table) if reference in one.differences]
    if not compared:
        return None
    compared.sort(key=lambda pair: -pair[1].estimate)
    looks = style.series({one.name: one.entry.key for one, _ in compared})
    rows = [_difference_row(one, difference) for one, difference in compared]
    seeds = [
        {"entry": one.name, "family": _family(one), "difference": 100 * value}
        for one, difference in compared
        for value in difference.values
    ]
    listed = "; ".join(f"{one.name} {100 * difference.estimate:+.2f}" for one, difference in compared)
    described = f"Difference in accuracy to {reference} in percentage points, the largest first: {listed}"
    subtitle = "mean and 95 % interval over seeds; small points: seeds"
    heading = title(f"Accuracy compared with {reference}", subtitle)
    return spec(_difference_layers(rows, seeds, looks, reference), heading, described, 26 * len(rows))


def _family(one: Summary) -> str:
    """The family of the entry's methods; `scratch` without any, `several` where they differ."""
    families = sorted({method.family for method in one.entry.objective.methods}) if one.entry.objective else []
    return families[0] if len(families) == 1 else "several" if families else SCRATCH


def _difference_row(one: Summary, difference: Difference) -> dict[str, Any]:
    low, high = difference.interval or (difference.estimate, difference.estimate)
    return {
        "entry": one.name,
        "method": style.look_of(one.entry.key).label,
        "family": _family(one),
        "mean": 100 * difference.estimate,
        "low": 100 * low,
        "high": 100 * high,
        "p": "" if difference.p is None else f"{difference.p:.2g}",
        "accuracy": 100 * one.accuracy,
    }


def _difference_layers(
    rows: list[dict[str, Any]], seeds: list[dict[str, Any]], looks: list[style.Series], reference: str
) -> list[alt.Chart]:
    names = [look.name for look in looks]
    y = alt.Y("entry:N", sort=names, title=None, axis=alt.Axis(labelLimit=em(230), ticks=False))
    colors = {row["family"]: look.color for row, look in zip(rows, looks, strict=True)}
    legend = alt.Legend(orient="bottom", title="family", symbolType="circle")
    color = alt.Color("family:N", scale=alt.Scale(domain=list(colors), range=list(colors.values())), legend=legend)
    shape = alt.Shape("entry:N", scale=alt.Scale(domain=names, range=[look.shape for look in looks]), legend=None)
    text = f"difference to {reference} (percentage points)"
    scale, axis = alt.Scale(zero=True, padding=10), alt.Axis(format="+~f", tickCount=6)
    base = alt.Chart(data(rows)).encode(y=y, color=color)
    zero = alt.Chart(data([{"zero": 0}])).mark_rule(color=style.NEUTRAL, strokeDash=[4, 3])
    return [
        zero.encode(x=alt.X("zero:Q", title=text)),
        base.mark_rule(strokeWidth=em(3), opacity=0.6).encode(
            x=alt.X("low:Q", title=text, scale=scale, axis=axis), x2="high:Q"
        ),
        alt.Chart(data(seeds))
        .mark_point(size=area(14), filled=True, opacity=0.55)
        .encode(x=alt.X("difference:Q", title=text), y=y, color=color),
        base.mark_point(size=area(150), filled=True, opacity=1).encode(
            x=alt.X("mean:Q", title=text),
            shape=shape,
            tooltip=tooltips(
                ("entry:N", "Entry"), ("method:N", "Method"), ("mean:Q", "Mean difference", "+.2f"),
                ("low:Q", "From", "+.2f"), ("high:Q", "To", "+.2f"), ("p:N", "p, corrected"),
                ("accuracy:Q", "Accuracy (%)", ".2f"),
            ),
        ),
    ]  # fmt: skip
