"""All runs and sweeps on Launch, the newest first."""

from __future__ import annotations

import streamlit as st

from kdexplorer import runs, sweep
from kdexplorer.ui.launch_run import POLL, STATES, close


def sweeps_so_far() -> None:
    """The sweeps so far, the newest first, each a button that opens it."""
    found = sweep.list_sweeps()[:10]
    if found:
        st.subheader("Sweeps")
    for one in found:
        status = one.status()
        words = f", {status['finished']} of {status['experiments']} experiments" if "finished" in status else ""
        _row(one, "sweep", status["state"], words)


def runs_so_far(shown: str | None) -> None:
    """The runs so far, the newest first, each a button that opens it."""
    found = runs.list_runs()
    st.subheader("Runs")
    if not found:
        st.markdown("None yet. The first one appears here, stays after a restart, and can be opened by its link.")
        return
    live = any(run.status()["state"] in runs.LIVE for run in found[:20])

    def show() -> None:
        states = {run: run.status() for run in found[:20]}
        if live and not any(status["state"] in runs.LIVE for status in states.values()):
            st.rerun()
        for run, status in states.items():
            words = ""
            if isinstance(status.get("epoch"), int) and isinstance(status.get("epochs"), int):
                words = f", epoch {status['epoch'] + 1} of {status['epochs']}"
            _row(run, "run", status["state"], words)

    st.fragment(show, run_every=POLL if live and shown is None else None)()
    if len(found) > 20:
        st.caption(f"{len(found) - 20} older runs: list them with 'python -m kdexplorer runs list'.")


def _row(run: runs.Run, kind: str, state: str, words: str) -> None:
    """One of them, with the button that opens it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Open", key=f"open_{run.run_id}", on_click=_open, args=(kind, run.run_id), width=90)
        st.markdown(f"{STATES[state]} `{run.run_id}`{words}", width="stretch")


def _open(kind: str, run_id: str) -> None:
    """The link to a run or a sweep."""
    close()
    st.query_params[kind] = run_id
