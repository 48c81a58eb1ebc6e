"""The script that Streamlit runs for every visitor: page configuration and navigation, nothing else."""

from pathlib import Path

import streamlit as st

from kdexplorer.app import chart_view, page_controls, share_link, shares
from kdexplorer.app.layout import STYLE
from kdexplorer.app.navigation import FOLDER, TITLES

st.set_page_config(
    page_title="KD Explorer",
    page_icon=str(Path(__file__).parent / "icon.png"),  # a local file: a Material icon asks a font host
    layout="wide",
)
st.html(f"{STYLE}{share_link.STYLE}{chart_view.STYLE}")
page_controls.show()
pages = [
    st.Page(FOLDER / f"{name}.py", title=title, url_path=name, default=number == 0)
    for number, (name, title) in enumerate(TITLES.items())
]
with shares.charged():
    page = st.navigation(pages, position="top")
    share_link.show_page_link()
    page.run()
