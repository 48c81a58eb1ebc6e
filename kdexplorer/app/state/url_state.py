"""The choices that all pages share, such as networks and temperature: kept in the session and written into the URL.

A value comes from the URL if the URL has changed, else from the session, else it is the page's default. What comes from
the URL is checked like anything from outside; what is not valid is left out and a warning says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import streamlit as st

from kdexplorer.app.parts.plain import as_text

_CHOICES, _IN_URL = "shared_choices", "choices_in_url"


def choices() -> dict[str, Any]:
    """What has been chosen in this session, by name."""
    return st.session_state.setdefault(_CHOICES, {})


def get(name: str, default: Any, parse: Callable[[str], Any]) -> Any:
    """The current value of a shared choice.

    Args:
        name: also its name in the URL.
        default: the value as long as nothing has been chosen.
        parse: turns the URL's text into a value; raises ValueError for anything that must not be used.
    """
    seen = st.session_state.setdefault(_IN_URL, {})
    text = st.query_params.get(name)
    if text is not None and text != seen.get(name):
        seen[name] = text
        try:
            choices()[name] = parse(text)
        except (ValueError, OverflowError) as error:
            choices().pop(name, None)
            st.warning(f"The link's '{name}' is ignored: {as_text(str(error))}.")
    return choices().get(name, default)


def put(name: str, value: Any) -> None:
    """Stores a choice and writes it into the URL."""
    choices()[name] = value
    publish(name, value)


def publish(name: str, value: Any) -> None:
    """Writes the value that a page shows into the URL, if a visitor or the URL has chosen one; names with commas."""
    if name not in choices() or value is None:
        return
    text = ",".join(value) if isinstance(value, list) else f"{value:g}" if isinstance(value, float) else str(value)
    st.session_state.setdefault(_IN_URL, {})[name] = text
    if st.query_params.get(name) != text:
        st.query_params[name] = text


def forget(name: str) -> None:
    """Removes a choice from the session and the URL, so that the default applies again."""
    choices().pop(name, None)
    st.session_state.setdefault(_IN_URL, {}).pop(name, None)
    st.query_params.pop(name, None)


def remember(name: str, key: str) -> None:
    """The callback of a widget (`on_change=remember, args=(name, key)`): its value becomes the shared choice."""
    if st.session_state[key] is None:
        forget(name)
    put(name, st.session_state[key])


def keep(name: str, key: str) -> None:
    """The callback of a widget whose value all pages share but no link carries: see `pickers.pick_unlinked`."""
    choices()[name] = st.session_state[key]


def parse_name(known: Collection[str], kind: str) -> Callable[[str], str]:
    """A parser for the URL: one of the known names; `kind` says what they name."""

    def parse(text: str) -> str:
        if text not in known:
            raise ValueError(f"there is no {kind} '{text[:60]}'")
        return text

    return parse


def parse_number(low: float, high: float) -> Callable[[str], float]:
    """A parser for the URL: a finite number from low to high."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"'{text[:30]}' is not a number") from None
        if not math.isfinite(value) or not low <= value <= high:
            raise ValueError(f"{text[:30]} is not between {low:g} and {high:g}")
        return value

    return parse
