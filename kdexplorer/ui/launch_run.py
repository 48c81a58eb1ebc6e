"""One run or sweep on Launch: how it stands, what can be done with it, and what it has learnt so far."""

from __future__ import annotations

from typing import Any

import streamlit as st

from kdexplorer import cli, data, estimate, runs, surface, sweep
from kdexplorer.config import ExperimentConfig
from kdexplorer.errors import KDError
from kdexplorer.ui import door, launch_curves, sweeps

POLL = 2.0
"""Seconds between two looks at a live run's folder; the trainer writes its status as often."""

STATES = {
    "queued": ":blue[:material/hourglass_top: Waiting]",
    "running": ":blue[:material/play_arrow: Training]",
    "finished": ":green[:material/check_circle: Finished]",
    "stopped": ":orange[:material/pause_circle: Stopped]",
    "failed": ":red[:material/error: Failed]",
    "lost": ":orange[:material/help: Lost]",
    "damaged": ":red[:material/broken_image: Damaged]",
}
TOLD = (*runs.LIVE, "lost", "stopped")
"""States whose message is told beside them; a failure's stands by itself."""


def show(run: runs.Run) -> None:
    """One run: state, controls, curves, and one image's soft labels epoch by epoch."""
    made = _opened(run)
    if made is None:
        return
    st.subheader(made.name)
    st.caption(f"{run.run_id} · {_facts_of(made)}")

    def look(status: dict[str, Any], live: bool) -> None:
        with st.container():  # of one place, whatever it holds: else a button stands twice while the page is redrawn
            _progress(run, made, status)
        _controls(run, status["state"])
        launch_curves.show(run, made, live)

    _followed(run, look, cli.command_line(made))


def show_sweep(one: sweep.Sweep) -> None:
    """One sweep: state, controls, its experiments, and its surface as far as it has come."""
    made = _opened(one)
    if made is None:
        return
    st.subheader(made.recipe.name)
    st.caption(f"{one.run_id} · {_facts_of(made.recipe)} · {sweeps.in_words(made)}")

    def look(status: dict[str, Any], live: bool) -> None:
        with st.container():
            _progress(one, made.recipe, status)
            sweeps.progress(status)
        _controls(one, status["state"])

    def results() -> None:
        table = one.table()
        if surface.readable(table):
            launch_curves.link("compare", "Its surface in Compare", {"show": "Sweep", "sweep": one.run_id})
            sweeps.show(table, one.run_id)

    _followed(one, look, cli.sweep_command_line(made), results)


def close() -> None:
    """Back to the form."""
    for name in ("run", "sweep"):
        st.query_params.pop(name, None)


def _opened(run: runs.Run) -> Any:
    """The way back to the form, and what a run or sweep was made of; None where that cannot be read."""
    st.button("New experiment", on_click=close, icon=":material/arrow_back:", key="new_experiment")
    try:
        return run.config()
    except KDError as error:
        st.error(str(error))
        _controls(run, run.status()["state"])
        return None


def _followed(run: runs.Run, show: Any, command: str, between: Any = None) -> None:
    """Draws a run or sweep again and again while it lives, then its command line and the end of its log."""
    live = run.status()["state"] in runs.LIVE

    def look() -> None:
        status = run.status()
        if live and status["state"] not in runs.LIVE:
            st.rerun()  # once more as a whole, without polling
        show(status, live)

    st.fragment(look, run_every=POLL if live else None)()
    if between is not None:
        between()
    with st.expander("Command line and log"):
        st.code(command, language="bash", wrap_lines=True)
        st.code(run.log_tail(12) or "The log is empty.", language=None, wrap_lines=True)


def _facts_of(made: ExperimentConfig) -> str:
    """An experiment in one line."""
    count = "all" if made.train_images is None else f"{made.train_images:,}"
    teacher = f"teacher {made.teacher}" if made.teacher else "no teacher"
    return f"{data.NAMES[made.dataset]}, {count} training images, {made.epochs} epochs, {teacher}, seed {made.seed}"


def _progress(run: runs.Run, made: ExperimentConfig, status: dict[str, Any]) -> None:
    """The state in words, a bar with the time left, and what went wrong."""
    state, message = status["state"], str(status.get("message") or "")
    st.markdown(f"**{STATES[state]}**" + (f": {message}" if message not in ("", "training") and state in TOLD else ""))
    epoch, step, per_epoch = (status.get(key) for key in ("epoch", "step", "steps_per_epoch"))
    if state != "finished" and all(isinstance(value, int) for value in (epoch, step, per_epoch)) and per_epoch:
        left = status.get("seconds_left")
        words = f"Epoch {epoch + 1} of {made.epochs}"
        if state == "running" and isinstance(left, (int, float)):
            words += f", about {estimate.words(left)} left" if left >= 1 else ", measuring"
        rate = status.get("images_per_second")
        if state == "running" and isinstance(rate, (int, float)) and rate:
            words += f", {rate:,.0f} images/s"
        share = (epoch * per_epoch + step) / (made.epochs * per_epoch)
        st.progress(min(1.0, max(0.0, share)), text=words)
    if status.get("warning"):
        st.warning(str(status["warning"]))
    if state in ("failed", "damaged"):
        st.error(message or "It ended without a message.")
    if state in ("failed", "lost"):
        st.markdown("The last lines of its log:")
        st.code(run.log_tail(8) or "The log is empty.", language=None, wrap_lines=True)


def _controls(run: runs.Run, state: str) -> None:
    """Stop, resume, discard: discarding asks first."""
    with st.container(horizontal=True):
        if state in runs.LIVE and st.button("Stop", key="stop", icon=":material/stop:"):
            door.carry_out(lambda: runs.stop(run), "It saves its state and stops.")
        if state in runs.RESUMABLE and st.button("Resume", key="resume", type="primary", icon=":material/play_arrow:"):
            door.carry_out(lambda: runs.start(run))
        if state not in runs.LIVE:
            with st.popover("Discard", icon=":material/delete:"):
                what = "this run with its curves and its finished students"
                if isinstance(run, sweep.Sweep):
                    what = "this sweep's table (its runs stay)"
                st.markdown(f"Delete {what}? This cannot be undone.")
                if st.button("Yes, delete it", key="discard", type="primary"):
                    door.carry_out(lambda: _discard(run))


def _discard(run: runs.Run) -> None:
    """Deletes it and goes back to the form."""
    runs.delete(run)
    close()
