"""What a student takes over of its teacher's errors, beside its scratch baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt

from kdexplorer.analysis.error_inheritance import Inheritance
from kdexplorer.charts.common import Spec, data, spec, title, tooltips
from kdexplorer.charts.sizes import em

OUTCOMES = {
    "right": "#009E73",
    "the teacher's wrong class": "#D55E00",
    "a wrong class of its own": "#999999",
}
"""Outcomes in their order along a bar, with their colors; the order and the numbers are the second cue."""


def inheritance(counts: Mapping[str, Inheritance], teacher: str) -> Spec:
    """Each network's predictions as bars of shares, on the images that the teacher gets wrong and on the others.

    Args:
        counts: by network, the student first.
        teacher: its name.
    """
    rows = _list_rows(counts)
    order = [f"{name}, teacher {where}" for where in ("wrong", "right") for name in counts]
    scale = alt.Scale(domain=list(OUTCOMES), range=list(OUTCOMES.values()))
    legend = alt.Legend(orient="bottom", columns=1, title=None, labelLimit=0)
    axis = alt.Axis(format=".0%", tickCount=5)
    base = alt.Chart(data(rows)).encode(
        y=alt.Y("bar:N", sort=order, title=None, axis=alt.Axis(labelLimit=em(330), ticks=False)),
        tooltip=tooltips(
            ("bar:N", "Network"), ("outcome:N", "Predicts"), ("images:Q", "Images", ","), ("share:Q", "Share", ".1%")
        ),
    )
    bars = base.mark_bar().encode(
        x=alt.X("from:Q", title="Share of the images", axis=axis, scale=alt.Scale(domain=[0, 1])),
        x2="to:Q",
        color=alt.Color("outcome:N", scale=scale, legend=legend),
    )
    numbers = base.mark_text(color="#000000").encode(x=alt.X("middle:Q", title="Share of the images"), text="text:N")
    first = next(iter(counts.values()))
    heading = title(
        f"Predictions on {teacher}'s errors",
        f"on the {first.teacher_wrong:,} images that it gets wrong, and the {first.teacher_right:,} that it gets right",
    )
    described = "; ".join(
        f"{name}: where {teacher} is wrong, right on {one.corrected_share:.1%} and the same wrong class on "
        f"{one.repeated_share:.1%}; where it is right, right on {one.kept_share:.1%}"
        for name, one in counts.items()
    )
    return spec([bars, numbers], heading, f"Error inheritance. {described}", 34 * len(order))


def _list_rows(counts: Mapping[str, Inheritance]) -> list[dict[str, Any]]:
    """A row for each part of a bar, with where it begins and ends."""
    rows: list[dict[str, Any]] = []
    for name, one in counts.items():
        wrong = {"right": one.right_there, "the teacher's wrong class": one.repeats}
        wrong["a wrong class of its own"] = one.teacher_wrong - sum(wrong.values())
        right = {"right": one.right_elsewhere, "a wrong class of its own": one.teacher_right - one.right_elsewhere}
        for where, total, outcomes in (("wrong", one.teacher_wrong, wrong), ("right", one.teacher_right, right)):
            start = 0.0
            for outcome, images in outcomes.items():
                share = images / total if total else 0.0
                text = f"{share:.0%}" if share >= 0.06 else ""
                bar = f"{name}, teacher {where}"
                rows.append(
                    {"bar": bar, "outcome": outcome, "images": images, "share": share, "text": text}
                    | {"from": start, "to": start + share, "middle": start + share / 2}
                )
                start += share
    return rows
