"""One figure alone, for a frame in slides: `?figure=NAME`."""

from __future__ import annotations

import streamlit as st

from kdexplorer.app.figures import DRAW, Context
from kdexplorer.app.parts import chart_view, network_picker
from kdexplorer.app.parts.text import as_text, show_error
from kdexplorer.app.state import choices
from kdexplorer.errors import KDError
from kdexplorer.figures import all_figures

PARAMETER = "figure"
STYLE = """<style>
[data-testid=stHeader], #kd-keys, [class*=st-key-save_] { display: none }
[data-testid=stMainBlockContainer] { padding: .75rem 2rem .5rem }
.st-key-kd_figure [data-testid=stCaptionContainer] p { font-size: 1rem }
.st-key-kd_figure .st-key-split, .st-key-kd_figure [data-testid=stElementToolbar],
.st-key-kd_figure .st-key-chart_gradient .vega-bind:has([name=logT]) { display: none }
.st-key-kd_figure .st-key-picture [data-testid=stImageContainer] { width: 100% }
</style>"""
"""No menu, and one slider for each figure."""


def show() -> None:
    """Draws the figure that the address names, or the list of names."""
    name = st.query_params[PARAMETER]
    st.html(STYLE)
    if name not in DRAW:
        st.error(f"There is no figure '{as_text(name[:60])}'. Choose one of these:")
        st.dataframe([{"figure": key, "shows": one.title, "control": one.moves} for key, one in all_figures().items()])
        return
    draw(name)


def draw(name: str) -> None:
    """Draws a figure with its control; an error is reported in its place."""
    with st.container(key="kd_figure"):
        try:
            DRAW[name](Context(*network_picker.choose_networks()))
        except KDError as error:
            show_error(error)
        for pinned in choices.PINNED:
            choices.pinned(pinned)
    chart_view.follow_sliders()
