"""The students of a run in the launch form: a table of them, and of the chosen one its fields and distillation terms.

A student is a plain dict with the fields of `config.StudentConfig`. Nothing is validated here: what was typed stays
until `training.checks` reports it.
"""

import re
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Literal

import streamlit as st
from pydantic.fields import FieldInfo

from kdexplorer import notation
from kdexplorer.app.parts.field_widget import draw_field
from kdexplorer.config import MAX_STUDENTS, StudentConfig
from kdexplorer.methods import all_methods, get_method
from kdexplorer.presets import PRESETS

CUSTOM = "custom"
"""The preset of an objective that is none of the presets."""
LABELS = {
    "name": "Name", "architecture": "Network", "preset": "Preset", "ce_weight": "CE ×", "label_smoothing": "Smoothing",
}  # fmt: skip
"""Of a student's fields, in the order of the table."""
_PRESET_NAME: Any = Literal[(*PRESETS, CUSTOM)]
PRESET = FieldInfo(annotation=_PRESET_NAME, description="a preset sets the objective")
FIELDS = StudentConfig.model_fields | {"preset": PRESET}

Student = dict[str, Any]


def show_students(students: list[Student]) -> None:
    """Draws the table and the chosen student; edits change `students`."""
    st.markdown("**Students**: they see the same batches from the same initial weights")
    shown = [student | {"preset": notation.find_preset(student) or CUSTOM} for student in students]
    st.dataframe(
        [{LABELS[name]: one[name] for name in LABELS} | {"Terms": notation.describe_terms(one)} for one in shown],
        hide_index=True, placeholder="?", height="content",
        alt="The students of this run: name, network, preset, weight of cross-entropy and distillation terms",
    )  # fmt: skip
    names = [f"{number}: {student['name']}" for number, student in enumerate(students, start=1)]
    chosen = st.session_state.get("form_student", 0)  # set, as its name may have changed, or is gone
    st.session_state["form_student"] = chosen if chosen in range(len(students)) else 0
    with st.container(horizontal=True, vertical_alignment="bottom"):
        number = st.selectbox(
            "Student", range(len(students)), format_func=names.__getitem__, key="form_student", width=220
        )  # fmt: skip
        st.button(
            "Add student", on_click=_add, args=(students,), icon=":material/add:",
            disabled=len(students) >= MAX_STUDENTS, help="Like this one: change it then",
        )  # fmt: skip
        st.button(
            "Remove student", on_click=_remove, args=(students,), icon=":material/remove:",
            disabled=len(students) < 2,
        )  # fmt: skip
    for column, (name, label) in zip(st.columns(len(LABELS)), LABELS.items(), strict=True):
        with column:
            edit = partial(edit_student, students, students[number], name)
            _draw(label, FIELDS[name], f"form_student_{number}_{name}", shown[number][name], edit)
    _show_terms(students, number)


def _draw(label: str, field: FieldInfo, key: str, value: Any, edit: Callable[[Any], None]) -> None:
    """The field's widget with this value; `edit` takes another one."""
    st.session_state[key] = value
    draw_field(label, field, key, on_change=lambda: edit(st.session_state[key]))


# Streamlit may run several of these for one message, in the order of the widgets: a choice is read when they run, and
# a student or term that another one has removed is left alone.


def _add(students: list[Student]) -> None:
    if (number := st.session_state["form_student"]) in range(len(students)) and len(students) < MAX_STUDENTS:
        names = [student["name"] for student in students]
        students.append(students[number] | {"name": find_free_name(notation.usual_name(students[number]), names)})
        st.session_state["form_student"] = len(students) - 1


def _remove(students: list[Student]) -> None:
    if (number := st.session_state["form_student"]) in range(len(students)) and len(students) > 1:
        del students[number]


def _show_terms(students: list[Student], number: int) -> None:
    """Draws a student's objective as a formula, and its terms."""
    student, methods = students[number], {method.key: method for method in all_methods()}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            "Method to add", methods, format_func=lambda key: methods[key].label, key="new_method", width=170,
            help="\n".join(f"- {method.label}: {method.summary}" for method in methods.values()),
        )  # fmt: skip
        st.button("Add term", on_click=_add_term, args=(students, student), icon=":material/add:", key="add_term")
    st.latex(notation.objective_formula(student))
    for position, term in enumerate(student["terms"]):
        method, key = methods[term["method"]], f"form_term_{number}_{position}_{term['method']}"
        fields = {name: field for name, field in method.Settings.model_fields.items() if name != "method"}
        edit = partial(_edit_term, students, student, position)
        with st.container(border=True):
            head, *columns = st.columns(1 + len(fields), vertical_alignment="bottom")
        head.markdown(f"**{method.label}**", help=method.summary)
        head.button(f"Remove {method.label}", f"{key}_remove", icon=":material/remove:", on_click=edit)
        for column, (name, field) in zip(columns, fields.items(), strict=True):
            with column:
                label = name.replace("_", " ").capitalize()
                _draw(label, field, f"{key}_{name}", term[name], partial(edit, name))


def _add_term(students: list[Student], student: Student) -> None:
    term = get_method(st.session_state["new_method"]).Settings().model_dump(mode="json")
    edit_student(students, student, "terms", [*student["terms"], term])


def _edit_term(students: list[Student], student: Student, position: int, name: str = "", value: Any = None) -> None:
    """Changes a setting of a term; without a name removes the term."""
    terms = student["terms"]
    changed = [one | {name: value} for one in terms[position : position + 1] if name]
    edit_student(students, student, "terms", [*terms[:position], *changed, *terms[position + 1 :]])


def make_student(values: Student) -> Student:
    """A student of a starting point, with the defaults of what this leaves out."""
    return StudentConfig.model_validate(values).model_dump(mode="json")


def edit_student(students: list[Student], student: Student, name: str, value: Any) -> None:
    """Changes a field of one of them; a preset sets the objective.

    A name that was made of network and objective follows them, and one that is deleted is made of them.
    """
    follows = name != "name" and re.sub(r"-\d+$", "", student["name"]) == notation.usual_name(student)
    if name != "preset":
        student[name] = value
    elif value in PRESETS:
        student |= notation.OBJECTIVES[value]
    if follows or not student["name"]:
        names = [other["name"] for other in students if other is not student]
        student["name"] = find_free_name(notation.usual_name(student), names)


def find_free_name(name: str, taken: Collection[str]) -> str:
    """The name, or the name with the first number that makes it unique whatever its case."""
    number, free, lower = 2, name, {other.lower() for other in taken}
    while free.lower() in lower:
        free, number = f"{name}-{number}", number + 1
    return free
