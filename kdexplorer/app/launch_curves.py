"""What a run's students have learned so far: curves, links to the results, and one image's soft labels by epoch."""

from __future__ import annotations

import numpy as np
import streamlit as st

from kdexplorer.analysis import results
from kdexplorer.analysis.metrics import softmax
from kdexplorer.app import caches, navigation, network_picker
from kdexplorer.app.pickers import pick_option
from kdexplorer.charts import learning_curves, style
from kdexplorer.charts.learning_curves import CurvePoint
from kdexplorer.charts.style import Series
from kdexplorer.config import SCRATCH, ExperimentConfig
from kdexplorer.datasets import get_dataset
from kdexplorer.images import render
from kdexplorer.runs.records import EpochMetrics, TeacherFigures
from kdexplorer.runs.run_folder import Run, finished_students


def show(run: Run, config: ExperimentConfig, live: bool) -> None:
    """Accuracy and a loss term of all students on shared axes, and the soft labels of one image."""
    roles = {student.name: student.key for student in config.students}
    if not config.teacher:  # such a run trains a teacher, unless the name says that it is a baseline
        roles = {n: style.TEACHER if key == SCRATCH and SCRATCH not in n.lower() else key for n, key in roles.items()}
    looks = style.series(roles)
    by_epoch, within = caches.run_metrics(run)
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
        _show_links(run, config)
    accuracy, losses = st.columns(2)
    with losses:
        terms = [measure for measure in measures if measure != "accuracy"] or measures
        term = pick_option("Loss term", terms, lambda key: learning_curves.get_measure(key).label)
    for column, measure in ((accuracy, "accuracy"), (losses, term)):
        chart = learning_curves.learning_curves(points, looks, measure, config.epochs, teacher, batches=batches)
        if chart is not None:
            column.vega_lite_chart(chart, key="accuracy_chart" if column is accuracy else "terms_chart")
    if metrics:
        _show_soft_labels(config, metrics, teacher, looks, live)


def to_point(row: EpochMetrics, network: str) -> CurvePoint:
    """A line of a run's metrics as a point of that network's curve."""
    return CurvePoint(network, row.epoch, row.train, row.test)


def _show_links(run: Run, config: ExperimentConfig) -> None:
    """Links that open the finished students on the other pages."""
    names = [f"{run.run_id}/{path.name}" for path in finished_students(run)]
    if not names:
        return
    teacher = network_picker.find_name(config.teacher) if config.teacher else None
    query = {"teacher": teacher} if teacher else {}
    students = query | {"students": ",".join(names[: network_picker.MAX_STUDENTS])}
    st.success(f"{len(names)} trained network{'s' if len(names) > 1 else ''}, available on every page.")
    arrow = ":material/arrow_forward:"
    with st.container(horizontal=True):
        rows = names if teacher is None else _with_teacher(names, teacher)
        navigation.link_to("compare", "Compare them", query | {"networks": ",".join(rows)}, arrow)
        if teacher:
            navigation.link_to("soft_labels", "Soft labels", students, arrow)
            navigation.link_to("attention", "Attention", students, arrow)


def _with_teacher(names: list[str], teacher: str) -> list[str]:
    """The students with their teacher before them, if all were evaluated on the same images and fit one table."""
    found = caches.all_checkpoints()
    together = {name: found[name] for name in (teacher, *names) if name in found}
    return list(together) if len(results.group_by_evaluation(together)) == 1 else names


def _show_soft_labels(
    config: ExperimentConfig, rows: list[EpochMetrics], teacher: TeacherFigures | None, looks: list[Series], live: bool
) -> None:
    """One image whose soft labels are drawn again after every epoch."""
    classes = get_dataset(config.dataset).classes
    by_epoch: dict[int, dict[str, np.ndarray]] = {}
    for row in rows:
        by_epoch.setdefault(row.epoch, {})[row.student] = _as_logits(row.probes, len(classes))
    of_teacher = _as_logits(teacher.probes if teacher else [], len(classes))
    pictures, own_labels = caches.probes(config.dataset, config.holdout)
    labels = (teacher.probe_labels if teacher else None) or own_labels.tolist()
    count = min(len(probes) for probes_of in by_epoch.values() for probes in probes_of.values())
    if not count:
        return
    st.subheader("Soft labels, epoch by epoch")

    def describe(index: int) -> str:
        return f"{index}: {classes[labels[index]]}" if index < len(labels) else str(index)

    settings, picture, chart = st.columns([2, 2, 5])
    with settings:
        index = st.selectbox("Image", range(count), format_func=describe, key="probe")
        trained = [t.temperature for s in config.students for t in s.terms if hasattr(t, "temperature")]
        first = trained[0] if trained else 1.0
        choices = sorted({1.0, 2.0, 4.0, 8.0, first})
        temperature = pick_option("Temperature", choices, "{:g}".format, first, key="probe_T")
        epochs = sorted(by_epoch)
        epoch = epochs[-1]
        if len(epochs) > 1 and not live:
            epoch = st.select_slider("Epoch", epochs, epochs[-1], format_func=lambda e: str(e + 1), key="probe_epoch")
    if index < len(pictures):
        pixels, caption = render.enlarge_png(pictures[index].transpose(1, 2, 0), 224), describe(index)
        picture.image(pixels, caption.partition(": ")[2], "stretch", alt=f"Evaluation image {caption}")
    shown = [probes[index] for probes_of in by_epoch.values() for probes in probes_of.values()]
    top = float(softmax(np.stack([*shown, *of_teacher[index : index + 1]]), temperature).max())
    spec = learning_curves.soft_labels_at(
        of_teacher[index] if index < len(of_teacher) else None,
        {student: probes[index] for student, probes in by_epoch[epoch].items()},
        looks, classes, temperature, labels[index] if index < len(labels) else None, f"after epoch {epoch + 1}",
        min(1.0, np.ceil(top * 10) / 10),
    )  # fmt: skip
    chart.vega_lite_chart(spec, key="probe_chart")


def _as_logits(probes: list[list[float]], classes: int) -> np.ndarray:
    """Logits `[N, classes]`; N is 0 where they are damaged."""
    valid = all(len(row) == classes and np.isfinite(row).all() for row in probes)
    return np.asarray(probes, dtype=float).reshape(-1, classes) if valid else np.empty((0, classes))
