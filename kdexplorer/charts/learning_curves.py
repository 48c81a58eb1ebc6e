"""A run's course: learning curves, and in the browser its replay with a slider for the epoch.

`web/page_controls.js` adds a button that plays the slider, and moves all sliders with this name together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np

from kdexplorer.analysis.measures import MEASURES, Measure
from kdexplorer.analysis.metrics import softmax
from kdexplorer.charts import style
from kdexplorer.charts.common import Rows, Spec, data, describe_selection, join_parts, select_classes, spec, tooltips
from kdexplorer.charts.style import area, em
from kdexplorer.config import split_term_name
from kdexplorer.methods import all_methods, find_method
from kdexplorer.runs.card import EpochMeasures
from kdexplorer.runs.run_folder import BatchMetrics, EpochMetrics, TeacherMeasures

FIXED = ("accuracy", "cross_entropy", "objective")
"""The measures that are no method's term."""


@dataclass(frozen=True)
class Curves:
    """What learning curves are drawn from; all numbers are finite, as those of the records are."""

    by_network: Mapping[str, Sequence[EpochMeasures | EpochMetrics]]
    """Of one run or of several."""
    looks: Sequence[style.Series]
    """Of these networks."""
    epochs: int | None = None
    """Of the whole run, so that the axis keeps its length while curves grow."""
    teacher: TeacherMeasures | None = None
    """Its accuracy or cross-entropy becomes a horizontal line."""
    batches: Sequence[BatchMetrics] = ()
    """Within epochs: their training batches are thin lines behind the others."""

    @property
    def rows(self) -> list[EpochMeasures | EpochMetrics]:
        return [row for own in self.by_network.values() for row in own]

    @property
    def first_split(self) -> str:
        """`test` (the evaluation split) where it was evaluated, else `train` (the training batches)."""
        return "test" if any(row.test for row in self.rows) else "train"


def get_measure(key: str) -> Measure:
    """The measure of that key: `accuracy`, `cross_entropy`, `objective`, or a method's, numbered where it repeats."""
    if key in FIXED:
        return MEASURES[key]
    method, number = split_term_name(key)
    at_stage = ", stage" if key.endswith(f"_{number}") else ""
    label = f"{find_method(method).label} term" + (f"{at_stage} {number}" if number else "")
    return Measure(key, label, axis=f"{label}, unweighted")


def list_measures(source: Curves) -> list[str]:
    """The measures that have values, on the evaluation split where it was evaluated: accuracy, losses, objective."""
    split = source.first_split
    known = {key for row in source.rows or source.batches for key in getattr(row, split)}
    order = {method.key: rank for rank, method in enumerate(all_methods())}
    terms = [key for key in known.difference(FIXED) if split_term_name(key)[0].isidentifier()]
    terms.sort(key=lambda key: (order.get(split_term_name(key)[0], len(order)), key))
    return [key for key in ("accuracy", "cross_entropy", *terms, "objective") if key in known]


