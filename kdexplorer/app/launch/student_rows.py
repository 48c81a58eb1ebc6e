"""The rows of the students' table in the launch form: presets, names and edits.

A row is a plain dict with the fields of `config.StudentConfig`, every setting of its terms filled in, and the name of
its preset. Nothing is validated here: what was typed stays until `training.checks` reports it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from kdexplorer.config import MAX_STUDENTS, SCRATCH, Objective
from kdexplorer.methods import get_method
from kdexplorer.networks import all_architectures
from kdexplorer.presets import PRESETS

CUSTOM = "custom"
"""The preset of a row whose objective is none of the presets."""
COLUMNS = {"name": str, "architecture": str, "preset": str, "ce_weight": float, "label_smoothing": float}
"""What can be edited in the table, with the type of its values."""
MAX_CHARACTERS = 64
"""Of a cell, as in the form's text fields."""

Row = dict[str, Any]


def make_row(values: Row, taken: Collection[str] = ()) -> Row:
    """A row with its gaps filled: the objective from its preset, and a name that is not taken."""
    architecture = values.get("architecture") or all_architectures()[0].key
    preset = values.get("preset")
    preset = preset if preset in PRESETS else SCRATCH
    row = {"name": values.get("name"), "architecture": architecture, **_objective_of(preset)}
    row |= {key: values[key] for key in Objective.model_fields if values.get(key) is not None}
    row["terms"] = [fill_term(term) for term in row["terms"]]
    row["name"] = row["name"] or find_free_name(f"{architecture}-{preset}", taken)
    return row | {"preset": find_preset(row)}


def fill_term(term: Row) -> Row:
    """A term with the defaults of the settings that it lacks. Raises ConfigError for an unknown method."""
    fields = get_method(term["method"]).Settings.model_fields
    return {name: field.default for name, field in fields.items()} | term


def _objective_of(preset: str) -> Row:
    defaults = {name: field.default for name, field in Objective.model_fields.items()} | PRESETS[preset]
    return defaults | {"terms": [fill_term(term) for term in defaults["terms"]]}


def find_preset(row: Row) -> str:
    """The preset that has this row's objective, or `CUSTOM`."""
    same = (name for name in PRESETS if all(row[key] == _objective_of(name)[key] for key in ("ce_weight", "terms")))
    return next(same, CUSTOM)


def edit_rows(rows: list[Row], edits: dict[str, Any]) -> tuple[list[Row], bool]:
    """The rows after edits in the table, and whether they differ from what it shows, so that it must be drawn again.

    A chosen preset sets its row's objective. A name that was made of architecture and preset follows them, and so does
    a name that is deleted. Rows beyond `MAX_STUDENTS` are not added: a visitor may send any number of them.

    Args:
        rows: as `make_row` returns them.
        edits: `edited_rows` (changes by position), `added_rows`, `deleted_rows` (positions), as in `st.data_editor`.
    """
    deleted = {position for position in edits.get("deleted_rows") or () if isinstance(position, int)}
    added = [_read_cells(row) for row in (edits.get("added_rows") or [])[: max(0, MAX_STUDENTS - len(rows))]]
    edited_rows = edits.get("edited_rows") or {}
    edited: list[Row] = []
    differs = bool(added or deleted)
    for position, row in enumerate(rows):
        if position not in deleted:
            sent = edited_rows.get(position) or edited_rows.get(str(position)) or {}
            changes = _read_cells(sent)
            new = _edit_row(row, changes, {other["name"] for other in [*edited, *rows[position + 1 :]]})
            differs |= changes != sent or new != row | changes
            edited.append(new)
    for values in added:
        edited.append(make_row(values, {row["name"] for row in edited}))
    return edited, differs


def _read_cells(cells: Any) -> Row:
    """The cells that a browser has sent for one row, without what the table would not let a visitor enter."""
    read: Row = {}
    for name, value in cells.items() if isinstance(cells, dict) else ():
        kind = COLUMNS.get(name)
        if kind is str and isinstance(value, str):
            read[name] = value[:MAX_CHARACTERS]
        elif value is None and kind is not None:
            read[name] = None
        elif kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
            read[name] = value
    return read


def _edit_row(row: Row, changes: Row, taken: Collection[str]) -> Row:
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


def describe_terms(row: Row) -> str:
    """A row's distillation terms in one line: `0.7 KD + 1000 AT`."""
    return " + ".join(f"{_format(term['weight'])} {get_method(term['method']).label}" for term in row["terms"])


def objective_formula(row: Row) -> str:
    """A row's objective in LaTeX with its current numbers, a line for each term."""
    lines = []
    if row["ce_weight"] or not row["terms"]:
        smoothing = row["label_smoothing"]
        formula = r"\mathrm{CE}(p^s, \tilde{y})" if smoothing else r"\mathrm{CE}(p^s, y)"
        lines.append(_format_term(row["ce_weight"], formula, {r"\text{smoothing}": smoothing} if smoothing else {}))
    for term in row["terms"]:
        method = get_method(term["method"])
        symbols = {name: short for short, name in method.short_keys.items()}
        settings = {
            symbols.get(name, rf"\text{{{name.replace('_', ' ')}}}"): value
            for name, value in term.items()
            if name not in ("method", "weight")
        }
        lines.append(_format_term(term["weight"], method.formula, settings))
    return r"\begin{aligned}L ={}& " + r" \\ &{}+ ".join(lines) + r"\end{aligned}"


def _format_term(weight: Any, formula: str, settings: dict[str, Any]) -> str:
    texts = [f"{symbol} = {_format(value)}" for symbol, value in settings.items()]
    return rf"{_format(weight)}\,{formula}" + (r",\quad " + r",\; ".join(texts) if texts else "")


def _format(value: Any) -> str:
    """A setting's value; a number that is missing is a question mark, and other text is text in LaTeX too."""
    if value is None:
        return "?"
    return rf"\text{{{value}}}" if isinstance(value, (str, bool)) else f"{value:g}"
