"""What starts a run on Launch: the demo's card, and the side of the form with estimate, command and button."""

from __future__ import annotations

import contextlib
import time

import streamlit as st

from kdexplorer.app.parts import measurement
from kdexplorer.app.parts.layout import as_text, show_error
from kdexplorer.app.parts.measurement import POLL
from kdexplorer.app.server import access
from kdexplorer.app.state.cached import all_networks
from kdexplorer.config import RunConfig
from kdexplorer.datasets import Dataset, download, get_dataset
from kdexplorer.datasets.cifar10 import Cifar, Cifar10
from kdexplorer.errors import KDError
from kdexplorer.notation import train_command
from kdexplorer.runs.launch import launch_run
from kdexplorer.runs.records import LIVE
from kdexplorer.runs.run_folder import Run, count_live, list_runs
from kdexplorer.studies.driver import Left
from kdexplorer.studies.folder import StudyConfig, launch_study
from kdexplorer.studies.study import Study
from kdexplorer.training import estimate
from kdexplorer.training.checks import Problems
from kdexplorer.training.estimate import Estimate, Measurement, format_duration
from kdexplorer.training.recipe import FULL_RESOLUTION

MAX_EVALUATION_SHARE = 0.05
"""Of a run's time; above it the estimate suggests to evaluate less often."""
_ESTIMATE = "estimate"


def offer_download(chosen: Dataset) -> None:
    """While CIFAR-10 or -100 is missing: its download as a background process, with progress and errors."""
    dataset = chosen if isinstance(chosen, Cifar) else Cifar10()
    state = download.download_status(dataset).state
    if state == "ready":
        return

    def show() -> None:
        status = download.download_status(dataset)
        if status.state == "ready":
            st.rerun()
        with st.container(border=True):
            part = " Training works without it, on 5,000 images that are included." if dataset.substitute else ""
            st.markdown(
                f"**The complete {dataset.label} is missing.**{part} The {round(dataset.archive_bytes, -7) / 1e6:.0f} "
                "MB download from the official site is verified."
            )
            if status.state == "failed":
                st.error(f"The download failed: {as_text(status.message)}")
            if status.state == "running":
                st.progress(status.share, text=f"Downloading {dataset.label}: {status.message}")
                if st.button("Cancel", key="cancel_download"):
                    access.act_and_rerun(download.cancel_download)
            elif st.button(f"Download {dataset.label}", key=f"download_{dataset.key}", icon=":material/download:"):
                access.act_and_rerun(lambda: download.start_download(dataset))

    st.fragment(show, run_every=POLL if state == "running" else None)()


def show(config: RunConfig | None, problems: Problems, sweep: Study | None) -> None:
    """Estimate, command and start of a run, or of the sweep whose recipe it is."""
    alive = count_live()
    with st.container(border=True, gap="small"):
        if alive:
            st.info(f"This run will wait in the queue: {alive} run{'s' if alive > 1 else ''} ahead of it.")
        label = "Add to the queue" if alive else "Start training" if sweep is None else "Start the sweep"
        pressed = st.button(label, "start", type="primary", disabled=config is None, icon=":material/play_arrow:")
        if pressed and config is not None:
            access.act_and_rerun(lambda: _start(config, sweep))
        if config is None:
            count = sum(len(sentences) for sentences in problems.values())
            st.markdown(f"{count} problem{'s' if count > 1 else ''} to fix first, marked in red in the form.")
        else:
            command, measured, times = train_command(config), config, 1.0
            if sweep is not None:
                st.markdown(f"{as_text(describe_study(sweep))}.")
                plan = StudyConfig(study=sweep)
                left = Left(sweep.study_id, plan, plan.runs())
                command, measured, times = sweep.grid_command(), left.sample, left.times
            _show_estimate(measured, times)
            st.markdown("The same from the command line:")
            st.code(command, language="bash", wrap_lines=True)
        st.caption("The weights at the end of training are the result: no epoch is selected on the test images.")


def describe_study(study: Study) -> str:
    """The size of a study in one line."""
    entries, seeds = len(study.entries), len(study.seeds)
    beside = ": the grid, the lab's default and the scratch baseline" if study.grid else ""
    held = "; the gradient's size is constant over temperatures" if study.grid and study.grid.hold == "gradient" else ""
    teacher = f" distilled from {study.shared.teacher}" if study.shared.teacher else ""
    return (
        f"{entries} students ({study.architecture}{teacher}{beside}) × {seeds} "
        f"seed{'s' if seeds > 1 else ''} = {entries * seeds} trained networks{held}"
    )


JUST_NOW = 2.0
"""Seconds: the second click of a double click starts no second run."""


def _start(config: RunConfig, sweep: Study | None = None) -> None:
    started = launch_study(sweep) if sweep else _find_just_started(config) or launch_run(config)
    measurement.forget(_ESTIMATE)
    st.query_params["run" if sweep is None else "sweep"] = started.run_id


def _find_just_started(config: RunConfig) -> Run | None:
    for run in list_runs()[:1]:
        with contextlib.suppress(KDError, OSError):
            age = time.time() - (run.path / "config.json").stat().st_mtime
            if age < JUST_NOW and run.config() == config and run.status().state in LIVE:
                return run
    return None


