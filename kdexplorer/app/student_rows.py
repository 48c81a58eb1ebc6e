"""The rows of the students' table in the launch form: presets, names and edits.

A row is a plain dict with the fields of `config.StudentConfig`, every setting of its terms filled in, and the name of
its preset. Nothing is validated here: what was typed stays until `training.checks` reports it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from kdexplorer.config import SCRATCH, Objective
from kdexplorer.methods import get_method
from kdexplorer.networks import all_architectures
from kdexplorer.presets import PRESETS

CUSTOM = "custom"
"""The preset of a row whose objective is none of the presets."""

Row = dict[str, Any]


def make_row(values: Row, taken: Collection[str] = ()) -> Row:
    """A row with its gaps filled: the objective from its preset, and a name that is not taken."""
    architecture = values.get("architecture") or all_architectures()[0].key
    preset = str(values.get("preset"))
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
    for name in PRESETS:
        objective = _objective_of(name)
        if (row["ce_weight"], row["terms"]) == (objective["ce_weight"], objective["terms"]):
            return name
    return CUSTOM


def edit_rows(rows: list[Row], edits: dict[str, Any]) -> tuple[list[Row], bool]:
    """The rows after edits in the table.

    A chosen preset sets its row's objective. A name that was made of architecture and preset follows them, and so does
    a name that is deleted.

    Args:
        rows: as `make_row` returns them.
        edits: `edited_rows` (changes by position), `added_rows`, `deleted_rows` (positions), as `st.data_editor` has
            them.

    Returns:
        The new rows, and whether they differ from what the table shows, so that it must be drawn again.
    """
    deleted = edits.get("deleted_rows") or ()
    changes_by_row = {int(position): changes for position, changes in (edits.get("edited_rows") or {}).items()}
    edited: list[Row] = []
    differs = bool(edits.get("added_rows") or deleted)
    for position, row in enumerate(rows):
        if position in deleted:
            continue
        changes = changes_by_row.get(position, {})
        others = {other["name"] for other in [*edited, *rows[position + 1 :]]}
        new = _edit_row(row, changes, others)
        differs |= new != row | changes
        edited.append(new)
    for values in edits.get("added_rows") or ():
        edited.append(make_row(values, {row["name"] for row in edited}))
    return edited, differs


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
    number, free = 2, name
    while free.lower() in {other.lower() for other in taken}:
        free, number = f"{name}-{number}", number + 1
    return free


def describe_terms(row: Row) -> str:
    """A row's distillation terms in one line: `0.7 KD + 1000 AT`."""
    return " + ".join(f"{show_value(term['weight'])} {get_method(term['method']).label}" for term in row["terms"])


def objective_formula(row: Row) -> str:
    """A row's objective in LaTeX with its current numbers, a line for each term."""
    lines = []
    if row["ce_weight"] or not row["terms"]:
        smoothing = row["label_smoothing"]
        target = r"\tilde{y}" if smoothing else "y"
        note = rf",\quad \text{{smoothing}} = {show_value(smoothing)}" if smoothing else ""
        lines.append(rf"{show_value(row['ce_weight'])}\,\mathrm{{CE}}(p^s, {target}){note}")
    for term in row["terms"]:
        method = get_method(term["method"])
        symbols = {name: short for short, name in method.short_keys.items()}
        settings = [
            f"{symbols.get(name, _latex_text(name.replace('_', ' ')))} = {_latex_value(value)}"
            for name, value in term.items()
            if name not in ("method", "weight")
        ]
        note = r",\quad " + r",\; ".join(settings) if settings else ""
        lines.append(rf"{show_value(term['weight'])}\,{method.formula}{note}")
    return r"\begin{aligned}L ={}& " + r" \\ &{}+ ".join(lines) + r"\end{aligned}"


def _latex_value(value: Any) -> str:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return show_value(value) if is_number else _latex_text(show_value(value))


def _latex_text(text: str) -> str:
    return rf"\text{{{text}}}"


def show_value(value: Any) -> str:
    """A setting's value in a text; a number that is missing is a question mark."""
    if value is None:
        return "?"
    return f"{value:g}" if isinstance(value, float) else str(value)
