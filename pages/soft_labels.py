"""Soft labels: one image, a teacher and its students, and the effect of the temperature on their predictions."""

import streamlit as st

from kdexplorer.app.parts import downloads, layout, network_picker, picture
from kdexplorer.app.soft_labels import soft_label_sections as sections
from kdexplorer.app.soft_labels import soft_labels
from kdexplorer.app.state import choices, slider_memory

TABS = {
    "Gradient on the student": sections.show_gradient,
    "Curves over T": sections.show_curves,
    "Class similarity": sections.show_class_similarity,
    "Human labels": sections.show_human_labels,
    "Logits": sections.show_logits,
}

layout.header(
    "soft_labels",
    "Divide a network's logits by a temperature *T* before the softmax, and the small probabilities become visible: "
    "they show which classes the teacher finds similar.",
)
teacher, students = network_picker.pick_networks(count=2)
left, right = layout.first_screen()
with left:
    image = picture.pick(teacher, students)
with right:
    page = soft_labels.build(image, teacher, students)
    sections.draw_soft_labels(page)
with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
    with st.container(width="content"):
        choices.pick_pinned("T")
    downloads.show_handout(page.networks, [image])

tab, place = choices.pick_tab("tab", list(TABS))
with place:  # only the open tab is computed
    TABS[tab](page)
slider_memory.follow()
