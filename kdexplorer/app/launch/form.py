"""The form on Launch: a run's fields, its teacher, its students or a grid of them, problems beside each, its start."""

import contextlib
import time
from typing import Any

import streamlit as st

from kdexplorer.app.launch.students import make_student, show_students
from kdexplorer.app.layout import as_text
from kdexplorer.app.parts import measurement, network_picker
from kdexplorer.app.parts.field_widget import draw_field
from kdexplorer.app.server import access
from kdexplorer.app.state.cached import all_networks
from kdexplorer.config import FULL_RESOLUTION, RunConfig, recipe_settings
from kdexplorer.datasets import Dataset, all_datasets, available_dataset, download, get_dataset
from kdexplorer.datasets.cifar10 import Cifar, Cifar10
from kdexplorer.datasets.folder import PREFIX
from kdexplorer.errors import ConfigError, KDError
from kdexplorer.notation import train_command
from kdexplorer.presets import DEMO, PRESETS, RECIPES, STARTING_POINTS
from kdexplorer.runs.launch import launch_run
from kdexplorer.runs.run_folder import LIVE, Run, count_live, list_runs
from kdexplorer.studies.driver import Left
from kdexplorer.studies.folder import StudyConfig, open_study, start_work
from kdexplorer.studies.study import MAX_VALUES, Grid, Study, make_grid_study
from kdexplorer.training import checks
from kdexplorer.training.estimate import Estimate, Measurement, choose_length, format_duration, stored_estimate

FIELDS = {
    "recipe": "Recipe", "epochs": "Epochs", "batch_size": "Batch size", "learning_rate": "Peak learning rate",
    "train_images": "Training images", "seed": "Seed", "name": "Name of the run",
}  # fmt: skip
ADVANCED = {
    "schedule": "Schedule", "warmup": "Warm-up", "momentum": "Momentum",
    "optimizer": "Optimizer", "filter_rate": "Muon's peak rate", "filter_momentum": "Muon's momentum",
    "bias_factor": "Factor of the biases' rate",
    "norm_momentum": "Batch norm's momentum", "first_layer": "First layer", "start_filters": "Initial filters",
    "weight_decay": "Weight decay", "ema": "Decay of the weights' average",
    "crop_padding": "Crop padding (pixels)", "cutout": "Cutout (pixels)", "flip": "Mirroring",
    "start_resolution": "Initial resolution (pixels)", "holdout": "Images held out", "device": "Device",
    "precision": "Precision", "compile": "Compile", "threads": "Processor threads",
    "evaluate_every": "Epochs between evaluations", "save_minutes": "Minutes between saves",
}  # fmt: skip
"""Labels by field, in the rows of the form."""

_ESTIMATE = "estimate"

GRID_OPTIONS = {
    "temperatures": ("Temperatures", (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 20.0)),
    "weights": ("Weights of the teacher's term (α)", (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)),
}
GRID = {
    "student": "resnet8",
    "temperatures": [1.0, 2.0, 4.0, 8.0],
    "weights": [0.5, 0.7, 0.9],
    "seeds": 3,
    "hold": "weight",
}

HOLD = {"weight": "the weight", "gradient": "the gradient's size"}
FOLDER_HELP = "`train/CLASS/*` and `test/CLASS/*`, or `CLASS/*`: then a fifth of each class is for the test."


def show() -> None:
    """The form with its problems, the estimate, the command, and the button that starts the run."""
    st.markdown("Start from one of these examples and change it.")
    if "run_form" not in st.session_state:
        found = {None, *all_networks()}
        _fill(next(name for name, values in STARTING_POINTS.items() if values["teacher"] in found))
    values = st.session_state["run_form"]  # it outlives a visit to another page
    slots: dict[str, Any] = {}
    with st.container(horizontal=True, gap="small", key="starting_points"):
        for name in STARTING_POINTS:
            st.button(name, on_click=_fill, args=(name,), key=f"start_{name}", icon=":material/edit_note:")
    with st.container(key="form_and_panel"):  # on a phone the second comes first
        left, right = st.columns([2, 1], gap="medium")
    with left:
        teacher, grid = _draw_form(values, slots)
    config, problems, sweep = _check(values, teacher, grid)
    for name, sentences in problems.items():
        with slots.get(name, slots["students"]):  # a field without a place: below the students
            for sentence in sentences:
                is_word = sentence.split()[0].isalpha()  # not a student's name
                text = as_text(sentence[0].upper() + sentence[1:] if is_word else sentence)
                st.markdown(f":red[:material/error: {text}.]")
    with right:
        _show_start(config, problems, sweep)


