"""The page Launch: the demo's card and the form, or the run that the link names, and below both the list of all runs.

All that it knows of a run is its folder. A link `?run=ID` or `?sweep=ID` shows that run or sweep, also after a restart
of the application.
"""

from __future__ import annotations

import contextlib

import streamlit as st

from kdexplorer.app.launch import form, run, start
from kdexplorer.app.parts import layout
from kdexplorer.app.parts.layout import as_text
from kdexplorer.app.server import access
from kdexplorer.errors import KDError
from kdexplorer.runs import array_store
from kdexplorer.runs.records import LIVE, RunStatus
from kdexplorer.runs.run_folder import Run, find_run, list_runs
from kdexplorer.schema import is_name
from kdexplorer.studies.folder import find_study, list_sweeps

WITHOUT_A_START = {
    "live": "Run teacher and students in your own browser",
    "soft_labels": "See how the temperature changes a teacher's soft labels",
    "attention": "Compare attention maps",
    "compare": "Compare the trained networks",
}
"""What a visitor who may not start training can do: a page, and what it offers."""


def show() -> None:
    """The run or sweep that the link names, else what starts one; then the list of all."""
    opened, missing = _find_opened()
    if opened is None:
        layout.header(
            "launch",
            "Train students on this machine and watch what they learn. Training continues even if you close the page.",
        )
    for warning in missing:
        st.warning(warning)
    if opened is not None:
        run.show(opened)
    access.show_login()
    if opened is None and access.is_presenter():
        has_demo = start.show_demo()
        customize = st.expander(
            "Customize", expanded=not has_demo, key="customize", icon=":material/tune:", bind="query-params"
        )
        if customize.open:
            with customize:
                form.show()
    elif opened is None:
        _show_other_pages()
    _show_list()
    _show_store()


def _find_opened() -> tuple[Run | None, list[str]]:
    """What the link names, and a sentence for each name that does not exist."""
    opened: Run | None = None
    missing = []
    for kind, find in (("run", find_run), ("sweep", find_study)):
        name, found = st.query_params.get(kind), None
        if name is not None and is_name(name):  # never a path
            with contextlib.suppress(KDError):
                found = find(name)
        if name is not None and found is None:
            missing.append(f"There is no {kind} '{as_text(name[:80])}'; it may have been deleted.")
        opened = opened or found
    return opened, missing


def _show_other_pages() -> None:
    """Instead of the form: what a visitor may do here, on the other pages, and on a machine of their own."""
    st.markdown(
        "On this server the presenter starts training. **You can follow it**: open a run in the list below to see its "
        "curves while it trains, and play it again when it has finished. You can also:"
    )
    with st.container(horizontal=True):
        for page, label in WITHOUT_A_START.items():
            layout.link_to(page, label, icon=layout.ARROW)
    st.markdown("To train networks yourself, install the application on your own machine. A first run of a minute:")
    st.code("python -m kdexplorer demo", language="bash")


def _show_list() -> None:
    """The latest sweeps and runs, each with its state and a button that opens it."""
    sweeps, runs = list_sweeps()[:10], list_runs()
    listed: list[Run] = [*sweeps, *runs[: run.LIMIT]]
    live = any(one.status().state in LIVE for one in listed)

    def follow() -> None:
        statuses = {one: one.status() for one in listed}
        if live and not any(status.state in LIVE for status in statuses.values()):
            st.rerun()
        if sweeps:
            st.header("Sweeps")
        for sweep in sweeps:
            _show_row(sweep, "sweep", statuses[sweep])
        st.header("Runs")
        if not runs:
            st.markdown("There are no runs yet. Runs are listed here, also after a restart, and each one has a link.")
        for one in runs[: run.LIMIT]:
            _show_row(one, "run", statuses[one])

    st.fragment(follow, run_every=run.interval() if live else None)()
    if len(runs) > run.LIMIT:
        st.caption(f"{len(runs) - run.LIMIT} older runs: list them with 'python -m kdexplorer runs list'.")


def _show_row(one: Run, kind: str, status: RunStatus) -> None:
    facts = ""
    if status.finished is not None and status.runs is not None:
        facts = f" {status.finished} of {status.runs} runs"
    elif status.state != "finished" and status.epoch is not None and status.epochs is not None:
        facts = f" epoch {status.epoch + 1} of {status.epochs}"
    elif status.state == "damaged":
        facts = f": {as_text(status.message[:300])}"
    with st.container(horizontal=True, vertical_alignment="center"):
        label = f"Open {as_text(one.run_id)}"
        st.button(label, key=f"open_{one.run_id}", on_click=run.open_run, args=(kind, one.run_id))
        st.markdown(f"{run.STATES[status.state]}{facts}", width="stretch")


def _show_store() -> None:
    """What runs keep on the disk for later ones, with a button that deletes it; nothing where that is empty."""
    if not array_store.measure_store().files:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            f"{array_store.describe_store()} Runs with the same images, seed and teacher read them and are faster.",
            width="stretch",
        )
        question = "Delete the stored predictions? Runs compute them again when they need them."
        access.offer_deletion("Delete", question, "delete_predictions", array_store.delete_store, "Deleted.")
