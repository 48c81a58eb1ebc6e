"""The distillation terms of one student in the launch form: methods, weights and settings from the registry."""

from __future__ import annotations

from typing import Any

import streamlit as st

from kdexplorer.app import student_rows
from kdexplorer.app.field_widgets import draw_field
from kdexplorer.app.student_rows import Row
from kdexplorer.methods import all_methods, get_method


def show(rows: list[Row]) -> None:
    """Draws the terms of the chosen student and its objective as a formula; edits change the row."""
    if not rows:
        return
    if st.session_state.get("form_student", 0) >= len(rows):
        st.session_state["form_student"] = 0
    methods = {method.key: method for method in all_methods()}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        number = st.selectbox(
            "Objective of",
            range(len(rows)),
            format_func=lambda number: rows[number]["name"],
            key="form_student",
            width=220,
        )
        row = rows[number]
        st.selectbox(
            "Method to add",
            methods,
            format_func=lambda key: methods[key].label,
            key="new_method",
            width=170,
            help="\n".join(f"- {method.label}: {method.summary}" for method in methods.values()),
        )
        st.button("Add term", on_click=_add_term, args=(row,), icon=":material/add:", key="add_term")
    st.latex(student_rows.objective_formula(row))
    for position in range(len(row["terms"])):
        _show_term(row, number, position)


def redraw_table() -> None:
    """Makes the students' table show the rows as they are now."""
    st.session_state["students_version"] = st.session_state.get("students_version", 0) + 1


def redraw_terms() -> None:
    """Makes the terms' widgets show the rows as they are now."""
    st.session_state["terms_version"] = st.session_state.get("terms_version", 0) + 1


def _show_term(row: Row, number: int, position: int) -> None:
    term = row["terms"][position]
    method = get_method(term["method"])
    fields = {name: field for name, field in method.Settings.model_fields.items() if name != "method"}
    prefix = f"form_term_{st.session_state.get('terms_version', 0)}_{number}_{position}"
    with st.container(border=True):
        head, *columns = st.columns(1 + len(fields), vertical_alignment="bottom")
        with head:
            st.markdown(f"**{method.label}**", help=method.summary)
            st.button(
                f"Remove {method.label}",
                on_click=_remove_term,
                args=(row, position),
                key=f"{prefix}_remove",
                icon=":material/remove:",
            )
        for column, (name, field) in zip(columns, fields.items(), strict=True):
            with column:
                label, key = name.replace("_", " ").capitalize(), f"{prefix}_{name}"
                draw_field(label, field, key, term[name], on_change=_set, args=(row, position, name, key))


def _set(row: Row, position: int, name: str, key: str) -> None:
    _change_terms(
        row,
        [
            term | {name: st.session_state[key]} if number == position else term
            for number, term in enumerate(row["terms"])
        ],
    )


def _add_term(row: Row) -> None:
    _change_terms(row, [*row["terms"], student_rows.fill_term({"method": st.session_state["new_method"]})])
    redraw_terms()


def _remove_term(row: Row, position: int) -> None:
    _change_terms(row, [term for number, term in enumerate(row["terms"]) if number != position])
    redraw_terms()


def _change_terms(row: Row, terms: list[dict[str, Any]]) -> None:
    row["terms"] = terms
    row["preset"] = student_rows.find_preset(row)
    redraw_table()
