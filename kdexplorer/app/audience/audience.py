"""Where phones vote, and the link and the QR code that lead there."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

import streamlit as st
from starlette.routing import Route

from kdexplorer.app import navigation
from kdexplorer.app.parts.plain import as_text, show_error
from kdexplorer.app.server.access import LOCAL
from kdexplorer.app.server.headers import COOKIE
from kdexplorer.app.state import share_link
from kdexplorer.images.qr import qr_png
from kdexplorer.vote.routes import PATH, build_routes
from kdexplorer.vote.store import open_store

LINK = 200
"""Characters of a link at most."""
_OWN_LINK = "phones_link"


def path() -> str:
    """The path of the audience's page on this server."""
    return navigation.with_base(PATH)


def routes() -> list[Route]:
    """The routes beside the application."""
    return build_routes(path(), COOKIE, open_store)


def server_url() -> str:
    """The server's address as this visitor's browser has it: scheme, host and port."""
    found = urlsplit(st.context.url or f"http://localhost:{st.get_option('server.port')}")
    return f"{found.scheme}://{found.netloc}"


def parse_link(text: str) -> str:
    """A link that a QR code may encode. Raises ValueError for anything but an address of a web page."""
    text = text.strip()
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or len(text) > LINK or not text.isprintable():
        raise ValueError("The link must begin with http:// or https:// and a host name.")
    return text


def show_code(width: Literal["stretch"] | int = 220) -> str:
    """The QR code, as wide as given (see `st.image`), and below it the link for phones, which is returned."""
    link = st.session_state.get(_OWN_LINK) or server_url() + path()
    st.image(qr_png(link), width=width, alt=f"QR code of {link}", output_format="PNG")
    st.markdown(f"**{as_text(link)}**")
    return link


def show_link() -> None:
    """The QR code and the link for phones, which the presenter can change for this session."""
    link = show_code()
    with st.container(horizontal=True):
        share_link.show_copy_button("copy_phones", link)
        change = st.popover("Change")
    if urlsplit(link).hostname in LOCAL:
        st.caption(
            "Phones cannot open this address, because 'localhost' means the phone itself. Open this page under the "
            "server's name, or change the link."
        )
    with change, st.form("phones", border=False):
        text = st.text_input("Link for phones", link, max_chars=LINK, key="phones_text")
        if st.form_submit_button("Use this link"):
            try:
                st.session_state[_OWN_LINK] = parse_link(text) if text.strip() else None
            except ValueError as error:
                show_error(error)
            else:
                st.rerun()
