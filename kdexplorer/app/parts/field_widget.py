"""Widgets for fields of pydantic models."""

from typing import Any, get_args

import annotated_types as bounds
import streamlit as st
from pydantic.fields import FieldInfo

_BOUNDS = {bounds.Ge: "at least", bounds.Gt: "above", bounds.Le: "at most", bounds.Lt: "below"}


def draw_field(label: str, field: FieldInfo, key: str, empty: str = "", **widget: Any) -> Any:
    """Draws the widget, whose initial value is in the session state, and returns its value.

    Bounds are part of the help text. The widget does not enforce them: what is out of bounds is reported beside the
    field, as any other problem is. `empty` is what an empty number means, if it may be empty.
    """
    allowed = get_args(field.annotation) or (field.annotation,)
    kinds = [kind for one in allowed if one is not type(None) for kind in get_args(one) or (one,)]
    widget |= {"key": key, "help": describe_field(field)}
    if kinds == [bool]:
        return st.toggle(label, **widget)
    if not any(isinstance(kind, type) for kind in kinds):
        return st.selectbox(label, kinds, 0 if kinds == list(allowed) else None, placeholder=empty, **widget)
    if int in kinds:
        return st.number_input(label, value=None, step=1, placeholder=empty, **widget)
    if float in kinds:
        return st.number_input(label, value=None, step=0.01, format="%g", placeholder=empty, **widget)
    return st.text_input(label, max_chars=64, **widget)


def describe_field(field: FieldInfo) -> str:
    """The description as a sentence, with the bounds."""
    found = []
    for item in field.metadata:
        if type(item) in _BOUNDS:
            bound = getattr(item, type(item).__name__.lower())
            found.append(f"{_BOUNDS[type(item)]} {f'{int(bound):,}' if bound == int(bound) else f'{bound:g}'}")
    description = field.description or ""
    sentence = description[:1].upper() + description[1:]
    return f"{sentence} ({', '.join(found)})" if found else sentence
