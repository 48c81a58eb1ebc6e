"""Widgets for choices that all pages share; a link carries them, see `url_state`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import streamlit as st

from kdexplorer.app import url_state
from kdexplorer.charts.temperature import T_MAX, T_MIN

TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 20.0)
ALPHAS = (0.0, 0.3, 0.5, 0.7, 0.9, 1.0)


def pick_one(
    name: str,
    label: str,
    options: Sequence[str],
    default: str,
    known: Collection[str] | None = None,
    kind: str = "network",
    on_change: Callable[[str, str], None] = url_state.remember,
    **widget: Any,
) -> str:
    """Draws the choice of one of several names and returns it.

    Args:
        name: of the shared choice, also in the URL.
        label: of the widget.
        options: what can be chosen on this page.
        default: the choice where there is no other, or where the other is not an option on this page.
        known: names that a link may contain without a warning, `options` if not given.
        kind: what the options are, for that warning.
        on_change: the callback, called with the choice's name and the widget's key.
        widget: other arguments of `st.selectbox`.
    """
    chosen = url_state.get(name, default, url_state.parse_name(options if known is None else known, kind))
    return _draw_one(name, label, options, chosen if chosen in options else default, on_change, widget)


def pick_one_or_none(
    name: str,
    label: str,
    options: Sequence[str],
    default: str | None,
    known: Collection[str] | None = None,
    kind: str = "network",
    on_change: Callable[[str, str], None] = url_state.remember,
    **widget: Any,
) -> str | None:
    """As `pick_one`, where None is a choice too."""
    chosen = url_state.get(name, default, url_state.parse_name(options if known is None else known, kind))
    chosen = chosen if chosen in options or chosen is None else default
    return _draw_one(name, label, options, chosen, on_change, widget | {"index": None})


def _draw_one(
    name: str, label: str, options: Sequence[str], chosen: Any, on_change: Any, widget: dict[str, Any]
) -> Any:
    key = f"pick_{name}"
    st.session_state[key] = chosen
    st.selectbox(label, options, key=key, on_change=on_change, args=(name, key), **widget)
    if url_state.is_chosen(name) and chosen:
        url_state.publish(name, chosen)
    return chosen


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
    """Draws the choice of up to `limit` names and returns them; see `pick_one`. The URL separates them by commas."""
    key = f"pick_{name}"
    parse = url_state.parse_name(options if known is None else known, kind)
    chosen = url_state.get(name, default, lambda text: [parse(part) for part in text.split(",") if part][:limit])
    chosen = [one for one in chosen if one in options]
    st.session_state[key] = chosen
    st.multiselect(
        label, options, key=key, max_selections=limit, on_change=url_state.remember, args=(name, key), **widget
    )
    if url_state.is_chosen(name):
        url_state.publish(name, ",".join(chosen))
    return chosen


def temperature() -> float:
    """The pinned temperature, without a widget."""
    return url_state.get("T", 4.0, url_state.parse_number(T_MIN, T_MAX))


def alpha() -> float:
    """The pinned weight of the teacher's term in the lab's formula, without a widget."""
    return url_state.get("alpha", 0.7, url_state.parse_number(0.0, 1.0))


def pick_temperature() -> float:
    """Draws the presets and returns the pinned temperature: the sliders' initial value, which the URL carries."""
    return _pick_number("T", "Pinned temperature", temperature(), TEMPERATURES, "T = {:g}")


def pick_alpha() -> float:
    """Draws the presets and returns the pinned weight of the teacher's term."""
    return _pick_number("alpha", "Pinned α", alpha(), ALPHAS, "{:g}")


def _pick_number(name: str, label: str, pinned: float, presets: Sequence[float], text: str) -> float:
    """Draws the presets of a shared number; none is selected where a link has pinned another value."""
    key = f"pick_{name}"
    st.session_state[key] = pinned if pinned in presets else None
    st.segmented_control(
        label, presets, format_func=text.format, key=key, on_change=url_state.remember, args=(name, key), wrap=True
    )
    if url_state.is_chosen(name):
        url_state.publish(name, f"{pinned:g}")
    return pinned
