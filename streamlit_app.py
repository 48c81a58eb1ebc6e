"""The application's door: page configuration and navigation, nothing else. Start: `streamlit run streamlit_app.py`."""

from pathlib import Path

import streamlit as st

HERE = Path(__file__).resolve().parent

st.set_page_config(
    page_title="KD Explorer",
    page_icon=str(HERE / "kdexplorer" / "ui" / "icon.png"),  # a local file: a Material icon asks a font host
    layout="wide",
)

PAGES = (
    ("overview", "Overview"),
    ("soft_labels", "Soft labels"),
    ("attention", "Attention"),
    ("live", "Live"),
    ("launch", "Launch"),
    ("compare", "Compare"),
)

st.navigation(
    [
        st.Page(HERE / "pages" / f"{name}.py", title=title, url_path=name, default=name == "overview")
        for name, title in PAGES
        if (HERE / "pages" / f"{name}.py").is_file()
    ],
    position="top",
).run()
