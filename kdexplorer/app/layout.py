"""What all pages share: titles and links, text from outside, the header with its buttons, and the first screen.

On a projector the picture stands on the left and the figure beside it; on a phone the picture is a strip above the
figure. The figure comes first in the document, so that the keyboard reaches its control after the header.

A page's link: its copy and QR code reproduce what the page shows; `?hide=networks,picture` leaves parts out, for a page
in slides or in a course's text.
"""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

import streamlit as st

from kdexplorer import web
from kdexplorer.figures import all_figures
from kdexplorer.files import bundled
from kdexplorer.images.picture import data_url, qr_png
from kdexplorer.runs import lineage

ARROW, DOWNLOAD = ":material/arrow_forward:", ":material/download:"
"""The icons of links and of what saves files."""
FOLDER = bundled("pages")
TITLES = {
    "overview": "Overview",
    "soft_labels": "Soft labels",
    "attention": "Attention",
    "methods": "Methods",
    "live": "Live",
    "launch": "Launch",
    "audience": "Audience",
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


_JOINER = "\u2060"
"""A word joiner: invisible, and it interrupts what Streamlit replaces after Markdown's escapes are gone."""


def as_text(text: str) -> str:
    """Text from outside (cards, runs, links, messages) as it is, where Streamlit reads Markdown, on one line."""
    plain = " ".join(text.split())
    plain = re.sub(r"[\\`*\[\]<>#!|~$&{}]|(?<!\w)_|_(?!\w)", r"\\\g<0>", plain)
    plain = plain.replace(":", rf"\:{_JOINER}").replace("@", f"@{_JOINER}")  # icons, emojis, directives, addresses
    plain = plain.replace("//", f"/{_JOINER}/")
    plain = re.sub(r"(?i)(www)(?=\.)", rf"\1{_JOINER}", plain)  # what becomes a link by itself
    return re.sub(r"^(?=[-+=]|\d+[.)](\s|$))", _JOINER, plain)  # what begins a list or underlines a heading


WARNINGS = "link_warnings"
"""The key of the place where the page says what of its link is ignored."""


def header(page: str, sentence: str, title: str | None = None) -> None:
    """Draws a page's title (a key of `TITLES`), or another one as plain text, and one sentence in Markdown below it."""
    st.session_state[FACTS] = {"page": title or TITLES[page]}  # nothing of the page before
    with st.container(gap=None, key="page_header"):
        st.title(as_text(title or TITLES[page]), anchor=False)
        st.markdown(sentence)
    st.session_state[WARNINGS] = st.container()


def networks_line() -> tuple[Any, Any]:
    """A place for the line that names the networks, and beside it a button; the second place is what it opens."""
    with st.container(horizontal=True, vertical_alignment="center", gap="medium", key="networks_line"):
        return st.empty(), st.popover("Change networks", icon=":material/tune:", width="content")


def unseen(name: str) -> Any:
    """A place for choices that hold on a page without being shown: so they are in its link, as on other pages."""
    return st.container(key=f"unseen_{name}")


def name_networks(teacher: str | None, others: list[str]) -> str:
    """Which networks a page shows, as Markdown."""
    return lineage.name_family(teacher and f"**{as_text(teacher)}**", map(as_text, others))


def first_screen() -> tuple[Any, Any]:
    """The places of the picture, a third of the width, and of the main control and figure, two thirds."""
    with st.container(key="first_screen"):
        figure, picture = st.columns([2, 1], gap="medium")
    return picture.container(key="picture", gap="small"), figure.container(key="figure", gap="small")


FIGURE, STORY = "figure", "story"
"""The parameters of a link that shows one figure alone, or a lecture's step."""
BEFORE_STEP = "story_before"
"""The key of what a step of the lecture has set, and what was chosen before."""


def is_alone() -> bool:
    """Whether the page is one figure, which fills the window."""
    return any(name in st.query_params for name in (FIGURE, STORY))


FACTS = "figure_facts"
"""The key of what the page has mentioned, and of its title as `page`."""


def mention(**facts: str) -> None:
    """Notes what the page's charts are of, for their source lines: `networks`, `image`."""
    st.session_state.setdefault(FACTS, {}).update(facts)


_copy_button = st.components.v2.component(
    "kdexplorer_copy", html="<button>Copy link</button>", js=web.read("copy_button.js"), css=web.read("copy_button.css")
)


def show_copy_button(key: str, text: str = "") -> None:
    """A button that copies text, or without any the address of the page as it is when the button is pressed."""
    _copy_button(data={"text": text}, key=key)


def draw_popover(label: str, key: str, show: Callable[[], object], icon: str | None = DOWNLOAD) -> None:
    """A button and what it opens: `show` draws that, and is only called while it is open."""
    popover = st.popover(label, icon=icon, width="content", key=key, on_change="rerun")
    if popover.open:
        with popover:
            show()


def show_page_link(page: str) -> None:
    """What the button in the header opens. `page` is a key of `TITLES`."""
    show_copy_button("copy_page")
    _show_code(page_url(), "page")
    if names := [name for name, figure in all_figures().items() if figure.page == page]:
        name = st.selectbox("A figure alone, for slides", names, format_func=lambda name: all_figures()[name].title)
        link = page_url(figure=name, embed="true")
        show_copy_button("copy_figure", link)
        _show_code(link, "figure")


def _show_code(link: str, of: str) -> None:
    if len(link) <= 1500:  # what a phone's camera reads from a screen
        st.image(data_url(qr_png(link, 4)), width=260, alt=f"QR code of this {of}'s link")
    else:
        st.caption("The link is too long for a QR code.")


def page_url(**more: str) -> str:
    """This page's address with its choices, as far as the browser has told it, and more parameters."""
    chosen: dict[str, str | list[str]] = {name: st.query_params.get_all(name) for name in st.query_params}
    query = urlencode(chosen | more, doseq=True)
    return f"{st.context.url or ''}{'?' if query else ''}{query}"


PARTS = {
    "menu": "",  # the navigation is not drawn
    "share": ".st-key-share",
    "title": ".st-key-page_header",
    "networks": ".st-key-networks_line",
    "picture": ".st-key-first_screen > * > * > :has(.st-key-picture)",
    "source": ".st-key-picture_source",
    "thumbnails": ".st-key-thumbnails",
    "presets": "[class*=st-key-preset_], .kd-ticks",
    "sections": ".st-key-tab, .st-key-show, div:has(> h2), .st-key-first_screen ~ *",
    "downloads": "[class*=st-key-files_], [class*=st-key-handout], .st-key-take_away",
    "keys": "#kd-keys",
}
"""Selectors of what is hidden, by the name in the link. Nothing here protects anything: the page still has it."""


def hide() -> list[str]:
    """Hides what the link names and returns it, as long as it is in the address; a name that is unknown is reported.

    Streamlit's `embed=true` leaves out the menu and the header's buttons, too.
    """
    named = [part.strip() for part in st.query_params.get("hide", "").split(",") if part.strip()]
    named += ["menu", "share"] if st.context.is_embedded else []
    for name in [name for name in named if name not in PARTS][:3]:
        st.warning(f"The link's 'hide' names '{as_text(name[:30])}': choose among {', '.join(PARTS)}.")
    if selectors := ", ".join(filter(None, map(PARTS.get, named))):
        st.html(f"<style>{selectors} {{ display: none !important }}</style>")
    return named
