"""Soft labels: one image, a teacher and its students, and the effect of the temperature on their predictions."""

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import streamlit as st

from kdexplorer.analysis import human_agreement, metrics
from kdexplorer.analysis.human_agreement import Closeness
from kdexplorer.analysis.measures import to_markdown
from kdexplorer.analysis.verdicts import describe_kl, describe_push
from kdexplorer.app.layout import as_text, draw_popover
from kdexplorer.app.parts import chart_view, downloads, network_picker, picture
from kdexplorer.app.server.access import show_error
from kdexplorer.app.state import choices
from kdexplorer.app.state.cached import KEYS, Network
from kdexplorer.charts import class_maps, temperature
from kdexplorer.charts import soft_labels as label_charts
from kdexplorer.charts.common import CLASS_LIMIT, NetworkLogits, Source, fresh_student, select_classes
from kdexplorer.charts.style import FRESH, HUMAN, role_of
from kdexplorer.config import SCRATCH, trained_alpha
from kdexplorer.datasets import get_dataset
from kdexplorer.datasets.cifar10 import Cifar10
from kdexplorer.errors import KDError
from kdexplorer.images.picture import Picture


def show() -> None:
    """The picture, the soft labels with their slider, and one tab."""
    teacher, students, image, right = picture.first_screen(
        "soft_labels",
        "Divide a network's logits by a temperature *T* before the softmax, and the small probabilities become "
        "visible: they show which classes the teacher finds similar.",
    )
    with right:
        page = build(image, teacher, students)
        chart_view.show_figure("soft_labels", page, "Soft labels")
        st.caption(
            "Effective classes: the number of equally likely classes that have this entropy. KL: how far a student's "
            "soft label is from the teacher's, 0 if they are the same; T² · KL is the term that KD minimizes."
        )
    draw_popover("Handout", "handout_offer", lambda: downloads.show_handout(page.networks, [image]))

    human = None
    try:
        human = get_dataset(image.dataset).human_labels()
    except KDError as error:
        show_error(error)
    tabs = [tab for tab, show in TABS.items() if show is not show_human_labels or human is not None]
    tab, place = choices.pick_tab("tab", tabs)
    with place:  # only the open tab is computed
        TABS[tab](page)


@dataclass(frozen=True, kw_only=True)
class SoftLabels(Source):
    """What the page shows: one picture, the networks' logits for it, and the pinned temperature."""

    picture: Picture
    networks: dict[str, Network]
    """By the name that they are shown under, the teacher first."""

    @property
    def shown(self) -> tuple[object, ...]:
        """What the charts show apart from the sliders' numbers."""
        whose = self.student and self.student.name
        return self.picture.index, self.picture.pixels.tobytes(), tuple(self.networks), whose

    @property
    def distilled(self) -> NetworkLogits:
        """The first distilled student, else the first student; there is one."""
        return next((student for student in self.students if student.role != SCRATCH), self.students[0])


def build(picture: Picture, teacher: Network, students: list[Network]) -> SoftLabels:
    """The networks' logits for a picture; a network without is reported. Without the teacher's the page ends."""
    found = network_picker.ask_each([teacher, *students], lambda one: one.logits_of(picture))
    networks = {one.name: one for one, _ in found}
    logits = [NetworkLogits(one.name, role_of(one, teacher), values) for one, values in found]
    return SoftLabels(logits, teacher.classes, picture.label, choices.pinned("T"), picture=picture, networks=networks)


def pick_student(page: SoftLabels) -> NetworkLogits:
    """Draws the choice of a student; there is one."""
    by_name = {student.name: student for student in page.students}
    return by_name[choices.pick_option("student", "Student", by_name, str, page.distilled.name)]