def _draw_form(values: dict[str, Any], slots: dict[str, Any]) -> tuple[str | None, dict[str, Any] | None]:
    """Draws all fields, each with a place for its problems; returns the teacher and a sweep's grid."""
    labels = {one.key: f"{one.label}, complete" if one.substitute else one.label for one in all_datasets()}
    if (added := st.session_state.pop("folder_read", None)) or values["dataset"] not in labels:
        st.session_state["form_dataset"] = added or available_dataset(all_datasets()[0].key)
    values["dataset"] = st.segmented_control(
        "Data", list(labels), format_func=labels.__getitem__, key="form_dataset", required=True, wrap=True,
        persist_state="session",
    )  # fmt: skip
    for remark in get_dataset(values["dataset"]).remarks:
        st.warning(as_text(remark))
    slots["dataset"] = st.container()
    with st.popover("Your own images", icon=":material/create_new_folder:"):
        folder = st.text_input("A folder on the machine that runs this application", key="own_folder", help=FOLDER_HELP)
        if st.button("Read the images", key="read_folder"):
            access.act_and_rerun(lambda: _read_folder(folder))
    teacher = _pick_teacher(values)
    slots["teacher"] = st.container()
    is_sweep = st.toggle(
        "Sweep temperature and weight", key="is_sweep", persist_state="session",
        help="Which temperature and which weight work best?",
    )  # fmt: skip
    grid = None
    with st.container():  # one container for both, so that the widgets below keep their places and values
        if is_sweep:
            grid = _pick_grid()
        else:
            show_students(values["students"])
        slots["students"] = st.container()
    _draw_fields(FIELDS, values, slots)
    with st.expander("Advanced"):
        _draw_fields(ADVANCED, values, slots)
    _offer_download(get_dataset(values["dataset"]))
    return teacher, grid


def _read_folder(path: str) -> None:
    """Makes a folder of images a data set, and chooses it."""
    dataset = get_dataset(f"{PREFIX}{path.strip()}")
    with st.spinner("Reading the images …"):
        dataset.prepare()
    st.session_state["folder_read"] = dataset.key


def _check(
    values: dict[str, Any], teacher: str | None, grid: dict[str, Any] | None
) -> tuple[RunConfig | None, checks.Problems, Study | None]:
    """The run that the form describes, or the recipe and its sweep, or what is wrong with them."""
    students = values["students"]
    if grid is not None:
        students = [{"name": "distilled", "architecture": grid["student"], **PRESETS["response"]}]
    checkpoint = all_networks().get(teacher or "")
    view = {"teacher_view": "fixed"} if checkpoint is not None and not checkpoint.computes else {}
    config, problems = checks.find_problems(values | {"teacher": teacher, "students": students} | view, checkpoint)
    if grid is None or config is None:
        return config, problems, None
    try:
        return config, problems, make_grid_study(recipe=config.model_dump(exclude={"students"}), **grid)
    except ConfigError as error:
        return None, {"students": str(error).split("; ")}, None


def _fill(name: str) -> None:
    """Fills the form with a starting point, with data and a teacher that are available."""
    values = {field: info.default for field, info in RunConfig.model_fields.items()}
    values |= RECIPES[STARTING_POINTS[name].get("recipe", "standard")] | STARTING_POINTS[name]
    if name == DEMO:
        values["epochs"] = choose_length(stored_estimate())
    values["students"] = [make_student(student) for student in values["students"]]
    values["dataset"] = available_dataset(values["dataset"])
    if (values["train_images"] or 0) >= get_dataset(values["dataset"]).sizes["train"]:
        values["train_images"] = None
    found = all_networks()
    if values["teacher"] and values["teacher"] not in found:
        values["teacher"] = network_picker.default_teacher(found) if found else None
    st.session_state["run_form"] = values
    shown = {name: values[name] for name in ("dataset", *FIELDS, *ADVANCED)} | {"student": 0}
    st.session_state.update({f"form_{name}": value for name, value in shown.items()})


def _draw_fields(labels: dict[str, str], values: dict[str, Any], slots: dict[str, Any]) -> None:
    """The widgets of a run's fields in three columns, each with a place for its problems."""
    columns = st.columns(3)
    for position, (name, label) in enumerate(labels.items()):
        with columns[position % 3]:
            empty = "all" if name == "train_images" else "automatic"
            more: dict[str, Any] = {"on_change": _use_recipe} if name == "recipe" else {}
            field = RunConfig.model_fields[name]
            values[name] = draw_field(label, field, f"form_{name}", empty, persist_state="session", **more)
            slots[name] = st.container()


def _use_recipe() -> None:
    """Fills the fields that recipes set with those of the chosen one."""
    if (recipe := st.session_state["form_recipe"]) in RECIPES:
        st.session_state.update({f"form_{name}": value for name, value in recipe_settings(recipe).items()})


