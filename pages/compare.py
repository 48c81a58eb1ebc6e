"""Any set of networks and runs side by side: the table, the two puzzles of the lab, and what stands behind them."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from kdexplorer import comparison
from kdexplorer.errors import KDError
from kdexplorer.ui import cached, choice, compare_choice, compare_pairs, compare_sections, compare_table, sweeps
from kdexplorer.ui.compare_sections import Compared

SECTIONS: dict[str, Callable[[Compared], None]] = {
    "Accuracy and cost": compare_sections.cost,
    "Learning curves": compare_sections.curves_of,
    "Calibration": compare_sections.calibration,
    "Classes": compare_sections.classes,
    "Confusion": compare_pairs.confusion,
    "Disagreements": compare_pairs.disagreements,
    "Sweep": lambda _: sweeps.section(),
}


def main() -> None:
    """The choice, the table, the two answers, and one section at a time."""
    st.title("Compare")
    found = choice.networks()
    entries, opened = compare_choice.pick_networks_and_runs(found)
    if not entries:
        st.info(
            "Choose networks above, or a run whose students have finished. A teacher, its students, and a twin from "
            "scratch make the best table: they show what the teacher changed."
        )
        if opened:
            compare_sections.curves({}, opened, None)
        return
    compare_choice.refuse_a_mixture(entries)
    names = comparison.short_names(list(entries))
    teacher, baseline = compare_choice.pick_references(entries, found, names)
    if teacher and teacher not in names:
        names = comparison.short_names([*entries, teacher])
    guide = (names[teacher], found[teacher]) if teacher else None
    shown = {names[key]: checkpoint for key, checkpoint in entries.items()}
    with st.spinner("Comparing the stored answers …"):
        labels = cached.labels_of(next(iter(entries.values())))
        measured = st.session_state.get("latency_measured", set())
        latency = {name: cached.latency(name) for name in measured & {c.architecture for c in entries.values()}}
        answers = cached.peoples_answers()
        table = cached.comparison_rows(shown, guide, names[baseline], labels is not None, latency, answers)
        logits = {name: cached.logits_or_none(checkpoint) for name, checkpoint in shown.items()}
    compare_table.show(table, names[baseline], guide[0] if guide else None, labels)
    compare_table.take_home(guide, shown)
    uneven = comparison.training_differs(shown)
    if uneven:
        st.warning(f"{uneven}.")
    left, right = st.columns(2)
    with left, st.container(border=True):
        st.markdown("**Why is the distilled student's loss larger?**")
        st.markdown(comparison.why_the_loss_is_larger(table))
    with right, st.container(border=True):
        st.markdown("**Did a student really beat its teacher, or its twin?**")
        st.markdown(comparison.really_better(table, logits, labels))
    usual = next(iter(SECTIONS))
    section = choice.get("show", usual, lambda text: text if text in SECTIONS else usual)
    st.session_state["compare_show"] = section
    st.segmented_control(
        "Look closer", SECTIONS, key="compare_show", required=True, on_change=choice.remember,
        args=("show", "compare_show"), wrap=True,
    )  # fmt: skip
    stored = {n: v for n, v in logits.items() if v is not None and (labels is None or len(v) == len(labels))}
    keys = {short: key for key, short in names.items()}
    SECTIONS[section](Compared(shown, keys, guide, opened, table, labels, stored, latency))


choice.through_the_door()
try:
    main()
except KDError as error:
    st.error(str(error))
