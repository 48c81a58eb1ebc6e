"""Methods: how each distillation method connects teacher and student, and what it asks of a student."""

from typing import Any

import numpy as np
import streamlit as st
from pydantic import ValidationError

from kdexplorer.analysis import inference
from kdexplorer.analysis.inference import PROBED, Probe
from kdexplorer.app.layout import as_text
from kdexplorer.app.parts import chart_view, picture
from kdexplorer.app.parts.field_widget import draw_field
from kdexplorer.app.server.access import show_error
from kdexplorer.app.state import cached, choices
from kdexplorer.app.state.cached import KEYS, Network
from kdexplorer.charts import gradients
from kdexplorer.charts import methods as charts
from kdexplorer.charts.style import TEACHER, role_of
from kdexplorer.config import SCRATCH
from kdexplorer.datasets import get_dataset
from kdexplorer.errors import KDError
from kdexplorer.images.picture import Picture
from kdexplorer.methods import FAMILIES, Method, all_methods, describe_methods, get_method
from kdexplorer.networks import get_architecture
from kdexplorer.notation import objective_formula
from kdexplorer.schema import problems


def show() -> None:
    """One method on the picture, its formula and its code; then all methods."""
    teacher, students, image, right = picture.first_screen(
        "methods",
        "**What** the student imitates: the teacher's predictions (response), what happens inside it (feature), or how "
        "it relates images to each other (relation).",
    )
    with right:
        first, second = st.columns(2, gap="xsmall")
        with first:
            method = pick_method()
        with second:
            student = pick_student(students, teacher)
        with st.popover("Settings", icon=":material/tune:", width="content"):
            chosen = pick_settings(method)
        show_instrument(chosen, teacher, student, image)
    show_formula(chosen)
    chart_view.draw(charts.taxonomy(method.key), "Taxonomy of methods", ())

    st.header("The code that trains", divider="grey")
    st.code(method.source(), language="python", height=420)

    st.header("Forward or reverse KL", divider="grey")
    left, right = st.columns([3, 2], gap="large")
    with left:
        chart_view.draw(charts.mode_figure(), "Forward and reverse KL", ())
    with right:
        st.markdown("\n\n".join(charts.EXPLANATION))

    st.header("All methods", divider="grey")
    st.markdown(
        "A student minimizes the cross-entropy with the hard labels plus any number of distillation terms, each with "
        "its own weight."
    )
    st.latex(r"L = w_\mathrm{CE}\,\mathrm{CE}(p^s, y) + \sum_m w_m\,L_m")
    for column, family in zip(st.columns(len(FAMILIES), gap="large"), FAMILIES, strict=True):
        with column:
            st.header(f"{family.capitalize()}-based")
            for method in all_methods():
                if method.family == family:
                    st.markdown(f"**{method.label}**: {method.summary}", help=method.reference)
                    st.latex(method.formula)
    st.dataframe(describe_methods(), hide_index=True, width="stretch")


CROSSES = {
    "logits": "the teacher's logits, one number for each class",
    "stages": "outputs of the teacher's stages, a stack of maps each",
    "embedding": "the teacher's embedding, the vector before the classifier",
}


def pick_method() -> type[Method]:
    """Draws the choice of a method, family by family; the link carries it."""
    names = {one.key: f"{one.label} ({one.family}, {one.reference.split(',')[0]})" for one in all_methods()}
    key = choices.pick_one("method", "Method", list(names), "kd", kind="method", format_func=names.__getitem__)
    return get_method(key)


def pick_settings(method: type[Method]) -> Method:
    """Draws the method's settings, each with its bounds; what is out of bounds is reported and the default is used."""
    values: dict[str, Any] = {}
    fields = {name: field for name, field in method.Settings.model_fields.items() if name != "method"}
    columns = st.columns(min(4, len(fields)))
    for position, (name, field) in enumerate(fields.items()):
        key = f"setting_{method.key}_{name}"
        st.session_state.setdefault(key, field.default)
        with columns[position % len(columns)]:
            values[name] = draw_field(name.replace("_", " ").capitalize(), field, key, persist_state="session")
    try:
        return method(**values)
    except ValidationError as error:
        st.error(f"{': '.join(problems(error)[0])}. The defaults are shown instead.")
        return method()


def show_formula(method: Method) -> None:
    """The objective with its numbers, what crosses from teacher to student, and the source."""
    st.latex(objective_formula({"ce_weight": 1.0, "label_smoothing": 0.0, "terms": [method.settings.model_dump()]}))
    crossing = " and ".join(CROSSES[need] for need in ("logits", "embedding", "stages") if need in method.needs)
    batch = " It compares the images of a batch with each other." if method.relates_images else ""
    st.markdown(
        f"{method.summary}{batch} From teacher to student: {crossing or 'nothing; there is no teacher'}. "
        f"Source: {method.reference}."
    )


