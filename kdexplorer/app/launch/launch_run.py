"""Runs and sweeps on Launch: the list of all, and one with its state, its controls, and its results so far."""

from __future__ import annotations

import streamlit as st

from kdexplorer.app import navigation
from kdexplorer.app.compare import studies
from kdexplorer.app.launch import grid_form, launch_curves
from kdexplorer.app.parts import chart_view, layout
from kdexplorer.app.parts.text import as_text, show_error
from kdexplorer.app.server import access, turns
from kdexplorer.config import RunConfig
from kdexplorer.datasets import get_dataset
from kdexplorer.errors import KDError
from kdexplorer.notation import train_command
from kdexplorer.runs.launch import delete_run, start_run, stop_run
from kdexplorer.runs.records import LIVE, RESUMABLE, RunStatus, State
from kdexplorer.runs.run_folder import Run, list_runs
from kdexplorer.studies.folder import StudyConfig, StudyFolder, list_studies
from kdexplorer.training.estimate import format_duration

POLL, GUESTS_POLL = 1.0, 2.0
"""Seconds between two reads of a live run's folder, to which the trainer writes every half second."""
SLOWED = 0.25
"""Turns at a time that visitors use while the page says that they slow the training down."""

STATES: dict[State, str] = {
    "waiting": ":gray[:material/pending: Waiting]",
    "queued": ":blue[:material/hourglass_top: Queued]",
    "running": ":blue[:material/play_arrow: Running]",
    "finished": ":green[:material/check_circle: Finished]",
    "stopped": ":orange[:material/pause_circle: Stopped]",
    "failed": ":red[:material/error: Failed]",
    "lost": ":orange[:material/help: Lost]",
    "damaged": ":red[:material/broken_image: Damaged]",
}
LIMIT = 20
"""Runs of the list, and a study's runs of one kind."""
LENGTH = 1000
"""Characters of a message."""


def show(run: Run) -> None:
    """A run: state, controls, curves, and one image's soft labels epoch by epoch. Or a sweep and its results."""
    st.button("New experiment", on_click=_open, icon=":material/arrow_back:", key="new_experiment")
    try:
        config: RunConfig | StudyConfig = run.config()
    except KDError as error:
        show_error(error)
        _show_controls(run, run.status().state)
        return
    chart_view.mention(networks=f"run {run.run_id}")
    recipe = config.study.shared if isinstance(config, StudyConfig) else config
    facts = f" · {grid_form.describe(config.study)}" if isinstance(config, StudyConfig) else ""
    st.header(as_text(recipe.name))
    st.caption(as_text(f"{run.run_id} · {_describe(recipe)}{facts}"))
    live = run.status().state in LIVE

    def follow() -> None:
        status = run.status()
        if live and status.state not in LIVE:
            st.rerun()  # the whole page once more, without polling
        with st.container():  # always one element, so that no button appears twice while the page is redrawn
            _show_progress(run, recipe, status)
            if live and turns.load() > SLOWED:
                st.caption("Visitors' pages take a part of this machine: the training is slower meanwhile.")
        _show_controls(run, status.state)
        if recipe is config:
            launch_curves.show(run, recipe, live)

    st.fragment(follow, run_every=_interval() if live else None)()
    if isinstance(run, StudyFolder):
        _show_results(run)
    with st.expander("Command line and log"):
        command = _command(config) if isinstance(config, StudyConfig) else train_command(config)
        st.code(command, language="bash", wrap_lines=True)
        _show_log(run, 12)


def _interval() -> float:
    """Seconds between two looks at what runs."""
    return POLL if access.is_presenter() else GUESTS_POLL


def _command(config: StudyConfig) -> str:
    """The command that continues a study."""
    study = config.study
    return study.grid_command() if study.grid else f"python -m kdexplorer resume {study.study_id}"


def _show_results(folder: StudyFolder) -> None:
    """A study's results so far, and a link to them."""
    try:
        table = folder.table()
    except KDError as error:
        show_error(error)
        return
    if table is not None:
        if table.declared.grid is not None:
            query = {"show": "Sweep", "sweep": folder.run_id}
            navigation.link_to("compare", "Open on Compare", query, navigation.ARROW)
        studies.show_study(table, folder.run_id)


def _open(kind: str = "", run_id: str = "") -> None:
    """Opens a run or a sweep, or without one returns to the form."""
    for name in ("run", "sweep"):
        st.query_params.pop(name, None)
    if kind:
        st.query_params[kind] = run_id


def _show_log(run: Run, lines: int) -> None:
    st.code(run.log_tail(lines) or "The log is empty.", language=None, wrap_lines=True)


def _describe(config: RunConfig) -> str:
    """A run in one line."""
    count = "all" if config.train_images is None else f"{config.train_images:,}"
    teacher = f"teacher {config.teacher}" if config.teacher else "no teacher"
    data = get_dataset(config.dataset).label
    return f"{data}, {count} training images, {config.epochs} epochs, {teacher}, seed {config.seed}"


