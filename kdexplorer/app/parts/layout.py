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

STYLE = """<style>
:root { font-size: max(16px, .625vw + 8px) }
[data-testid=stHeader] { height: 2.5rem; min-height: 2.5rem }
[data-testid=stMainBlockContainer] { padding: 2.6rem 2rem 2rem }
[data-testid=stMainBlockContainer] > [data-testid=stVerticalBlock] { gap: .4rem }
[data-testid=stMarkdownContainer] table { display: block; overflow-x: auto }
[data-testid=stMarkdownContainer] td { white-space: nowrap }
.katex-display { overflow: auto hidden }
[data-testid=stMultiSelectTagsContainer] [data-tag] { background-color: #0072B2 }
[data-testid=stBaseButton-primary] { background-color: #0072B2; border-color: #0072B2 }
[data-testid=stCode] .token { color: inherit !important }
[data-testid=stCode] .token.keyword { font-weight: 600 }
.st-key-page_header h1 { padding: 0 }
.st-key-first_screen > [data-testid=stLayoutWrapper] > [data-testid=stHorizontalBlock] { flex-direction: row-reverse }
.st-key-picture [data-testid=stImageContainer] { width: 14rem; max-width: 100% }
.st-key-picture_controls [data-testid=stButton] p { position: absolute; opacity: 0; width: 1px; overflow: hidden }
.st-key-thumbnails { flex-wrap: nowrap; overflow-x: auto; padding-bottom: .25rem }
.st-key-thumbnails > * { flex: none }
.st-key-thumbnails button { padding: 3px; min-height: 2.75rem }
.st-key-thumbnails button img { display: block; width: 2.6rem; height: 2.6rem; max-height: none; margin: 0 }
.st-key-page_controls { position: absolute }
.st-key-slider_memory, .st-key-color_scale [data-testid=stElementToolbar] { display: none }
.stVegaLiteChart.vega-embed, .stVegaLiteChart .vega-embed { display: flex; flex-direction: column; gap: .25rem }
.vega-bindings { order: -1 }
.vega-bind label { display: flex; flex-wrap: wrap; align-items: center; gap: 0 .75rem; width: 100% }
.stApp .stVegaLiteChart form.vega-bindings input[type=range] { flex: 1 1 9rem; max-width: none; height: 2rem }
.stApp .stVegaLiteChart form.vega-bindings input[type=range]::-webkit-slider-thumb { width: 1.25rem; height: 1.25rem;
  margin-top: -.5rem }
.stApp .stVegaLiteChart form.vega-bindings input[type=range]::-moz-range-thumb { width: 1.25rem; height: 1.25rem }
.stApp .stVegaLiteChart form.vega-bindings .vega-bind-name { font-size: max(.875rem, 1.4vw) }
.vega-bind input[type=range] + * { display: none }
.st-key-projector :is([data-testid=stMarkdown], [data-testid=stAlert]) p { font-size: max(1rem, 2.3vw);
  line-height: 1.25; overflow-wrap: anywhere }
.st-key-projector h1 { font-size: max(1.5rem, 3vw); line-height: 1.2; padding: 0 }
.st-key-projector_question [data-testid=stMarkdownContainer] { margin-bottom: 0 }
.st-key-projector [data-testid=stImageContainer] img { image-rendering: pixelated }
.st-key-projector_question [data-testid=stImageContainer] { width: max(6rem, 10.5vw) }
.st-key-projector_question img { width: 100% }
@media (max-width: 640px) {
  [data-testid=stMainBlockContainer] { padding: 2.6rem 1rem 2rem }
  .st-key-first_screen > [data-testid=stLayoutWrapper] > [data-testid=stHorizontalBlock],
  .st-key-form_and_panel > [data-testid=stLayoutWrapper] > [data-testid=stHorizontalBlock] { flex-wrap: wrap-reverse;
    gap: .25rem }
  .st-key-starting_points, .st-key-show [role=radiogroup] { flex-wrap: nowrap; overflow-x: auto }
  .st-key-starting_points > *, .st-key-show [role=radiogroup] > * { flex: none }
  .st-key-page_header { gap: 0 }
  .st-key-page_header p, .st-key-networks_line p { font-size: .875rem; line-height: 1.3 }
  .st-key-networks_line { flex-wrap: nowrap; gap: .5rem }
  .st-key-picture { display: grid; grid-template-columns: 5.75rem minmax(0, 1fr); gap: .25rem .75rem }
  .st-key-picture > :nth-child(1) { grid-area: 1 / 1 / 3 / 2 }
  .st-key-picture > :nth-child(2) { grid-area: 3 / 1 / 4 / 3 }
  .st-key-picture [data-testid=stImageContainer] { width: 5.75rem }
  .st-key-picture_controls { flex-wrap: nowrap; gap: .25rem }
  .st-key-question:has(img) { display: grid; grid-template-columns: 5.75rem minmax(0, 1fr); gap: .25rem .75rem }
  .st-key-question > :nth-child(1) { grid-row: 1 / 3 }
  .st-key-question [data-testid=stImageContainer] { width: 5.75rem }
  .st-key-question img { width: 100% }
  .st-key-audience > [data-testid=stLayoutWrapper] > [data-testid=stHorizontalBlock] > :nth-child(2) { order: 1 }
  .st-key-experiment_page [data-testid=stColumn]:first-child, .st-key-experiment_page [data-testid=stColumn]:first-child
    > [data-testid=stVerticalBlock] { display: contents }
  .st-key-experiment_page [data-testid=stColumn]:first-child > [data-testid=stVerticalBlock]
    > :not(:first-child) { order: 1 }
  .st-key-picture_controls [data-testid=stPopover] p { position: absolute; opacity: 0; width: 1px; overflow: hidden }
  .stApp .stVegaLiteChart form.vega-bindings input[type=range] { height: 2.75rem }
  [data-testid=stElementToolbar], [data-testid=stHeaderActionElements] { display: none }
  [data-testid=stHeader] { height: 2.75rem }
  :is(.stApp [data-testid=stMain], [data-testid=stHeader], [data-testid=stSidebar], [data-testid=stPopoverBody])
    :is(button, [role=tab], summary, [role=combobox], [data-testid=stSidebarNavLink], [data-testid=stPageLink-NavLink],
    input:not([type=checkbox], [type=range])) { min-height: 2.75rem; min-width: 2.75rem }
}
</style>"""
"""What Streamlit has no setting for: text that grows with the window, less empty space, the order of picture and
figure, thumbnails as buttons, colors with enough contrast (white on chips, a command's options), and a chart's sliders
above it, large enough for a finger and without the raw value that Vega writes beside them."""


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
