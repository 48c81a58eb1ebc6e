"""The students of a run in the launch form: an editable table, each one's distillation terms, and the rows behind them.

A row is a plain dict with the fields of `config.StudentConfig`, every setting of its terms filled in, and the name of
its preset. Nothing is validated here: what was typed stays until `training.checks` reports it.
"""

from collections.abc import Collection
from typing import Any

import streamlit as st

from kdexplorer import notation
from kdexplorer.app.parts.field_widget import draw_field
from kdexplorer.config import MAX_STUDENTS, SCRATCH, Objective
from kdexplorer.methods import all_methods, get_method
from kdexplorer.networks import all_architectures
from kdexplorer.presets import PRESETS

ARCHITECTURES = [architecture.key for architecture in all_architectures()]
CUSTOM = "custom"
"""The preset of a row whose objective is none of the presets."""
TEXT, NUMBER = (str, type(None)), (int, float, type(None))
COLUMNS = {"name": TEXT, "architecture": TEXT, "preset": TEXT, "ce_weight": NUMBER, "label_smoothing": NUMBER}
"""What can be edited in the table, with the types of its values."""
MAX_CHARACTERS = 64
"""Of a cell, as in the form's text fields."""

FormRow = dict[str, Any]


def show_students(values: dict[str, Any]) -> None:
    """Draws the table and the chosen student's terms; edits change `values["students"]`."""
    st.markdown("**Students**: they see the same batches from the same initial weights")
    key = f"students_{st.session_state.setdefault('students_version', 0)}"
    if key not in st.session_state:  # the editor's edits count from the rows that it was first drawn with
        st.session_state["students_base"] = values["students"]
    base, column = st.session_state["students_base"], st.column_config
    columns = {
        "name": column.TextColumn("Name", width=146),
        "architecture": column.SelectboxColumn("Network", options=ARCHITECTURES, default=ARCHITECTURES[0], width=92),
        "preset": column.SelectboxColumn(
            "Preset", options=[*PRESETS, CUSTOM], width=84, help="A preset sets its row's objective"),
        "ce_weight": column.NumberColumn(
            "CE ×", format="%g", width=68, help="Weight of cross-entropy with the hard label"),
        "terms": column.TextColumn("Terms", width=136, help="The distillation terms; edit them below"),
        "label_smoothing": column.NumberColumn(
            "Smoothing", format="%g", width=108, help="Share of the hard label spread over all classes"),
    }  # fmt: skip
    st.data_editor(
        [{name: row[name] for name in columns} | {"terms": notation.describe_terms(row)} for row in base],
        key=key, on_change=_edit, args=(values, key), num_rows="dynamic", hide_index=True, disabled=["terms"],
        column_config=columns,
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
    values["students"], differs = edit_rows(st.session_state["students_base"], st.session_state[key])
    if differs:
        redraw()


def _add(values: dict[str, Any]) -> None:
    chosen = {"architecture": st.session_state["new_architecture"], "preset": st.session_state["new_preset"]}
    _replace(values, edit_rows(values["students"], {"added_rows": [chosen]})[0])


def _replace(values: dict[str, Any], students: list[FormRow]) -> None:
    values["students"] = students
    redraw()


def _show_terms(rows: list[FormRow]) -> None:
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
    st.latex(notation.objective_formula(row))
    for position, term in enumerate(row["terms"]):
        with st.container(border=True):
            _show_term(row, position, term, f"form_term_{number}_{position}_{term['method']}")


def _show_term(row: FormRow, position: int, term: FormRow, prefix: str) -> None:
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
            draw_field(name.replace("_", " ").capitalize(), field, key, on_change=_set, args=(row, position, name, key))


def _set(row: FormRow, position: int, name: str, key: str) -> None:
    terms = list(row["terms"])
    terms[position] = terms[position] | {name: st.session_state[key]}
    _change_terms(row, terms)


def _add_term(row: FormRow) -> None:
    _change_terms(row, [*row["terms"], fill_term({"method": st.session_state["new_method"]})])


def _change_terms(row: FormRow, terms: list[FormRow]) -> None:
    row["terms"] = terms
    row["preset"] = find_preset(row)
    redraw()


def make_row(values: FormRow, taken: Collection[str] = ()) -> FormRow:
    """A row with its gaps filled: the objective from its preset, and a name that is not taken."""
    architecture = values.get("architecture") or ARCHITECTURES[0]
    preset = chosen if (chosen := values.get("preset")) in PRESETS else SCRATCH
    row = {"name": values.get("name"), "architecture": architecture, **_objective_of(preset)}
    row |= {key: values[key] for key in Objective.model_fields if values.get(key) is not None}
    row["terms"] = [fill_term(term) for term in row["terms"]]
    row["name"] = row["name"] or find_free_name(f"{architecture}-{preset}", taken)
    return row | {"preset": find_preset(row)}


def fill_term(term: FormRow) -> FormRow:
    """A term with the defaults of the settings that it lacks. Raises ConfigError for an unknown method."""
    fields = get_method(term["method"]).Settings.model_fields
    return {name: field.default for name, field in fields.items()} | term


def _objective_of(preset: str) -> FormRow:
    return Objective.model_validate(PRESETS[preset]).model_dump(mode="json")


def find_preset(row: FormRow) -> str:
    """The preset that has this row's objective, or `CUSTOM`."""
    same = (name for name in PRESETS if all(row[key] == _objective_of(name)[key] for key in ("ce_weight", "terms")))
    return next(same, CUSTOM)


def edit_rows(rows: list[FormRow], edits: dict[str, Any]) -> tuple[list[FormRow], bool]:
    """The rows after edits in the table, and whether they differ from what it shows, so that it must be drawn again.

    A chosen preset sets its row's objective. A name that was made of architecture and preset follows them, and so does
    a name that is deleted. Rows beyond `MAX_STUDENTS` are not added: a visitor may send any number of them.
    `edits` has `edited_rows` (changes by position), `added_rows` and `deleted_rows`, as in `st.data_editor`.
    """
    deleted = {position for position in edits.get("deleted_rows") or () if isinstance(position, int)}
    added = [_read_cells(row) for row in (edits.get("added_rows") or [])[: max(0, MAX_STUDENTS - len(rows))]]
    edited: list[FormRow] = []
    differs = bool(added or deleted)
    for position, row in enumerate(rows):
        if position not in deleted:
            sent = (edits.get("edited_rows") or {}).get(position) or {}
            changes = _read_cells(sent)
            new = _edit_row(row, changes, {other["name"] for other in [*edited, *rows[position + 1 :]]})
            differs |= changes != sent or new != row | changes
            edited.append(new)
    for values in added:
        edited.append(make_row(values, {row["name"] for row in edited}))
    return edited, differs


def _read_cells(cells: Any) -> FormRow:
    """The cells that a browser has sent for one row, without what the table would not let a visitor enter."""
    sent = cells if isinstance(cells, dict) else {}
    return {
        name: value[:MAX_CHARACTERS] if isinstance(value, str) else value
        for name, value in sent.items()
        if isinstance(value, COLUMNS.get(name, ())) and not isinstance(value, bool)
    }


def _edit_row(row: FormRow, changes: FormRow, taken: Collection[str]) -> FormRow:
    new = row | changes
    if changes.get("preset") in PRESETS:
        new |= _objective_of(changes["preset"])
    new["preset"] = find_preset(new)
    follows = row["name"] == f"{row['architecture']}-{row['preset']}" and "name" not in changes
    if follows or not new["name"]:
        name = f"{new['architecture']}-{new['preset'] if new['preset'] in PRESETS else row['preset']}"
        new["name"] = name if name == row["name"] else find_free_name(name, taken)
    return new


def find_free_name(name: str, taken: Collection[str]) -> str:
    """The name, or the name with the first number that makes it unique whatever its case."""
    number, free, lower = 2, name, {other.lower() for other in taken}
    while free.lower() in lower:
        free, number = f"{name}-{number}", number + 1
    return free
