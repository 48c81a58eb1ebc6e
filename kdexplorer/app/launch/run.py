"""One run or sweep on Launch: its state, its controls, and what its students have learned so far."""

import pickle

import numpy as np
import streamlit as st

from kdexplorer.analysis import results
from kdexplorer.analysis.results import ResultRow
from kdexplorer.analysis.verdicts import describe_gains, digits_of
from kdexplorer.app import layout
from kdexplorer.app.compare.sections import Comparison
from kdexplorer.app.launch.form import describe_study
from kdexplorer.app.layout import ARROW, as_text
from kdexplorer.app.parts import chart_view, downloads, measurement, network_picker, studies
from kdexplorer.app.server import access, turns
from kdexplorer.app.state import cached
from kdexplorer.app.state.cached import all_networks, label_together
from kdexplorer.app.state.choices import pick_one, pick_option, pick_toggle
from kdexplorer.charts import evaluation, learning_curves, style
from kdexplorer.charts.common import Spec
from kdexplorer.charts.learning_curves import Curves
from kdexplorer.config import SCRATCH, RunConfig
from kdexplorer.datasets import find_dataset
from kdexplorer.errors import KDError
from kdexplorer.images.picture import data_url, enlarge_png
from kdexplorer.notation import train_command
from kdexplorer.runs.card import EpochMeasures
from kdexplorer.runs.launch import delete_run, start_run, stop_run
from kdexplorer.runs.run_folder import LIVE, RESUMABLE, EpochMetrics, Run, RunStatus, State
from kdexplorer.studies.folder import StudyConfig, StudyFolder
from kdexplorer.training.estimate import format_duration

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
    try:
        config: RunConfig | StudyConfig = run.config()
    except KDError as error:
        layout.header("launch", as_text(run.run_id), title="Damaged run")
        access.show_error(error)
        _show_controls(run, run.status().state)
        _offer_deletion(run)
        return
    if isinstance(config, StudyConfig):
        study = config.study
        recipe, facts = study.shared, f" · {describe_study(study)}"
        command = study.grid_command() if study.grid else f"python -m kdexplorer resume {study.study_id}"
    else:
        recipe, facts, command = config, "", train_command(config)
    described = access.hide_folders(f"{run.run_id} · {_describe(recipe)}{facts}")
    layout.header("launch", as_text(described), title=recipe.name)
    layout.mention(networks=f"run {run.run_id}")
    before = run.status()
    live = before.state in LIVE

    def follow() -> None:
        status = run.status()
        if live and (status.state not in LIVE or status.finished != before.finished):
            st.rerun()  # the whole page once more: without polling, or with a sweep's next results
        _show_controls(run, status.state)
        with st.container():  # always one element, so that no button appears twice while the page is redrawn
            _show_progress(run, recipe, status)
            if live and turns.load() > 0.25:  # turns at a time that visitors use
                st.caption("Visitors' pages take a part of this machine: the training is slower meanwhile.")
        if recipe is config:
            _show_learning(run, recipe, live)

    measurement.follow(follow, measurement.interval() if live else None)
    if isinstance(run, StudyFolder):
        try:
            if (table := run.table()) is not None:
                if table.declared.grid is not None:
                    layout.link_to("compare", "Open on Compare", {"show": "Sweep", "sweep": run.run_id}, ARROW)
                studies.show_study(table, run.run_id)
        except KDError as error:
            access.show_error(error)
    with st.expander("Command line and log" if access.is_presenter() else "Command line"):
        st.code(access.hide_folders(command), language="bash", wrap_lines=True)
        _show_log(run)
    _offer_deletion(run)


def open_run(kind: str = "", run_id: str = "") -> None:
    """Opens a run or a sweep, or without one returns to the form: the whole page begins anew, not a fragment of it."""
    for name in ("run", "sweep"):
        st.query_params.pop(name, None)
    if kind:
        st.query_params[kind] = run_id
    st.rerun()


def _show_log(run: Run) -> None:
    """The end of the log, for the presenter: it may have this machine's folders."""
    if access.is_presenter():
        st.markdown("The last lines of its log:")
        st.code(run.log_tail(12) or "The log is empty.", language=None, wrap_lines=True)


