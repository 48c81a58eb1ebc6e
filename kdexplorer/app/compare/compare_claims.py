"""Compare's section on why a student beats its teacher or not."""

from __future__ import annotations

import streamlit as st

from kdexplorer.analysis.error_inheritance import count_inheritance, explain_inheritance
from kdexplorer.app.compare.compare_sections import Comparison
from kdexplorer.app.parts import chart_view
from kdexplorer.app.parts.text import as_text
from kdexplorer.app.state.choices import pick_option
from kdexplorer.charts.evaluation import inheritance


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
