"""Start an experiment from a form and watch it learn. The run's folder is all that this page knows of a run.

A link `?run=ID` shows that run: after a refresh, in a second tab, after a restart of the application.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import streamlit as st

from kdexplorer import cli, config, data, estimate, images, inference, runs, surface, sweep
from kdexplorer.config import ExperimentConfig
from kdexplorer.errors import KDError
from kdexplorer.ui import cached, charts_runs, choice, door, launch_form, style, sweeps

# Seconds between two looks at a live run's folder; the trainer writes its status as often.
POLL = 2.0

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


# --- A run ------------------------------------------------------------------------------------------------------


def close_run() -> None:
    """Back to the form."""
    for name in ("run", "sweep"):
        st.query_params.pop(name, None)


def opened(run: runs.Run) -> Any:
    """The way back to the form, and what a run or sweep was made of; None where that cannot be read."""
    st.button("New experiment", on_click=close_run, icon=":material/arrow_back:", key="new_experiment")
    try:
        return run.config()
    except KDError as error:
        st.error(str(error))
        controls(run, run.status()["state"])
        return None


def followed(run: runs.Run, show: Any, command: str, between: Any = None) -> None:
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


def sweep_view(one: sweep.Sweep) -> None:
    """One sweep: state, controls, its experiments, and its surface as far as it has come."""
    made = opened(one)
    if made is None:
        return
    st.subheader(made.recipe.name)
    st.caption(f"{one.run_id} · {facts_of(made.recipe)} · {sweeps.in_words(made)}")

    def show(status: dict[str, Any], live: bool) -> None:
        progress(one, made.recipe, status)
        sweeps.progress(status)
        controls(one, status["state"])

    def results() -> None:
        table = one.table()
        if surface.readable(table):
            link("compare", "Its surface in Compare", {"show": "Sweep", "sweep": one.run_id})
            sweeps.show(table, one.run_id)

    followed(one, show, cli.sweep_command_line(made), results)


def run_view(run: runs.Run) -> None:
    """One run: state, controls, curves, and one image's soft labels epoch by epoch."""
    made = opened(run)
    if made is None:
        return
    st.subheader(made.name)
    st.caption(f"{run.run_id} · {facts_of(made)}")

    def show(status: dict[str, Any], live: bool) -> None:
        progress(run, made, status)
        controls(run, status["state"])
        drawings(run, made, live)

    followed(run, show, cli.command_line(made))


def facts_of(made: ExperimentConfig) -> str:
    """An experiment in one line."""
    count = "all" if made.train_images is None else f"{made.train_images:,}"
    teacher = f"teacher {made.teacher}" if made.teacher else "no teacher"
    return f"{data.NAMES[made.dataset]}, {count} training images, {made.epochs} epochs, {teacher}, seed {made.seed}"


def progress(run: runs.Run, made: ExperimentConfig, status: dict[str, Any]) -> None:
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


def controls(run: runs.Run, state: str) -> None:
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
                    door.carry_out(lambda: discard(run))


def discard(run: runs.Run) -> None:
    """Deletes it and goes back to the form."""
    runs.delete(run, run.path.parent)
    close_run()


def drawings(run: runs.Run, made: ExperimentConfig, live: bool) -> None:
    """Accuracy and a loss term of all students on shared axes, and the image that is watched."""
    roles = {student.name: role_of(student, made) for student in made.students}
    looks = style.series(roles)
    rows = [row for row in run.metrics() if row["student"] in roles and row["epoch"] < made.epochs]
    metrics = [row for row in rows if charts_runs.value_of(row, "cross_entropy") is not None]
    teacher = run.teacher(len(data.CLASSES[made.dataset]))
    if not metrics:
        if live:
            st.info("Curves appear after the first epoch. The first seconds go into loading the data and networks.")
        return
    finished(run, made, live)
    left, right = st.columns(2)
    with left:
        draw(charts_runs.learning_curves(metrics, looks, "accuracy", made.epochs, teacher), "accuracy_chart")
    with right:
        terms = [
            m
            for m in charts_runs.MEASURES
            if m != "accuracy" and any(charts_runs.value_of(row, m) is not None for row in metrics)
        ]
        term = st.segmented_control(
            "Loss term", terms, format_func=lambda m: charts_runs.MEASURES[m][0], default=terms[0], required=True
        )
        draw(charts_runs.learning_curves(metrics, looks, term or terms[0], made.epochs, teacher), "terms_chart")
    watch(made, metrics, teacher, looks, live)


def role_of(student: config.StudentConfig, made: ExperimentConfig) -> str:
    """A student's role in colours: in a run without a teacher, a teacher is made (see `charts.role`)."""
    alone = not made.teacher and student.method == "scratch" and "scratch" not in student.name.lower()
    return "teacher" if alone else student.method


def draw(chart: Any, key: str) -> None:
    """A chart with its alt text, where there is one."""
    if chart is not None:
        st.vega_lite_chart(chart, key=key)  # its description is its alt text


def finished(run: runs.Run, made: ExperimentConfig, live: bool) -> None:
    """Links that carry the finished students to the other pages."""
    students = [path.name for path in runs.students(run)]
    if live or not students:
        return
    names = [f"{run.run_id}/{name}" for name in students]
    shared = {"students": ",".join(names[: choice.MAX_STUDENTS])}
    if made.teacher:
        shared["teacher"] = made.teacher
    everyone = [*([made.teacher] if made.teacher else []), *names]
    st.success(f"{len(students)} trained network{'s' if len(students) > 1 else ''}: on every page now.")
    with st.container(horizontal=True):
        link("compare", "Compare them", {"networks": ",".join(everyone)})
        if made.teacher:
            link("soft_labels", "Their soft labels", shared)
            link("attention", "Their attention", shared)


