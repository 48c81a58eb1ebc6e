"""The students of an experiment in the launch form: an editable table, and buttons that need no pointer."""

from __future__ import annotations

from typing import Any

import streamlit as st

from kdexplorer.app import launch_terms, student_rows
from kdexplorer.networks import all_architectures
from kdexplorer.presets import PRESETS

ARCHITECTURES = [architecture.key for architecture in all_architectures()]
COLUMNS = ("name", "architecture", "preset", "ce_weight", "terms", "label_smoothing")


def show(values: dict[str, Any]) -> None:
    """Draws the table and the chosen student's terms; edits change `values["students"]`, see `student_rows`."""
    st.markdown("**Students**: they see the same batches from the same initial weights")
    version = st.session_state.setdefault("students_version", 0)
    if st.session_state.get("students_drawn") != version:  # the editor's edits count from these rows
        st.session_state["students_base"], st.session_state["students_drawn"] = values["students"], version
    base = st.session_state["students_base"]
    column = st.column_config
    key = f"students_{version}"
    st.data_editor(
        [{name: row[name] for name in COLUMNS} | {"terms": student_rows.describe_terms(row)} for row in base],
        key=key,
        on_change=_edit,
        args=(values, key),
        num_rows="dynamic",
        hide_index=True,
        disabled=["terms"],
        column_config={
            "name": column.TextColumn("Name", width=130),
            "architecture": column.SelectboxColumn(
                "Network", options=ARCHITECTURES, default=ARCHITECTURES[0], width=95
            ),
            "preset": column.SelectboxColumn(
                "Preset", options=[*PRESETS, student_rows.CUSTOM], width=90, help="A preset sets its row's objective"
            ),
            "ce_weight": column.NumberColumn(
                "CE ×", format="%g", width=70, help="Weight of cross-entropy with the hard label"
            ),
            "label_smoothing": column.NumberColumn(
                "Smoothing", format="%g", width=105, help="Share of the hard label spread over all classes"
            ),
            "terms": column.TextColumn("Terms", width=130, help="The distillation terms; edit them below"),
        },
        alt="The students of this experiment: name, network, preset, weight of cross-entropy and distillation terms",
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("Network to add", ARCHITECTURES, key="new_architecture", width=200)
        st.selectbox("Preset", list(PRESETS), key="new_preset", width=170)
        st.button("Add student", on_click=_add, args=(values,), icon=":material/add:")
        st.button(
            "Remove the last student",
            on_click=_remove,
            args=(values,),
            disabled=len(values["students"]) < 2,
            icon=":material/remove:",
        )
    launch_terms.show(values["students"])


def redraw() -> None:
    """Makes the table and the terms show the rows as they are now."""
    launch_terms.redraw_table()
    launch_terms.redraw_terms()


def _edit(values: dict[str, Any], key: str) -> None:
    """The editor's callback."""
    values["students"], differs = student_rows.edit_rows(st.session_state["students_base"], st.session_state[key])
    launch_terms.redraw_terms()
    if differs:
        launch_terms.redraw_table()


def _add(values: dict[str, Any]) -> None:
    chosen = {"architecture": st.session_state["new_architecture"], "preset": st.session_state["new_preset"]}
    values["students"] = [
        *values["students"],
        student_rows.make_row(chosen, {row["name"] for row in values["students"]}),
    ]
    redraw()


def _remove(values: dict[str, Any]) -> None:
    values["students"] = values["students"][:-1]
    redraw()
