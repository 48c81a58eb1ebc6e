"""The first screen that all pages share: a slim header, a line of networks, the picture, the main control and figure.

On a projector the picture stands on the left and the figure beside it; on a phone the picture is a strip above the
figure. The figure comes first in the document, so that the keyboard reaches its control after the header.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from kdexplorer.app.navigation import TITLES
from kdexplorer.app.parts import chart_view
from kdexplorer.app.parts.text import as_text
from kdexplorer.app.server import access
from kdexplorer.runs import lineage
from kdexplorer.web import assemble

_script = assemble.read("explain_refusal.js", "shrink_upload.js", "page_controls.js")
_styles = assemble.read("page_controls.css")
_controls = st.components.v2.component("kdexplorer_page_controls", js=_script, css=_styles, isolate_styles=False)


def header(page: str, sentence: str, title: str | None = None) -> None:
    """Draws the page's title and one sentence in a line.

    Args:
        page: a key of `TITLES`.
        sentence: Markdown.
        title: instead of the page's.
    """
    chart_view.begin(title or TITLES[page])
    with st.container(horizontal=True, vertical_alignment="center", gap="medium", key="page_header"):
        st.title(title or TITLES[page], width="content", anchor=False)
        st.markdown(sentence, width="stretch")


def networks_line() -> tuple[Any, Any]:
    """A place for the line that names the networks, and beside it a button; the second place is what it opens."""
    with st.container(horizontal=True, vertical_alignment="center", gap="medium", key="networks_line"):
        return st.empty(), st.popover("Change networks", icon=":material/tune:", width="content")


def name_networks(teacher: str | None, others: list[str]) -> str:
    """Which networks a page shows, as Markdown."""
    return lineage.name_family(teacher and f"**{as_text(teacher)}**", map(as_text, others))


def first_screen() -> tuple[Any, Any]:
    """The places of the picture, a third of the width, and of the main control and figure, two thirds."""
    with st.container(key="first_screen"):
        figure, picture = st.columns([2, 1], gap="medium")
    return picture.container(key="picture", gap="small"), figure.container(key="figure", gap="small")


def form_and_panel() -> tuple[Any, Any]:
    """The places of a form, two thirds of the width, and of what starts it; on a phone that comes first."""
    with st.container(key="form_and_panel"):
        form, panel = st.columns([2, 1], gap="medium")
    return form, panel


def show_page_controls() -> None:
    """Adds them to the page, once for all pages of a visit."""
    _controls(key="page_controls", height=0)


def offer_deletion(label: str, question: str, key: str, delete: Callable[[], object], done: str = "") -> None:
    """A button that asks, and one that deletes; nothing for a guest.

    Args:
        label: of the first button.
        question: Markdown, with what is lost.
        key: of the second button.
        delete: what it does.
        done: what is said afterwards.
    """
    if not access.is_presenter():
        return
    with st.popover(label, icon=":material/delete:"):
        st.markdown(question)
        if st.button("Yes, delete", key=key, type="primary"):
            access.act_and_rerun(delete, done)
