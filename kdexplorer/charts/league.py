"""A league's chart: each entry's accuracy against a reference's, seed by seed."""

from __future__ import annotations

from typing import Any

import altair as alt

from kdexplorer.charts import style
from kdexplorer.charts.common import Spec, data, spec, title, tooltips
from kdexplorer.charts.style import area, em
from kdexplorer.config import SCRATCH
from kdexplorer.sweeps.league_summary import EntrySummary, SeedDifference


def differences(entries: list[EntrySummary], reference: str) -> Spec | None:
    """The mean difference to the reference with its 95 % interval over seeds, a point a seed, the best entry first.

    None where no entry can be compared with the reference.
    """
    compared = [(entry, entry.differences[reference]) for entry in entries if reference in entry.differences]
    if not compared:
        return None
    compared.sort(key=lambda pair: -pair[1].mean)
    looks = style.series({entry.name: entry.objective.key for entry, _ in compared})
    rows = [_row(entry, one) for entry, one in compared]
    seeds = [
        {"entry": entry.name, "family": _family(entry), "difference": 100 * value}
        for entry, one in compared
        for value in one.values
    ]
    listed = "; ".join(f"{entry.name} {100 * one.mean:+.2f}" for entry, one in compared)
    described = f"Difference in accuracy to {reference} in percentage points, the largest first: {listed}"
    subtitle = "mean and 95 % interval over seeds; small points: seeds"
    heading = title(f"Accuracy compared with {reference}", subtitle)
    return spec(_layers(rows, seeds, looks, reference), heading, described, 26 * len(rows))


def _family(entry: EntrySummary) -> str:
    """The family of the entry's methods; `scratch` without any, `several` where they differ."""
    families = sorted({method.family for method in entry.objective.methods})
    return families[0] if len(families) == 1 else "several" if families else SCRATCH


def _row(entry: EntrySummary, one: SeedDifference) -> dict[str, Any]:
    low, high = (one.test.low, one.test.high) if one.test else (one.mean, one.mean)
    return {
        "entry": entry.name,
        "method": style.look_of(entry.objective.key).label,
        "family": _family(entry),
        "mean": 100 * one.mean,
        "low": 100 * low,
        "high": 100 * high,
        "p": "" if one.p_holm is None else f"{one.p_holm:.2g}",
        "accuracy": 100 * entry.accuracy,
    }


def _layers(
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