def _pick_grid() -> dict[str, Any]:
    """Draws the grid's widgets in the launch form; returns the arguments of `make_grid_study` beside the recipe."""
    for name, value in GRID.items():
        st.session_state.setdefault(f"form_sweep_{name}", value)
    for name in GRID_OPTIONS:  # a browser that was tampered with may send more than the widget allows
        st.session_state[f"form_sweep_{name}"] = st.session_state[f"form_sweep_{name}"][:MAX_VALUES]
    st.markdown("**A grid of students**: each with its own temperature and weight, on the same batches")
    left, right = st.columns([2, 1])
    with left:
        draw_field("Student", Grid.model_fields["student"], "form_sweep_student", persist_state="session")
    often = "How many times each cell is trained; Seed is the first seed"
    right.number_input("Seeds", value=None, step=1, key="form_sweep_seeds", help=often, persist_state="session")
    for name, (label, options) in GRID_OPTIONS.items():
        st.multiselect(
            label, options, key=f"form_sweep_{name}", accept_new_options=True, max_selections=MAX_VALUES,
            placeholder="Choose or type numbers", persist_state="session",
            format_func=lambda value: f"{value:g}" if isinstance(value, float) else str(value),
        )  # fmt: skip
    st.segmented_control(
        "Constant over temperatures", list(HOLD), format_func=HOLD.__getitem__, key="form_sweep_hold", required=True,
        persist_state="session",
        help="T² balances the gradient's 1/T² only in the limit of large T, so at one weight another temperature is "
        "also another size of the gradient. If that size is constant, each temperature's weight is rescaled so that "
        "the gradient at the start of training is as large as at T = 4.",
    )  # fmt: skip
    return {name: st.session_state[f"form_sweep_{name}"] for name in GRID}


def _pick_teacher(values: dict[str, Any]) -> str | None:
    """Draws the choice among the networks that have the data set's classes; `values` keeps one of other data."""
    found, classes = all_networks(), get_dataset(values["dataset"]).classes
    options = [name for name, c in found.items() if c.classes == classes]
    teacher = values["teacher"] if values["teacher"] in options else None
    st.session_state["form_teacher"] = teacher or ""
    st.selectbox(
        "Teacher", ["", *options], key="form_teacher",
        format_func=lambda name: f"{name} ({100 * found[name].card.test_accuracy:.1f} %)" if name else "No teacher",
        on_change=lambda: values.update(teacher=st.session_state["form_teacher"] or None),
        help="A network that is included, or a finished student of a run, with its test accuracy. Without a teacher, "
        "students are trained on labels alone; this is how a new teacher is trained.",
    )  # fmt: skip
    return teacher


def _offer_download(chosen: Dataset) -> None:
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
                st.error(f"The download failed: {as_text(access.hide_folders(status.message))}")
            if status.state == "running":
                st.progress(status.share, text=f"Downloading {dataset.label}: {status.message}")
                if st.button("Cancel", key="cancel_download"):
                    access.act_and_rerun(download.cancel_download)
            elif st.button(f"Download {dataset.label}", key=f"download_{dataset.key}", icon=":material/download:"):
                access.act_and_rerun(lambda: download.start_download(dataset))

    measurement.follow(show, measurement.POLL if state == "running" else None)


def _show_start(config: RunConfig | None, problems: checks.Problems, sweep: Study | None) -> None:
    """Estimate, command and start of a run, or of the sweep whose recipe it is."""
    alive = count_live()
    with st.container(border=True, gap="small"):
        if alive:
            st.info(f"This run will wait in the queue: {alive} run{'s' if alive > 1 else ''} ahead of it.")
        label = "Add to the queue" if alive else "Start training" if sweep is None else "Start the sweep"
        pressed = st.button(label, "start", type="primary", disabled=config is None, icon=":material/play_arrow:")
        if pressed and config is not None:
            access.act_and_rerun(lambda: start_training(config, sweep))
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


def start_training(config: RunConfig, sweep: Study | None = None) -> None:
    """Starts a run or a sweep, and opens it."""
    if sweep:
        started: Run = start_work(open_study(StudyConfig(study=sweep)))
    else:
        started = _find_just_started(config) or launch_run(config)
    measurement.forget(_ESTIMATE)
    st.query_params["run" if sweep is None else "sweep"] = started.run_id


JUST_NOW = 2.0
"""Seconds between the clicks of a double click."""


def _find_just_started(config: RunConfig) -> Run | None:
    """The run that was started just now: the second click of a double click starts no other."""
    for run in list_runs()[:1]:
        with contextlib.suppress(KDError, OSError):
            age = time.time() - (run.path / "config.json").stat().st_mtime
            if age < JUST_NOW and run.config() == config and run.status().state in LIVE:
                return run
    return None


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
    if share <= 0.05:
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