def show_gradient(page: SoftLabels) -> None:
    """The gradient of the lab's response-based loss on a student's logits, for the pinned T and alpha."""
    if not page.students:
        st.info("Choose a student above to see the gradient on its logits.")
        return
    left, middle, right = st.columns(3)
    with left:
        student = pick_student(page)
    trained = page.networks[student.name].card.objective
    with middle:
        if choices.pick_option("moment", "Moment", ("End of training", "Start of training")) == "Start of training":
            student = fresh_student(page.teacher)
    with right:
        alpha = choices.pick_alpha(begin := trained_alpha(trained))
    is_own = trained is not None and "kd" in trained.weights_by_method() and alpha == begin
    own = ", the value that the student was trained with" if is_own else ""
    st.latex(
        r"\begin{aligned}\frac{\partial L}{\partial z_i} ={}& "
        r"\underbrace{\alpha\,T\,\bigl(p^s_i(T) - p^t_i(T)\bigr)}_{\text{teacher}} \\ "
        r"&{}+ \underbrace{(1-\alpha)\,\bigl(p^s_i(1) - y_i\bigr)}_{\text{hard label}}\end{aligned}"
    )
    st.latex(_gradient_in_numbers(page, student, alpha))
    st.markdown(
        f"The numbers are for T = {page.temperature:g} and α = {alpha:g}{own}, where the sliders below start. "
        "The hard label pushes one class up and every other class down by the probability that the student gives it. "
        "The soft label also says *how far* each wrong class should go: this is called dark knowledge. At the end of "
        "training the hard label's push is nearly zero on images that the student predicts correctly and with "
        "confidence, and the two pushes may oppose each other. At the start an untrained student gives every class "
        "the same probability."
    )
    if page.label is None:
        st.caption("This picture has no hard label, so only the teacher pushes.")
    chart_view.show_figure("gradient", replace(page, student=student, alpha=alpha), f"Gradient {student.name}")


def _gradient_in_numbers(page: SoftLabels, student: NetworkLogits, alpha: float) -> str:
    """The formula with its numbers for one class: the hard label's, else the teacher's first."""
    label, t = page.label, page.temperature
    parts = metrics.gradient_on_logits(student.logits, page.teacher.logits, label, t, alpha)
    index = label if label is not None else int(np.argmax(page.teacher.logits))
    soft, of_teacher = (metrics.softmax(one.logits, t)[index] for one in (student, page.teacher))
    name = re.sub(r"[^\w .,'()-]|_", " ", page.classes[index])  # nothing that is a command in a formula
    hard = "" if label is None else f" + {1 - alpha:.2f}\\,({metrics.softmax(student.logits)[index]:.3f} - 1)"
    return (
        rf"\begin{{aligned}}\text{{{name}: }} & {alpha:.2f}\cdot{t:g}\,"
        rf"({soft:.3f} - {of_teacher:.3f})\\ &{hard} = {parts['total'][index]:+.3f}\end{{aligned}}"
    )


def show_curves(page: SoftLabels) -> None:
    """Entropy, largest probability, KL and gradient over temperature, and in words what it changes over the split."""
    grid = st.grid(2, min_column_width=300)
    for measure in temperature.CURVES:
        if measure in temperature.COMPARED and not page.students:
            grid.info("Choose a student to compare it with the teacher.")
        else:
            chart = temperature.over_temperature(page, measure)
            chart_view.draw(chart, f"{measure} over temperature", chart_view.OF_IMAGE, grid)
    teacher, t = page.networks[page.teacher.name], page.temperature if page.temperature != 1 else 4.0
    students = {one.name: page.networks[one.name] for one in page.students}
    sentences = _describe_temperature(teacher, students, page.picture.dataset, t)
    for sentence in sentences:
        st.markdown(f"- {sentence}")
    if len(sentences) > 1:
        st.caption(
            "The curves are of the chosen image. The factor T² balances the gradient's 1/T² only in the limit of large "
            "T: at one weight, another temperature is also another size of the gradient. Sweeps can keep the size "
            "constant."
        )


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs=KEYS)
def _describe_temperature(
    teacher: Network, students: dict[str, Network], dataset: str, temperature: float
) -> list[str]:
    """A sentence for an untrained student and for each with stored logits."""
    if (of_teacher := teacher.split_logits(dataset)) is None:
        return []
    known = {name: logits for name, one in students.items() if (logits := one.split_logits(dataset)) is not None}
    fresh = {FRESH: np.zeros_like(of_teacher)}
    return [
        *(describe_kl(name, of_teacher, logits, temperature) for name, logits in known.items()),
        *(describe_push(name, of_teacher, logits, temperature) for name, logits in (fresh | known).items()),
    ]


