"""Soft labels: one image, a teacher and its students, and the effect of the temperature on their predictions."""

import streamlit as st

from kdexplorer.app import caches, downloads, layout, network_picker, pickers, picture, slider_memory
from kdexplorer.app import soft_label_sections as sections
from kdexplorer.app.plain import show_error
from kdexplorer.app.soft_label_sections import SoftLabels
from kdexplorer.charts import soft_labels
from kdexplorer.charts.common import NetworkLogits
from kdexplorer.charts.style import role_of
from kdexplorer.errors import KDError

TABS = {
    "Gradient on the student": sections.show_gradient,
    "Curves over T": sections.show_curves,
    "Class similarity": sections.show_class_similarity,
    "Human labels": sections.show_human_labels,
    "Logits": sections.show_logits,
}


def predict(image, networks):
    """The networks' logits; a network that cannot be used is reported and left out."""
    teacher, *_ = networks.values()
    found = []
    for name, checkpoint in networks.items():
        try:
            logits = caches.image_logits(checkpoint, image.pixels, image.index, image.dataset)
        except KDError as error:
            show_error(error)
            if checkpoint is teacher:
                st.stop()
            continue
        found.append(NetworkLogits(name, role_of(checkpoint, teacher), logits))
    return found


layout.header(
    "soft_labels",
    "Divide a network's logits by a temperature *T* before the softmax, and the small probabilities become visible: "
    "they show which classes the teacher finds similar.",
)
teacher, students = network_picker.pick_networks(count=2)
left, right = layout.first_screen()
with left:
    image = picture.pick(teacher, students)
human = None
try:
    human = caches.human_labels_of(image.dataset) if image.label is not None else None
except KDError as error:
    show_error(error)

with right:
    temperature = pickers.pinned("T")
    networks = dict(zip(network_picker.short_names([teacher, *students]), [teacher, *students], strict=True))
    logits = predict(image, networks)
    networks = {one.name: networks[one.name] for one in logits}
    page = SoftLabels(image, networks, logits, temperature, human)
    (begin,) = slider_memory.start("chart_soft_labels", page.shown, (temperature,))
    chart = soft_labels.mirrored(page.teacher, page.students, teacher.classes, image.label, begin)
    slider_memory.draw("chart_soft_labels", chart, "Soft labels")
with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
    with st.container(width="content"):
        pickers.pick_pinned("T")
    downloads.show_handout(networks, [image])

tabs = st.tabs(list(TABS), key="soft_label_tab", on_change="rerun")  # only the open tab is computed
for tab, show in zip(tabs, TABS.values(), strict=True):
    if tab.open:
        with tab:
            show(page)
slider_memory.follow()
