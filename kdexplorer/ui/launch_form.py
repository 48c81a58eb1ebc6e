"""The form on Launch: an experiment's fields, its teacher, its students as a table, and what is wrong with them."""

from __future__ import annotations

from typing import Any, get_args

import streamlit as st

from kdexplorer import data, draft, sweep
from kdexplorer.config import ExperimentConfig
from kdexplorer.ui import cached, choice, launch_start, launch_students, sweeps

LABELS = {
    "name": "Label",
    "train_images": "Training images",
    "epochs": "Epochs",
    "batch_size": "Batch size",
    "learning_rate": "Peak learning rate",
    "seed": "Seed",
    "schedule": "Schedule",
    "warmup": "Warm-up",
    "momentum": "Momentum",
    "weight_decay": "Weight decay",
    "crop_padding": "Crop padding (pixels)",
    "flip": "Mirroring",
    "start_resolution": "First resolution (pixels)",
    "holdout": "Images held out",
    "device": "Device",
    "precision": "Precision",
    "compile": "Compile the networks",
    "threads": "Processor threads",
    "save_minutes": "Minutes between saves",
}
ADVANCED = tuple(name for name in list(LABELS)[6:])
NO_TEACHER = "No teacher"


def show() -> None:
    """The form, what is wrong with it, the estimate, the command, and the button that starts it."""
    held, slots, fields_of_grid = _values(), {}, None
    st.markdown(
        "An experiment is one teacher and the students that listen to it. Begin with one of these, change what you "
        "like, and press **Start training**. It runs on when you close the page."
    )
    with st.container(horizontal=True):
        for start in draft.STARTING_POINTS:
            st.button(start, on_click=_fill, args=(start,), key=f"start_{start}", icon=":material/edit_note:")
    left, right = st.columns([5, 3], gap="large")
    with left:
        st.session_state.setdefault("form_dataset", held["dataset"])
        held["dataset"] = (
            st.segmented_control(
                "Data", list(data.NAMES), format_func=data.NAMES.get, key="form_dataset", required=True, wrap=True
            )
            or held["dataset"]
        )
        slots["dataset"] = st.container()
        launch_start.get_cifar10()
        teacher = _pick_teacher(slots)
        st.session_state.setdefault("form_sweep", st.session_state.get("draft_is_sweep", False))
        st.session_state["draft_is_sweep"] = st.toggle(
            "Sweep temperature and weight", key="form_sweep", help="Which T and which weight pay for this pair?"
        )
        with st.container():  # of one place, whatever it holds: what stands below keeps its place and its values
            if st.session_state["draft_is_sweep"]:
                fields_of_grid = sweeps.grid()
            else:
                launch_students.show(held)
            slots["students"] = st.container()
        columns = st.columns(3)
        for position, name in enumerate(("epochs", "batch_size", "learning_rate", "train_images", "seed", "name")):
            with columns[position % 3]:
                _field(name, slots)
        with st.expander("Advanced"):
            columns = st.columns(3)
            for position, name in enumerate(ADVANCED):
                with columns[position % 3]:
                    _field(name, slots)
    fields = {key: value for key, value in held.items() if key != "students"}
    rows = [{key: value for key, value in row.items() if key != "preset"} for row in held["students"]]
    if fields_of_grid is not None:
        rows = [student.model_dump() for student in sweep.references(fields_of_grid["student"])]
    made, problems = draft.check({**fields, "students": rows}, teacher)
    whole = None
    if fields_of_grid is not None:
        whole, wrong = sweeps.check(made, fields_of_grid)
        problems = problems | ({"students": [*problems.get("students", []), *wrong]} if wrong else {})
        made = None if whole is None else made
    _complain(slots, problems)
    with right:
        launch_start.show(made, problems, whole)


