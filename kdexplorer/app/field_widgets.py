"""A widget for a field of a pydantic model: kind, help text and choices come from the field."""

from __future__ import annotations

from typing import Any, get_args

import annotated_types
import streamlit as st
from pydantic.fields import FieldInfo

_BOUNDS = {
    annotated_types.Ge: "at least",
    annotated_types.Gt: "above",
    annotated_types.Le: "at most",
    annotated_types.Lt: "below",
}


def draw_field(label: str, field: FieldInfo, key: str, value: Any, empty: str = "", **widget: Any) -> Any:
    """Draws the widget and returns its value.

    Bounds are part of the help text. The widget does not enforce them: what is out of bounds is reported beside the
    field, as any other problem is.

    Args:
        label: of the widget.
        field: the field's description.
        key: of the widget in the session state.
        value: the initial value.
        empty: what an empty number means, if it may be empty.
        widget: `on_change` and `args`.
    """
    st.session_state.setdefault(key, value)
    kinds = [kind for kind in (get_args(field.annotation) or (field.annotation,)) if kind is not type(None)]
    widget |= {"key": key, "help": describe_field(field)}
    if kinds == [bool]:
        return st.toggle(label, **widget)
    if not any(isinstance(kind, type) for kind in kinds):
        return st.selectbox(label, kinds, **widget)
    if int in kinds:
        return st.number_input(label, value=None, step=1, placeholder=empty, **widget)
    if float in kinds:
        return st.number_input(label, value=None, step=0.01, format="%g", placeholder=empty, **widget)
    return st.text_input(label, max_chars=64, **widget)


def describe_field(field: FieldInfo) -> str:
    """The description as a sentence, with the bounds."""
    bounds = []
    for item in field.metadata:
        for kind, words in _BOUNDS.items():
            if isinstance(item, kind):
                bound = getattr(item, kind.__name__.lower())
                bounds.append(f"{words} {int(bound):,}" if bound == int(bound) else f"{words} {bound:g}")
    description = field.description or ""
    sentence = description[:1].upper() + description[1:]
    return f"{sentence} ({', '.join(bounds)})" if bounds else sentence
