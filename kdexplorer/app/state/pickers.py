"""Widgets for choices, those of all pages among them (see `url_state`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, TypeVar

import streamlit as st

from kdexplorer.app.parts.plain import as_text
from kdexplorer.app.state import url_state
from kdexplorer.charts.temperature import T_MAX, T_MIN

PINNED = {
    "T": ("Pinned temperature", "T = {:g}", (1.0, 2.0, 4.0, 8.0, 20.0), 4.0, T_MIN, T_MAX),
    "alpha": ("Pinned α", "{:g}", (0.0, 0.3, 0.5, 0.7, 0.9, 1.0), 0.7, 0.0, 1.0),
}
"""Initial values of sliders, which links carry: label, text of a preset, presets, default, bounds."""

STATES = ("off", "on")
"""Of a toggle, in a link."""

V = TypeVar("V")
Name = TypeVar("Name", str, str | None)


def pick_option(
    name: str,
    label: str,
    options: Iterable[V],
    name_of: Callable[[V], str] = str,
    default: V | None = None,
    **widget: Any,
) -> V:
    """Draws buttons of which one is selected, at first `default` or the first of `options`; returns its option.

    All pages share the choice; `name` is its name in the link, and the option's text its value there.
    """
    by_text = {str(option): option for option in options}
    first = next(iter(by_text)) if default is None else str(default)
    chosen = pick_one(
        name, label, list(by_text), first, kind="option", draw=st.segmented_control, required=True, wrap=True,
        format_func=lambda text: as_text(name_of(by_text[text])), **widget,
    )  # fmt: skip
    return by_text[chosen]


def pick_tab(name: str, tabs: Sequence[str]) -> tuple[str, Any]:
    """Draws tabs; returns the open one, which the link carries, and its place."""
    places: list[Any] = []

    def draw(_: str, options: Sequence[str], **widget: Any) -> None:
        places.extend(st.tabs(options, **widget))

    chosen = pick_one(name, "", tabs, tabs[0], kind="tab", draw=draw)
    return chosen, places[tabs.index(chosen)]


def pick_toggle(name: str, label: str, default: bool = False, **widget: Any) -> bool:
    """Draws a toggle; returns whether it is on, which the link carries as `on` or `off`."""
    key, chosen = f"pick_{name}", choose_one(name, STATES, STATES[default], kind="state")
    st.session_state[key] = is_on = chosen == STATES[True]
    st.toggle(label, key=key, on_change=_remember_toggle, args=(name, key), **widget)
    url_state.publish(name, chosen)
    return is_on


def _remember_toggle(name: str, key: str) -> None:
    url_state.put(name, STATES[bool(st.session_state[key])])


def pick_unlinked(name: str, label: str, options: Sequence[str], default: str) -> str:
    """As `pick_option`, but no link carries the choice: what it is about is in this session alone."""
    key, chosen = f"pick_{name}", url_state.choices().get(name, default)
    st.session_state[key] = chosen = chosen if chosen in options else default
    st.segmented_control(
        label, options, key=key, required=True, wrap=True, format_func=as_text,
        on_change=url_state.keep, args=(name, key),
    )  # fmt: skip
    return chosen


def choose_one(
    name: str,
    options: Collection[str],
    default: Name,
    known: Collection[str] | None = None,
    kind: str = "network",
    may_be_empty: bool = False,
) -> Name:
    """The current choice of one of several names, without a widget; see `pick_one`."""
    chosen = url_state.get(name, default, url_state.parse_name(options if known is None else known, kind))
    if chosen not in options and (chosen is not None or not may_be_empty):
        chosen = default
    return chosen


def pick_one(
    name: str,
    label: str,
    options: Sequence[str],
    default: Name,
    known: Collection[str] | None = None,
    kind: str = "network",
    on_change: Callable[[str, str], None] = url_state.remember,
    draw: Callable[..., object] = st.selectbox,
    **widget: Any,
) -> Name:
    """Draws the choice of one of several names and returns it.

    Args:
        name: of the shared choice, also in the URL.
        label: of the widget.
        options: what can be chosen on this page.
        default: the choice where there is no other, or where the other is not an option on this page.
        known: names that a link may contain without a warning, `options` if not given.
        kind: what the options are, for that warning.
        on_change: the callback, called with the choice's name and the widget's key.
        draw: the widget.
        widget: its other arguments; with `index=None`, None is a choice too.
    """
    key = f"pick_{name}"
    chosen = choose_one(name, options, default, known, kind, "index" in widget)
    st.session_state[key] = chosen
    draw(label, options, key=key, on_change=on_change, args=(name, key), **widget)
    url_state.publish(name, chosen)
    return chosen


def choose_several(
    name: str,
    options: Collection[str],
    default: Sequence[str],
    limit: int,
    known: Collection[str] | None = None,
    kind: str = "network",
) -> list[str]:
    """The current choice of up to `limit` names, without a widget; see `pick_one`."""
    parse = url_state.parse_name(options if known is None else known, kind)

    def parse_all(text: str) -> list[str]:
        return list(dict.fromkeys(parse(part) for part in text.split(",") if part))[:limit]

    return [one for one in url_state.get(name, default, parse_all) if one in options]


def pick_several(
    name: str,
    label: str,
    options: Sequence[str],
    default: Sequence[str],
    limit: int,
    known: Collection[str] | None = None,
    kind: str = "network",
    **widget: Any,
) -> list[str]:
    """Draws the choice of up to `limit` names and returns them; see `pick_one`."""
    key = f"pick_{name}"
    st.session_state[key] = chosen = choose_several(name, options, default, limit, known, kind)
    st.multiselect(
        label, options, key=key, max_selections=limit, on_change=url_state.remember, args=(name, key), **widget
    )
    url_state.publish(name, chosen)
    return chosen


def pinned_by_visitor(name: str) -> float | None:
    """As `pinned`, but None where neither a link nor the visitor has pinned a value."""
    *_, low, high = PINNED[name]
    return url_state.get(name, None, url_state.parse_number(low, high))


def pinned(name: str, default: float | None = None) -> float:
    """A pinned number, without a widget: the temperature `T`, or `alpha`, the teacher's weight in the lab's formula.

    `default` replaces the usual one while nothing is pinned.
    """
    value = pinned_by_visitor(name)
    usual = PINNED[name][3] if default is None else default
    return usual if value is None else value


def defaults() -> tuple[float, float]:
    """Temperature and α where nothing is pinned."""
    return PINNED["T"][3], PINNED["alpha"][3]


def pin(name: object, value: object) -> bool:
    """Pins a number that comes from a browser, rounded to two decimals; False where there is no such number."""
    if not isinstance(name, str) or name not in PINNED or not isinstance(value, (int, float)):
        return False
    *_, low, high = PINNED[name]
    if not low - 0.01 <= value <= high + 0.01:  # the slider's ends are rounded
        return False
    url_state.put(name, round(min(high, max(low, float(value))), 2))
    st.session_state[_moves(name)] = st.session_state.get(_moves(name), 0) + 1
    return True


def _moves(name: str) -> str:
    """Where the session has how often a slider has pinned this number."""
    return f"moves_{name}"


def _take_preset(name: str, key: str, moves: int) -> None:
    """Pins the preset that was clicked, unless a slider has pinned a value since."""
    if moves == st.session_state.get(_moves(name), 0):
        url_state.remember(name, key)


def pick_pinned(name: str, default: float | None = None) -> float:
    """Draws a pinned number's presets and returns it; none is selected where it has another value.

    After a slider has pinned it the presets are another widget: what the browser sends before it knows of that contains
    the old preset, which is no click on it.
    """
    label, text, presets, *_ = PINNED[name]
    moves, value = st.session_state.get(_moves(name), 0), pinned(name, default)
    key = f"pick_{name}_{moves}" if moves else f"pick_{name}"
    st.session_state[key] = value if value in presets else None
    st.segmented_control(
        label, presets, format_func=text.format, key=key, on_change=_take_preset, args=(name, key, moves), wrap=True
    )
    url_state.publish(name, value)
    return value
