"""The form on Launch: an experiment's fields, its teacher and students, and the problems beside each field."""

from __future__ import annotations

from typing import Any

import streamlit as st

from kdexplorer.app import caches, launch_start, launch_students, network_picker, student_rows, sweeps, url_state
from kdexplorer.app.field_widgets import draw_field
from kdexplorer.config import ExperimentConfig
from kdexplorer.datasets import all_datasets, get_dataset
from kdexplorer.presets import STARTING_POINTS
from kdexplorer.runs.checkpoints import Checkpoint
from kdexplorer.training import checks

FIELDS = {
    "epochs": "Epochs",
    "batch_size": "Batch size",
    "learning_rate": "Peak learning rate",
    "train_images": "Training images",
    "seed": "Seed",
    "name": "Label",
}
ADVANCED = {
    "schedule": "Schedule",
    "warmup": "Warm-up",
    "momentum": "Momentum",
    "weight_decay": "Weight decay",
    "crop_padding": "Crop padding (pixels)",
    "flip": "Mirroring",
    "start_resolution": "Initial resolution (pixels)",
    "holdout": "Images held out",
    "device": "Device",
    "precision": "Precision",
    "compile": "Compile the networks",
    "threads": "Processor threads",
    "save_minutes": "Minutes between saves",
}
NO_TEACHER = "No teacher"


def show() -> None:
    """The form with its problems, the estimate, the command, and the button that starts the run."""
    values = _values()
    slots: dict[str, Any] = {}
    st.markdown(
        "An experiment has one teacher and the students that are trained with it. Start from one of these, change it, "
        "and press **Start training**. The run continues when you close the page."
    )
    with st.container(horizontal=True):
        for start in STARTING_POINTS:
            st.button(start, on_click=_fill, args=(start,), key=f"start_{start}", icon=":material/edit_note:")
    left, right = st.columns([5, 3], gap="large")
    with left:
        _pick_dataset(values, slots)
        teacher = _pick_teacher(values, slots)
        grid = _pick_students(values, slots)
        _draw_fields(FIELDS, values, slots)
        with st.expander("Advanced"):
            _draw_fields(ADVANCED, values, slots)
    rows = [{key: value for key, value in row.items() if key != "preset"} for row in values["students"]]
    if grid is not None:
        rows = sweeps.reference_rows(grid)
    config, problems = checks.find_problems(values | {"students": rows}, teacher)
    sweep = None
    if grid is not None:
        sweep, grid_problems = sweeps.find_problems(config, grid)
        if grid_problems:
            problems = problems | {"students": [*problems.get("students", []), *grid_problems]}
        config = None if sweep is None else config
    _show_problems(slots, problems)
    with right:
        launch_start.show(config, problems, sweep)


def _values() -> dict[str, Any]:
    """The form's values, which outlive a visit to another page."""
    if "experiment" not in st.session_state:
        _fill(next(name for name, start in STARTING_POINTS.items() if get_dataset(start["dataset"]).is_available()))
    return st.session_state["experiment"]


def _fill(start: str) -> None:
    """Fills the form with a starting point."""
    values = {name: field.default for name, field in ExperimentConfig.model_fields.items()} | STARTING_POINTS[start]
    values["students"] = [student_rows.make_row(student) for student in values["students"]]
    found = caches.all_checkpoints()
    if values["teacher"] and values["teacher"] not in found:
        values["teacher"] = network_picker.default_teacher(found) if found else None
    st.session_state["experiment"] = values
    st.session_state["teacher_by_dataset"] = {}
    for key in [key for key in st.session_state if isinstance(key, str) and key.startswith("form_")]:
        del st.session_state[key]
    launch_students.redraw()


def _draw_fields(labels: dict[str, str], values: dict[str, Any], slots: dict[str, Any]) -> None:
    """The widgets of an experiment's fields in three columns, each with a place for its problems."""
    columns = st.columns(3)
    for position, (name, label) in enumerate(labels.items()):
        with columns[position % 3]:
            empty = "all" if name == "train_images" else "automatic"
            field = ExperimentConfig.model_fields[name]
            values[name] = draw_field(label, field, f"form_{name}", values[name], empty)
            slots[name] = st.container()


def _show_problems(slots: dict[str, Any], problems: dict[str, list[str]]) -> None:
    """Each problem below its field; a problem of a field without a place is below the students."""
    for name, sentences in problems.items():
        with slots.get(name, slots["students"]):
            for sentence in sentences:
                st.markdown(f":red[:material/error: {url_state.escape(sentence[0].upper() + sentence[1:])}.]")


def _pick_dataset(values: dict[str, Any], slots: dict[str, Any]) -> None:
    labels = {dataset.key: dataset.label for dataset in all_datasets()}
    st.session_state.setdefault("form_dataset", values["dataset"])
    chosen = st.segmented_control(
        "Data", list(labels), format_func=labels.__getitem__, key="form_dataset", required=True, wrap=True
    )
    values["dataset"] = chosen or values["dataset"]
    slots["dataset"] = st.container()
    launch_start.offer_download()


def _pick_teacher(values: dict[str, Any], slots: dict[str, Any]) -> Checkpoint | None:
    """Draws the choice among the networks that have the data set's classes, and returns the teacher or None."""
    found, dataset = caches.all_checkpoints(), values["dataset"]
    options = [name for name, c in found.items() if c.classes == get_dataset(dataset).classes]
    by_dataset = st.session_state.setdefault("teacher_by_dataset", {})  # to return to after a look at other data
    if values["teacher"] not in options:
        previous = by_dataset.get(dataset)
        values["teacher"] = previous if previous in options else None
    by_dataset[dataset] = values["teacher"]
    st.session_state["form_teacher"] = values["teacher"] or NO_TEACHER

    def label(name: str) -> str:
        return name if name == NO_TEACHER else f"{name} ({100 * found[name].card.test_accuracy:.1f} %)"

    def choose() -> None:
        name = st.session_state["form_teacher"]
        values["teacher"] = by_dataset[dataset] = None if name == NO_TEACHER else name

    st.selectbox(
        "Teacher",
        [NO_TEACHER, *options],
        key="form_teacher",
        format_func=label,
        on_change=choose,
        help="A bundled network or a finished student of a run, with its test accuracy. Without a teacher, students "
        "are trained on labels alone; this is how a new teacher is trained.",
    )
    slots["teacher"] = st.container()
    return found.get(values["teacher"])


def _pick_students(values: dict[str, Any], slots: dict[str, Any]) -> dict[str, Any] | None:
    """Draws the students' table, or a sweep's grid, and returns the grid's values or None."""
    st.session_state.setdefault("form_is_sweep", st.session_state.get("experiment_is_sweep", False))
    is_sweep = st.toggle(
        "Sweep temperature and weight",
        key="form_is_sweep",
        help="Which temperature and which weight work best?",
    )
    st.session_state["experiment_is_sweep"] = is_sweep
    grid = None
    with st.container():  # one container for both, so that the widgets below keep their places and values
        if is_sweep:
            grid = sweeps.pick_grid()
        else:
            launch_students.show(values)
        slots["students"] = st.container()
    return grid
