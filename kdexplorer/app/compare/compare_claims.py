"""Two sections of Compare: why a student beats its teacher or not, and the lab report's claims."""

from __future__ import annotations

import streamlit as st

from kdexplorer.analysis import claims, lab
from kdexplorer.analysis.error_inheritance import count_inheritance, explain_inheritance
from kdexplorer.app.compare.compare_sections import Comparison
from kdexplorer.app.parts import chart_view
from kdexplorer.app.parts.plain import as_text
from kdexplorer.app.state import result_caches
from kdexplorer.app.state.choices import pick_option
from kdexplorer.charts.evaluation import inheritance
from kdexplorer.runs.checkpoints import bundled_checkpoints
from kdexplorer.sweeps.results import bundled_sweeps

VERDICTS = {
    "supported": ":material/check_circle:",
    "not supported": ":material/cancel:",
    "cannot be decided": ":material/help:",
}
"""Each verdict's icon."""


def show_inheritance(comparison: Comparison) -> None:
    """The predictions of a student and its scratch baseline, by whether its own teacher is right."""
    labels = comparison.require_labels()
    if labels is None:
        return
    known = comparison.logits.keys()
    students = {
        row.name: (row.to_scratch_baseline.other, row.to_teacher.other)
        for row in comparison.rows
        if row.is_distilled
        and row.to_scratch_baseline
        and row.to_teacher
        and {row.name, row.to_scratch_baseline.other, row.to_teacher.other} <= known
    }
    if not students:
        st.info("Choose a distilled student, its scratch baseline and its teacher above.")
        return
    student = pick_option("inheritance", "Student", students)
    baseline, teacher = students[student]
    logits = {name: comparison.logits[name] for name in (student, baseline, teacher)}
    counts = {name: count_inheritance(logits[name], logits[teacher], labels) for name in (student, baseline)}
    chart_view.draw(inheritance(counts, teacher), f"Error inheritance {student}", key="inheritance")
    shown = (logits[student], logits[baseline], logits[teacher])
    st.markdown(as_text(explain_inheritance((student, baseline, teacher), *shown, labels)))


def show_claims(_: Comparison) -> None:
    """The lab report's claims with evidence from the bundled networks and sweep, whatever is chosen above."""
    networks = {as_text(checkpoint.name): checkpoint for checkpoint in bundled_checkpoints()}
    if not networks:
        st.info("There are no bundled networks, which these claims are compared with.")
        return
    labels = result_caches.evaluation_labels(next(iter(networks.values())))
    rows = result_caches.result_rows(networks, labels)
    sweep = next(iter(bundled_sweeps().values()), None)
    judged = claims.judge_all(
        rows,
        sweep.accuracies_by("temperature") if sweep else {},
        sweep.accuracies_by("weight") if sweep else {},
    )
    for one in judged:
        st.markdown(f"{VERDICTS[one.verdict]} **{one.claim}**: {one.verdict}. {one.evidence}")
    st.markdown(lab.to_markdown(lab.compare_with_lab(rows)))
    st.caption(
        "Computed from the bundled networks and the bundled sweep. Tests of networks are over images, each network was "
        "trained from one seed; tests of settings are over seeds."
    )