def show_instrument(method: Method, teacher: Network, student: Network | None, picture: Picture) -> None:
    """What the method's loss asks of the student on the picture, computed by the code that trains."""
    if student is None:
        st.info("Choose a student to see this method's gradient on it.")
        return
    adapts = type(method).adapter is not Method.adapter
    try:
        problem = method.check(get_architecture(student.architecture), get_architecture(teacher.architecture))
        if method.needs - {"logits"} and not (teacher.computes and student.computes):
            problem = f"{method.label} needs more than logits, and only logits are stored of one of these networks"
        if problem:
            st.info(f"{problem}.")
            return
        images, labels = probe_images(picture, teacher)
        if len(images) < 2 and (method.relates_images or adapts):
            st.info(f"{method.label} needs several images, and the test images of this data set are missing.")
            return
        found = _probe(method, method.settings.model_dump_json(), student, teacher, images, labels)
        logits = teacher.logits_of(picture)
    except KDError as error:
        show_error(error)
        return
    if picture.label is None:
        name = teacher.classes[int(logits.argmax())]
        st.caption(
            f"This picture has no hard label: where the loss needs one, it is the teacher's class, {as_text(name)}."
        )
    if found.push is not None:
        chart = gradients.push_bars(found.push, logits, teacher.classes, picture.label, method.label, student.name)
        chart_view.draw(chart, f"{method.label} push", chart_view.OF_IMAGE)
    if found.relations is not None:
        _show_relations(method.label, found.relations, teacher, student, images)
    if any(change is not None for change in found.changes):
        chart = gradients.change_maps(found.changes, picture.pixels_last, method.label, student.name)
        chart_view.draw(chart, f"{method.label} changes", chart_view.OF_IMAGE)
    if all(one is None for one in (found.push, found.relations, *found.changes)):
        st.info("This method has no gradient on these outputs.")
    trained = " Its adapter, which is trained with the student, has random weights here." if adapts else ""
    st.caption(
        f"Loss over this picture and {len(images) - 1} test images, unweighted: {found.loss:.4g}. The gradient is that "
        f"of this picture, by automatic differentiation of the code below.{trained}"
    )


def probe_images(picture: Picture, teacher: Network) -> tuple[np.ndarray, np.ndarray]:
    """The picture and fifteen test images class by class: uint8 `[16, 3, 32, 32]`, and their labels `[16]`.

    A photo gets the class that the teacher predicts, and so do test images of a data set with other classes.
    """
    known = cached.gallery(picture.dataset)
    pixels, labels = known.images, known.labels
    rank = np.array([(labels[:position] == label).sum() for position, label in enumerate(labels[:400])])
    order = np.lexsort((np.arange(len(rank)), rank))
    others = order[order != (-1 if picture.index is None else picture.index)][: PROBED - 1]
    others = others[np.argsort(labels[others], kind="stable")]
    images = np.concatenate([picture.pixels[None], pixels[others]])
    if get_dataset(picture.dataset).classes != teacher.classes:
        return images, teacher.outputs_of(images).logits.argmax(dim=1).numpy()
    label = picture.label if picture.label is not None else int(teacher.predict(picture.pixels).logits.argmax())
    return images, np.append(label, labels[others])


@st.cache_data(max_entries=128, show_spinner=False, hash_funcs=KEYS)
def _probe(
    _method: Method, settings: str, student: Network, teacher: Network, images: np.ndarray, labels: np.ndarray
) -> Probe:
    """`inference.probe` of a method, whose settings are the key. Raises CheckpointError for untrusted weights."""
    architectures = get_architecture(student.architecture), get_architecture(teacher.architecture)
    return inference.probe(_method, student.outputs_of(images), teacher.outputs_of(images), labels, architectures)


def _show_relations(
    method: str, found: tuple[np.ndarray, np.ndarray], teacher: Network, student: Network, images: np.ndarray
) -> None:
    off = ~np.eye(len(images), dtype=bool)
    both = np.concatenate([one[off] for one in found])
    limits = (float(both.min()), float(both.max()))
    roles = ((teacher.name, TEACHER), (student.name, role_of(student, teacher)))
    for column, relations, (name, role) in zip(st.columns(2), found, roles, strict=True):
        chart = gradients.relation_maps(relations, images, method, name, role, limits)
        chart_view.draw(chart, f"{method} relations {role} {name}", chart_view.OF_IMAGE, column)
    gap = float(np.abs(found[0] - found[1])[off].mean())
    st.markdown(f"Mean difference between the two maps, off the diagonal: **{gap:.3f}**.")


def pick_student(students: list[Network], teacher: Network) -> Network | None:
    """Draws the choice of one of the chosen students, at first the distilled one; None where none is chosen."""
    by_name = {one.name: one for one in students}
    first = next((one.name for one in students if role_of(one, teacher) != SCRATCH), next(iter(by_name), None))
    return by_name[choices.pick_option("student", "Student", by_name, str, first)] if first else None
