"""Experiments: why does distillation work? A question, one chart, a verdict that is computed, and running it."""

import streamlit as st

from kdexplorer.app.experiments import experiment_view
from kdexplorer.app.parts import layout
from kdexplorer.app.parts.layout import show_error
from kdexplorer.app.server import access
from kdexplorer.errors import KDError


def main() -> None:
    """One experiment at a time."""
    layout.header("experiments", "Why does distillation work? A question, one chart, and a verdict from the data.")
    with st.container(key="experiment_page"):
        left, right = st.columns([2, 3], gap="medium")
    with left:
        experiment = experiment_view.pick_experiment()
        experiment_view.show_question(experiment)
    with right:
        experiment_view.show_result(experiment)
    st.divider()
    access.show_login()
    experiment_view.show_run(experiment)


try:
    main()
except KDError as error:
    show_error(error)
