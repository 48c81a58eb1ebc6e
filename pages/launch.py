"""Launch: start an experiment from a form and watch it train. All that this page knows of a run is its folder.

A link `?run=ID` or `?sweep=ID` shows that run or sweep, also after a restart of the application.
"""

import contextlib

import streamlit as st

from kdexplorer.app import access, launch_form, launch_list, launch_run, url_state
from kdexplorer.errors import KDError
from kdexplorer.runs.run_folder import find_run
from kdexplorer.schema import is_name
from kdexplorer.sweeps.folder import find_sweep


def main() -> None:
    """The run or sweep that the link names, else the form; then the list of all."""
    st.title("Launch")
    access.show_login()
    run_id, sweep_id = st.query_params.get("run"), st.query_params.get("sweep")
    run = sweep = None
    if run_id is not None and is_name(run_id):  # never a path
        with contextlib.suppress(KDError):
            run = find_run(run_id)
    if run is None and sweep_id is not None and is_name(sweep_id):
        sweep = find_sweep(sweep_id)
    for kind, name, found in (("run", run_id, run), ("sweep", sweep_id, run or sweep)):
        if name is not None and found is None:
            st.warning(f"There is no {kind} '{url_state.escape(name[:80])}'; it may have been deleted.")
    if run is not None:
        launch_run.show(run)
    elif sweep is not None:
        launch_run.show_sweep(sweep)
    else:
        launch_form.show()
    launch_list.show_sweeps()
    launch_list.show_runs(run_id if run else sweep_id if sweep else None)


try:
    main()
except KDError as error:
    st.error(str(error))
