"""A run's course in the browser: curves that grow with a slider's epoch, and one image's soft labels at that epoch.

`web/page_controls.js` adds a button that plays the slider, and moves all sliders with this name together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np

from kdexplorer.analysis.metrics import softmax
from kdexplorer.charts import style
from kdexplorer.charts.common import Spec, describe_selection, select_classes, spec, title, tooltips
from kdexplorer.charts.sizes import area, em

SLIDER = "epoch"
"""The parameter's name; epochs in it begin with 1."""


def _slider(first: int, last: int) -> Spec:
    """The parameter that a slider sets; without one where there is a single epoch."""
    bind = {"input": "range", "min": first, "max": last, "step": 1, "name": "Epoch"}
    return {"name": SLIDER, "value": last} | ({"bind": bind} if first < last else {})


def replay_curves(chart: Spec, first: int, last: int) -> Spec:
    """Learning curves (see `learning_curves`) that end at the slider's epoch; the axes stay those of the whole run.

    Args:
        chart: the specification.
        first, last: the epochs of the slider, from 1; at first it shows the last.
    """
    curves = [layer for layer in chart["layer"] if layer["encoding"].get("x", {}).get("field") == "epoch"]
    unseen = {"type": "point", "opacity": 0, "tooltip": None, "aria": False}
    frames = [
        {"mark": unseen, "encoding": {key: layer["encoding"][key] for key in ("x", "y")}}
        | ({"data": layer["data"]} if "data" in layer else {})
        for layer in curves
    ]
    grown = [{"filter": f"datum.epoch <= {SLIDER}"}]
    layers = [layer | {"transform": grown} if layer in curves else layer for layer in chart["layer"]]
    return chart | {"layer": frames + layers, "params": [*chart.get("params", []), _slider(first, last)]}


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
        looks: how to draw the students.
        classes: the names of all K classes.
        temperature: of every softmax here.
        label: the hard label.
    """
    epochs, first_student = sorted(by_epoch), next(iter(by_epoch[max(by_epoch)].values()))
    shown = select_classes(np.asarray(first_student if teacher is None else teacher), label)
    names = {index: f"{classes[index]} (true)" if index == label else classes[index] for index in shown}

    def to_rows(name: str, logits: Sequence[float], epoch: int) -> list[dict[str, Any]]:
        soft = softmax(np.asarray(logits, dtype=float), temperature)
        known = {"network": name, "epoch": epoch + 1}
        return [known | {"class": names[index], "p": round(float(soft[index]), 5)} for index in shown]

    students = [
        row for epoch in epochs for name, logits in by_epoch[epoch].items() for row in to_rows(name, logits, epoch)
    ]
    bars = [] if teacher is None else to_rows(style.TEACHER, teacher, epochs[-1])
    reach = min(1.0, float(np.ceil(10 * max(row["p"] for row in [*students, *bars])) / 10))
    layers = _marks(students, bars, list(names.values()), looks, temperature, reach)
    selection = describe_selection(len(shown), len(classes), "the most probable")
    cues = "" if teacher is None else "Blue bars: the teacher. Markers: the students"
    heading = title(alt.expr(f"'Soft labels after epoch ' + {SLIDER}"), cues, selection)
    latest = ({} if teacher is None else {style.TEACHER: teacher}) | dict(by_epoch[epochs[-1]])
    probabilities = {name: softmax(np.asarray(logits, dtype=float), temperature) for name, logits in latest.items()}
    largest = "; ".join(f"{name}: {classes[int(p.argmax())]} {p.max():.0%}" for name, p in probabilities.items())
    words = f"Soft labels of one image after epoch {epochs[-1] + 1} at T = {temperature:g}; largest: {largest}"
    rows = {"students": students} | ({"bars": bars} if bars else {})
    made = spec(layers, heading, words, 27 * len(shown), rows=rows)
    return made | {"params": [_slider(epochs[0] + 1, epochs[-1] + 1), *made["params"]]}  # the title reads it


def _marks(
    students: list[dict[str, Any]],
    bars: list[dict[str, Any]],
    classes: Sequence[str],
    looks: Sequence[style.Series],
    temperature: float,
    reach: float,
) -> list[alt.Chart]:
    """The teacher's bars and the students' markers at the slider's epoch; the axis ends at `reach` for all epochs."""
    unit, span = f"Probability at T = {temperature:g}", alt.Scale(domain=[0, reach])
    axis = alt.Axis(labelLimit=em(230), ticks=False)
    drawn: dict[str, Any] = {
        "x": alt.X("p:Q", title=unit, scale=span, axis=alt.Axis(format=".0%", tickCount=5)),
        "y": alt.Y("class:N", sort=list(classes), title=None, axis=axis),
        "tooltip": tooltips(("network:N", "Network"), ("class:N", "Class"), ("p:Q", "Probability", ".1%")),
    }
    layers = []
    if bars:
        color = style.look_of(style.TEACHER).color
        drawn_bars = alt.Chart(alt.NamedData("bars")).mark_bar(color=color, opacity=0.45, height={"band": 0.8})
        layers.append(drawn_bars.encode(**drawn))
    looks = [look for look in looks if any(row["network"] == look.name for row in students)]
    points = alt.Chart(alt.NamedData("students")).transform_filter(f"datum.epoch === {SLIDER}")
    marks = points.mark_point(size=area(110), filled=True, strokeWidth=1.8, opacity=0.95)
    layers.append(marks.encode(**drawn, color=style.color(looks), shape=style.shape(looks)))
    return layers
