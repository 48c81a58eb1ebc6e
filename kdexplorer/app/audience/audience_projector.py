"""The vote for a projector: the question, the QR code, the votes and their chart, in letters for the last row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from kdexplorer.analysis.metrics import entropy
from kdexplorer.app.audience import audience, audience_controls
from kdexplorer.app.audience import audience_results as results
from kdexplorer.app.parts.plain import as_text
from kdexplorer.app.server import access
from kdexplorer.app.state import slider_memory
from kdexplorer.charts.votes import room_bars
from kdexplorer.images import render
from kdexplorer.runs.checkpoints import Checkpoint
from kdexplorer.vote import analysis
from kdexplorer.vote.records import Question
from kdexplorer.vote.store import Store

VIEW, PROJECTOR = "view", "projector"
"""The name and value in the link."""
ALONE = (
    "<style>[data-testid=stHeader], .st-key-share {display: none}"
    "[data-testid=stMainBlockContainer] {padding: 1rem 1.5rem}</style>"
)
"""Removes the menu."""


def is_chosen() -> bool:
    """Whether the link asks for this view."""
    return st.query_params.get(VIEW) == PROJECTOR


def show_button() -> None:
    """Opens this view."""
    st.button("Projector view", icon=":material/present_to_all:", key="projector_view", on_click=_open)


def show_page(store: Store, teacher: Checkpoint, seen: str) -> None:
    """The whole page without a menu; `seen`: see `audience_controls.swap_seen`."""
    st.html(ALONE)
    with show(store, teacher, seen):
        st.button("Leave projector view", key="leave_projector", on_click=_leave)
    slider_memory.follow()


def show(store: Store, teacher: Checkpoint, seen: str) -> Any:
    """Draws the QR code with the presenter's buttons below it, and the last question, live while it is open.

    Returns the place below the buttons.
    """
    with st.container(key="projector"):
        code, question = st.columns([4, 9], gap="medium")
    with code:
        audience.show_code("stretch")
        controls = st.container(key="projector_controls", gap="small")
    if access.is_presenter():
        with controls:
            audience_controls.show_close_and_next(store, teacher, seen)
    with question:
        results.show_question(store, teacher, _draw)
    return controls


def _draw(question: Question, counts: Sequence[int], truth: results.Truth, begin: float) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="medium", key="projector_question"):
        picture = render.enlarge_png(question.pixels.transpose(1, 2, 0), 448)
        st.image(picture, width=140, alt="The picture of the question")
        with st.container(gap=None):
            st.title("What is it?", anchor=False)
            st.markdown("  \n".join(_describe(question, counts, truth)))
    known = (truth.label, truth.teacher, truth.human)
    chart = room_bars(counts, question.classes, *known, begin, projector=True)
    slider_memory.draw(results.CHART, chart, "Projector", savable=False, key=f"projector_{question.key}")


def _describe(question: Question, counts: Sequence[int], truth: results.Truth) -> list[str]:
    """Votes and entropy; then the hard label and the T at which the teacher is closest, as far as they may be shown."""
    room, votes = analysis.soft_label(counts), results.describe_votes(question, sum(counts))
    known = [] if truth.label is None else [f"★ the hard label: {as_text(question.classes[truth.label])}"]
    if room is not None and truth.teacher is not None:
        closest = analysis.distance(room, truth.teacher.logits, 1.0).closest
        known.append("no T is closest" if closest is None else f"closest T: **{closest:.2f}**")
    if room is not None:
        votes += f" · entropy **{float(entropy(room)):.2f} nats**"
    return [votes, " · ".join(known)]


def _open() -> None:
    st.query_params[VIEW] = PROJECTOR


def _leave() -> None:
    st.query_params.pop(VIEW, None)
