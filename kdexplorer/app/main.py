"""The script that Streamlit runs for every visitor: page configuration, and what the address asks for."""

import contextlib
from pathlib import Path

import streamlit as st

from kdexplorer.app import figures, layout, story
from kdexplorer.app.layout import FOLDER, TITLES
from kdexplorer.app.parts import chart_view
from kdexplorer.app.server import access
from kdexplorer.app.state import choices
from kdexplorer.errors import KDError

st.set_page_config(
    page_icon=str(Path(__file__).parent / "icon.png"),  # a local file: a Material icon asks a font host
    layout="wide",
)
pages = [
    st.Page(FOLDER / f"{name}.py", title=title, url_path=name, default=number == 0)
    for number, (name, title) in enumerate(TITLES.items())
]
is_alone, is_story = layout.is_alone(), layout.STORY in st.query_params
hidden = layout.hide()
with chart_view.follow_sliders():
    page = st.navigation(pages, position="hidden" if is_alone or "menu" in hidden else "top")
    name = page.url_path or next(iter(TITLES))
    title = TITLES[name]
    if is_story:
        title = "Notes" if st.query_params[layout.STORY] == "notes" else "Lecture"
    st.set_page_config(page_title=f"{title} – KD Explorer")
    choices.carry(page.url_path)
    choices.translate_link()  # the page is known: it begins anew where it is
    with st.container(key="alone", height="stretch") if is_alone else contextlib.nullcontext():
        try:
            if is_alone:
                (story if is_story else figures).show()
            else:
                with st.container(key="share", horizontal=True, gap="xsmall"):
                    step = st.session_state.get(story.STEP, 1)
                    st.button("Present", key="present", help=story.HELP, on_click=story.begin, args=(step,))
                    layout.draw_popover("Share", "share_page", lambda: layout.show_page_link(name), icon=None)
                page.run()
        except KDError as error:  # such as damaged data, or a lecture that has changed: it says what to do
            access.show_error(error)
