"""Compare: networks and runs side by side. The table, the lab's two puzzles, and the details behind them."""

from collections.abc import Callable

import streamlit as st

from kdexplorer.analysis import results, verdicts
from kdexplorer.app import (
    caches,
    compare_claims,
    compare_sections,
    compare_table,
    league_section,
    network_picker,
    pickers,
    result_caches,
    sweeps,
)
from kdexplorer.app.compare_sections import Comparison
from kdexplorer.app.plain import as_text, show_error
from kdexplorer.errors import KDError
from kdexplorer.runs.checkpoints import Checkpoint

SECTIONS: dict[str, Callable[[Comparison], None]] = {
    "Accuracy and cost": compare_sections.show_cost,
    "Learning curves": lambda shown: compare_sections.show_curves(shown.networks, shown.runs, shown.teacher),
    "Calibration": compare_sections.show_calibration,
    "Classes": compare_sections.show_classes,
    "Confusion": compare_sections.show_confusion,
    "Disagreements": compare_sections.show_disagreements,
    "Error inheritance": compare_claims.show_inheritance,
    "The lab's claims": compare_claims.show_claims,
    "Sweep": lambda _: sweeps.show_section(),
    "League": lambda _: league_section.show_section(),
}


def compare(entries: dict[str, Checkpoint], found: dict[str, Checkpoint], runs: list[str]) -> None:
    """The table, the two verdicts, and one section at a time."""
    compare_table.require_same_images(entries)
    names = results.short_names(list(entries))
    teacher_key, baseline = compare_table.pick_references(entries, found, names)
    if teacher_key and teacher_key not in names:
        names = results.short_names([*entries, teacher_key])
    teacher = (names[teacher_key], found[teacher_key]) if teacher_key else None
    networks = {names[key]: checkpoint for key, checkpoint in entries.items()}
    first = next(iter(networks.values()))
    dataset = results.dataset_of(first)
    with st.spinner("Comparing …"):
        labels = result_caches.evaluation_labels(first)
        timed = st.session_state.get("latency_measured", set()) & {c.architecture for c in networks.values()}
        latency = {architecture: result_caches.latency(architecture) for architecture in sorted(timed)}
        human = caches.human_labels_of(dataset)
        rows = result_caches.result_rows(networks, labels, teacher, names[baseline], latency, human)
        logits = {name: caches.evaluation_logits(checkpoint) for name, checkpoint in networks.items()}
    compare_table.show_table(rows, names[baseline], teacher and teacher[0], None if labels is not None else dataset)
    if teacher:
        compare_table.show_handout_button(teacher, networks)
    difference = results.describe_training_difference(networks)
    if difference:
        st.warning(as_text(difference))
    left, right = st.columns(2)
    with left, st.container(border=True):
        st.markdown("**Why is the distilled student's loss larger?**")
        st.markdown(as_text(verdicts.explain_larger_loss(rows)))
    with right, st.container(border=True):
        st.markdown("**Did a student really beat its teacher, or its scratch baseline?**")
        st.markdown(as_text(verdicts.compare_with_teacher_and_baseline(rows)))
    section = pickers.pick_one(
        "show", "Details", list(SECTIONS), "Accuracy and cost",
        kind="section", draw=st.segmented_control, required=True, wrap=True,
    )  # fmt: skip
    stored = {n: v for n, v in logits.items() if v is not None and (labels is None or len(v) == len(labels))}
    keys = {short: key for key, short in names.items()}
    SECTIONS[section](Comparison(networks, keys, teacher, runs, rows, labels, stored))


def main() -> None:
    """The choice, and what it compares."""
    st.title("Compare")
    found = network_picker.networks()
    entries, runs = compare_table.pick_networks_and_runs(found)
    if entries:
        compare(entries, found, runs)
        network_picker.show_unusable()
        return
    st.info(
        "Choose networks above, or a run with finished students. A teacher, its students and their scratch baseline "
        "make the most informative table: it shows what distillation changes."
    )
    if runs:
        compare_sections.show_curves({}, runs, None)
    network_picker.show_unusable()


try:
    main()
except KDError as error:
    show_error(error)
