"""Charts of a sweep: the surface over temperature and weight, and every cell with its seeds. No streamlit."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from kdexplorer.ui import style
from kdexplorer.ui.charts import COLOURS, FIT, Spec, spec, title

SURFACES: dict[str, tuple[str, str, float, str]] = {
    "accuracy": ("Accuracy", "Accuracy (%)", 100, ".1f"),
    "teacher_agreement": ("Agreement", "Same answer as the teacher (% of images)", 100, ".1f"),
    "calibration_error": ("Calibration error", "Expected calibration error (%), lower is better", 100, ".1f"),
    "cross_entropy": ("Cross-entropy", "Cross-entropy (nats), lower is better", 1, ".3f"),
}
"""What can be drawn over the grid: key to short name, legend, factor and format."""

DARK = "#111111"


def surface(made: dict[str, Any], measure: str) -> Spec | None:
    """A measure over temperature and weight, each cell with its mean and its spread over seeds.

    Args:
        made: a sweep's results, see `surface.results`.
        measure: a key of `SURFACES`.

    Returns:
        A heat map; None where no cell knows the measure.
    """
    short, legend, factor, form = SURFACES[measure]
    rows = []
    for cell in made["cells"]:
        if cell[measure] is None:
            continue
        values = [factor * value for value in cell[f"{measure}_values"]]
        rows.append(
            {
                "T": f"{cell['temperature']:g}",
                "weight": f"{cell['response_weight']:g}",
                "value": round(factor * cell[measure], 4),
                "text": _marks(made, cell) + format(factor * cell[measure], form),
                "spread": f"± {format(float(np.std(values, ddof=1)), form)}" if len(values) > 1 else "",
                "seeds": ", ".join(format(value, form) for value in values),
            }
        )
    if not rows:
        return None
    low, high = min(row["value"] for row in rows), max(row["value"] for row in rows)
    plain = alt.Axis(labelAngle=0, ticks=False, domain=False, grid=False)
    base = alt.Chart(style.data(rows)).encode(
        x=alt.X("T:O", sort=[f"{t:g}" for t in made["temperatures"]], title="Temperature T", axis=plain),
        y=alt.Y(
            "weight:O",
            sort=[f"{w:g}" for w in reversed(made["response_weights"])],
            title="Weight of the teacher's term",
            axis=plain,
        ),
        tooltip=[
            alt.Tooltip("T:O", title="Temperature"),
            alt.Tooltip("weight:O", title="Weight"),
            alt.Tooltip("value:Q", title=legend, format=form),
            alt.Tooltip("seeds:N", title="By seed"),
        ],
    )
    bar = alt.Legend(orient="bottom", title=legend, gradientLength=240, titleLimit=330, tickCount=4)
    scale = alt.Scale(scheme="cividis", domain=[low, high] if high > low else [low - 1, high + 1])
    ink = alt.condition(f"datum.value > {(low + high) / 2}", alt.value(DARK), alt.value("#FFFFFF"))
    best = next((row for row in rows if "★" in row["text"]), rows[0])
    seeds = max(cell["seeds"] for cell in made["cells"])
    over = f"mean over {seeds} seeds ± standard deviation" if seeds > 1 else "one seed"
    chart = alt.layer(
        base.mark_rect().encode(color=alt.Color("value:Q", scale=scale, legend=bar)),
        base.mark_text(fontSize=14, fontWeight="bold", dy=-7).encode(text="text:N", color=ink),
        base.mark_text(fontSize=11, dy=11).encode(text="spread:N", color=ink),
    ).properties(
        title=title(f"{short} over temperature and weight", f"{over}; ★ most accurate, ◆ the lab's default"),
        height=alt.Step(52),
        width="container",
        autosize=FIT,
        description=f"{legend} over temperature and weight, {low:.4g} to {high:.4g}; the most accurate cell has "
        f"T {best['T']}, weight {best['weight']} and {best['value']:.4g}. All: "
        + "; ".join(f"T {row['T']}, weight {row['weight']}: {row['value']:.4g} {row['spread']}" for row in rows),
    )
    return spec(chart)


def spread(made: dict[str, Any]) -> Spec | None:
    """Every cell's accuracy seed by seed with the 95 % interval for its mean, the best first."""
    cells = sorted(made["cells"], key=lambda cell: -cell["accuracy"])
    scratch = [made["scratch"]] if made["scratch"] else []
    if not cells:
        return None
    names = {id(cell): _marks(made, cell) + _name(cell) for cell in cells + scratch}
    rows = [
        {"cell": names[id(cell)], "kind": "scratch" if cell in scratch else "response", "accuracy": value}
        for cell in cells + scratch
        for value in cell["accuracy_values"]
    ]
    intervals = [
        {"cell": names[id(cell)], "low": cell["accuracy_low"], "high": cell["accuracy_high"], "mean": cell["accuracy"]}
        for cell in cells + scratch
        if cell["accuracy_low"] is not None
    ]
    y = alt.Y(
        "cell:N",
        sort=list(names.values()),
        title=None,
        axis=alt.Axis(labelLimit=170, ticks=False, labelFlush=False),
    )
    x = alt.X(
        "accuracy:Q",
        title="Accuracy",
        axis=alt.Axis(format=".2~%", tickCount=4),
        scale=alt.Scale(zero=False, padding=8),
    )
    scale = alt.Scale(domain=["response", "scratch"], range=[COLOURS["response"], COLOURS["scratch"]])
    points = (
        alt.Chart(style.data(rows))
        .mark_point(size=60, filled=True)
        .encode(
            x=x,
            y=y,
            color=alt.Color("kind:N", scale=scale, legend=None),
            shape=alt.Shape("kind:N", legend=None),
            tooltip=[alt.Tooltip("cell:N", title="Cell"), alt.Tooltip("accuracy:Q", title="Accuracy", format=".2%")],
        )
    )
    layers = [points]
    if intervals:
        bars = alt.Chart(style.data(intervals)).encode(y=y)
        layers.insert(
            0,
            bars.mark_rule(strokeWidth=2, color=style.NEUTRAL, clip=True).encode(
                x=alt.X("low:Q", title="Accuracy"), x2="high:Q"
            ),
        )
        layers.append(bars.mark_tick(thickness=3, height=14, color=style.NEUTRAL).encode(x="mean:Q"))
    chart = alt.layer(*layers).properties(
        title=title(
            "Every cell, seed by seed", "A point a seed; bar: its mean; line: 95 % interval for the mean over seeds"
        ),
        height=24 * len(names),
        width="container",
        autosize=FIT,
        description="Accuracy by cell, the best first: "
        + "; ".join(f"{names[id(cell)]} {cell['accuracy']:.2%}" for cell in cells + scratch),
    )
    return spec(chart)


def _marks(made: dict[str, Any], cell: dict[str, Any]) -> str:
    place = {key: cell[key] for key in ("temperature", "response_weight")}
    return ("★ " if place == made["best"] else "") + ("◆ " if place == made["default"] else "")


def _name(cell: dict[str, Any]) -> str:
    if cell["temperature"] is None:
        return "from scratch"
    return f"T {cell['temperature']:g}, weight {cell['response_weight']:g}"
