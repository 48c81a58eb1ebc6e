"""The script that Streamlit runs for every visitor: page configuration and navigation, nothing else."""

from pathlib import Path

import streamlit as st

from kdexplorer.app import page_controls, shares
from kdexplorer.app.navigation import FOLDER, TITLES
from kdexplorer.charts.soft_labels import SLIDER_STYLE

st.set_page_config(
    page_title="KD Explorer",
    page_icon=str(Path(__file__).parent / "icon.png"),  # a local file: a Material icon asks a font host
    layout="wide",
)
st.html(
    f"{SLIDER_STYLE}<style>"
    "[data-testid=stMarkdownContainer] table {display: block; overflow-x: auto}"  # instead of widening the page
    "[data-testid=stMarkdownContainer] td {white-space: nowrap}"
    ".katex-display {overflow: auto hidden}"
    "[data-testid=stMultiSelectTagsContainer] [data-tag] {background-color: #0072B2}"  # white text in both themes
    "[data-testid=stCode] .token.variable {color: inherit}"  # an option of a command, 2.8 to 1 in the light theme
    "</style>"
)
page_controls.show()
pages = [
    st.Page(FOLDER / f"{name}.py", title=title, url_path=name, default=number == 0)
    for number, (name, title) in enumerate(TITLES.items())
]
with shares.charged():
    st.navigation(pages, position="top").run()