def _describe(config: RunConfig) -> str:
    teacher = f"teacher {config.teacher}" if config.teacher else "no teacher"
    data = find_dataset(config.dataset).label
    images = f"{config.training_images()} training images"
    images += f" (evaluated on {config.holdout:,} others, held out)" if config.holdout else ""
    epochs = f"{config.epochs} epoch{'s' if config.epochs > 1 else ''}"
    return f"{data}, {images}, {epochs}, {teacher}, seed {config.seed}"


def _show_progress(run: Run, config: RunConfig, status: RunStatus) -> None:
    """The state, a bar with the time left, what went wrong, and a study's runs."""
    epoch, state = status.epoch, status.state
    message = as_text(access.hide_folders(status.message)[:LENGTH])
    starts = state in LIVE and epoch is None and not status.runs
    if state not in ("finished", "failed", "damaged") and status.message not in ("", "training") and not starts:
        st.markdown(message)
    if state != "finished" and epoch is not None and (share := status.share_done(config.epochs)) is not None:
        text, left = f"Epoch {epoch + 1} of {config.epochs}", status.seconds_left
        if state == "running" and left is not None:
            text += f", about {format_duration(left)} left" if left >= 1 else ", evaluating"
        if state == "running" and status.images_per_second:
            text += f", {status.images_per_second:,.0f} images/s"
        if state == "running" and status.teacher_stored:
            text += ", teacher predictions from the disk"
        st.progress(share, text=text)
    elif starts:
        st.progress(0.0, text=f"{message.capitalize() or 'Starting'} …")
    if status.warning:
        st.warning(as_text(access.hide_folders(status.warning)[:LENGTH]))
    if state in ("failed", "damaged"):
        st.error(message or "The run ended without a message.")
    if state in ("failed", "lost"):
        _show_log(run)
    if status.runs and (done := status.finished) is not None:
        st.progress(min(1.0, done / status.runs), text=f"{done} of {status.runs} runs finished")
    for run_id in status.working[:LIMIT]:
        layout.link_to("launch", f"Running: {as_text(run_id)}", {"run": run_id})
    for run_id, reason in list(status.failed.items())[:LIMIT]:
        st.error(as_text(f"{run_id}: {access.hide_folders(reason)[:LENGTH]}"))
    if len(status.failed) > LIMIT:
        st.error(f"{len(status.failed) - LIMIT} more runs failed: see the log.")


def _show_controls(run: Run, state: State) -> None:
    """Stop and resume; for other visitors, what there is instead."""
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("New run", icon=":material/arrow_back:", key="new_run"):
            open_run()
        st.markdown(f"**{STATES[state]}**", width="content")
        if not access.is_presenter():
            st.caption("You see the results. The presenter stops, resumes and deletes runs.")
            return
        if state in LIVE and st.button("Stop", key="stop", icon=":material/stop:"):
            access.act_and_rerun(lambda: stop_run(run), "Stopping: saving state first.")
        if state in RESUMABLE and st.button("Resume", key="resume", type="primary", icon=":material/play_arrow:"):
            access.act_and_rerun(lambda: start_run(run))


def _offer_deletion(run: Run) -> None:
    """The page's last button, for a presenter and once nothing writes to the folder."""
    if run.status().state in LIVE:
        return
    label, what = "Delete this run", "run with its curves and finished students"
    if isinstance(run, StudyFolder):
        label, what = "Delete this sweep", "sweep's results (its runs remain)"
    access.offer_deletion(label, f"Delete this {what}? This cannot be undone.", "delete", lambda: _delete(run))


def _delete(run: Run) -> None:
    delete_run(run)
    open_run()


