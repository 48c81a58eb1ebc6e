"""Keeps where a chart's sliders for temperature and α were moved to: for the next picture, the link and other pages.

The sliders themselves work in the browser. Once one rests, its value becomes the pinned number. The chart is then not
drawn again, so that its slider keeps the keyboard's focus.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, TypeVar

import streamlit as st

from kdexplorer.app.parts import chart_view
from kdexplorer.app.state import choices
from kdexplorer.charts.common import Spec
from kdexplorer.web import assemble

_KEY = "slider_memory"
_STARTS, _MOVED = "slider_starts", "slider_moved"
_component = st.components.v2.component("kdexplorer_slider_memory", js=assemble.read_slider_memory())

Start = TypeVar("Start", bound=tuple[float, ...])


def follow() -> None:
    """Watches the sliders of this page's charts; the last thing that the page draws."""
    st.session_state.pop(_MOVED, None)
    with st.container(key=_KEY):
        _component(key=f"{_KEY}_view", on_moved_change=_keep)


def _keep() -> None:
    moved = st.session_state[f"{_KEY}_view"].get("moved")
    if isinstance(moved, dict) and choices.pin(moved.get("name"), moved.get("value")):
        st.session_state[_MOVED] = moved.get("chart")


def start(chart: str, shown: Hashable, pinned: Start) -> Start:
    """Where a chart's sliders start: at the pinned numbers, or where they started while the visitor moves them.

    Args:
        chart: its key, which begins with `chart_`.
        shown: what the chart shows apart from these numbers.
        pinned: the numbers.
    """
    starts = st.session_state.setdefault(_STARTS, {})
    if st.session_state.get(_MOVED) != chart or starts.get(chart, (None,))[0] != shown:
        starts[chart] = shown, pinned
    return starts[chart][1]


def draw(chart: str, spec: Spec, name: str, about: tuple[str, ...] = chart_view.OF_IMAGE, **options: Any) -> None:
    """Draws a chart whose sliders are remembered, in a container of its key.

    `name` says what it shows; `about` and `options` are those of `chart_view.draw`.
    """
    with st.container(key=chart):
        chart_view.draw(spec, name, about, **options)
