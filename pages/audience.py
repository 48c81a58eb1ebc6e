"""Audience: the room votes on phones, and its votes become a soft label beside the teacher's."""

import streamlit as st

from kdexplorer.app.audience import audience, audience_controls, audience_projector
from kdexplorer.app.audience import audience_results as results
from kdexplorer.app.parts import layout, network_picker
from kdexplorer.app.state import slider_memory
from kdexplorer.images import render
from kdexplorer.vote.store import open_store

store = open_store()
seen = audience_controls.swap_seen(store)
if audience_projector.is_chosen():
    audience_projector.show_page(store, network_picker.chosen_teacher(), seen)
    st.stop()

layout.header(
    "audience",
    "Open the page and choose what you see. The room's votes are a **soft label**, as the teacher's prediction is.",
)
teacher, students = network_picker.pick_networks(count=2)

lecture = store.lecture()
question = store.current()
with st.container(key="audience"):
    left, middle, right = st.columns([3, 3, 7], gap="medium")
with middle:
    audience.show_link()
    audience_projector.show_button()
with left, st.container(key="question"):
    if question is not None:
        pixels = question.pixels.transpose(1, 2, 0)
        st.image(render.enlarge_png(pixels, 224), width=224, alt="The picture of the question")
        st.caption(f"Question {len(lecture.questions)}")
    audience_controls.show_buttons(store, teacher, seen)
if question is None:
    with left:
        audience_controls.show_preparation(store, teacher, students, seen)
with right:
    results.show_question(store, teacher)

names = network_picker.short_names([teacher, *students])
results.show_history(lecture, dict(zip(names, [teacher, *students], strict=True)))
audience_controls.show_end(store, lecture, teacher)
if question is not None:
    audience_controls.show_preparation(store, teacher, students, seen)
slider_memory.follow()