def _show_learning(run: Run, config: RunConfig, live: bool) -> None:
    """What the run has found, accuracy and a loss term of all students, and the soft labels of one image."""
    roles = {student.name: student.key for student in config.students}
    if not config.teacher:  # such a run trains a teacher, unless the name says that it is a baseline
        roles = {n: style.TEACHER if key == SCRATCH and SCRATCH not in n.lower() else key for n, key in roles.items()}
    by_epoch, within = cached.run_metrics(run)
    shown = [row for row in by_epoch if row.student in roles and row.epoch < config.epochs]
    by_student: dict[str, list[EpochMeasures]] = {name: [] for name in roles}
    for row in shown:  # without the logits, which would be hashed for the cache
        by_student[row.student].append(EpochMeasures.model_construct(epoch=row.epoch, train=row.train, test=row.test))
    if not shown and within and live:
        st.info("The curves have their first points after the first epoch.")
    if not shown and not within:
        return
    known = {} if live else all_networks()
    found = {one.label: one for key, one in known.items() if key.startswith(f"{run.run_id}/")}
    with st.container(key="learned"):
        left, right = st.columns([2, 3], gap="medium")
    with right:
        note = "Thin lines: the mean of a few training batches"
        has_batches = bool(within) and pick_toggle("batches", "Batches within an epoch", help=note)
    batches = [row for row in within if has_batches and row.student in roles and row.epoch <= config.epochs]
    teacher = run.teacher(len(find_dataset(config.dataset).classes))
    source = Curves(by_student, style.series(roles), config.epochs, teacher, batches)

    def draw_curves(measure: str, name: str, key: str) -> None:
        chart_view.draw(_make_curves(source, measure, live), name, savable=not live, key=key)

    def draw_losses() -> None:
        if terms := [measure for measure in learning_curves.list_measures(source) if measure != "accuracy"]:
            term = pick_option("term", "Loss term", terms, lambda key: learning_curves.get_measure(key).label)
            draw_curves(term, f"Curves {term}", "terms_chart")

    with right:
        draw_curves("accuracy", "Accuracy", "accuracy_chart")
    compared = Comparison.read(found, None) if found else None
    with left:
        if compared:
            _show_result(config, compared)
        else:
            draw_losses()
    if (tested := [row for row in shown if row.test]) and find_dataset(config.dataset).classes:
        may_differ = not (live or found) and find_dataset(config.dataset).sha256  # from its images, replaced since then
        kept = not may_differ and all(one.card.known_dataset for one in found.values())
        _show_soft_labels(config, tested, source, live, kept)
    if compared:
        more = st.expander("Losses and results in detail", key="details", on_change="rerun")
        if more.open:
            with more:
                left, right = st.columns(2, gap="medium")
                with left:
                    draw_losses()
                chart_view.draw(evaluation.accuracies(compared.rows, roles), "Results", place=right, key="result_chart")


@st.cache_data(max_entries=16, show_spinner=False, hash_funcs={Curves: pickle.dumps})
def _make_curves(source: Curves, measure: str, live: bool) -> Spec | None:
    """One measure of all students; after the run it can be played again."""
    return learning_curves.learning_curves(source, measure, replay=not live)


def _show_soft_labels(config: RunConfig, rows: list[EpochMetrics], source: Curves, live: bool, images: bool) -> None:
    """One image whose soft labels are drawn again after every epoch; `images` are still those of the run."""
    classes, teacher = find_dataset(config.dataset).classes, source.teacher
    latest = max(row.epoch for row in rows)
    by_epoch: dict[int, dict[str, np.ndarray]] = {}
    for row in rows:
        if not live or row.epoch == latest:
            by_epoch.setdefault(row.epoch, {})[row.student] = _as_logits(row.probes, len(classes))
    of_teacher = _as_logits(teacher.probes if teacher else [], len(classes))
    pictures, own_labels = cached.probes(config) if images else (np.empty(0), np.empty(0, int))
    labels = (teacher.probe_labels if teacher else None) or own_labels.tolist()
    count = min(len(probes) for probes_of in by_epoch.values() for probes in probes_of.values())
    if not count:
        return
    st.header("Soft labels, epoch by epoch")

    names = {str(k): f"{k}: {classes[labels[k]]}" if k < len(labels) else str(k) for k in range(count)}
    settings, picture, chart = st.columns([2, 2, 5])
    with settings:
        index = int(pick_one("probe", "Image", list(names), "0", kind="image", format_func=names.__getitem__))
        used = [getattr(term, "temperature", None) for student in config.students for term in student.terms]
        first = next((one for one in used if isinstance(one, float) and one > 0), 1.0)  # a plugin's may be anything
        choices = sorted({1.0, 2.0, 4.0, 8.0, first})
        temperature = pick_option("probe_T", "Temperature", choices, "{:g}".format, first)
    if index < len(pictures):
        url, caption = data_url(enlarge_png(pictures[index].transpose(1, 2, 0), 224)), names[str(index)]
        picture.image(url, as_text(caption.partition(": ")[2]), "stretch", alt=f"Evaluation image {caption}")
    spec = learning_curves.soft_labels_by_epoch(
        of_teacher[index] if index < len(of_teacher) else None,
        {epoch: {student: probes[index] for student, probes in found.items()} for epoch, found in by_epoch.items()},
        source.looks, classes, temperature, labels[index] if index < len(labels) else None,
    )  # fmt: skip
    chart_view.draw(spec, f"Soft labels by epoch image {index}", place=chart, savable=not live, key="probe_chart")


