"""Charts of a study: the surface of a grid, its cells seed by seed, and each entry's difference to a reference."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from kdexplorer.analysis.measures import MEASURES, Measure
from kdexplorer.charts.common import Spec, data, spec, title, tooltips
from kdexplorer.charts.experiments import figure_chart
from kdexplorer.charts.style import em
from kdexplorer.config import SCRATCH
from kdexplorer.studies.experiments.base import Figure, row_of
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
    if find_best(summaries) is None:
        return None
    points = [
        point for one in summaries for point in row_of(f"{marks[one.name]}{one.place}", one.entry.key, one.values())
    ]
    subtitle = "A small point for each seed; large point: their mean; line: 95 % interval for the mean over seeds"
    roles = {one.entry.key: one.entry.key for one in summaries}
    return figure_chart(Figure("dots", "Every cell, seed by seed", subtitle, "accuracy (%)", tuple(points), roles))


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
    compared.sort(key=lambda pair: -pair[1].estimate)
    points = [point for one, found in compared for point in row_of(one.name, _family(one), found.values)]
    heading, x_title = f"Accuracy compared with {reference}", f"difference to {reference} (percentage points)"
    subtitle = "mean and 95 % interval over seeds; small points: seeds"
    roles = {_family(one): one.entry.key for one, _ in reversed(compared)}
    return figure_chart(Figure("dots", heading, subtitle, x_title, tuple(points), roles, rule=0))


def _family(one: Summary) -> str:
    """The family of the entry's methods; `scratch` without any, `several` where they differ."""
    families = sorted({method.family for method in one.entry.objective.methods}) if one.entry.objective else []
    return families[0] if len(families) == 1 else "several" if families else SCRATCH
