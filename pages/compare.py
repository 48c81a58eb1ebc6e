"""Compare: networks and runs side by side. The table, the lab's two puzzles, and the details behind them."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from kdexplorer.analysis import results, verdicts
from kdexplorer.app.compare import compare_claims, compare_sections, compare_table, studies
from kdexplorer.app.compare.compare_sections import Comparison
from kdexplorer.app.parts import chart_view, layout, network_picker
from kdexplorer.app.parts.text import as_text, show_error
from kdexplorer.app.state import caches, choices, result_caches
from kdexplorer.errors import KDError
from kdexplorer.runs import lineage
from kdexplorer.runs.checkpoints import Checkpoint

SECTIONS: dict[str, Callable[[Comparison], None]] = {
    "Accuracy and cost": compare_sections.show_cost,
    "Learning curves": lambda shown: compare_sections.show_curves(shown.networks, shown.runs, shown.teacher),
    "Calibration": compare_sections.show_calibration,
    "Classes": compare_sections.show_classes,
    "Confusion": compare_sections.show_confusion,
    "Disagreements": compare_sections.show_disagreements,
    "Error inheritance": compare_claims.show_inheritance,
    "The lab's claims": lambda _: studies.show_claims(),
    "Sweep": lambda _: studies.show_sweeps(),
    "League": lambda _: studies.show_leagues(),
}

# What needs the page's width, not the half beside the table.
WIDE = ("Confusion", "Disagreements", "Error inheritance", "The lab's claims", "Sweep", "League")


def compare(entries: dict[str, Checkpoint], found: dict[str, Checkpoint], runs: list[str], place: Any) -> str:
    """The short table and one section at a time, then the two verdicts and the whole table.

    The teacher and the baseline are chosen in `place`. Returns the line that names the networks.
    """
    compare_table.require_same_images(entries)
    names = results.short_names(list(entries))
    with place:
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
    others = [name for name in networks if teacher is None or name != teacher[0]]
    chart_view.mention(networks=lineage.name_family(teacher and teacher[0], others))
    section = choices.pick_one(
        "show", "Details", list(SECTIONS), "Accuracy and cost",
        kind="section", buttons=True, label_visibility="collapsed",
    )  # fmt: skip
    table, beside = st.columns(2, gap="medium") if section not in WIDE else (st.container(), st.container())
    with table:
        compare_table.show_summary(rows, names[baseline])
    stored = {n: v for n, v in logits.items() if v is not None and (labels is None or len(v) == len(labels))}
    keys = {short: key for key, short in names.items()}
    with beside:
        SECTIONS[section](Comparison(networks, keys, teacher, runs, rows, labels, stored))
    difference = verdicts.describe_training_difference(networks)
    if difference:
        st.warning(as_text(difference))
    left, right = st.columns(2)
    with left, st.container(border=True):
        st.markdown("**Why is the distilled student's loss larger?**")
        st.markdown(as_text(verdicts.explain_larger_loss(rows)))
    with right, st.container(border=True):
        st.markdown("**Did a student really beat its teacher, or its scratch baseline?**")
        st.markdown(as_text(verdicts.compare_with_teacher_and_baseline(rows)))
    st.header("All figures", divider="grey")
    compare_table.show_table(rows, names[baseline], teacher and teacher[0], None if labels is not None else dataset)
    if teacher:
        compare_table.show_handout_button(teacher, networks)
    return f"{layout.name_networks(teacher and teacher[0], others)}; baseline {as_text(names[baseline])}"


def main() -> None:
    """The choice, and what it compares."""
    layout.header(
        "compare",
        "Networks side by side on the same test images. A teacher, its students and their scratch baseline show what "
        "distillation changes.",
    )
    found = network_picker.networks()
    line, place = layout.networks_line()
    with place:
        entries, runs = compare_table.pick_networks_and_runs(found)
    if entries:
        line.markdown(compare(entries, found, runs, place))
        network_picker.show_unusable()
        return
    st.info("Press **Change networks** and choose some, or a run with finished students.")
    if runs:
        compare_sections.show_curves({}, runs, None)
    network_picker.show_unusable()


try:
    main()
except KDError as error:
    show_error(error)