def _as_logits(probes: list[list[float]], classes: int) -> np.ndarray:
    """Logits `[N, classes]`; N is 0 where they are of other classes."""
    return np.reshape(probes if all(len(row) == classes for row in probes) else [], (-1, classes))


def _show_result(config: RunConfig, compared: Comparison) -> None:
    """The best student's gain over its scratch baseline, in words what each has gained, and where to go on."""
    rows = compared.rows
    gains = [(row, row.to_scratch_baseline) for row in rows if row.to_scratch_baseline is not None]
    if gains:
        best, gain = max(gains, key=lambda pair: pair[0].accuracy)
        label, digits = f"{as_text(best.name)} against {as_text(gain.other)}", digits_of(best)
        points = round(100 * gain.estimate, digits) + 0.0  # never -0
        st.metric(label, f"{points:+.{digits}f} points".replace("-", "\u2212"))
    for sentence in describe_gains(rows):
        name, _, rest = sentence.partition(": ")
        st.markdown(f"**{as_text(name)}**: {as_text(rest)}")
    if len(rows) > 1:
        st.caption("Each network was trained once: the tests do not cover how much another seed would change.")
    _show_links(config, compared)


def _show_links(config: RunConfig, compared: Comparison) -> None:
    names, known = [one.key for one in compared.networks.values()], all_networks()
    teacher = network_picker.find_name(config.teacher, known) if config.teacher else None
    query = {"teacher": teacher} if teacher else {}
    students = query | {"students": ",".join(names[: network_picker.MAX_STUDENTS])}
    together = {name: known[name] for name in ([teacher] if teacher else []) + names if name in known}
    same = teacher and len(results.group_by_evaluation(together)) == 1
    with st.container(horizontal=True):
        layout.link_to("compare", "Compare them", query | {"networks": ",".join(together if same else names)}, ARROW)
        if teacher:
            layout.link_to("soft_labels", "Soft labels", students, ARROW)
            layout.link_to("attention", "Attention", students, ARROW)
            for row in compared.rows:
                _link_images(compared, row, query)
    if teacher:
        shown = label_together([known[teacher], *list(compared.networks.values())[: network_picker.MAX_STUDENTS]])
        layout.draw_popover("Handout", "handout_offer", lambda: downloads.show_handout(shown))


def _link_images(compared: Comparison, row: ResultRow, query: dict[str, str]) -> None:
    """A link to the gallery's first image that only a distilled student gets right, and one for its baseline."""
    pair, networks = row.to_scratch_baseline, compared.networks
    if pair is None or pair.gained is None:  # without labels or logits
        return
    groups = results.disagreements(compared.logits[row.name], compared.logits[pair.other], compared.labels)
    shown = len(cached.gallery(compared.first.dataset))
    for better, group in ((row.name, "first"), (pair.other, "second")):
        index = min((index for index in groups[group].tolist() if index < shown), default=None)
        if index is not None:
            chosen = {"students": f"{networks[pair.other].key},{networks[row.name].key}", "image": str(index)}
            layout.link_to("soft_labels", f"Soft labels: only {better} is right", query | chosen, ARROW)