def learning_curves(
    source: Curves, measure: str = "accuracy", split: str | None = None, replay: bool = False
) -> Spec | None:
    """A measure after every epoch (see `get_measure`), all networks on shared axes; None without anything to draw.

    `split` is `test` or `train`, by default the first with values. With `replay`, the curves of several epochs end at
    that of a slider, which begins at the last; the axes stay those of the whole run.
    """
    split, facts = split or source.first_split, get_measure(measure)
    rows = [
        {"epoch": row.epoch + 1, "network": name, "value": value}
        for name, own in source.by_network.items()
        for row in own
        if (value := facts.value(getattr(row, split))) is not None
    ]
    within: Rows = [
        {"epoch": round(row.epoch, 3), "network": row.student, "value": value}
        for row in source.batches
        if (value := facts.value(row.train)) is not None
    ]
    if not rows and not within:
        return None
    last = {row["network"]: row["value"] for row in rows or within}
    subtitle = "Not comparable between students: each minimizes a different sum" if measure == "objective" else ""
    listed = ", ".join(f"{name} {value:.4g} {facts.unit}".rstrip() for name, value in last.items())
    words = f"{facts.label} by epoch; latest: {listed}"
    epochs = sorted({row.epoch + 1 for row in source.rows})
    slider = [_slider(epochs)] if replay and len(epochs) > 1 else []
    teacher, level = source.teacher if split == "test" else None, None
    if teacher is not None and (level := facts.value(teacher)) is not None:
        shown = f"{level:.4g} {facts.unit} {teacher.note}".rstrip()
        subtitle, words = f"Blue line: the teacher, {shown}", f"{words}; teacher {shown}"
    thin = "Thin lines: the training batches" if within else ""
    starts = {name: min((row.epoch for row in own), default=0) for name, own in source.by_network.items()}
    late = ", ".join(f"{name} from epoch {start + 1}" for name, start in starts.items() if start)
    before = f"{late}: continued from earlier runs, whose curves are not stored" if late else ""
    subtitle = join_parts(subtitle, thin, before)
    where = {"test": "on the evaluation split", "train": "on the training batches"}[split]
    heading = f"{facts.label} {where}, by epoch"
    layers = _curves(source, facts, rows, within, level, bool(slider))
    return spec(layers, heading, subtitle, words, 240, *slider)


def _curves(
    source: Curves, measure: Measure, rows: Rows, within: Rows, level: float | None, replay: bool
) -> list[alt.Chart]:
    """Lines and points of the rows `epoch`, `network` and `value`, thin ones within epochs, and one at the `level`.

    The axes are those of all rows, also where with `replay` the slider's epoch ends the lines.
    """
    looks = [look for look in source.looks if any(row["network"] == look.name for row in rows + within)]
    last, title = max(row["epoch"] for row in rows + within), measure.axis or measure.heading
    span = alt.Scale(domain=[0 if within else 1, max(source.epochs or 1, last, 2)], nice=False)
    values = [row["value"] for row in rows + within] + [level] * (level is not None)
    scale = alt.Scale(zero=False, nice=True, domain=[min(values), max(values)])
    axis_x = alt.Axis(tickMinStep=1, format="d", labelExpr="datum.value % 1 ? '' : datum.label", grid=False)
    drawn: dict[str, Any] = {
        "x": alt.X("epoch:Q", title="Epoch", axis=axis_x, scale=span),
        "y": alt.Y("value:Q", title=title, scale=scale),
        "color": style.color(looks),
        "tooltip": tooltips(("network:N", "Network"), ("epoch:Q", "Epoch"), ("value:Q", title, ".4g")),
    }
    charts = [alt.Chart(data(one)).encode(**drawn) for one in (within, rows)]
    thin, base = (one.transform_filter(f"datum.epoch <= {SLIDER}") if replay else one for one in charts)
    layers = []
    if level is not None:
        rule = alt.Chart(data([{"value": level}])).mark_rule(
            strokeWidth=em(2), color=style.look_of(style.TEACHER).color
        )
        layers.append(rule.encode(y=alt.Y("value:Q", title=title)))
    if within:
        layers.append(thin.mark_line(strokeWidth=1, opacity=0.6))
    if rows:
        cues = {"strokeDash": style.dash(looks, False), "strokeWidth": style.width(looks, False)}
        layers.append(base.mark_line().encode(**cues))
        layers.append(base.mark_point(size=area(70), filled=True, strokeWidth=1.5).encode(shape=style.shape(looks)))
    return layers


SLIDER = "epoch"
"""The parameter's name; epochs in it begin with 1."""


def _slider(epochs: Sequence[int]) -> alt.Parameter:
    """The parameter that a slider sets, at first to the last of these epochs; no slider where there is one alone."""
    bind = alt.binding_range(min=epochs[0], max=epochs[-1], step=1, name="Epoch")
    return alt.param(name=SLIDER, value=epochs[-1], bind=bind if len(epochs) > 1 else alt.Undefined)


