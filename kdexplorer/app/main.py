"""The script that Streamlit runs for every visitor: page configuration, and what the address asks for."""

from pathlib import Path

import streamlit as st

from kdexplorer.app import attention, experiments, figures, live, methods, overview, soft_labels, story
from kdexplorer.app.audience import page as audience
from kdexplorer.app.compare import page as compare
from kdexplorer.app.launch import page as launch
from kdexplorer.app.parts import layout
from kdexplorer.app.state import choices

PAGES = {
    "overview": overview.show_page,
    "soft_labels": soft_labels.show_page,
    "attention": attention.show_page,
    "methods": methods.show_page,
    "live": live.show_page,
    "launch": launch.show,
    "audience": audience.show_page,
    "compare": compare.show,
    "experiments": experiments.show,
}
"""What draws each page of `layout.TITLES`."""

st.set_page_config(
    page_title="KD Explorer",
    page_icon=str(Path(__file__).parent / "icon.png"),  # a local file: a Material icon asks a font host
    layout="wide",
)
layout.show_page_controls()
is_figure, is_story = (name in st.query_params for name in (layout.FIGURE, layout.STORY))
hidden = layout.hide()
pages = [layout.page(name, show) for name, show in PAGES.items()]
page = st.navigation(pages, position="hidden" if is_figure or is_story or "menu" in hidden else "top")
choices.translate_link()  # the page is known: it begins anew where it is
if is_figure or is_story:
    with st.container(key="alone", height="stretch"):
        (figures if is_figure else story).show()
else:
    with st.container(key="share", horizontal=True, gap="xsmall"):
        story.offer("present", st.session_state.get(story.STEP, 1))
        layout.show_page_link(page.url_path or layout.HOME)
    page.run()
