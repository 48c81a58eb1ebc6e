"""Charts of a sweep: the surface over temperature and weight, and every cell with its seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np

from kdexplorer.charts import style
from kdexplorer.charts.common import Spec, data, spec, title, tooltips
from kdexplorer.charts.style import area, em
from kdexplorer.sweeps.grid import references
from kdexplorer.sweeps.results import SweepCell, SweepResults


@dataclass(frozen=True)
class Surface:
    """A measure over the grid: a name, the title of its scale, what a cell's value is multiplied by, and a format."""

    label: str
    legend: str
    factor: float
    number_format: str


SURFACES = {
    "accuracy": Surface("Accuracy", "Accuracy (%)", 100, ".1f"),
    "teacher_agreement": Surface("Agreement", "Same prediction as the teacher (% of images)", 100, ".1f"),
    "calibration_error": Surface("Calibration error", "Expected calibration error (%), lower is better", 100, ".1f"),
    "scaled_calibration_error": Surface(
        "Scaled calibration error", "Calibration error after temperature scaling (%), lower is better", 100, ".1f"
    ),
    "cross_entropy": Surface("Cross-entropy", "Cross-entropy (nats), lower is better", 1, ".3f"),
    "scaled_cross_entropy": Surface(
        "Scaled cross-entropy", "Cross-entropy after temperature scaling (nats), lower is better", 1, ".3f"
    ),
}
"""What can be drawn over the grid, by the attribute of a cell."""


def surface(results: SweepResults, measure: str) -> Spec | None:
    """A heat map over temperature and weight, each cell with its mean and its spread over seeds.

    Args:
        results: a sweep's.
        measure: a key of `SURFACES`.

    Returns:
        None where the measure is known of no cell.
    """
    facts = SURFACES[measure]
    rows = [_surface_row(results, cell, measure) for cell in results.cells if getattr(cell, measure) is not None]
    if not rows:
        return None
    best = next((row for row in rows if "★" in row["text"]), rows[0])
    seeds = max(cell.seeds for cell in results.cells)
    over = f"mean over {seeds} seeds ± standard deviation" if seeds > 1 else "one seed"
    heading = title(f"{facts.label} over temperature and weight", f"{over}; ★ most accurate, ◆ the lab's default")
    low, high = min(row["value"] for row in rows), max(row["value"] for row in rows)
    described = (
        f"{facts.legend} over temperature and weight, {low:.4g} to {high:.4g}; the most accurate cell has "
        f"T {best['T']}, weight {best['weight']} and {best['value']:.4g}. All: "
    )
    described += "; ".join(f"T {row['T']}, weight {row['weight']}: {row['value']:.4g} {row['spread']}" for row in rows)
    return spec(
        _heat_map(results, rows, facts, low, high), heading, described, 56 * len({row["weight"] for row in rows})
    )


def _surface_row(results: SweepResults, cell: SweepCell, measure: str) -> dict[str, Any]:
    facts = SURFACES[measure]
    values = [facts.factor * value for value in getattr(cell, f"{measure}_values")]
    mean, deviation = facts.factor * getattr(cell, measure), float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {
        "T": f"{cell.temperature:g}",
        "weight": f"{cell.weight:g}",
        "value": round(mean, 4),
        "text": _marks(results, cell) + format(mean, facts.number_format),
        "spread": "" if deviation is None else f"± {format(deviation, facts.number_format)}",
        "seeds": ", ".join(format(value, facts.number_format) for value in values),
    }


def _heat_map(
    results: SweepResults, rows: list[dict[str, Any]], facts: Surface, low: float, high: float
) -> list[alt.Chart]:
    plain = alt.Axis(labelAngle=0, ticks=False, domain=False, grid=False)
    weights = [f"{weight:g}" for weight in reversed(results.weights)]
    base = alt.Chart(data(rows)).encode(
        x=alt.X("T:O", sort=[f"{t:g}" for t in results.temperatures], title="Temperature T", axis=plain),
        y=alt.Y("weight:O", sort=weights, title="Weight of the teacher's term", axis=plain),
        tooltip=tooltips(
            ("T:O", "Temperature"), ("weight:O", "Weight"), ("value:Q", facts.legend, facts.number_format),
            ("seeds:N", "By seed"),
        ),
    )  # fmt: skip
    legend = alt.Legend(orient="bottom", title=facts.legend, gradientLength=em(240), titleLimit=em(330), tickCount=4)
    scale = alt.Scale(scheme="cividis", domain=[low, high] if high > low else [low - 1, high + 1])
    ink = alt.condition(f"datum.value > {(low + high) / 2}", alt.value("#111111"), alt.value("#FFFFFF"))
    return [
        base.mark_rect().encode(color=alt.Color("value:Q", scale=scale, legend=legend)),
        base.mark_text(fontWeight="bold", dy=em(-9)).encode(text="text:N", color=ink),
        base.mark_text(dy=em(11)).encode(text="spread:N", color=ink),
    ]


def spread(results: SweepResults) -> Spec | None:
    """Every cell's accuracy by seed with the 95 % interval for its mean, the best first; None without cells."""
    cells = sorted(results.cells, key=lambda cell: -cell.accuracy)
    if not cells:
        return None
    named = {_marks(results, cell) + _name(cell): cell for cell in cells}
    if results.scratch is not None:
        named[_name(results.scratch)] = results.scratch
    legend = "A point for each seed; bar: their mean; line: 95 % interval for the mean over seeds"
    listed = "; ".join(f"{name} {cell.accuracy:.2%}" for name, cell in named.items())
    described = f"Accuracy by cell, the best first: {listed}"
    return spec(_spread_layers(results, named), title("Every cell, seed by seed", legend), described, 24 * len(named))


def _spread_layers(results: SweepResults, named: dict[str, SweepCell]) -> list[alt.Chart]:
    scratch, default = (student.key for student in references(results.student))
    looks = style.series({role: role for role in (default, scratch)})
    rows = [
        {"cell": name, "network": scratch if cell.temperature is None else default, "accuracy": value}
        for name, cell in named.items()
        for value in cell.accuracy_values
    ]
    intervals = [
        {"cell": name, "low": cell.accuracy_low, "high": cell.accuracy_high, "mean": cell.accuracy}
        for name, cell in named.items()
        if cell.accuracy_low is not None
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


def _marks(results: SweepResults, cell: SweepCell) -> str:
    return ("★ " if cell.point == results.best else "") + ("◆ " if cell.point == results.default else "")


def _name(cell: SweepCell) -> str:
    return "scratch baseline" if cell.temperature is None else f"T {cell.temperature:g}, weight {cell.weight:g}"
