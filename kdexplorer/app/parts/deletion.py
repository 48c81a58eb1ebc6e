"""Deleting something, which only the presenter is offered and must confirm."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from kdexplorer.app.server import access


def offer(label: str, question: str, key: str, delete: Callable[[], object], done: str = "") -> None:
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