def show_class_similarity(page: SoftLabels) -> None:
    """Which classes each network finds similar."""
    st.markdown(
        f"The mean soft label of each class over the test split at T = {page.temperature:g}. The values off the "
        "diagonal show which classes a network finds similar."
    )
    diagonal = not choices.pick_toggle("off_diagonal", "Remove the diagonal", True)
    dataset, classes = page.picture.dataset, page.classes
    logits = {}
    for name, network in page.networks.items():
        if (stored := network.split_logits(dataset)) is None:
            st.info(f"{as_text(name)} has no stored logits of the whole test split, so it is not shown.")
        else:
            logits[name] = stored
    labels, of_teacher = get_dataset(dataset).test_labels(), logits.get(page.teacher.name)
    groups = labels if labels is not None else None if of_teacher is None else of_teacher.argmax(axis=1)
    if groups is None or not logits:
        return
    grouped, members, limit = get_dataset(dataset).superclasses(classes), None, CLASS_LIMIT
    if grouped and choices.pick_toggle("superclasses", "By superclass", True):
        classes, members = grouped
        limit = len(classes)
    t = page.temperature
    maps = {name: metrics.class_similarity(one, groups, t, members)[None] for name, one in logits.items()}
    if of_teacher is not None:
        shares = np.nan_to_num(maps[page.teacher.name][0]) * ~np.eye(len(classes), dtype=bool)
        pairs = (np.unravel_index(k, shares.shape) for k in np.argsort(-shares, axis=None)[:2])
        texts = " and ".join(
            f"**{shares[i, j]:.0%} {as_text(classes[j])}** to images of {as_text(classes[i])}" for i, j in pairs
        )
        st.markdown(f"On average {as_text(page.teacher.name)} gives {texts}.")
    if labels is None:
        st.caption("The test labels are missing, so images are grouped by the class that the teacher predicts.")
    grid = st.grid(2, min_column_width=300)
    for name, chart in class_maps.similarities(maps, classes, [t], diagonal, limit).items():
        chart_view.draw(chart, f"Class similarity {name}", (), grid)


def show_human_labels(page: SoftLabels) -> None:
    """How close each network is to the annotators over T, for this image and over the split."""
    human = get_dataset(page.picture.dataset).human_labels()
    if human is None or page.label is None:
        st.info("About 50 annotators labeled each test image of CIFAR-10: choose one to see their labels.")
        return
    _show_annotators(page, human)
    roles = {one.name: one.role for one in page.logits}
    index = page.picture.index
    parts: dict[str, Any] = {f"{len(human):,} test images": slice(None), f"test image {index}": index}
    for column, (subject, part) in zip(st.columns(2), parts.items(), strict=True):
        known = {name: one for name, c in page.networks.items() if (one := _closeness(c, human, part)) is not None}
        if not known:
            st.info("These networks have no stored logits of the whole test split.")
            return
        chart = temperature.closeness_curves(known, roles, human[part], subject)
        chart_view.draw(chart, f"Closeness to human labels {subject}", place=column)
    rows = _agreement_rows(list(page.networks.values()), human)
    st.markdown(to_markdown(human_agreement.tabulate([replace(row, name=as_text(row.name)) for row in rows])))
    if description := human_agreement.describe_agreement(rows):
        st.markdown(as_text(description))


_cached_closeness = st.cache_data(max_entries=64, show_spinner=False)(human_agreement.closeness)
_agreement_rows = st.cache_data(
    max_entries=32, show_spinner="Comparing with the human labels …", hash_funcs=KEYS
)(human_agreement.build_rows)  # fmt: skip


def _closeness(network: Network, human: np.ndarray, part: Any) -> Closeness | None:
    """How close a network is to the annotators' shares `[N, K]`, for a part of the images or one, by its index.

    None without stored logits of CIFAR-10's whole test split.
    """
    logits = network.split_logits(Cifar10.key)
    return None if logits is None else _cached_closeness(human[part], logits[part])


def _show_annotators(page: SoftLabels, human: np.ndarray) -> None:
    """The annotators' labels of this image, and the temperature at which the teacher is closest to them."""
    label, index = page.label, page.picture.index
    shown = select_classes(page.teacher.logits, label)
    title = "Human labels", "about 50 annotators"
    left, right = st.columns(2, vertical_alignment="center")
    chart = label_charts.probability_bars(human[index], page.classes, label, HUMAN, *title, shown)
    chart_view.draw(chart, "Human labels", ("image",), left)
    if (closeness := _closeness(page.networks[page.teacher.name], human, index)) is not None:
        why = ": the annotators agree with its prediction, or they choose classes to which it gives small probabilities"
        said = f"**{temperature.describe_closest(closeness)}**{why if closeness.temperature is None else ''}"
        right.markdown(f"{as_text(page.teacher.name)} is closest to them {said}.")


def show_logits(page: SoftLabels) -> None:
    """The numbers before the softmax."""
    logits = {one.name: np.round(one.logits, 3) for one in page.logits}
    st.dataframe({"class": list(page.classes)} | logits, hide_index=True)
    if page.picture.index is not None:
        st.caption("The logits of test images are those that were stored when the network was evaluated.")


TABS = {
    "Gradient on the student": show_gradient,
    "Curves over T": show_curves,
    "Class similarity": show_class_similarity,
    "Human labels": show_human_labels,
    "Logits": show_logits,
}
