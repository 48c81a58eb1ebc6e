"""Style rules of pages whose charts have sliders and whose tables may be wider than a phone."""

import streamlit as st

from kdexplorer.charts.soft_labels import SLIDER_STYLE

TABLE_STYLE = "<style>[data-testid=stMarkdownContainer] table {display: block; overflow-x: auto}</style>"
"""A wide table scrolls sideways instead of widening the page."""


def apply() -> None:
    """Adds the rules to the page."""
    st.html(SLIDER_STYLE + TABLE_STYLE)
