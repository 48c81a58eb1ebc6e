"""What every page has beside its own content: keys, a link past the menu, and names for the charts' sliders."""

from __future__ import annotations

import streamlit as st

from kdexplorer.web import assemble

_script, _styles = assemble.build_page_controls()
_controls = st.components.v2.component("kdexplorer_page_controls", js=_script, css=_styles, isolate_styles=False)


def show() -> None:
    """Adds them to the page, once for all pages of a visit."""
    _controls(key="page_controls", height=0)
