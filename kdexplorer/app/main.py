"""The script that Streamlit runs for every visitor: page configuration and navigation, nothing else."""

from pathlib import Path

import streamlit as st

from kdexplorer.app import share_link, shares
from kdexplorer.app.navigation import FOLDER, TITLES
from kdexplorer.charts.soft_labels import SLIDER_STYLE

st.set_page_config(
    page_title="KD Explorer",
    page_icon=str(Path(__file__).parent / "icon.png"),  # a local file: a Material icon asks a font host
    layout="wide",
)
st.html(
    f"{SLIDER_STYLE}{share_link.STYLE}<style>"
    "[data-testid=stMarkdownContainer] table {display: block; overflow-x: auto}"  # instead of widening the page
    "[data-testid=stMarkdownContainer] td {white-space: nowrap}"
    ".katex-display {overflow: auto hidden}"
    "</style>"
)
pages = [
    st.Page(FOLDER / f"{name}.py", title=title, url_path=name, default=number == 0)
    for number, (name, title) in enumerate(TITLES.items())
]
with shares.charged():
    page = st.navigation(pages, position="top")
    share_link.show_page_link()
    page.run()
