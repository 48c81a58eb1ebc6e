"""Soft labels: one image, a teacher and its students, and what temperature makes of their answers."""

import numpy as np
import streamlit as st

from kdexplorer import inference, relatives
from kdexplorer.errors import KDError
from kdexplorer.ui import cached, charts, charts_people, charts_soft, choice, handouts, picture

choice.through_the_door()
st.title("Soft labels")
st.markdown(
    "A network answers with ten numbers, the **logits** *z*. Divide them by a temperature *T* before the softmax, and "
    "the small answers come into sight: what the teacher holds to be alike. The logits themselves never change."
)
st.html(charts_soft.SLIDER_STYLE)

teacher, students = choice.pick_networks()
try:
    human = cached.peoples_answers()
except KDError as error:
    st.error(str(error))
    human = None
left, right = st.columns([2, 3] if human is None else [4, 9], gap="large")
with left:
    above = st.container()
    image = picture.pick(teacher, students)
human = human if image.label is not None and image.dataset == "cifar10" else None


def answers():
    """The networks with their logits as series; a network that cannot be used is named and left out."""
    found = []
    for checkpoint, name in zip([teacher, *students], choice.short_names([teacher, *students]), strict=True):
        try:
            logits = cached.image_logits(checkpoint, image.pixels, image.index, image.dataset)
        except KDError as error:
            st.error(str(error))
            if checkpoint is teacher:
                st.stop()
            continue
        found.append((checkpoint, charts_soft.Series(name, charts.role(checkpoint, teacher), logits)))
    return found


with above:
    picture.show(image, teacher)

with right:
    bars, beside = (right, None) if human is None else st.columns([2, 1], gap="large")

with bars:
    temperature = choice.pick_temperature()
    found = answers()
    used = [checkpoint for checkpoint, _ in found]
    teacher_series, *student_series = [series for _, series in found]
    st.vega_lite_chart(
        charts_soft.mirrored(teacher_series, student_series, teacher.classes, image.label, temperature), width="stretch"
    )
    st.caption(
        "The slider moves in your browser. The pinned temperature is where it starts, what the parts below are "
        "computed for, and what a link to this page carries. Point at a bar for its logit."
    )
    handouts.button(
        {series.name: c for series, c in zip([teacher_series, *student_series], used, strict=True)},
        [image],
        temperature,
        choice.alpha(),
    )


if beside is not None:
    with beside:
        chart = charts.answer(
            human[image.index], teacher.classes, image.label, "people", "What people answered", "about 50 people"
        )
        st.vega_lite_chart(chart, width="stretch")
        nearest = cached.closeness(teacher, image.index)
        if nearest is not None and nearest.temperature is not None:
            st.markdown(f"{teacher.name} is closest to them **{charts_people.in_words(nearest)}**.")
        elif nearest is not None:
            st.markdown(
                f"No temperature brings {teacher.name} closest to them: people agree on its first answer, or answer "
                "what it holds to be unlikely."
            )


def show_told():
    """What this image tells the student, for the pinned T and alpha."""
    if not student_series:
        st.info("Choose a student above to see what it is told.")
    else:
        names = [series.name for series in student_series]
        usual = next((i for i, series in enumerate(student_series) if series.role != "scratch"), 0)
        left, right = st.columns(2)
        with left:
            kept = choice.memory().get("told")
            st.session_state["pick_told"] = kept if kept in names else names[usual]
            chosen = st.segmented_control(
                "Student",
                names,
                key="pick_told",
                required=True,
                wrap=True,
                on_change=choice.keep,
                args=("told", "pick_told"),
            )
        with right:
            alpha = choice.pick_alpha()
        student = next((series for series in student_series if series.name == chosen), student_series[usual])
        st.latex(
            r"\begin{aligned}\frac{\partial L}{\partial z_i} ={}& "
            r"\underbrace{\alpha\,T\,\bigl(p^s_i(T) - p^t_i(T)\bigr)}_{\text{teacher}} \\ "
            r"&{}+ \underbrace{(1-\alpha)\,\bigl(p^s_i(1) - y_i\bigr)}_{\text{hard label}}\end{aligned}"
        )
        parts = inference.gradient_on_logits(student.logits, teacher_series.logits, image.label, temperature, alpha)
        at = image.label if image.label is not None else int(np.argmax(teacher_series.logits))
        ps, pt = (inference.soften(s.logits, temperature)[at] for s in (student, teacher_series))
        p1, y = inference.soften(student.logits)[at], 1 if image.label is not None else None
        hard = f" + {1 - alpha:.2f}\\,({p1:.3f} - 1)" if y else ""
        st.latex(
            rf"\begin{{aligned}}\text{{{teacher.classes[at]}: }} & {alpha:.2f}\cdot{temperature:g}\,"
            rf"({ps:.3f} - {pt:.3f})\\ &{hard} = {parts['total'][at]:+.3f}\end{{aligned}}"
        )
        st.markdown(
            f"The numbers are for the pinned T = {temperature:g} and α = {alpha:g}; the sliders below start there "
            "and move freely. The label pushes one class up and all others down by what the student gave them. "
            "The teacher says *how far* each wrong class should go: that is the dark knowledge."
        )
        if image.label is None:
            st.caption("A photo has no hard label, so only the teacher pushes.")
        st.vega_lite_chart(
            charts_soft.told(teacher_series, student, teacher.classes, image.label, temperature, alpha), width="stretch"
        )


