"""Overview: what distillation is, on the bundled networks, without a click."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from kdexplorer.analysis import measures, results, verdicts
from kdexplorer.analysis.metrics import entropy, softmax
from kdexplorer.app.parts import chart_view, layout, network_picker, picture
from kdexplorer.app.parts.layout import as_text, show_error
from kdexplorer.app.state import cached
from kdexplorer.app.state.cached import Network, result_rows
from kdexplorer.charts import evaluation, soft_labels
from kdexplorer.charts.common import NetworkLogits, select_classes
from kdexplorer.charts.style import TEACHER, role_of
from kdexplorer.datasets import get_dataset
from kdexplorer.errors import KDError
from kdexplorer.images.picture import Picture, enlarge_png
from kdexplorer.methods import FAMILIES, all_methods
from kdexplorer.runs import lineage

SOFT = 4.0
COLUMNS = ("name", "method", "accuracy", "cross_entropy", "objective", "parameters")
SEE = {"response": ("soft_labels", "See it on Soft labels →"), "feature": ("attention", "See it on Attention →")}

_prediction = st.cache_data(max_entries=64, show_spinner=False)(soft_labels.prediction)
_accuracies = st.cache_data(max_entries=16, show_spinner=False)(evaluation.accuracies)
"""The page that most visitors open first shows all of them the same."""


def choose_example(teacher: Network, students: list[Network], dataset: str) -> Picture | None:
    """The most instructive of the first test images."""
    rank = picture.most_instructive(teacher, students, dataset)
    if rank is None:
        return None
    pixels, labels, indices = cached.gallery(dataset)
    return picture.make_test_image(teacher, pixels[rank], int(indices[rank]), int(labels[rank]))


def show_example(teacher: Network, students: list[Network], dataset: str) -> None:
    """One image with the teacher's prediction at two temperatures, and the predictions of two students."""
    example = choose_example(teacher, students, dataset)
    if example is None or example.label is None:
        st.info(
            f"{as_text(teacher.name)} has no stored logits of the test split: choose another network on Soft labels."
        )
        return
    classes, label, index = teacher.classes, example.label, example.index
    layout.mention(image=f"{get_dataset(dataset).label} test image {index}")
    logits = {c.name: c.logits_of(example) for c in [teacher, *students]}
    shown = select_classes(logits[teacher.name], label)
    soft = softmax(logits[teacher.name], SOFT)

    def draw(column: Any, checkpoint: Network, temperature: float, heading: str) -> None:
        network = NetworkLogits(checkpoint.name, role_of(checkpoint, teacher), logits[checkpoint.name])
        chart = _prediction(network, classes, label, temperature, heading, shown)
        chart_view.draw(chart, f"{heading} {checkpoint.name}", chart_view.OF_IMAGE, column)

    left, right = layout.first_screen()
    with left:
        st.image(enlarge_png(example.pixels_last, 448), width="stretch", alt=example.caption(classes))
        st.caption(f"Test image {index}. The hard label is **{as_text(classes[label])}**, and nothing else.")
    first, second = right.columns(2, gap="medium")
    draw(first, teacher, 1.0, "The teacher's prediction")
    draw(second, teacher, SOFT, "The same logits, softened")
    runners_up = [k for k in np.argsort(-soft) if k != label][:2]
    right.markdown(
        f"Divide the logits by a temperature of {SOFT:g}, and the small probabilities become visible: "
        f"{' and '.join(f'**{as_text(classes[k])} {soft[k]:.0%}**' for k in runners_up)}. They show which classes the "
        f"teacher finds similar; a hard label does not. A student trained on this soft label learns from "
        f"{np.exp(entropy(soft)):.1f} effective classes instead of one."
    )
    columns = right.columns(2, gap="medium")
    for column, student in zip(columns, students, strict=False):
        distilled = lineage.is_distilled(student)
        draw(column, student, 1.0, "A distilled student" if distilled else "A student without a teacher")


def show_methods() -> None:
    """Every method of the registry, by family."""
    st.header("Distillation methods", divider="grey")
    st.markdown(
        "A student minimizes the cross-entropy with the hard labels plus any number of distillation terms, each with "
        "its own weight. The methods differ in what the student imitates."
    )
    st.latex(r"L = w_\mathrm{CE}\,\mathrm{CE}(p^s, y) + \sum_m w_m\,L_m")
    families = [family for family in FAMILIES if any(method.family == family for method in all_methods())]
    for column, family in zip(st.columns(len(families), gap="large"), families, strict=True):
        with column:
            st.header(f"{family.capitalize()}-based")
            for method in all_methods():
                if method.family == family:
                    st.markdown(f"**{method.label}**: {method.summary}", help=method.reference)
                    st.latex(method.formula)
            if family in SEE:
                layout.link_to(*SEE[family])


def show_results(teacher: Network, students: list[Network]) -> None:
    """The family's accuracies and losses."""
    st.header("Results", divider="grey")
    entries = {c.name: c for c in [teacher, *students]}
    rows = result_rows(entries)
    chart, text = st.columns([2, 3], gap="large")
    roles = {name: role_of(c, teacher) for name, c in entries.items()}
    chart_view.draw(_accuracies(rows, roles), "Accuracies", (), chart)
    table = measures.tabulate(rows, COLUMNS)
    table[0]["Method"] = TEACHER
    with text:
        st.dataframe(table, hide_index=True)
        st.markdown(
            "**Cross-entropy** can be compared between rows. The **objective** cannot: it is the sum that each network "
            "minimizes, and each method adds other terms. A distilled student may have a larger objective although it "
            "is more accurate."
        )
    st.caption(
        f"Evaluated on {as_text(rows[1].evaluated_on)}. {as_text(verdicts.describe_training(rows))} One run cannot "
        "rank methods: see Compare for paired tests."
    )


def show_page() -> None:
    """One example, the methods, and the results of the first family."""
    layout.header(
        "overview",
        "A small **student** can learn from labels alone, or also from a large **teacher**'s predictions, which say "
        "more.",
        title="Knowledge distillation",
    )
    found = network_picker.networks()
    teacher = found[network_picker.default_teacher(found)]
    family = [found[name] for name in lineage.first_family(found, teacher)]
    try:
        show_example(teacher, family[:2], results.dataset_of(teacher))
    except KDError as error:
        show_error(error)
    show_methods()
    if family:
        show_results(teacher, family)
