"""The figures about one picture: labels, predictions, and the gradient on a student's logits."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from kdexplorer.analysis import inference, metrics
from kdexplorer.app import attention as attention_page
from kdexplorer.app import soft_labels as sections
from kdexplorer.app.figures.context import Context
from kdexplorer.app.parts import chart_view
from kdexplorer.app.parts.text import as_text
from kdexplorer.app.state import choices
from kdexplorer.charts import soft_labels, temperature
from kdexplorer.charts.common import select_classes
from kdexplorer.charts.style import enlarge
from kdexplorer.config import SCRATCH
from kdexplorer.images.picture import Picture

LARGE = 1.4
"""How much larger than on its page a figure of one chart of bars is."""


def beside_picture(draw: Callable[[Context, Picture], None]) -> Callable[[Context], None]:
    """A figure to the right of its picture."""

    def draw_both(context: Context) -> None:
        left, right = st.columns([1, 3], gap="medium")
        with left:
            picture = context.pick_picture()
        with right:
            draw(context, picture)

    return draw_both


def hard_label(context: Context, picture: Picture) -> None:
    """The label of a test image as bars."""
    if picture.label is None:
        st.info("This picture has no hard label: choose a test image.")
    else:
        chart = soft_labels.hard_label(context.teacher.classes, picture.label)
        chart_view.draw(enlarge(chart, LARGE), "Hard label", chart_view.OF_IMAGE)


def teacher_prediction(context: Context, picture: Picture) -> None:
    """The teacher's probabilities at T = 1."""
    page = context.predict(picture)
    shown = select_classes(page.teacher.logits, picture.label)
    heading = "The teacher's prediction"
    chart = soft_labels.prediction(page.teacher, page.classes, picture.label, 1.0, heading, shown)
    chart_view.draw(enlarge(chart, LARGE), heading, chart_view.OF_IMAGE)


def both_soft_labels(context: Context, picture: Picture) -> None:
    """Teacher and students, with T's slider."""
    sections.draw_soft_labels(context.predict(picture))


def temperature_curves(context: Context, picture: Picture) -> None:
    """One measure over T."""
    page = context.predict(picture)
    measures = [one for one in temperature.CURVES if page.students or one not in temperature.COMPARED]
    measure = choices.pick_option("curve", "Measure", measures, lambda key: temperature.CURVES[key][0])
    chart = temperature.over_temperature(page.teacher, page.students, measure, page.temperature)
    chart_view.draw(enlarge(chart, 1.1), temperature.CURVES[measure][0], chart_view.OF_IMAGE)


def gradient(context: Context, picture: Picture) -> None:
    """The pushes on the first distilled student's logits, with α's slider."""
    page = context.predict(picture)
    if not page.students:
        st.info("Choose a student to see the gradient on its logits.")
        return
    trained = page.networks[page.distilled.name].card.objective
    sections.draw_gradient(page, page.distilled, choices.pinned("alpha", inference.trained_alpha(trained)))


def students(context: Context, picture: Picture) -> None:
    """A student without a teacher and a distilled one."""
    page = context.predict(picture)
    kinds = {one.role == SCRATCH: one for one in [*reversed(page.students), page.distilled]} if page.students else {}
    found = [kinds[kind] for kind in (True, False) if kind in kinds]
    if not found:
        st.info("Choose a student to see its prediction.")
        return
    shown = select_classes(page.teacher.logits, picture.label)
    for column, student in zip(st.columns(len(found), gap="medium"), found, strict=True):
        heading = "Without a teacher" if student.role == SCRATCH else "Distilled"
        chart = soft_labels.prediction(student, page.classes, picture.label, 1.0, heading, shown)
        chart_view.draw(enlarge(chart, 1.25), heading, chart_view.OF_IMAGE, column)
    soft = metrics.softmax(page.teacher.logits)
    top = int(soft.argmax())
    st.markdown(f"The teacher, {as_text(page.teacher.name)}: {soft[top]:.0%} {as_text(page.classes[top])}.")


def attention(context: Context, picture: Picture) -> None:
    """The maps over the picture, with their opacity's slider."""
    _draw_attention(context, picture, "map")


def attention_difference(context: Context, picture: Picture) -> None:
    """The students' maps minus the teacher's."""
    _draw_attention(context, picture, "difference")


def _draw_attention(context: Context, picture: Picture, mode: str) -> None:
    rows = attention_page.read_maps(picture, *context.many())
    if mode == "difference":
        attention_page.draw_scale(rows, mode, True)
    attention_page.draw_grid(rows, picture, mode, True)