def _show_progress(run: Run, config: RunConfig, status: RunStatus) -> None:
    """The state, a bar with the time left, what went wrong, and a study's runs."""
    epoch, step, steps = status.epoch, status.step, status.steps_per_epoch
    message = as_text(status.message[:LENGTH])
    starts = status.state in LIVE and epoch is None and not status.runs
    shown = status.state not in ("finished", "failed", "damaged") and status.message not in ("", "training")
    st.markdown(f"**{STATES[status.state]}**" + (f": {message}" if shown and not starts else ""))
    if status.state != "finished" and epoch is not None and step is not None and steps:
        text, left = f"Epoch {epoch + 1} of {config.epochs}", status.seconds_left
        if status.state == "running" and left is not None:
            text += f", about {format_duration(left)} left" if left >= 1 else ", evaluating"
        if status.state == "running" and status.images_per_second:
            text += f", {status.images_per_second:,.0f} images/s"
        if status.state == "running" and status.teacher_stored:
            text += ", teacher predictions from the disk"
        st.progress(min(1.0, (epoch * steps + step) / (config.epochs * steps)), text=text)
    elif starts:
        st.progress(0.0, text=f"{message.capitalize() or 'Starting'} …")
    if status.warning:
        st.warning(as_text(status.warning[:LENGTH]))
    if status.state in ("failed", "damaged"):
        st.error(message or "The run ended without a message.")
    if status.state in ("failed", "lost"):
        st.markdown("The last lines of its log:")
        _show_log(run, 8)
    if status.runs and status.finished is not None:
        text = f"{status.finished} of {status.runs} runs finished"
        st.progress(min(1.0, status.finished / status.runs), text=text)
    for run_id in status.working[:LIMIT]:
        navigation.link_to("launch", f"Running: {as_text(run_id)}", {"run": run_id})
    for run_id, reason in list(status.failed.items())[:LIMIT]:
        st.error(as_text(f"{run_id}: {reason[:LENGTH]}"))
    if len(status.failed) > LIMIT:
        st.error(f"{len(status.failed) - LIMIT} more runs failed: see the log.")


def _show_controls(run: Run, state: State) -> None:
    """Stop, resume, delete; for a guest, what there is instead."""
    if not access.is_presenter():
        st.caption("You see the results. The presenter stops, resumes and deletes runs.")
        return
    with st.container(horizontal=True):
        if state in LIVE and st.button("Stop", key="stop", icon=":material/stop:"):
            access.act_and_rerun(lambda: stop_run(run), "Stopping: saving state first.")
        if state in RESUMABLE and st.button("Resume", key="resume", type="primary", icon=":material/play_arrow:"):
            access.act_and_rerun(lambda: start_run(run))
        if state not in LIVE:
            label, what = "Delete this run", "run with its curves and finished students"
            if isinstance(run, StudyFolder):
                label, what = "Delete this sweep", "sweep's results (its runs remain)"
            layout.offer_deletion(label, f"Delete this {what}? This cannot be undone.", "delete", lambda: _delete(run))


def _delete(run: Run) -> None:
    delete_run(run)
    _open()


def show_list() -> None:
    """The latest sweeps and runs, each with its state and a button that opens it."""
    sweeps_found, found = list_studies(with_grid=True)[:10], list_runs()
    listed: list[Run] = [*sweeps_found, *found[:LIMIT]]

    def read() -> dict[Run, RunStatus]:
        return {run: run.status() for run in listed}

    first = [read()]  # what is shown at first; later the fragment reads again
    live = any(status.state in LIVE for status in first[0].values())

    def follow() -> None:
        statuses = first.pop() if first else read()
        if live and not any(status.state in LIVE for status in statuses.values()):
            st.rerun()
        if sweeps_found:
            st.header("Sweeps")
        for sweep in sweeps_found:
            _show_row(sweep, "sweep", statuses[sweep])
        st.header("Runs")
        if not found:
            st.markdown("There are no runs yet. Runs are listed here, also after a restart, and each one has a link.")
        for run in found[:LIMIT]:
            _show_row(run, "run", statuses[run])

    st.fragment(follow, run_every=_interval() if live else None)()
    if len(found) > LIMIT:
        st.caption(f"{len(found) - LIMIT} older runs: list them with 'python -m kdexplorer runs list'.")


def _show_row(run: Run, kind: str, status: RunStatus) -> None:
    facts = ""
    if status.finished is not None and status.runs is not None:
        facts = f" {status.finished} of {status.runs} runs"
    elif status.state != "finished" and status.epoch is not None and status.epochs is not None:
        facts = f" epoch {status.epoch + 1} of {status.epochs}"
    elif status.state == "damaged":
        facts = f": {as_text(status.message[:300])}"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Open", key=f"open_{run.run_id}", on_click=_open, args=(kind, run.run_id), width=90)
        st.markdown(f"{STATES[status.state]} `{run.run_id}`{facts}", width="stretch")
