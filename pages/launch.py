"""Start an experiment from a form and watch it learn. The run's folder is all that this page knows of a run.

A link `?run=ID` shows that run: after a refresh, in a second tab, after a restart of the application.
"""

from __future__ import annotations

import contextlib

import streamlit as st

from kdexplorer import config, runs, sweep
from kdexplorer.errors import KDError
from kdexplorer.ui import choice, door, launch_form, launch_list, launch_run


def main() -> None:
    """The run that the link names, else the form."""
    st.title("Launch")
    door.ask()
    run = None
    run_id = st.query_params.get("run")
    if run_id is not None and config.is_name(run_id):  # never a path
        with contextlib.suppress(KDError):
            run = runs.find(run_id)
    if run_id is not None and run is None:
        named = choice.as_text(run_id[:80])
        st.warning(f"There is no run '{named}' here: it may have been discarded. Here is the form for a new one.")
    sweep_id = st.query_params.get("sweep")
    one = sweep.find(sweep_id) if sweep_id is not None and config.is_name(sweep_id) else None
    if run is not None:
        launch_run.show(run)
    elif one is not None:
        launch_run.show_sweep(one)
    else:
        if sweep_id is not None:
            st.warning(f"There is no sweep '{choice.as_text(sweep_id[:80])}' here. Here is the form for a new one.")
        launch_form.show()
    launch_list.sweeps_so_far()
    launch_list.runs_so_far(run_id if run else sweep_id if one else None)


choice.through_the_door()
try:
    main()
except KDError as error:
    st.error(str(error))
