"""What a visitor who may not start training sees on Launch instead of the form."""

from __future__ import annotations

import streamlit as st

from kdexplorer.app import navigation

LINKS = {
    "live": "Run teacher and students in your own browser",
    "soft_labels": "See how the temperature changes a teacher's soft labels",
    "attention": "Compare attention maps",
    "compare": "Compare the trained networks",
}
"""A page and what a guest can do there."""


def show() -> None:
    """What a guest may do here, on the other pages, and on a machine of their own."""
    st.markdown(
        "On this server the presenter starts training. **You can follow it**: open a run in the list below to see its "
        "curves while it trains, and play it again when it has finished. You can also:"
    )
    with st.container(horizontal=True):
        for page, label in LINKS.items():
            navigation.link_to(page, label, icon=navigation.ARROW)
    st.markdown("To train networks yourself, install the application on your own machine. A first run of a minute:")
    st.code("python -m kdexplorer demo", language="bash")
