"""The application's pages, and links from one to another."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import streamlit as st

ARROW = ":material/arrow_forward:"
"""The icon of links."""
FOLDER = Path(__file__).resolve().parents[2] / "pages"
TITLES = {
    "overview": "Overview",
    "soft_labels": "Soft labels",
    "attention": "Attention",
    "methods": "Methods",
    "live": "Live",
    "audience": "Audience",
    "launch": "Launch",
    "compare": "Compare",
    "experiments": "Experiments",
}
"""Each page's title by its file's name, in the order of the menu; the first is the home page."""


def with_base(path: str) -> str:
    """A path on this server, behind the base path that Streamlit was started with."""
    base = (st.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{base}{path}" if base else path


def server_url() -> str:
    """The server's address as this visitor's browser has it: scheme, host and port."""
    found = urlsplit(st.context.url or f"http://localhost:{st.get_option('server.port')}")
    return f"{found.scheme}://{found.netloc}"


def link_to(page: str, label: str, query: dict[str, str] | None = None, icon: str | None = None) -> None:
    """Draws a link to another page; `query` carries choices there, see `state.choices`."""
    st.page_link(FOLDER / f"{page}.py", label=label, query_params=query, icon=icon)