# --- The estimate ---


def _show_estimate(config: RunConfig, times: float) -> None:
    """The training time, times `times`, from a few batches that a process of its own measures."""
    small = config.teacher and config.start_resolution < FULL_RESOLUTION
    more = f", and measures the teacher at {config.start_resolution} pixels" if small else ""
    caption = f"Times a few batches on this machine, which takes about ten seconds{more}."
    found = measurement.offer_estimate(
        _ESTIMATE, config.model_dump_json(), lambda: Measurement([config], lambda found: found[0]), caption
    )
    if found is None:
        return
    st.markdown(f"Estimated time: **{format_duration(found.repeat(times))}**")
    st.caption(
        f"{found.images_per_second:.0f} images/s; {_describe_evaluation(config, found)}. Other work on this machine "
        "makes it longer."
    )
    if source := _describe_teacher(config, found):
        st.caption(source)
    if found.warning:
        st.warning(f"{as_text(found.warning)}.")


def _describe_evaluation(config: RunConfig, found: Estimate) -> str:
    """How long an evaluation takes and how often there is one, and what to do where that is much of the time."""
    every = config.evaluate_every
    text = f"evaluation takes {format_duration(found.evaluation)} after "
    text += "each epoch" if every == 1 else f"every {every} epochs"
    share = found.evaluation / (every * (found.epoch - found.evaluation) + found.evaluation)
    if share <= MAX_EVALUATION_SHARE:
        return text
    return f"{text}, {100 * share:.0f} % of the time, which more epochs between evaluations save"


def _describe_teacher(config: RunConfig, found: Estimate) -> str:
    """How much of the teacher's predictions is read, or which methods prevent that; empty where nothing is stored."""
    methods = {method.label for student in config.students for method in student.methods if "stages" in method.needs}
    if methods:
        need = "needs" if len(methods) == 1 else "need"
        return (
            f"{', '.join(sorted(methods))} {need} the outputs of stages, which are too large to store: the teacher "
            "computes every batch."
        )
    if not found.stored:
        return ""
    return (
        f"The teacher's predictions are stored for {100 * found.stored:.0f} % of the epochs: {found.speedup:.1f} "
        "times faster than without."
    )


# --- The demo, which is measured once for a machine ---


def show_demo() -> bool:
    """Draws the card that starts the demo and says how long it takes here; False, and nothing, without its teacher."""
    found = estimate.stored_estimate()
    config = estimate.demo_config(estimate.choose_length(found))
    if config.teacher not in all_networks():
        return False
    alive = count_live()
    with st.container(border=True, key="demo"):
        seconds = 60.0 if found is None else estimate.demo_seconds(found, config.epochs)
        st.header("Train a student in a minute" if seconds < 90 else "Train a student")
        left, right = st.columns([3, 2], gap="large", vertical_alignment="center")
    with left:
        student, data = config.students[0].architecture, get_dataset(config.dataset)
        st.markdown(
            f"Two small networks ({student}) see the same {data.label.removesuffix(' (included)')} for {config.epochs} "
            "epochs. One learns from the labels alone (**scratch**), the other also from the teacher "
            f"{config.teacher} (**distilled**). Which one classifies more test images correctly?"
        )
        if st.button("Train now", "train_now", type="primary", icon=":material/play_arrow:", width=260):
            access.act_and_rerun(lambda: _start(config))
    with right:
        if found is None and not alive:
            st.fragment(_measure_demo, run_every=POLL)()
            return True
        st.metric("On this machine", f"≈ {format_duration(seconds)}")
        if alive:
            st.caption(f"It starts after {alive} other run{'s' if alive > 1 else ''}.")
        elif found is not None:
            if found.warning:
                st.warning(f"{as_text(found.warning)}.")
            with st.container(horizontal=True, vertical_alignment="center"):
                st.caption("Measured once; too long if the machine was busy.", width="content")
                if st.button("Measure again", key="measure_demo", type="tertiary", icon=":material/refresh:"):
                    access.act_and_rerun(lambda: estimate.store_estimate(None))
    return True


@st.cache_resource(show_spinner=False)
def _demo_measurement() -> Measurement[Estimate]:
    """One for all visitors, until its result is stored."""
    return Measurement([estimate.demo_config()], lambda found: found[0], "Measuring how fast this machine is, once")


def _measure_demo() -> None:
    """Waits for the measurement, stores it, and shows the page again with the length that fits."""
    if estimate.stored_estimate() is None:
        measured = access.act_if_presenter(_demo_measurement)
        if measured is None:
            return
        try:
            if (found := measured.poll()) is None:
                st.metric("On this machine", "≈ 1 min")
                st.caption(measured.describe())
                return
            estimate.store_estimate(found)
        except (KDError, OSError) as error:
            show_error(error)
            if st.button("Measure again", key="measure_demo_again", icon=":material/refresh:"):
                access.act_and_rerun(_demo_measurement.clear)
            return
        access.act_if_presenter(_demo_measurement.clear)
    st.rerun()
