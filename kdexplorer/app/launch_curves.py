"""What a run's students have learned so far: curves, links to the results, and one image's soft labels by epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from kdexplorer.analysis.metrics import softmax
from kdexplorer.app import caches, navigation, network_picker
from kdexplorer.charts import learning_curves, style
from kdexplorer.charts.learning_curves import CurvePoint
from kdexplorer.config import SCRATCH, ExperimentConfig, StudentConfig
from kdexplorer.datasets import get_dataset
from kdexplorer.images import render
from kdexplorer.runs.records import EpochMetrics, TeacherFigures
from kdexplorer.runs.run_folder import Run, finished_students


def show(run: Run, config: ExperimentConfig, live: bool) -> None:
    """Accuracy and a loss term of all students on shared axes, and the soft labels of one image."""
    looks = style.series({student.name: _role_of(student, config) for student in config.students})
    names = {student.name for student in config.students}
    metrics = [row for row in run.metrics() if row.student in names and row.epoch < config.epochs and row.test]
    points = [to_point(row, row.student) for row in metrics]
    measures = learning_curves.list_measures(points)
    teacher = run.teacher(len(get_dataset(config.dataset).classes))
    if not measures:
        if live:
            st.info("Curves appear after the first epoch. Loading the data and the networks takes a few seconds.")
        return
    if not live:
        _show_links(run, config)
    left, right = st.columns(2)
    with left:
        _draw(learning_curves.learning_curves(points, looks, "accuracy", config.epochs, teacher), "accuracy_chart")
    with right:
        terms = [measure for measure in measures if measure != "accuracy"] or measures
        term = st.segmented_control(
            "Loss term",
            terms,
            format_func=lambda key: learning_curves.get_measure(key).label,
            default=terms[0],
            required=True,
            wrap=True,
        )
        _draw(learning_curves.learning_curves(points, looks, term or terms[0], config.epochs, teacher), "terms_chart")
    _show_soft_labels(config, metrics, teacher, looks, live)


def to_point(row: EpochMetrics, network: str) -> CurvePoint:
    """A line of a run's metrics as a point of that network's curve."""
    return CurvePoint(network, row.epoch, row.train, row.test)


def _role_of(student: StudentConfig, config: ExperimentConfig) -> str:
    """A student's role in charts; in a run without a teacher, a teacher is trained (see `style.role_of`)."""
    is_teacher = not config.teacher and student.key == SCRATCH and SCRATCH not in student.name.lower()
    return style.TEACHER if is_teacher else student.key


def _draw(chart: learning_curves.Spec | None, key: str) -> None:
    if chart is not None:
        st.vega_lite_chart(chart, key=key)


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
        navigation.link_to("compare", "Compare them", query | {"networks": ",".join([*query.values(), *names])}, arrow)
        if teacher:
            navigation.link_to("soft_labels", "Soft labels", students, arrow)
            navigation.link_to("attention", "Attention", students, arrow)


def _show_soft_labels(
    config: ExperimentConfig,
    metrics: Sequence[EpochMetrics],
    teacher: TeacherFigures | None,
    looks: list[style.Series],
    live: bool,
) -> None:
    """One image whose soft labels are drawn again after every epoch."""
    classes = get_dataset(config.dataset).classes
    by_epoch: dict[int, dict[str, np.ndarray]] = {}
    for row in metrics:
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
        temperature = _pick_temperature(config)
        epochs = sorted(by_epoch)
        epoch = epochs[-1]
        if len(epochs) > 1 and not live:
            epoch = st.select_slider("Epoch", epochs, epochs[-1], format_func=lambda e: str(e + 1), key="probe_epoch")
    with picture:
        if index < len(pictures):
            pixels = render.enlarge_png(pictures[index].transpose(1, 2, 0), 224)
            caption = describe(index).partition(": ")[2]
            st.image(pixels, width=224, caption=caption, alt=f"Evaluation image {describe(index)}")
    with chart:
        shown = [probes[index] for probes_of in by_epoch.values() for probes in probes_of.values()]
        top = float(softmax(np.stack([*shown, *of_teacher[index : index + 1]]), temperature).max())
        spec = learning_curves.soft_labels_at(
            of_teacher[index] if index < len(of_teacher) else None,
            {student: probes[index] for student, probes in by_epoch[epoch].items()},
            looks,
            classes,
            temperature,
            labels[index] if index < len(labels) else None,
            f"after epoch {epoch + 1}",
            min(1.0, np.ceil(top * 10) / 10),
        )
        _draw(spec, "probe_chart")


def _pick_temperature(config: ExperimentConfig) -> float:
    """Draws the choice of a temperature; the default is that of the first term that has one, else 1."""
    trained = [
        term.temperature for student in config.students for term in student.terms if hasattr(term, "temperature")
    ]
    default = (trained or [1.0])[0]
    chosen = st.segmented_control(
        "Temperature",
        sorted({1.0, 2.0, 4.0, 8.0, default}),
        format_func="{:g}".format,
        key="probe_T",
        default=default,
        required=True,
        wrap=True,
    )
    return chosen or default


def _as_logits(probes: list[list[float]], classes: int) -> np.ndarray:
    """Logits `[N, classes]`; N is 0 where they are damaged."""
    valid = all(len(row) == classes and np.isfinite(row).all() for row in probes)
    return np.asarray(probes, dtype=float).reshape(-1, classes) if valid else np.empty((0, classes))
