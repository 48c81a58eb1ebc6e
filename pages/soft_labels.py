"""Soft labels: one image, a teacher and its students, and the effect of the temperature on their predictions."""

import streamlit as st

from kdexplorer.app import caches, downloads, network_picker, pickers, picture, result_caches
from kdexplorer.app import soft_label_sections as sections
from kdexplorer.app.plain import as_text, show_error
from kdexplorer.app.soft_label_sections import SoftLabels
from kdexplorer.charts import annotators, bars, soft_labels
from kdexplorer.charts.common import NetworkLogits, select_classes
from kdexplorer.charts.style import HUMAN, role_of
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


def show_human_label(page):
    """The annotators' labels of this image, and the temperature at which the teacher is closest to them."""
    label, index = page.picture.label, page.picture.index
    shown = select_classes(page.teacher.logits, label)
    title = "Human labels", "about 50 annotators"
    st.vega_lite_chart(bars.probability_bars(page.human[index], page.classes, label, HUMAN, *title, shown))
    closeness = result_caches.closeness(page.networks[page.teacher.name], page.human, index)
    if closeness is not None and closeness.temperature is not None:
        st.markdown(f"{as_text(page.teacher.name)} is closest to them **{annotators.describe_closest(closeness)}**.")
    elif closeness is not None:
        st.markdown(
            f"{as_text(page.teacher.name)} is closest to them at no temperature: the annotators agree with its "
            "prediction, or they choose classes that it finds improbable."
        )


st.title("Soft labels")
st.markdown(
    "A network outputs a **logit** *z* for each class. Divide the logits by a temperature *T* before the softmax, and "
    "the small probabilities become visible: they show which classes the teacher finds similar. The logits stay the "
    "same."
)

teacher, students = network_picker.pick_networks(count=2)
left, right = st.columns([2, 3], gap="large")
with left:
    above = st.container()
    image = picture.pick(teacher, students)
with above:
    picture.show(image, teacher)
human = None
try:
    human = caches.human_labels_of(image.dataset) if image.label is not None else None
except KDError as error:
    show_error(error)

with right:
    figure, beside = (right, None) if human is None else st.columns([2, 1], gap="large")
with figure:
    temperature = pickers.pick_pinned("T")
    networks = dict(zip(network_picker.short_names([teacher, *students]), [teacher, *students], strict=True))
    logits = predict(image, networks)
    networks = {one.name: networks[one.name] for one in logits}
    page = SoftLabels(image, networks, logits, temperature, human)
    chart = soft_labels.mirrored(page.teacher, page.students, teacher.classes, image.label, temperature)
    st.vega_lite_chart(chart, width="stretch")
    st.caption(
        "The slider works in your browser. The pinned temperature is its initial value; the tabs below use it, and the "
        "link to this page contains it. Hover over a bar to see its logit."
    )
    downloads.show_handout(networks, [image])
if beside is not None:
    with beside:
        show_human_label(page)

tabs = st.tabs(list(TABS), key="soft_label_tab", on_change="rerun")  # only the open tab is computed
for tab, show in zip(tabs, TABS.values(), strict=True):
    if tab.open:
        with tab:
            show(page)
