"""Text from outside (cards, runs, links, messages) where Streamlit reads Markdown: shown as it is."""

from __future__ import annotations

import re

import streamlit as st

_JOINER = "\u2060"
"""A word joiner: invisible, and it interrupts what Streamlit replaces after Markdown's escapes are gone."""


def as_text(text: str) -> str:
    """Text without links, images, formulas, icons, headings and lists, whatever it contains; line breaks are spaces."""
    plain = " ".join(text.split())
    plain = re.sub(r"[\\`*\[\]<>#!|~$&{}]|(?<!\w)_|_(?!\w)", r"\\\g<0>", plain)
    plain = plain.replace(":", rf"\:{_JOINER}").replace("@", f"@{_JOINER}")  # icons, emojis, directives, addresses
    plain = plain.replace("//", f"/{_JOINER}/")
    plain = re.sub(r"(?i)(www)(?=\.)", rf"\1{_JOINER}", plain)  # what becomes a link by itself
    return re.sub(r"^(?=[-+=]|\d+[.)](\s|$))", _JOINER, plain)  # what begins a list or underlines a heading


def show_error(error: Exception) -> None:
    """Shows an error's message on the page."""
    st.error(as_text(str(error)))
