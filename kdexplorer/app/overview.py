"""Overview: one picture, a teacher's soft label and its students', and where to go from there."""

from typing import Any

import streamlit as st

from kdexplorer.analysis import measures, metrics, results, verdicts
from kdexplorer.app import layout, soft_labels, story
from kdexplorer.app.layout import as_text
from kdexplorer.app.parts import chart_view, network_picker, picture
from kdexplorer.app.server import access
from kdexplorer.app.soft_labels import SoftLabels
from kdexplorer.app.state.cached import KEYS, Network, label_together, result_rows
from kdexplorer.charts import evaluation
from kdexplorer.charts.style import TEACHER, role_of
from kdexplorer.config import SCRATCH
from kdexplorer.datasets import get_dataset
from kdexplorer.runs import lineage

COLUMNS = ("name", "method", "accuracy", "cross_entropy", "objective", "parameters")
SOFT = 4.0
"""The temperature at which the page says how often the distilled student is nearer."""

_accuracies = st.cache_data(max_entries=16, show_spinner=False)(evaluation.accuracies)


def show() -> None:
    """The picture and its soft labels, three ways to go on, and the results of the family."""
    layout.header(
        "overview",
        "The soft label of a large **teacher** says what a picture resembles; a small **student** can learn from it.",
        title="Knowledge distillation",
    )
    teacher, students = network_picker.pick_networks(shown=False)
    with st.container(key="overview"):
        left, right = layout.first_screen()
    with left:
        image = picture.pick_example(teacher, students)
        with st.container(horizontal=True, gap="small", key="ways_on"):
            train = "Train a student in a minute" if access.is_presenter() else "Watch students train"
            if st.button(train, key="train_first", type="primary", icon=":material/model_training:"):
                st.switch_page(layout.FOLDER / "launch.py", query_params={})
            st.button("Present", "present_lecture", story.HELP, story.begin, icon=":material/slideshow:")
    with right:
        page = soft_labels.build(image, teacher, students)
        chart_view.show_figure("soft_labels", page, "Soft labels")
        if said := _describe_example(page, teacher):
            st.caption(as_text(said))
        layout.link_to("soft_labels", "Soft labels in detail", icon=layout.ARROW)
    found = network_picker.networks()
    if family := [found[name] for name in lineage.first_family(found, teacher)]:
        show_results(teacher, family)


def _describe_example(page: SoftLabels, teacher: Network) -> str:
    """Why this test image was chosen, and on which share of all the same holds; empty for another picture."""
    reason = get_dataset(teacher.dataset).examples.get(-1 if page.picture.index is None else page.picture.index)
    if reason is None:
        return ""
    said = f"A chosen example: {reason}."
    scratch = next((one.name for one in page.logits if one.role == SCRATCH), None)
    if scratch and page.distilled.role != SCRATCH:
        found = _share_of_nearer(teacher, page.networks[page.distilled.name], page.networks[scratch])
        if found is not None:
            said += (
                f" At T = {SOFT:g}, the soft label of {page.distilled.name} is nearer to the teacher's (KL) than that "
                f"of {scratch} on {found[0]:.0%} of all {found[1]:,} test images."
            )
    return said


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs=KEYS)
def _share_of_nearer(teacher: Network, student: Network, other: Network) -> tuple[float, int] | None:
    """On which share of the test images a student's KL from the teacher is smaller than another's, and of how many."""
    stored = [own for one in (teacher, student, other) if (own := one.split_logits(teacher.dataset)) is not None]
    if len(stored) < 3:
        return None
    nearer, farther = (metrics.kl_by_image(stored[0], one, SOFT) for one in stored[1:])
    return float((nearer < farther).mean()), len(nearer)


def show_results(teacher: Network, students: list[Network]) -> None:
    """The family's accuracies and losses on the same images; nothing where they were evaluated on different ones."""
    entries: dict[str, Any] = results.on_same_images(label_together([teacher, *students]))
    if len(results.group_by_evaluation(entries)) > 1:
        return
    st.header("Results", divider="grey")
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
