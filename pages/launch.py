"""Launch: start a run from a form and watch it train. All that this page knows of a run is its folder.

A link `?run=ID` or `?sweep=ID` shows that run or sweep, also after a restart of the application.
"""

import contextlib

import streamlit as st

from kdexplorer.app.launch import guest, launch_form, launch_run, storage
from kdexplorer.app.parts import layout
from kdexplorer.app.parts.text import as_text, show_error
from kdexplorer.app.server import access
from kdexplorer.errors import KDError
from kdexplorer.runs.run_folder import find_run
from kdexplorer.schema import is_name
from kdexplorer.studies.folder import find_study


def main() -> None:
    """The run or sweep that the link names, else the form; then the list of all."""
    layout.header(
        "launch",
        "Start from one of these experiments, change it, and press **Start training**. Training continues when you "
        "close the page.",
    )
    access.show_login()
    opened = None
    for kind, find in (("run", find_run), ("sweep", find_study)):
        name, found = st.query_params.get(kind), None
        if name is not None and is_name(name):  # never a path
            with contextlib.suppress(KDError):
                found = find(name)
        if name is not None and found is None:
            st.warning(f"There is no {kind} '{as_text(name[:80])}'; it may have been deleted.")
        opened = opened or found
    if opened is not None:
        launch_run.show(opened)
    elif access.is_presenter():
        launch_form.show()
    else:
        guest.show()
    launch_run.show_list()
    storage.show_predictions()


try:
    main()
except KDError as error:
    show_error(error)
