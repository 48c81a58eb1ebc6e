"""The students of a run in the launch form: an editable table, and each one's distillation terms."""

from __future__ import annotations

from typing import Any

import streamlit as st

from kdexplorer.app.launch import student_rows
from kdexplorer.app.launch.student_rows import Row
from kdexplorer.app.parts.field_widget import draw_field
from kdexplorer.config import MAX_STUDENTS
from kdexplorer.methods import all_methods, get_method
from kdexplorer.networks import all_architectures
from kdexplorer.presets import PRESETS

ARCHITECTURES = [architecture.key for architecture in all_architectures()]
COLUMNS = ("name", "architecture", "preset", "ce_weight", "terms", "label_smoothing")


def show(values: dict[str, Any]) -> None:
    """Draws the table and the chosen student's terms; edits change `values["students"]`, see `student_rows`."""
    st.markdown("**Students**: they see the same batches from the same initial weights")
    key = f"students_{st.session_state.setdefault('students_version', 0)}"
    if key not in st.session_state:  # the editor's edits count from the rows that it was first drawn with
        st.session_state["students_base"] = values["students"]
    base, column = st.session_state["students_base"], st.column_config
    presets = [*PRESETS, student_rows.CUSTOM]
    smoothing = "Share of the hard label spread over all classes"
    st.data_editor(
        [{name: row[name] for name in COLUMNS} | {"terms": student_rows.describe_terms(row)} for row in base],
        key=key, on_change=_edit, args=(values, key), num_rows="dynamic", hide_index=True, disabled=["terms"],
        column_config={
            "name": column.TextColumn("Name", width=146),
            "architecture": column.SelectboxColumn(
                "Network", options=ARCHITECTURES, default=ARCHITECTURES[0], width=92),
            "preset": column.SelectboxColumn(
                "Preset", options=presets, width=84, help="A preset sets its row's objective"),
            "ce_weight": column.NumberColumn(
                "CE ×", format="%g", width=68, help="Weight of cross-entropy with the hard label"),
            "label_smoothing": column.NumberColumn("Smoothing", format="%g", width=108, help=smoothing),
            "terms": column.TextColumn("Terms", width=136, help="The distillation terms; edit them below"),
        },
        alt="The students of this run: name, network, preset, weight of cross-entropy and distillation terms",
    )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("Network to add", ARCHITECTURES, key="new_architecture", width=200)
        st.selectbox("Preset", list(PRESETS), key="new_preset", width=170)
        full = len(values["students"]) >= MAX_STUDENTS
        st.button("Add student", on_click=_add, args=(values,), icon=":material/add:", disabled=full)
        st.button(
            "Remove the last student", on_click=_replace, args=(values, values["students"][:-1]),
            icon=":material/remove:", disabled=len(values["students"]) < 2,
        )  # fmt: skip
    if values["students"]:
        _show_terms(values["students"])


def redraw() -> None:
    """Makes the table show the rows as they are now."""
    st.session_state["students_version"] = st.session_state.get("students_version", 0) + 1


def _edit(values: dict[str, Any], key: str) -> None:
    """The editor's callback."""
    values["students"], differs = student_rows.edit_rows(st.session_state["students_base"], st.session_state[key])
    if differs:
        redraw()


def _add(values: dict[str, Any]) -> None:
    chosen = {"architecture": st.session_state["new_architecture"], "preset": st.session_state["new_preset"]}
    row = student_rows.make_row(chosen, {row["name"] for row in values["students"]})
    _replace(values, [*values["students"], row])


def _replace(values: dict[str, Any], students: list[Row]) -> None:
    values["students"] = students
    redraw()


def _show_terms(rows: list[Row]) -> None:
    """Draws the terms of the chosen student and its objective as a formula; edits change the row."""
    if st.session_state.get("form_student", 0) not in range(len(rows)):  # a browser may send a name that is gone
        st.session_state["form_student"] = 0
    methods = {method.key: method for method in all_methods()}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        number = st.selectbox(
            "Objective of", range(len(rows)), format_func=lambda number: rows[number]["name"],
            key="form_student", width=220,
        )  # fmt: skip
        row = rows[number]
        st.selectbox(
            "Method to add", methods, format_func=lambda key: methods[key].label, key="new_method", width=170,
            help="\n".join(f"- {method.label}: {method.summary}" for method in methods.values()),
        )  # fmt: skip
        st.button("Add term", on_click=_add_term, args=(row,), icon=":material/add:", key="add_term")
    st.latex(student_rows.objective_formula(row))
    for position, term in enumerate(row["terms"]):
        with st.container(border=True):
            _show_term(row, position, term, f"form_term_{number}_{position}_{term['method']}")


def _show_term(row: Row, position: int, term: Row, prefix: str) -> None:
    method = get_method(term["method"])
    fields = {name: field for name, field in method.Settings.model_fields.items() if name != "method"}
    head, *columns = st.columns(1 + len(fields), vertical_alignment="bottom")
    head.markdown(f"**{method.label}**", help=method.summary)
    head.button(
        f"Remove {method.label}", key=f"{prefix}_remove", icon=":material/remove:",
        on_click=_change_terms, args=(row, [*row["terms"][:position], *row["terms"][position + 1 :]]),
    )  # fmt: skip
    for column, (name, field) in zip(columns, fields.items(), strict=True):
        key = f"{prefix}_{name}"
        st.session_state[key] = term[name]
        with column:
            label = name.replace("_", " ").capitalize()
            draw_field(label, field, key, on_change=_set, args=(row, position, name, key))


def _set(row: Row, position: int, name: str, key: str) -> None:
    terms = list(row["terms"])
    terms[position] = terms[position] | {name: st.session_state[key]}
    _change_terms(row, terms)


def _add_term(row: Row) -> None:
    _change_terms(row, [*row["terms"], student_rows.fill_term({"method": st.session_state["new_method"]})])


def _change_terms(row: Row, terms: list[Row]) -> None:
    row["terms"] = terms
    row["preset"] = student_rows.find_preset(row)
    redraw()
