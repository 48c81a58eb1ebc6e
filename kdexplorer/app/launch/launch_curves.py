"""What a run's students have learned so far: its results, curves and one image's soft labels, epoch by epoch."""

from __future__ import annotations

import numpy as np
import streamlit as st

from kdexplorer.app.launch import run_result
from kdexplorer.app.parts import chart_view
from kdexplorer.app.state import data
from kdexplorer.app.state.choices import pick_one, pick_option
from kdexplorer.charts import learning_curves, style
from kdexplorer.charts.learning_curves import CurvePoint
from kdexplorer.charts.style import Series
from kdexplorer.config import SCRATCH, RunConfig
from kdexplorer.datasets import get_dataset
from kdexplorer.images import render
from kdexplorer.runs.records import EpochMetrics, TeacherFigures
from kdexplorer.runs.run_folder import Run


def show(run: Run, config: RunConfig, live: bool) -> None:
    """Accuracy and a loss term of all students on shared axes, and the soft labels of one image."""
    roles = {student.name: student.key for student in config.students}
    if not config.teacher:  # such a run trains a teacher, unless the name says that it is a baseline
        roles = {n: style.TEACHER if key == SCRATCH and SCRATCH not in n.lower() else key for n, key in roles.items()}
    looks = style.series(roles)
    by_epoch, within = data.run_metrics(run)
    metrics = [row for row in by_epoch if row.student in roles and row.epoch < config.epochs and row.test]
    points = [to_point(row, row.student) for row in metrics]
    batches = [
        CurvePoint(row.student, row.epoch - 1, row.train, {})
        for row in within
        if row.student in roles and row.epoch <= config.epochs
    ]
    teacher = run.teacher(len(get_dataset(config.dataset).classes))
    measures = learning_curves.list_measures(points or batches)
    if not measures:
        if live:
            st.info("Loading the data and the networks. Curves appear in a few seconds.")
        return
    if not live:
        run_result.show(run, config, roles)
    _show_curves(config, points, batches, looks, measures, teacher, live)
    if metrics:
        _show_soft_labels(config, metrics, teacher, looks, live)


def _show_curves(
    config: RunConfig,
    points: list[CurvePoint],
    batches: list[CurvePoint],
    looks: list[Series],
    measures: list[str],
    teacher: TeacherFigures | None,
    live: bool,
) -> None:
    """Accuracy and a loss term; after the run they can be played again."""
    epochs = sorted({int(point.epoch) + 1 for point in points})
    accuracy, losses = st.columns(2)
    with losses:
        terms = [measure for measure in measures if measure != "accuracy"] or measures
        term = pick_option("term", "Loss term", terms, lambda key: learning_curves.get_measure(key).label)
    for column, measure in ((accuracy, "accuracy"), (losses, term)):
        chart = learning_curves.learning_curves(points, looks, measure, config.epochs, teacher, batches=batches)
        if chart is not None and not live and len(epochs) > 1:
            chart = learning_curves.replay_curves(chart, epochs[0], epochs[-1])
        if chart is not None:
            name, key = ("Accuracy", "accuracy_chart") if column is accuracy else (f"Curves {measure}", "terms_chart")
            chart_view.draw(chart, name, place=column, savable=not live, key=key)


def to_point(row: EpochMetrics, network: str) -> CurvePoint:
    """A line of a run's metrics as a point of that network's curve."""
    return CurvePoint(network, row.epoch, row.train, row.test)


def _show_soft_labels(
    config: RunConfig, rows: list[EpochMetrics], teacher: TeacherFigures | None, looks: list[Series], live: bool
) -> None:
    """One image whose soft labels are drawn again after every epoch."""
    classes, latest = get_dataset(config.dataset).classes, max(row.epoch for row in rows)
    by_epoch: dict[int, dict[str, np.ndarray]] = {}
    for row in rows:
        if not live or row.epoch == latest:
            by_epoch.setdefault(row.epoch, {})[row.student] = _as_logits(row.probes, len(classes))
    of_teacher = _as_logits(teacher.probes if teacher else [], len(classes))
    pictures, own_labels = data.probes(config.dataset, config.holdout)
    labels = (teacher.probe_labels if teacher else None) or own_labels.tolist()
    count = min(len(probes) for probes_of in by_epoch.values() for probes in probes_of.values())
    if not count:
        return
    st.header("Soft labels, epoch by epoch")

    def describe(index: int) -> str:
        return f"{index}: {classes[labels[index]]}" if index < len(labels) else str(index)

    settings, picture, chart = st.columns([2, 2, 5])
    with settings:
        numbers = [str(number) for number in range(count)]
        index = int(
            pick_one("probe", "Image", numbers, "0", kind="image", format_func=lambda number: describe(int(number)))
        )
        trained = [t.temperature for s in config.students for t in s.terms if hasattr(t, "temperature")]
        first = trained[0] if trained else 1.0
        choices = sorted({1.0, 2.0, 4.0, 8.0, first})
        temperature = pick_option("probe_T", "Temperature", choices, "{:g}".format, first)
    if index < len(pictures):
        pixels, caption = render.enlarge_png(pictures[index].transpose(1, 2, 0), 224), describe(index)
        picture.image(pixels, caption.partition(": ")[2], "stretch", alt=f"Evaluation image {caption}")
    spec = learning_curves.soft_labels_by_epoch(
        of_teacher[index] if index < len(of_teacher) else None,
        {epoch: {student: probes[index] for student, probes in found.items()} for epoch, found in by_epoch.items()},
        looks, classes, temperature, labels[index] if index < len(labels) else None,
    )  # fmt: skip
    chart_view.draw(spec, f"Soft labels by epoch image {index}", place=chart, savable=not live, key="probe_chart")


def _as_logits(probes: list[list[float]], classes: int) -> np.ndarray:
    """Logits `[N, classes]`; N is 0 where they are damaged."""
    if not probes or any(len(row) != classes for row in probes):
        return np.empty((0, classes))
    logits = np.asarray(probes, dtype=float)
    return logits if np.isfinite(logits).all() else logits[:0]
