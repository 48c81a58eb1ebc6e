"""One run or sweep on Launch: its state, its controls, and its curves so far."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from kdexplorer.app import access, launch_curves, navigation, sweeps
from kdexplorer.config import ExperimentConfig
from kdexplorer.datasets import get_dataset
from kdexplorer.errors import KDError
from kdexplorer.notation import train_command
from kdexplorer.runs.launch import delete_run, start_run, stop_run
from kdexplorer.runs.records import LIVE, RESUMABLE, RunStatus, State
from kdexplorer.runs.run_folder import Run
from kdexplorer.sweeps.folder import Sweep
from kdexplorer.sweeps.grid import SweepConfig, sweep_command
from kdexplorer.training.estimate import format_duration

POLL = 2.0
"""Seconds between two reads of a live run's folder; the trainer writes its status as often."""

STATES: dict[State, str] = {
    "queued": ":blue[:material/hourglass_top: Waiting]",
    "running": ":blue[:material/play_arrow: Training]",
    "finished": ":green[:material/check_circle: Finished]",
    "stopped": ":orange[:material/pause_circle: Stopped]",
    "failed": ":red[:material/error: Failed]",
    "lost": ":orange[:material/help: Lost]",
    "damaged": ":red[:material/broken_image: Damaged]",
}


def show(run: Run) -> None:
    """A run: state, controls, curves, and one image's soft labels epoch by epoch."""
    config = _open(run)
    if not isinstance(config, ExperimentConfig):
        return
    st.subheader(config.name)
    st.caption(f"{run.run_id} · {_describe(config)}")

    def show_state(status: RunStatus, live: bool) -> None:
        with st.container():  # always one element, so that no button appears twice while the page is redrawn
            _show_progress(run, config, status)
        _show_controls(run, status.state)
        launch_curves.show(run, config, live)

    _follow(run, show_state)
    _show_log(run, train_command(config))


def show_sweep(sweep: Sweep) -> None:
    """A sweep: state, controls, its experiments, and its results so far."""
    config = _open(sweep)
    if not isinstance(config, SweepConfig):
        return
    st.subheader(config.recipe.name)
    st.caption(f"{sweep.run_id} · {_describe(config.recipe)} · {sweeps.describe(config)}")

    def show_state(status: RunStatus, live: bool) -> None:
        with st.container():
            _show_progress(sweep, config.recipe, status)
            sweeps.show_progress(status)
        _show_controls(sweep, status.state)

    _follow(sweep, show_state)
    results = sweep.results()
    if results is not None:
        query = {"show": "Sweep", "sweep": sweep.run_id}
        navigation.link_to("compare", "Open on Compare", query, ":material/arrow_forward:")
        sweeps.show_results(results, sweep.run_id)
    _show_log(sweep, sweep_command(config))


def close() -> None:
    """Returns to the form."""
    for name in ("run", "sweep"):
        st.query_params.pop(name, None)


def _open(run: Run) -> ExperimentConfig | SweepConfig | None:
    """Draws the way back to the form; returns the configuration, None where it cannot be read."""
    st.button("New experiment", on_click=close, icon=":material/arrow_back:", key="new_experiment")
    try:
        return run.config()
    except KDError as error:
        st.error(str(error))
        _show_controls(run, run.status().state)
        return None


def _follow(run: Run, show_state: Callable[[RunStatus, bool], None]) -> None:
    """Draws a run's or sweep's state, again and again while it is live."""
    live = run.status().state in LIVE

    def show() -> None:
        status = run.status()
        if live and status.state not in LIVE:
            st.rerun()  # the whole page once more, without polling
        show_state(status, live)

    st.fragment(show, run_every=POLL if live else None)()


def _show_log(run: Run, command: str) -> None:
    with st.expander("Command line and log"):
        st.code(command, language="bash", wrap_lines=True)
        st.code(run.log_tail(12) or "The log is empty.", language=None, wrap_lines=True)


def _describe(config: ExperimentConfig) -> str:
    """An experiment in one line."""
    count = "all" if config.train_images is None else f"{config.train_images:,}"
    teacher = f"teacher {config.teacher}" if config.teacher else "no teacher"
    data = get_dataset(config.dataset).label
    return f"{data}, {count} training images, {config.epochs} epochs, {teacher}, seed {config.seed}"


def _show_progress(run: Run, config: ExperimentConfig, status: RunStatus) -> None:
    """The state, a bar with the time left, and what went wrong."""
    shown = status.state not in ("finished", "failed", "damaged") and status.message not in ("", "training")
    st.markdown(f"**{STATES[status.state]}**" + (f": {status.message}" if shown else ""))
    epoch, step, steps = status.epoch, status.step, status.steps_per_epoch
    if status.state != "finished" and epoch is not None and step is not None and steps:
        text = f"Epoch {epoch + 1} of {config.epochs}"
        if status.state == "running" and status.seconds_left is not None:
            left = status.seconds_left
            text += f", about {format_duration(left)} left" if left >= 1 else ", evaluating"
        if status.state == "running" and status.images_per_second:
            text += f", {status.images_per_second:,.0f} images/s"
        st.progress(min(1.0, (epoch * steps + step) / (config.epochs * steps)), text=text)
    if status.warning:
        st.warning(status.warning)
    if status.state in ("failed", "damaged"):
        st.error(status.message or "It ended without a message.")
    if status.state in ("failed", "lost"):
        st.markdown("The last lines of its log:")
        st.code(run.log_tail(8) or "The log is empty.", language=None, wrap_lines=True)


def _show_controls(run: Run, state: State) -> None:
    """Stop, resume, delete; deleting asks for confirmation."""
    with st.container(horizontal=True):
        if state in LIVE and st.button("Stop", key="stop", icon=":material/stop:"):
            access.act_and_rerun(lambda: stop_run(run), "Stopping: saving state first.")
        if state in RESUMABLE and st.button("Resume", key="resume", type="primary", icon=":material/play_arrow:"):
            access.act_and_rerun(lambda: start_run(run))
        if state not in LIVE:
            with st.popover("Delete", icon=":material/delete:"):
                what = "this run with its curves and its finished students"
                if isinstance(run, Sweep):
                    what = "this sweep's results (its runs remain)"
                st.markdown(f"Delete {what}? This cannot be undone.")
                if st.button("Yes, delete it", key="delete", type="primary"):
                    access.act_and_rerun(lambda: _delete(run))


def _delete(run: Run) -> None:
    delete_run(run)
    close()