def link(page: str, label: str, query: dict[str, str]) -> None:
    """A link to another page of this application that carries the choice."""
    st.page_link(f"pages/{page}.py", label=label, query_params=query, icon=":material/arrow_forward:")


def probes_of(row: dict[str, Any], classes: int) -> np.ndarray:
    """The logits of the watched images `[N, classes]`; N is 0 where they cannot be read."""
    with contextlib.suppress(ValueError, TypeError):
        values = np.asarray(row.get("probes") or [], dtype=float)
        if values.ndim == 2 and values.shape[1] == classes and np.isfinite(values).all():
            return values
    return np.empty((0, classes))


def watch(
    made: ExperimentConfig, metrics: list[dict[str, Any]], teacher: dict[str, Any] | None, looks: Any, live: bool
) -> None:
    """One image whose soft labels are redrawn after every epoch."""
    classes = data.CLASSES[made.dataset]
    by_epoch: dict[int, dict[str, np.ndarray]] = {}
    for row in metrics:
        by_epoch.setdefault(row["epoch"], {})[row["student"]] = probes_of(row, len(classes))
    known = probes_of(teacher or {}, len(classes))
    pictures, own_labels = cached.probes(made.dataset, made.holdout)
    labels = (teacher or {}).get("probe_labels") or own_labels.tolist()
    count = min(len(probes) for rows in by_epoch.values() for probes in rows.values())
    if not count:
        return
    st.subheader("Watch it learn")

    def name(index: int) -> str:
        return f"{index}: {classes[labels[index]]}" if index < len(labels) else str(index)

    settings, picture, chart = st.columns([2, 2, 5])
    with settings:
        index = st.selectbox("Image", range(count), format_func=name, key="watch_image")
        softened = [student.temperature for student in made.students if student.response_weight]
        choices = sorted({1.0, 2.0, 4.0, 8.0, *softened[:1]})
        temperature = st.segmented_control(
            "Temperature",
            choices,
            format_func="{:g}".format,
            key="watch_T",
            default=(softened or [1.0])[0],
            required=True,
        )
        epochs = sorted(by_epoch)
        epoch = epochs[-1]
        if len(epochs) > 1 and not live:
            epoch = st.select_slider("Epoch", epochs, epochs[-1], format_func=lambda e: str(e + 1), key="watch_epoch")
    with picture:
        if index < len(pictures):
            label = name(index).partition(": ")[2]
            st.image(images.enlarged_png(pictures[index].transpose(1, 2, 0), 256), width=256, caption=label)
    with chart:
        answers = [probes[index] for rows in by_epoch.values() for probes in rows.values()]
        answers += list(known[index : index + 1])
        top = float(inference.soften(np.stack(answers), temperature or 1.0).max())
        drawn = charts_runs.soft_labels_at(
            known[index] if index < len(known) else None,
            {student: probes[index] for student, probes in by_epoch[epoch].items()},
            looks,
            classes,
            temperature or 1.0,
            labels[index] if index < len(labels) else None,
            f"after epoch {epoch + 1}",
            min(1.0, np.ceil(top * 10) / 10),
        )
        draw(drawn, "watch_chart")


# --- All runs ---------------------------------------------------------------------------------------------------


def open_run(run_id: str, kind: str = "run") -> None:
    """The link to a run or a sweep."""
    close_run()
    st.query_params[kind] = run_id


def all_sweeps() -> None:
    """The sweeps so far, the newest first, each a button that opens it."""
    found = sweep.list_sweeps()[:10]
    if found:
        st.subheader("Sweeps")
    for one in found:
        status = one.status()
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button("Open", key=f"open_{one.run_id}", on_click=open_run, args=(one.run_id, "sweep"), width=90)
            words = f", {status['finished']} of {status['experiments']} experiments" if "finished" in status else ""
            st.markdown(f"{STATES[status['state']]} `{one.run_id}`{words}", width="stretch")


def all_runs(shown: str | None) -> None:
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
            with st.container(horizontal=True, vertical_alignment="center"):
                st.button("Open", key=f"open_{run.run_id}", on_click=open_run, args=(run.run_id,), width=90)
                words = ""
                if isinstance(status.get("epoch"), int) and isinstance(status.get("epochs"), int):
                    words = f", epoch {status['epoch'] + 1} of {status['epochs']}"
                st.markdown(f"{STATES[status['state']]} `{run.run_id}`{words}", width="stretch")

    st.fragment(show, run_every=POLL if live and shown is None else None)()
    if len(found) > 20:
        st.caption(f"{len(found) - 20} older runs: list them with 'python -m kdexplorer runs list'.")


def main() -> None:
    """The run that the link names, else the form."""
    st.title("Launch")
    door.ask()
    run = None
    run_id = st.query_params.get("run")
    if run_id is not None and not (config.is_name(run_id) and (runs.runs_root() / run_id).is_dir()):
        named = choice.as_text(run_id[:80])
        st.warning(f"There is no run '{named}' here: it may have been discarded. Here is the form for a new one.")
    elif run_id is not None:
        with contextlib.suppress(KDError):
            run = runs.find(run_id)
    sweep_id = st.query_params.get("sweep")
    one = sweep.find(sweep_id) if sweep_id is not None and config.is_name(sweep_id) else None
    if run is not None:
        run_view(run)
    elif one is not None:
        sweep_view(one)
    else:
        if sweep_id is not None:
            st.warning(f"There is no sweep '{choice.as_text(sweep_id[:80])}' here. Here is the form for a new one.")
        launch_form.show()
    all_sweeps()
    all_runs(run_id if run else sweep_id if one else None)


choice.through_the_door()
try:
    main()
except KDError as error:
    st.error(str(error))
