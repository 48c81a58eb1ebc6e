"""The page Launch: the demo's card and the form, or the run that the link names, and below both the list of all runs.

All that it knows of a run is its folder. A link `?run=ID` or `?sweep=ID` shows that run or sweep, also after a restart
of the application.
"""

import contextlib

import streamlit as st

from kdexplorer.app import layout
from kdexplorer.app.launch import form, run
from kdexplorer.app.layout import as_text
from kdexplorer.app.parts import measurement
from kdexplorer.app.server import access
from kdexplorer.app.state.cached import all_networks
from kdexplorer.datasets import get_dataset
from kdexplorer.errors import KDError
from kdexplorer.runs import array_store
from kdexplorer.runs.run_folder import LIVE, Run, RunStatus, count_live, find_run, list_runs
from kdexplorer.schema import is_name
from kdexplorer.studies.folder import find_study, list_sweeps
from kdexplorer.training import estimate
from kdexplorer.training.estimate import Estimate, Measurement, format_duration


def show() -> None:
    """The run or sweep that the link names, else what starts one; then the list of all."""
    top = st.container()
    opened = _find_opened()
    if opened is None:
        with top:
            layout.header(
                "launch",
                "Train students on this machine and watch what they learn. Training continues even if you close the "
                "page.",
            )
    else:
        run.show(opened)
    access.show_login()
    if opened is None and access.is_presenter():
        has_demo = _show_demo()
        customize = st.expander(
            "Customize", expanded=not has_demo, key="customize", icon=":material/tune:", bind="query-params"
        )
        if customize.open:
            with customize:
                form.show()
    elif opened is None:
        _show_other_pages()
    # below a run less often: who looks for news of both every two seconds would count as one who asks without pause
    _show_list(measurement.interval() if opened is None else 3 * measurement.interval())
    _show_store()


def _find_opened() -> Run | None:
    """What the link names; a name that does not exist is reported."""
    for kind, find in (("run", find_run), ("sweep", find_study)):
        if (name := st.query_params.get(kind)) is not None:
            with contextlib.suppress(KDError):
                if is_name(name) and (found := find(name)):  # never a path
                    return found
            st.warning(f"There is no {kind} '{as_text(name[:80])}'; it may have been deleted.")
    return None


def _show_other_pages() -> None:
    """Instead of the form: what a visitor may do here, on the other pages, and on a machine of their own."""
    st.markdown(
        "On this server the presenter starts training. **You can follow it**: open a run in the list below to see its "
        "curves while it trains, and play it again when it has finished. These pages are for everyone:"
    )
    with st.container(horizontal=True):
        for page in ("live", "soft_labels", "attention", "compare"):
            layout.link_to(page, layout.TITLES[page], icon=layout.ARROW)
    st.markdown("To train networks yourself, install the application on your own machine. A first run of a minute:")
    st.code("python -m kdexplorer demo", language="bash")


def _show_list(every: float) -> None:
    """The latest sweeps and runs, each with its state, looked up every so many seconds, and a button that opens it."""
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

    measurement.follow(follow, every if live else None)
    if len(runs) > run.LIMIT:
        st.caption(f"{len(runs) - run.LIMIT} older runs: list them with 'python -m kdexplorer runs list'.")


def _show_row(one: Run, kind: str, status: RunStatus) -> None:
    facts = ""
    if status.finished is not None and status.runs is not None:
        facts = f" {status.finished} of {status.runs} runs"
    elif status.state != "finished" and status.epoch is not None and status.epochs is not None:
        facts = f" epoch {status.epoch + 1} of {status.epochs}"
    elif status.state == "damaged":
        facts = f": {as_text(access.hide_folders(status.message)[:300])}"
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(f"Open {as_text(one.run_id)}", key=f"open_{one.run_id}"):
            run.open_run(kind, one.run_id)
        st.markdown(f"{run.STATES[status.state]}{facts}", width="stretch")


def _show_store() -> None:
    """What runs keep on the disk for later ones, with a button that deletes it; nothing where that is empty."""
    if not array_store.list_files():
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            f"{array_store.describe_store()} Runs with the same images, seed and teacher read them and are faster.",
            width="stretch",
        )
        question = "Delete the stored predictions? Runs compute them again when they need them."
        access.offer_deletion("Delete", question, "delete_predictions", array_store.delete_store, "Deleted.")


def _show_demo() -> bool:
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
            access.act_and_rerun(lambda: form.start_training(config))
    with right:
        if found is None and not alive:
            measurement.follow(_measure_demo, measurement.POLL)
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
            access.show_error(error)
            if st.button("Measure again", key="measure_demo_again", icon=":material/refresh:"):
                access.act_and_rerun(_demo_measurement.clear)
            return
        access.act_if_presenter(_demo_measurement.clear)
    st.rerun()
