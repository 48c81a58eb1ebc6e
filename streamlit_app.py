"""Starts the application: `streamlit run streamlit_app.py`."""

from pathlib import Path

import streamlit as st

from kdexplorer.app.access import check_token
from kdexplorer.processes import limit_thread_spinning

check_token()
limit_thread_spinning()  # the server's predictions run beside trainers
app = st.App(Path(__file__).resolve().parent / "kdexplorer" / "app" / "main.py")
