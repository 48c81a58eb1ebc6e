"""The page Experiments: a question, one chart, a verdict that is computed, and running it."""

from functools import partial
from typing import Literal

import streamlit as st

from kdexplorer.analysis.difference import Verdict
from kdexplorer.app import layout
from kdexplorer.app.layout import as_text
from kdexplorer.app.parts import chart_view, downloads, measurement
from kdexplorer.app.server import access
from kdexplorer.app.state import choices
from kdexplorer.runs.launch import stop_run
from kdexplorer.studies.driver import describe_state, list_left, measure_left
from kdexplorer.studies.experiments import (
    SMALL,
    Experiment,
    all_experiments,
    count_left,
    find_claims,
    read,
    read_largest,
)
from kdexplorer.studies.experiments.base import Results
from kdexplorer.studies.folder import ExperimentFolder, experiment_folder, open_experiment, start_work
from kdexplorer.studies.report import to_csv
from kdexplorer.training.estimate import format_duration

_ESTIMATE = "experiment_estimate"
VERDICTS: dict[Verdict, tuple[str, Literal["green", "orange", "gray"]]] = {
    "supported": (":material/check_circle:", "green"),
    "not supported": (":material/cancel:", "orange"),
    "cannot be decided": (":material/help:", "gray"),
}
"""Each verdict's icon and color."""


def show() -> None:
    """One experiment at a time."""
    layout.header("experiments", "Why does distillation work? A question, one chart, and a verdict from the data.")
    experiment = show_findings()
    st.divider()
    access.show_login()
    _show_run(experiment)


def show_findings(experiment: Experiment | None = None) -> Experiment:
    """What an experiment asks and has found; without one, of the one that is chosen beside its chart."""
    with st.container(key=None if experiment else "experiment_page"):
        left, right = st.columns([2, 3], gap="medium")
    with left:
        experiment = experiment or pick_experiment()
        results = read_largest(experiment)
        claims = find_claims(experiment, results)
        st.header(experiment.question)
        if results and results.small:
            st.caption(SMALL)
        for claim in claims:
            icon, color = VERDICTS[claim.verdict]
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.badge(claim.verdict, icon=icon, color=color)
                st.markdown(f"**{as_text(claim.claim)}**", width="stretch")
            if claim.verdict == "cannot be decided" and claim.needs:
                st.caption(as_text(f"What would decide it: {claim.needs}."))
        st.markdown(f"**Literature.** {experiment.literature}")
        st.markdown(f"**Expected.** {experiment.expected}")
        with st.expander("Protocol"):
            st.markdown(f"{experiment.protocol}\n\n{experiment.comparison}")
    with right:
        draw_chart(experiment, results)
    if claims:
        with st.expander("The numbers behind the verdict"):
            for claim in claims:
                st.markdown(f"**{as_text(claim.claim)}**: {as_text(claim.evidence)}")
            if details := experiment.details(results):
                st.markdown(details)
            downloads.show_files(experiment.key, {"csv": to_csv(results.tables)})
    return experiment


def show_alone(with_answer: bool) -> None:
    """One experiment: its question, its chart, and with its answer the verdict."""
    left, right = st.columns([2, 3], gap="medium")
    with left:
        chosen = pick_experiment()
    found = read_largest(chosen)
    said = f"**{chosen.question}** "
    if with_answer and found:
        verdicts = (f"{VERDICTS[one.verdict][0]} {one.claim}: {one.verdict}." for one in find_claims(chosen, found))
        said += "  \n".join(verdicts) or SMALL
    right.markdown(said)
    draw_chart(chosen, found)


def pick_experiment() -> Experiment:
    """The choice, also in the link; at first one that is measured."""
    known = {experiment.key: experiment for experiment in all_experiments()}
    measured = (key for key, experiment in known.items() if read(experiment))
    key = choices.pick_one(
        "experiment", "Experiment", list(known), next(measured, next(iter(known))), kind="experiment",
        format_func=lambda key: known[key].title,
    )  # fmt: skip
    return known[key]


def draw_chart(experiment: Experiment, results: Results) -> None:
    """Draws the chart of what was measured, or says how to measure it."""
    for reason in results.left_out:
        st.warning(as_text(access.hide_folders(reason)))
    if not results or results.small:
        st.info(f"Not measured yet. {experiment.describe_cost()}")
    if results:
        chart_view.show_figure("experiment", experiment.figure(results), experiment.title, ())


def _show_run(experiment: Experiment) -> None:
    """Running it, in full or small, and what to change."""
    st.markdown("**Run it yourself.** Existing results are not measured again.")
    command = f"python -m kdexplorer experiment {experiment.key}"
    st.code(f"{command}\n{command} --small", language="bash")
    folders = [experiment_folder(experiment.key, small) for small in (False, True)]
    if (working := next(filter(describe_state, folders), None)) is not None:
        measurement.forget(_ESTIMATE)
        measurement.follow(partial(_show_progress, experiment.key, working), measurement.interval())
    else:
        for run in folders:  # how an earlier start ended, where it did not finish
            if (run.path / "config.json").is_file() and (status := run.status()).state in ("stopped", "failed", "lost"):
                st.caption(as_text(access.hide_folders(f"{run.run_id}: {status.state}. {status.message}")))
        _offer_start(experiment)
    st.markdown(f"**What to change.** {experiment.change}")


def _offer_start(experiment: Experiment) -> None:
    """The buttons that start it, and how long what is left takes here; for a visitor, what there is instead."""
    if not access.is_presenter():
        st.caption("On this server only the presenter can start this. On your own machine use these commands.")
        return
    key = experiment.key
    with st.container(horizontal=True):
        variants = ((True, "Run the small variant"), (False, "Run it in full"))
        icon = ":material/play_arrow:"
        pressed = [small for small, label in variants if st.button(label, key=f"run_{key}_{small}", icon=icon)]
    if pressed:
        access.act_and_rerun(lambda: start_work(open_experiment(key, pressed[0])))
    if count_left(experiment, read(experiment)) == 0:
        measurement.forget(_ESTIMATE)
        return
    seconds = measurement.offer_estimate(_ESTIMATE, key, lambda: measure_left(list_left(experiment)))
    if seconds is not None:
        st.markdown(f":material/timer: Running it in full takes about {format_duration(sum(seconds))} on this machine.")


def _show_progress(key: str, run: ExperimentFolder) -> None:
    """What the process does, and a button that stops it; the page anew once it has ended."""
    if not (line := describe_state(run)):
        st.rerun()
    st.markdown(f":material/timer: {as_text(line)}")
    if access.is_presenter() and st.button(
        "Stop", key=f"stop_{key}", icon=":material/stop:", help="Finished results are kept"
    ):
        access.act_and_rerun(lambda: stop_run(run), "Stopping after the current step.")