def show_curves():
    """Entropy, top probability and KL over temperature."""
    for column, measure in zip(st.columns(3), charts_soft.CURVES, strict=True):
        with column:
            if measure == "kl" and not student_series:
                st.info("Choose a student to see its KL from the teacher.")
            else:
                chart = charts_soft.over_temperature(teacher_series, student_series, measure, temperature)
                st.vega_lite_chart(chart, width="stretch")


def show_similarity():
    """Which classes each network holds to be alike."""
    st.markdown(
        f"The mean soft label of each class over the test split at T = {temperature:g}. Off the diagonal stands "
        "what the network holds to be alike."
    )
    diagonal = not st.toggle("Remove the diagonal", value=True)
    maps = {}
    for checkpoint in [teacher, *students]:
        found = cached.class_similarity(checkpoint, teacher, image.dataset, temperature)
        if found is None:
            st.info(f"{checkpoint.name} has no stored logits of the whole test split, so it is not shown here.")
        else:
            maps[checkpoint.path] = (checkpoint, *found)
    if maps:
        off = ~np.eye(len(teacher.classes), dtype=bool)
        top = max(float(np.nanmax(rows if diagonal else np.where(off, rows, np.nan))) for _, rows, _ in maps.values())
        if teacher.path in maps:
            alike = np.where(off, np.nan_to_num(maps[teacher.path][1]), 0)
            pairs = (np.unravel_index(k, alike.shape) for k in np.argsort(-alike, axis=None)[:2])
            names = teacher.classes
            told = " and ".join(f"**{alike[i, j]:.0%} {names[j]}** to a {names[i]}" for i, j in pairs)
            st.markdown(f"On average {teacher.name} gives {told}.")
        if not all(by_label for _, _, by_label in maps.values()):
            st.caption("The test labels are not on this machine, so images are grouped by the teacher's first answer.")
        for begin in range(0, len(maps), 2):
            for column, (checkpoint, rows, _) in zip(
                st.columns(2), list(maps.values())[begin : begin + 2], strict=False
            ):
                with column:
                    chart = charts_soft.similarity(rows, teacher.classes, checkpoint.name, max(top, 1e-6), diagonal)
                    st.vega_lite_chart(chart, width="stretch")


def show_people():
    """How close each network is to people over T, on this image and over the split."""
    if human is None:
        st.info(
            "CIFAR-10H holds what about 50 people answered to each test image of CIFAR-10. Where you have it, set "
            "KDEXPLORER_CIFAR10H to its file cifar10h-counts.npy, and choose a test image."
        )
        return
    series = {s.name: c for s, c in zip([teacher_series, *student_series], used, strict=True)}
    roles = {s.name: s.role for s in [teacher_series, *student_series]}
    for column, index in zip(st.columns(2), (None, image.index), strict=True):
        near = {name: found for name, c in series.items() if (found := cached.closeness(c, index)) is not None}
        with column:
            if not near:
                st.info("These networks have no stored answers to the whole test split.")
                return
            answers = human if index is None else human[index]
            of = "10,000 test images" if index is None else f"test image {index}"
            st.vega_lite_chart(charts_people.closest(near, roles, answers, of), width="stretch")
        if index is None:
            whole = near
    st.dataframe(charts_people.table(whole), hide_index=True)
    said = charts_people.doubt(whole, roles, relatives.twins(series))
    if said:
        st.markdown(f"**Does distillation carry human doubt over?** {said} One training run each.")


def show_logits():
    """The numbers before the softmax."""
    st.dataframe(
        {"class": list(teacher.classes)} | {s.name: np.round(s.logits, 3) for s in [teacher_series, *student_series]},
        hide_index=True,
    )
    if image.index is not None:
        st.caption("Logits of test images are the stored ones, written when the network was measured.")


TABS = ("What the student is told", "Curves over T", "Class similarity", "People", "Logits")
told, curves, similar, near, numbers = st.tabs(TABS, key="soft_tab", on_change="rerun")  # only the open one is computed
PARTS = (
    (told, show_told),
    (curves, show_curves),
    (similar, show_similarity),
    (near, show_people),
    (numbers, show_logits),
)
for tab, show in PARTS:
    if tab.open:
        with tab:
            show()
