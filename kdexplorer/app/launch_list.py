"""All runs and sweeps on Launch, the newest first."""

from __future__ import annotations

import streamlit as st

from kdexplorer.app.launch_run import POLL, STATES, close
from kdexplorer.runs.records import LIVE, State
from kdexplorer.runs.run_folder import Run, list_runs
from kdexplorer.sweeps.folder import list_sweeps

LIMIT = 20


def show_sweeps() -> None:
    """The latest sweeps, each with a button that opens it."""
    found = list_sweeps()[:10]
    if found:
        st.subheader("Sweeps")
    for sweep in found:
        status = sweep.status()
        known = status.finished is not None and status.experiments is not None
        facts = f", {status.finished} of {status.experiments} experiments" if known else ""
        _show_row(sweep, "sweep", status.state, facts)


def show_runs(opened: str | None) -> None:
    """The latest runs, each with a button that opens it; `opened` is the run or sweep that the page shows."""
    found = list_runs()
    st.subheader("Runs")
    if not found:
        st.markdown("There are no runs yet. Runs are listed here, also after a restart, and each one has a link.")
        return
    live = any(run.status().state in LIVE for run in found[:LIMIT])

    def show() -> None:
        statuses = {run: run.status() for run in found[:LIMIT]}
        if live and not any(status.state in LIVE for status in statuses.values()):
            st.rerun()
        for run, status in statuses.items():
            facts = ""
            if status.epoch is not None and status.epochs is not None:
                facts = f", epoch {status.epoch + 1} of {status.epochs}"
            _show_row(run, "run", status.state, facts)

    st.fragment(show, run_every=POLL if live and opened is None else None)()
    if len(found) > LIMIT:
        st.caption(f"{len(found) - LIMIT} older runs: list them with 'python -m kdexplorer runs list'.")


def _show_row(run: Run, kind: str, state: State, facts: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Open", key=f"open_{run.run_id}", on_click=_open, args=(kind, run.run_id), width=90)
        st.markdown(f"{STATES[state]} `{run.run_id}`{facts}", width="stretch")


def _open(kind: str, run_id: str) -> None:
    close()
    st.query_params[kind] = run_id
