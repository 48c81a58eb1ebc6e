"""What a link can hide of a page: `?hide=networks,picture`, for a page in slides or in a course's text."""

from __future__ import annotations

import streamlit as st

from kdexplorer.app.parts.plain import as_text

PARAMETER = "hide"
PARTS = {
    "menu": "",  # the navigation is not drawn
    "share": ".st-key-share",
    "title": ".st-key-page_header",
    "networks": ".st-key-networks_line",
    "picture": "[data-testid=stColumn]:has(.st-key-picture)",
    "source": ".st-key-picture_controls [data-testid=stPopover]",
    "thumbnails": ".st-key-thumbnails",
    "presets": "[class*=st-key-preset_]",
    "sections": "[data-testid=stTabs], .st-key-show, [data-testid=stHeading]:has(h2), .st-key-first_screen ~ *",
    "downloads": "[data-testid=stDownloadButton], [class*=st-key-handout_]",
    "keys": "#kd-keys",
}
"""Selectors of what is hidden, by the name in the link. Nothing here protects anything: the page still has it."""


def hide() -> list[str]:
    """Hides what the link names, as long as it is in the address; a name that is unknown is reported.

    Streamlit's `embed=true` leaves out the menu and the header's buttons, too.
    """
    named = [part.strip() for part in st.query_params.get(PARAMETER, "").split(",") if part.strip()]
    named += ["menu", "share"] if st.context.is_embedded else []
    for name in [name for name in named if name not in PARTS][:3]:
        st.warning(f"The link's '{PARAMETER}' names '{as_text(name[:30])}': choose among {', '.join(PARTS)}.")
    known = [name for name in named if name in PARTS]
    selectors = ", ".join(PARTS[name] for name in known if PARTS[name])
    if selectors:
        st.html(f"<style>{selectors} {{ display: none !important }}</style>")
    return known
