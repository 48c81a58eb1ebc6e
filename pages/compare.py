"""Compare: networks and runs side by side. The table, the lab's two puzzles, and the details behind them."""

from collections.abc import Callable

import streamlit as st

from kdexplorer.analysis import results, verdicts
from kdexplorer.app import (
    caches,
    compare_choice,
    compare_pairs,
    compare_sections,
    compare_table,
    network_picker,
    result_caches,
    sweeps,
    url_state,
)
from kdexplorer.app.compare_sections import Comparison
from kdexplorer.errors import KDError
from kdexplorer.runs.checkpoints import Checkpoint

SECTIONS: dict[str, Callable[[Comparison], None]] = {
    "Accuracy and cost": compare_sections.show_cost,
    "Learning curves": compare_sections.show_comparison_curves,
    "Calibration": compare_sections.show_calibration,
    "Classes": compare_sections.show_classes,
    "Confusion": compare_pairs.show_confusion,
    "Disagreements": compare_pairs.show_disagreements,
    "Sweep": lambda _: sweeps.show_section(),
}


def compare(entries: dict[str, Checkpoint], found: dict[str, Checkpoint], runs: list[str]) -> None:
    """The table, the two verdicts, and one section at a time."""
    compare_choice.require_same_images(entries)
    names = results.short_names(list(entries))
    teacher_key, baseline = compare_choice.pick_references(entries, found, names)
    if teacher_key and teacher_key not in names:
        names = results.short_names([*entries, teacher_key])
    teacher = (names[teacher_key], found[teacher_key]) if teacher_key else None
    networks = {names[key]: checkpoint for key, checkpoint in entries.items()}
    first = next(iter(networks.values()))
    with st.spinner("Comparing …"):
        labels = result_caches.evaluation_labels(first)
        timed = st.session_state.get("latency_measured", set()) & {c.architecture for c in networks.values()}
        latency = {architecture: result_caches.latency(architecture) for architecture in timed}
        human = caches.human_labels_of(results.dataset_of(first))
        rows = result_caches.result_rows(networks, teacher, names[baseline], labels is not None, latency, human)
        logits = {name: caches.evaluation_logits(checkpoint) for name, checkpoint in networks.items()}
    compare_table.show(rows, names[baseline], teacher[0] if teacher else None, first, labels is not None)
    compare_table.show_handout_button(teacher, networks)
    difference = results.describe_training_difference(networks)
    if difference:
        st.warning(difference)
    left, right = st.columns(2)
    with left, st.container(border=True):
        st.markdown("**Why is the distilled student's loss larger?**")
        st.markdown(verdicts.explain_larger_loss(rows))
    with right, st.container(border=True):
        st.markdown("**Did a student really beat its teacher, or its scratch baseline?**")
        st.markdown(verdicts.compare_with_teacher_and_baseline(rows))
    stored = {n: v for n, v in logits.items() if v is not None and (labels is None or len(v) == len(labels))}
    keys = {short: key for key, short in names.items()}
    SECTIONS[pick_section()](Comparison(networks, keys, teacher, runs, rows, labels, stored, latency))


def pick_section() -> str:
    """Draws the choice of a section; a link may carry it."""
    default = next(iter(SECTIONS))
    section = url_state.get("show", default, lambda text: text if text in SECTIONS else default)
    st.session_state["pick_show"] = section
    st.segmented_control(
        "Details",
        SECTIONS,
        key="pick_show",
        required=True,
        on_change=url_state.remember,
        args=("show", "pick_show"),
        wrap=True,
    )
    return section


def main() -> None:
    """The choice, and what it compares."""
    st.title("Compare")
    found = network_picker.networks()
    entries, runs = compare_choice.pick_networks_and_runs(found)
    if entries:
        compare(entries, found, runs)
        return
    st.info(
        "Choose networks above, or a run with finished students. A teacher, its students and their scratch baseline "
        "make the best table: it shows what the teacher changed."
    )
    if runs:
        compare_sections.show_curves({}, runs, None)


try:
    main()
except KDError as error:
    st.error(str(error))
