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


def show() -> None:
    """Draws the figure that the address names, or the list of names."""
    name = st.query_params[PARAMETER]
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