def soft_labels_by_epoch(
    teacher: Sequence[float] | None,
    by_epoch: Mapping[int, Mapping[str, Sequence[float]]],
    looks: Sequence[style.Series],
    classes: Sequence[str],
    temperature: float,
    label: int | None,
) -> Spec:
    """One image's soft labels: the teacher as bars, each student as a marker that approaches them.

    Args:
        teacher: its logits `[K]`, or None in a run without one; its largest logits select the classes (without one,
            those of the first student), see `select_classes`.
        by_epoch: the students' logits `[K]` by epoch (from 0) and name; with several epochs there is a slider.
        looks: of the students and perhaps other networks.
        classes: the names of all K classes.
    """
    epochs, first_student = sorted(by_epoch), next(iter(by_epoch[max(by_epoch)].values()))
    shown = select_classes(np.asarray(first_student if teacher is None else teacher), label)
    names = {index: f"{classes[index]} (label)" if index == label else classes[index] for index in shown}

    def to_rows(name: str, logits: Sequence[float], epoch: int) -> Rows:
        soft = softmax(np.asarray(logits, dtype=float), temperature)
        known = {"network": name, "epoch": epoch + 1}
        return [known | {"class": names[index], "p": round(float(soft[index]), 5)} for index in shown]

    students = [row for epoch in epochs for network in by_epoch[epoch].items() for row in to_rows(*network, epoch)]
    bars = [] if teacher is None else to_rows(style.TEACHER, teacher, epochs[-1])
    reach = min(1.0, float(np.ceil(10 * max(row["p"] for row in [*students, *bars])) / 10))
    unit, span = f"Probability at T = {temperature:g}", alt.Scale(domain=[0, reach])  # the same for all epochs
    drawn: dict[str, Any] = {
        "x": alt.X("p:Q", title=unit, scale=span, axis=alt.Axis(format=".0%", tickCount=5)),
        "y": alt.Y("class:N", sort=list(names.values()), title=None, axis=alt.Axis(labelLimit=em(230), ticks=False)),
        "tooltip": tooltips(("network:N", "Network"), ("class:N", "Class"), ("p:Q", "Probability", ".1%")),
    }
    color = style.look_of(style.TEACHER).color
    of_teacher = alt.Chart(data(bars)).mark_bar(color=color, opacity=0.45, height={"band": 0.8})
    looks = [look for look in looks if any(row["network"] == look.name for row in students)]
    points = alt.Chart(data(students)).transform_filter("datum.epoch === shown")
    markers = points.mark_point(size=area(110), filled=True, strokeWidth=1.8, opacity=0.95)
    layers = [
        *([of_teacher.encode(**drawn)] if bars else []),
        markers.encode(**drawn, color=style.color(looks), shape=style.shape(looks)),
    ]
    whose = "the most probable" if teacher is None else "the teacher's most probable"
    selection = describe_selection(len(shown), len(classes), whose)
    cues = "" if teacher is None else "Blue bars: the teacher. Markers: the students"
    heading = alt.expr("'Soft labels after epoch ' + shown")
    latest = ({} if teacher is None else {style.TEACHER: teacher}) | dict(by_epoch[epochs[-1]])
    probabilities = {name: softmax(np.asarray(logits, dtype=float), temperature) for name, logits in latest.items()}
    largest = "; ".join(f"{name}: {classes[int(p.argmax())]} {p.max():.0%}" for name, p in probabilities.items())
    words = f"Soft labels of one image after epoch {epochs[-1] + 1} at T = {temperature:g}; largest: {largest}"
    ends = ", ".join(f"{SLIDER} >= {epoch + 1} ? {epoch + 1} : 0" for epoch in epochs)
    params = _slider([epoch + 1 for epoch in epochs]), alt.param(name="shown", expr=f"max({ends})")
    return spec(layers, heading, join_parts(cues, selection), words, 27 * len(shown), *params)
