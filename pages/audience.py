"""Audience: votes from phones become a soft label beside the teacher's."""

import streamlit as st

from kdexplorer.app.audience import controls, results
from kdexplorer.app.parts import chart_view, layout, network_picker
from kdexplorer.images import render
from kdexplorer.vote.store import open_store

store = open_store()
seen = controls.swap_seen(store)
if controls.is_projector():
    controls.show_projector_page(store, network_picker.chosen_teacher(), seen)
    st.stop()

layout.header(
    "audience",
    "Open the page and choose what you see. The room's votes are a **soft label**, as the teacher's prediction is.",
)
teacher, students = network_picker.pick_networks(count=2)

question = store.current()
with st.container(key="audience"):
    left, middle, right = st.columns([3, 3, 7], gap="medium")
with middle:
    controls.show_link()
    controls.show_projector_button()
with left, st.container(key="question"):
    if question is not None:
        pixels = question.pixels.transpose(1, 2, 0)
        st.image(render.enlarge_png(pixels, 224), width=224, alt="The picture of the question")
        st.caption(f"Question {len(store.questions())}")
    controls.show_buttons(store, teacher, seen)
if question is None:
    with left:
        controls.show_preparation(store, teacher, students, seen)
with right:
    controls.show_warning()
    results.show_question(store, teacher)

results.show_history(store.closed(), [teacher, *students])
controls.show_end(store)
if question is not None:
    controls.show_preparation(store, teacher, students, seen)
chart_view.follow_sliders()
