"""What stands before the start on Launch: the data's download, the estimate, the command, and the button itself."""

from __future__ import annotations

import time

import streamlit as st

from kdexplorer import cli, download, draft, estimate, runs, sweep
from kdexplorer.config import ExperimentConfig
from kdexplorer.errors import KDError
from kdexplorer.ui import door, sweeps

POLL = 1.0
"""Seconds between two looks at a measurement or a download."""


def get_cifar10() -> None:
    """Where CIFAR-10 is missing: the download as a background job, with its progress and its errors."""
    if download.progress().state == "ready":
        return

    def show() -> None:
        now = download.progress()
        if now.state == "ready":
            st.rerun()
        with st.container(border=True):
            st.markdown(
                "**CIFAR-10 is not here yet.** 170 MB from its official site, checked; training on it needs it."
            )
            if now.state == "failed":
                st.error(f"The download failed: {now.message}")
            if now.state == "running":
                st.progress(now.share, text=f"Getting CIFAR-10: {now.message}")
                if st.button("Cancel", key="cancel_download"):
                    door.carry_out(download.cancel)
            elif st.button("Get CIFAR-10", key="get_cifar10", icon=":material/download:"):
                door.carry_out(download.start)

    st.fragment(show, run_every=POLL if download.progress().state == "running" else None)()


def show(made: ExperimentConfig | None, problems: draft.Problems, whole: sweep.SweepConfig | None) -> None:
    """Estimate, command, start: of an experiment, or of the whole sweep that it is the recipe of."""
    alive = sum(run.status()["state"] in runs.LIVE for run in runs.list_runs()[:20])
    with st.container(border=True):
        st.subheader("Before the start")
        if made is None:
            count = sum(len(sentences) for sentences in problems.values())
            st.markdown(f"{count} {'thing' if count == 1 else 'things'} to mend first, marked red beside the form.")
        else:
            if whole is None:
                _estimate_box(made)
            else:
                st.markdown(f"{sweeps.in_words(whole)}.")
                students = whole.students()[: sweep.MOST_STUDENTS]
                _estimate_box(
                    made.model_copy(update={"students": students}), whole.seeds * len(whole.students()) / len(students)
                )
            st.markdown("The same from the command line:")
            command = cli.command_line(made) if whole is None else cli.sweep_command_line(whole)
            st.code(command, language="bash", wrap_lines=True)
        if alive:
            st.info(f"{alive} run{'s' if alive > 1 else ''} before it: it waits for its turn.")
        label = "Add to the queue" if alive else "Start training" if whole is None else "Start the sweep"
        if st.button(label, type="primary", disabled=made is None, key="start", icon=":material/play_arrow:"):
            door.carry_out(lambda: _start(made, whole))
        st.caption("Nothing is chosen on the test images: the last epoch's weights are the result.")


def _start(made: ExperimentConfig, whole: sweep.SweepConfig | None) -> None:
    """Launches it and opens it."""
    started = runs.launch(made) if whole is None else sweep.launch(whole)
    _forget_estimate()
    st.query_params["run" if whole is None else "sweep"] = started.run_id


def _forget_estimate() -> None:
    """Ends a measurement that nobody waits for."""
    measurement = st.session_state.pop("estimate", None)
    if measurement is not None:
        measurement.cancel()


def _estimate_box(made: ExperimentConfig, times: float = 1) -> None:
    """How long it will take (so many times), from a few batches that a process of its own measures."""
    measurement: estimate.Measurement | None = st.session_state.get("estimate")
    if measurement is not None and measurement.config != made:
        _forget_estimate()
        measurement = None
    if measurement is None:
        if st.button("Estimate the time", key="estimate_button", icon=":material/timer:"):
            door.carry_out(lambda: st.session_state.update(estimate=estimate.Measurement(made)))
        st.caption("Measures a few batches on this machine; takes about ten seconds.")
        return

    def show() -> None:
        try:
            result = measurement.poll()
        except KDError as error:
            result = error
        if result is None:
            waited = time.time() - measurement.started
            st.markdown(f":material/timer: Measuring a few batches … {waited:.0f} s")
            return
        if st.session_state.get("estimate_seen") != id(measurement):
            st.session_state["estimate_seen"] = id(measurement)
            st.rerun()  # the fragment stops polling
        if isinstance(result, KDError):
            st.error(str(result))
            if st.button("Measure again", key="estimate_again", icon=":material/refresh:"):
                _forget_estimate()
                st.rerun()
            return
        st.metric("About", estimate.words(times * result["seconds"]))
        st.caption(
            f"{result['images_per_second']:.0f} images/s; measuring takes {estimate.words(result['evaluation'])} after "
            "each epoch. Other work on this machine makes it longer."
        )

    seen = st.session_state.get("estimate_seen") == id(measurement)
    st.fragment(show, run_every=None if seen else POLL)()
