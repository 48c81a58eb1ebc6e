"""Charts of runs: learning curves, and one image's soft labels epoch by epoch. No streamlit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from kdexplorer.metrics import log_softmax
from kdexplorer.ui import style
from kdexplorer.ui.charts import COLOURS, FIT, Spec, spec, title

MEASURES: dict[str, tuple[str, str, str]] = {
    "accuracy": ("Accuracy", "Accuracy (share of images)", ".2~%"),
    "cross_entropy": ("Cross-entropy", "Cross-entropy (nats)", ".2f"),
    "response": ("T²·KL to the teacher", "T²·KL (nats)", ".2f"),
    "attention": ("Attention term", "Attention term, unweighted (1)", ".1e"),
    "objective": ("Objective", "Objective (each student's own sum)", ".2f"),
}
"""What metrics.jsonl tells of a student and epoch: key to short name, axis title and number format."""


def value_of(row: dict[str, Any], measure: str, where: str = "test") -> float | None:
    """A measure in a line of `metrics.jsonl`, or None where it is not a finite number."""
    part = row.get(where)
    value = part.get(measure) if isinstance(part, dict) else None
    return value if isinstance(value, (int, float)) and math.isfinite(value) else None


def learning_curves(
    metrics: list[dict[str, Any]],
    looks: Sequence[style.Series],
    measure: str = "accuracy",
    epochs: int | None = None,
    teacher: dict[str, Any] | None = None,
    where: str = "test",
) -> Spec | None:
    """A measure after every epoch, all students on shared axes; None while there is nothing to draw.

    Args:
        metrics: the lines of `metrics.jsonl`; with a `network` key where several runs are shown together.
        looks: the students.
        measure: a key of `MEASURES`.
        epochs: of the whole run, so that the axis stands still while it grows.
        teacher: `teacher.json`: its accuracy or cross-entropy becomes a line across.
        where: `test` (the measured images) or `train`.
    """
    short, unit, form = MEASURES[measure]
    names = {look.name for look in looks}
    rows = [
        {"epoch": row["epoch"] + 1, "network": (row.get("network") or row["student"]), "value": value}
        for row in metrics
        if (row.get("network") or row["student"]) in names and (value := value_of(row, measure, where)) is not None
    ]
    if not rows:
        return None
    values = [row["value"] for row in rows]
    if max(values) >= 100:
        form = ",.0f"
    drawn = {row["network"] for row in rows}
    looks = [look for look in looks if look.name in drawn]
    last = {row["network"]: row["value"] for row in rows}
    words = f"{short} by epoch; at the latest: " + style.spoken(last, "{:.1%}" if measure == "accuracy" else "{:.4g}")
    x = alt.X(
        "epoch:Q",
        title="Epoch",
        axis=alt.Axis(tickMinStep=1, format="d", grid=False),
        scale=alt.Scale(domain=[1, max(epochs or 1, max(row["epoch"] for row in rows), 2)], nice=False),
    )
    y = alt.Y("value:Q", title=unit, axis=alt.Axis(format=form), scale=alt.Scale(zero=False, nice=True))
    tips = [
        alt.Tooltip("network:N", title="Network"),
        alt.Tooltip("epoch:Q", title="Epoch"),
        alt.Tooltip("value:Q", title=short, format=".2%" if measure == "accuracy" else ".4g"),
    ]
    base = alt.Chart(style.data(rows)).encode(x=x, y=y, color=style.colour(looks), tooltip=tips)
    layers = [
        base.mark_line().encode(strokeDash=style.dash(looks), strokeWidth=style.width(looks)),
        base.mark_point(size=70, filled=True, strokeWidth=1.5).encode(shape=style.shape(looks)),
    ]
    subtitle = ""
    value = (teacher or {}).get(measure)
    if isinstance(value, (int, float)) and where == "test":
        label = f"{value:.1%}" if measure == "accuracy" else f"{value:.2f}"
        subtitle = f"Blue line: the teacher, {label}"
        rule = alt.Chart(style.data([{"value": value}])).mark_rule(color=COLOURS["teacher"], strokeWidth=2)
        layers.insert(0, rule.encode(y="value:Q"))
        words += f"; the teacher has {label}"
    if measure == "objective":
        subtitle = "Not comparable between students: each minimises another sum"
    what = {"test": "on the measured images", "train": "on the training batches"}[where]
    return spec(
        alt.layer(*layers).properties(
            title=title(f"{short} {what}, by epoch", subtitle),
            height=300,
            description=words,
            width="container",
            autosize=FIT,
        )
    )


def soft_labels_at(
    teacher: Sequence[float] | None,
    students: dict[str, Sequence[float]],
    looks: Sequence[style.Series],
    classes: Sequence[str],
    temperature: float,
    label: int | None,
    when: str,
    reach: float = 1.0,
) -> Spec:
    """One image's soft labels: the teacher as bars, each student as a mark that moves towards them.

    Args:
        teacher: its logits `[classes]`, or None in a run without one.
        students: logits `[classes]` by name.
        temperature: of every softmax here.
        label: the true class.
        when: for the title, such as "after epoch 3".
        reach: the end of the axis, 0 to 1; one for all epochs, so that it stands still.
    """

    def soft(logits: Sequence[float]) -> list[float]:
        return np.exp(log_softmax(np.asarray(logits, dtype=float), temperature)).round(5).tolist()

    shown = [f"{name} (true)" if number == label else name for number, name in enumerate(classes)]
    y = alt.Y("class:N", sort=list(shown), title=None, axis=alt.Axis(labelLimit=140, ticks=False))
    x = alt.X(
        "p:Q",
        title=f"Probability at T = {temperature:g}",
        scale=alt.Scale(domain=[0, reach]),
        axis=alt.Axis(format=".0%", tickCount=5),
    )
    tips = [
        alt.Tooltip("network:N", title="Network"),
        alt.Tooltip("class:N", title="Class"),
        alt.Tooltip("p:Q", title="Probability", format=".1%"),
    ]
    layers, spoken = [], {}
    if teacher is not None:
        rows = [{"network": "teacher", "class": c, "p": p} for c, p in zip(shown, soft(teacher), strict=True)]
        bars = alt.Chart(style.data(rows)).mark_bar(color=COLOURS["teacher"], opacity=0.45, height={"band": 0.8})
        layers.append(bars.encode(x=x, y=y, tooltip=tips))
        spoken["teacher"] = f"{shown[int(np.argmax(teacher))]} {max(soft(teacher)):.0%}"
    rows = []
    for name, logits in students.items():
        rows += [{"network": name, "class": c, "p": p} for c, p in zip(shown, soft(logits), strict=True)]
        spoken[name] = f"{shown[int(np.argmax(logits))]} {max(soft(logits)):.0%}"
    looks = [look for look in looks if look.name in students]
    points = alt.Chart(style.data(rows)).mark_point(size=110, filled=True, strokeWidth=1.8, opacity=0.95)
    layers.append(points.encode(x=x, y=y, color=style.colour(looks), shape=style.shape(looks), tooltip=tips))
    subtitle = "Blue bars: the teacher. Marks: the students" if teacher is not None else ""
    return spec(
        alt.layer(*layers).properties(
            title=title(f"What each network answers {when}", subtitle),
            height=alt.Step(27),
            width="container",
            autosize=FIT,
            description=f"Soft labels of one image {when} at T = {temperature:g}; largest: "
            + "; ".join(f"{name}: {value}" for name, value in spoken.items()),
        )
    )
