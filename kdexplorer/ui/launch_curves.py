"""What a run has learnt so far: its students' curves, one image's soft labels epoch by epoch, links to the result."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import streamlit as st

from kdexplorer import data, images, inference, runs
from kdexplorer.config import ExperimentConfig, StudentConfig
from kdexplorer.ui import cached, charts_runs, choice, style


def show(run: runs.Run, made: ExperimentConfig, live: bool) -> None:
    """Accuracy and a loss term of all students on shared axes, and the image that is watched."""
    roles = {student.name: _role_of(student, made) for student in made.students}
    looks = style.series(roles)
    rows = [row for row in run.metrics() if row["student"] in roles and row["epoch"] < made.epochs]
    metrics = [row for row in rows if charts_runs.value_of(row, "cross_entropy") is not None]
    teacher = run.teacher(len(data.CLASSES[made.dataset]))
    if not metrics:
        if live:
            st.info("Curves appear after the first epoch. The first seconds go into loading the data and networks.")
        return
    _finished(run, made, live)
    left, right = st.columns(2)
    with left:
        _draw(charts_runs.learning_curves(metrics, looks, "accuracy", made.epochs, teacher), "accuracy_chart")
    with right:
        terms = [
            m
            for m in charts_runs.MEASURES
            if m != "accuracy" and any(charts_runs.value_of(row, m) is not None for row in metrics)
        ]
        term = st.segmented_control(
            "Loss term",
            terms,
            format_func=lambda m: charts_runs.MEASURES[m][0],
            default=terms[0],
            required=True,
            wrap=True,
        )
        _draw(charts_runs.learning_curves(metrics, looks, term or terms[0], made.epochs, teacher), "terms_chart")
    _watch(made, metrics, teacher, looks, live)


def _role_of(student: StudentConfig, made: ExperimentConfig) -> str:
    """A student's role in colours: in a run without a teacher, a teacher is made (see `charts.role`)."""
    alone = not made.teacher and student.method == "scratch" and "scratch" not in student.name.lower()
    return "teacher" if alone else student.method


def _draw(chart: Any, key: str) -> None:
    """A chart with its alt text, where there is one."""
    if chart is not None:
        st.vega_lite_chart(chart, key=key)  # its description is its alt text


def _finished(run: runs.Run, made: ExperimentConfig, live: bool) -> None:
    """Links that carry the finished students to the other pages."""
    students = [path.name for path in runs.students(run)]
    if live or not students:
        return
    names = [f"{run.run_id}/{name}" for name in students]
    shared = {"students": ",".join(names[: choice.MAX_STUDENTS])}
    teacher = choice.key_of(made.teacher) if made.teacher else None
    guide = {"teacher": teacher} if teacher else {}
    everyone = [*guide.values(), *names]
    st.success(f"{len(students)} trained network{'s' if len(students) > 1 else ''}: on every page now.")
    with st.container(horizontal=True):
        link("compare", "Compare them", {"networks": ",".join(everyone)} | guide)
        if guide:
            link("soft_labels", "Their soft labels", shared | guide)
            link("attention", "Their attention", shared | guide)


def link(page: str, label: str, query: dict[str, str]) -> None:
    """A link to another page of this application that carries the choice."""
    st.page_link(f"pages/{page}.py", label=label, query_params=query, icon=":material/arrow_forward:")


def _watch(
    made: ExperimentConfig, metrics: list[dict[str, Any]], teacher: dict[str, Any] | None, looks: Any, live: bool
) -> None:
    """One image whose soft labels are redrawn after every epoch."""
    classes = data.CLASSES[made.dataset]
    by_epoch: dict[int, dict[str, np.ndarray]] = {}
    for row in metrics:
        by_epoch.setdefault(row["epoch"], {})[row["student"]] = _probes_of(row, len(classes))
    known = _probes_of(teacher or {}, len(classes))
    pictures, own_labels = cached.probes(made.dataset, made.holdout)
    labels = (teacher or {}).get("probe_labels") or own_labels.tolist()
    count = min(len(probes) for rows in by_epoch.values() for probes in rows.values())
    if not count:
        return
    st.subheader("Watch it learn")

    def name(index: int) -> str:
        return f"{index}: {classes[labels[index]]}" if index < len(labels) else str(index)

    settings, picture, chart = st.columns([2, 2, 5])
    with settings:
        index = st.selectbox("Image", range(count), format_func=name, key="watch_image")
        softened = [student.temperature for student in made.students if student.response_weight]
        choices = sorted({1.0, 2.0, 4.0, 8.0, *softened[:1]})
        temperature = st.segmented_control(
            "Temperature",
            choices,
            format_func="{:g}".format,
            key="watch_T",
            default=(softened or [1.0])[0],
            required=True,
            wrap=True,
        )
        epochs = sorted(by_epoch)
        epoch = epochs[-1]
        if len(epochs) > 1 and not live:
            epoch = st.select_slider("Epoch", epochs, epochs[-1], format_func=lambda e: str(e + 1), key="watch_epoch")
    with picture:
        if index < len(pictures):
            label = name(index).partition(": ")[2]
            pixels = images.enlarged_png(pictures[index].transpose(1, 2, 0), 256)
            st.image(pixels, width=256, caption=label, alt=f"Watched image {name(index)}")
    with chart:
        answers = [probes[index] for rows in by_epoch.values() for probes in rows.values()]
        answers += list(known[index : index + 1])
        top = float(inference.soften(np.stack(answers), temperature or 1.0).max())
        drawn = charts_runs.soft_labels_at(
            known[index] if index < len(known) else None,
            {student: probes[index] for student, probes in by_epoch[epoch].items()},
            looks,
            classes,
            temperature or 1.0,
            labels[index] if index < len(labels) else None,
            f"after epoch {epoch + 1}",
            min(1.0, np.ceil(top * 10) / 10),
        )
        _draw(drawn, "watch_chart")


def _probes_of(row: dict[str, Any], classes: int) -> np.ndarray:
    """The logits of the watched images `[N, classes]`; N is 0 where they cannot be read."""
    with contextlib.suppress(ValueError, TypeError):
        values = np.asarray(row.get("probes") or [], dtype=float)
        if values.ndim == 2 and values.shape[1] == classes and np.isfinite(values).all():
            return values
    return np.empty((0, classes))
