"""A page's link: its copy and QR code reproduce what the page shows; `?hide=networks,picture` leaves parts out.

The second is for a page in slides or in a course's text.
"""

from __future__ import annotations

from urllib.parse import urlencode

import streamlit as st

from kdexplorer.app.parts.text import as_text
from kdexplorer.figures import all_figures
from kdexplorer.images.qr import qr_png

LONGEST = 1500
"""Characters of a link that a phone's camera reads from a screen."""

_COPY = """
export default function ({ parentElement, data }) {
  const button = parentElement.querySelector("button");
  const show = (text) => { button.textContent = text; };
  const copyOld = (text) => {  // where the page has no TLS there is no navigator.clipboard
    const field = document.createElement("textarea");
    field.value = text;
    field.style.position = "fixed";
    parentElement.appendChild(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  };
  button.onclick = async () => {
    const text = data.text || window.location.href;
    let done = true;
    try { await navigator.clipboard.writeText(text); } catch { done = copyOld(text); }
    show(done ? "Copied" : "Copy it from the address bar");
    setTimeout(() => show("Copy link"), 2000);
  };
}
"""
_CSS = (
    "button {min-height: 44px; padding: 0 1rem; font: inherit; color: var(--st-text-color); cursor: pointer;"
    "background: var(--st-secondary-background-color); border: 1px solid #7f8c99; border-radius: .5rem}"
)
_button = st.components.v2.component("kdexplorer_copy", html="<button>Copy link</button>", js=_COPY, css=_CSS)


def show_copy_button(key: str, text: str = "") -> None:
    """A button that copies text, or without any the address of the page as it is when the button is pressed."""
    _button(data={"text": text}, key=key)


def show_page_link(page: str) -> None:
    """The button in the header; what it opens is only computed while it is open. `page` is a key of `TITLES`."""
    popover = st.popover("Share", on_change="rerun", key="share_page")
    if not popover.open:
        return
    with popover:
        show_copy_button("copy_page")
        _show_code(page_url(), "page")
        _show_figure_links(page)


def _show_code(link: str, of: str) -> None:
    """The QR code of a link to this page or figure."""
    if len(link) <= LONGEST:
        st.image(qr_png(link, 4), width=260, alt=f"QR code of this {of}'s link", output_format="PNG")
    else:
        st.caption("The link is too long for a QR code.")


def _show_figure_links(page: str) -> None:
    """A link to one of the page's figures alone, for a frame in slides."""
    names = [name for name, figure in all_figures().items() if figure.page == page]
    if names:
        name = st.selectbox("A figure alone, for slides", names, format_func=lambda name: all_figures()[name].title)
        link = page_url(figure=name, embed="true")
        show_copy_button("copy_figure", link)
        _show_code(link, "figure")


def page_url(**more: str) -> str:
    """This page's address with its choices, as far as the browser has told it, and more parameters."""
    query = urlencode(st.query_params.to_dict() | more)
    return f"{st.context.url or ''}{'?' if query else ''}{query}"


HIDE = "hide"
PARTS = {
    "menu": "",  # the navigation is not drawn
    "share": ".st-key-share",
    "title": ".st-key-page_header",
    "networks": ".st-key-networks_line",
    "picture": ".st-key-first_screen > * > * > :has(.st-key-picture)",
    "source": ".st-key-picture_source",
    "thumbnails": ".st-key-thumbnails",
    "presets": "[class*=st-key-preset_]",
    "sections": ".st-key-tab, .st-key-show, div:has(> h2), .st-key-first_screen ~ *",
    "downloads": "[class*=st-key-files_], [class*=st-key-handout]",
    "keys": "#kd-keys",
}
"""Selectors of what is hidden, by the name in the link. Nothing here protects anything: the page still has it."""


def hide() -> list[str]:
    """Hides what the link names, as long as it is in the address; a name that is unknown is reported.

    Streamlit's `embed=true` leaves out the menu and the header's buttons, too.
    """
    named = [part.strip() for part in st.query_params.get(HIDE, "").split(",") if part.strip()]
    named += ["menu", "share"] if st.context.is_embedded else []
    for name in [name for name in named if name not in PARTS][:3]:
        st.warning(f"The link's '{HIDE}' names '{as_text(name[:30])}': choose among {', '.join(PARTS)}.")
    known = [name for name in named if name in PARTS]
    selectors = ", ".join(PARTS[name] for name in known if PARTS[name])
    if selectors:
        st.html(f"<style>{selectors} {{ display: none !important }}</style>")
    return known