def _values() -> dict[str, Any]:
    """The form's values, kept while other pages are visited."""
    if "draft" not in st.session_state:
        have = data.find_cifar10(data.data_root()) is not None
        _fill("One-minute demo" if have else "A teacher from scratch")
    return st.session_state["draft"]


def _fill(start: str) -> None:
    """A starting point becomes the form's values."""
    fields = {name: field.default for name, field in ExperimentConfig.model_fields.items() if name != "students"}
    new = fields | draft.STARTING_POINTS[start]
    new["students"] = [draft.student(one) | {"preset": draft.preset_of(draft.student(one))} for one in new["students"]]
    found = cached.all_checkpoints()
    if new["teacher"] and new["teacher"] not in found:
        new["teacher"] = choice.default_teacher(found) if found else None
    st.session_state["draft"] = new
    st.session_state["teacher_for"] = {}
    for key in [key for key in st.session_state if isinstance(key, str) and key.startswith("form_")]:
        del st.session_state[key]
    st.session_state["students_version"] = st.session_state.get("students_version", 0) + 1


def _field(name: str, slots: dict[str, Any]) -> None:
    """Draws the widget that suits a field of the configuration, and a place for what is wrong with it."""
    held, spec = _values(), ExperimentConfig.model_fields[name]
    key = f"form_{name}"
    st.session_state.setdefault(key, held[name])
    kinds = [kind for kind in (get_args(spec.annotation) or (spec.annotation,)) if kind is not type(None)]
    text = spec.description and spec.description[0].upper() + spec.description[1:]
    if spec.annotation is bool:
        held[name] = st.toggle(LABELS[name], key=key, help=text)
    elif all(isinstance(kind, str) for kind in kinds):
        held[name] = st.selectbox(LABELS[name], kinds, key=key, help=text)
    elif int in kinds:
        empty = "all" if name == "train_images" else "automatic"
        held[name] = st.number_input(LABELS[name], value=None, step=1, key=key, help=text, placeholder=empty)
    elif float in kinds:
        held[name] = st.number_input(LABELS[name], value=None, step=0.01, format="%g", key=key, help=text)
    else:
        held[name] = st.text_input(LABELS[name], key=key, help=text, max_chars=64)
    slots[name] = st.container()


def _complain(slots: dict[str, Any], problems: draft.Problems) -> None:
    """Each problem stands under its field; what has no place of its own stands under the students."""
    for name, sentences in problems.items():
        with slots.get(name, slots["students"]):
            for sentence in sentences:
                st.markdown(f":red[:material/error: {choice.as_text(sentence[0].upper() + sentence[1:])}.]")


def _pick_teacher(slots: dict[str, Any]) -> Any:
    """The teacher among all networks that know the chosen data's classes; returns its checkpoint or None."""
    held, found = _values(), cached.all_checkpoints()
    fitting = [name for name, c in found.items() if c.classes == data.CLASSES[held["dataset"]]]
    options = [NO_TEACHER, *fitting]
    kept = st.session_state.setdefault("teacher_for", {})  # by data set, for who looks at the other one and comes back
    if held["teacher"] not in fitting:
        usual = kept.get(held["dataset"])
        held["teacher"] = usual if usual in fitting else None
    kept[held["dataset"]] = held["teacher"]
    st.session_state["form_teacher"] = held["teacher"] or NO_TEACHER

    def label(name: str) -> str:
        return name if name == NO_TEACHER else f"{name} ({100 * found[name].card['test_accuracy']:.1f} %)"

    def chosen() -> None:
        name = st.session_state["form_teacher"]
        held["teacher"] = kept[held["dataset"]] = None if name == NO_TEACHER else name

    st.selectbox(
        "Teacher",
        options,
        key="form_teacher",
        format_func=label,
        on_change=chosen,
        help="A bundled network or a finished student of a run, with its accuracy on the test images. "
        "Without a teacher, students learn from labels alone: so a teacher is made.",
    )
    slots["teacher"] = st.container()
    return found.get(held["teacher"])
