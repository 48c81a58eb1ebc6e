"""From what a form holds to an experiment: starting points, and what is wrong with each field.

A form must say everything that would end the run later: besides `config`'s own bounds also that the data are there,
that the teacher knows the same classes, and that its stages can be laid beside the student's. No torch here.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from kdexplorer import data
from kdexplorer.checkpoints import Checkpoint
from kdexplorer.config import ARCHITECTURES, PRESETS, ExperimentConfig, StudentConfig, problems

ONE_MINUTE_DEMO: dict[str, Any] = {
    "name": "one-minute-demo",
    "dataset": "cifar10",
    "train_images": 5000,
    "teacher": "resnet56",
    "students": [
        {"name": "resnet8-scratch", "architecture": "resnet8", "ce_weight": 1.0},
        {
            "name": "resnet8-combined",
            "architecture": "resnet8",
            "ce_weight": 0.1,
            "response_weight": 0.9,
            "temperature": 2.0,
            "attention_weight": 1000.0,
            "attention_power": 1,
        },
    ],
    "epochs": 9,
    "batch_size": 128,
    "learning_rate": 0.2,
    "seed": 0,
}
"""About a minute on two cores: a distilled student beside its twin that learns from labels alone."""

STARTING_POINTS: dict[str, dict[str, Any]] = {
    "One-minute demo": ONE_MINUTE_DEMO,
    "The lab's table": {
        "name": "lab-table",
        "dataset": "cifar10",
        "train_images": None,
        "teacher": "resnet50",
        "students": [{"name": f"resnet18-{m}", "architecture": "resnet18", **w} for m, w in PRESETS.items()],
        "epochs": 8,
        "batch_size": 128,
        "learning_rate": 0.1,
        "schedule": "cosine",
        "warmup": 0.15,
        "start_resolution": 24,
        "seed": 0,
    },
    "The lab's table with small networks": {
        "name": "small-lab-table",
        "dataset": "cifar10",
        "train_images": None,
        "teacher": "resnet56",
        "students": [{"name": f"resnet20-{m}", "architecture": "resnet20", **w} for m, w in PRESETS.items()],
        "epochs": 28,
        "batch_size": 128,
        "learning_rate": 0.1,
        "schedule": "cosine",
        "warmup": 0.15,
        "seed": 0,
    },
    "A teacher from scratch": {
        "name": "teacher",
        "dataset": "synthetic",
        "train_images": 2000,
        "teacher": None,
        "students": [{"name": "resnet20", "architecture": "resnet20", **PRESETS["scratch"]}],
        "epochs": 6,
        "batch_size": 64,
        "learning_rate": 0.1,
        "seed": 0,
    },
}
"""What the form can be filled with. The last one needs neither a download nor a teacher."""

STAGES = {name: 3 if name in ARCHITECTURES[:6] or name.startswith("wrn") else 4 for name in ARCHITECTURES}
"""How many stages an architecture has: attention transfer needs the same number in teacher and student."""

Problems = dict[str, list[str]]


def check(values: dict[str, Any], teacher: Checkpoint | None = None) -> tuple[ExperimentConfig | None, Problems]:
    """The experiment that a form's values make, or what is wrong with them by field.

    Args:
        values: fields of `ExperimentConfig`, not validated.
        teacher: the network that `values["teacher"]` names, where it can be read.

    Returns:
        The configuration (None when there is any problem), and sentences by field's name; a student's stand under
        `students`, with the student named.
    """
    found: Problems = {}
    try:
        config = ExperimentConfig.model_validate(values)
    except ValidationError as error:
        for place, message in problems(error):
            field, sentence = _placed(place, message, values.get("students") or [])
            found.setdefault(field, []).append(sentence)
        return None, found
    for field, sentence in _beyond(config, teacher):
        found.setdefault(field, []).append(sentence)
    return (None if found else config), found


def student(values: dict[str, Any], taken: set[str] = frozenset()) -> dict[str, Any]:
    """A row of the students' table, with its gaps filled from its preset and a name that is not taken."""
    architecture = values.get("architecture") or "resnet8"
    preset = values.get("preset") or "scratch"
    defaults = {name: field.default for name, field in StudentConfig.model_fields.items()} | PRESETS.get(preset, {})
    row = {key: defaults[key] if values.get(key) is None else values[key] for key in TERMS}
    name = values.get("name") or _free(f"{architecture}-{preset}", taken)
    return {"name": name, "architecture": architecture, "preset": preset, **row}


def preset_of(values: dict[str, Any]) -> str:
    """The preset (or `custom`) whose weights these are."""
    for name, weights in PRESETS.items():
        filled = student({"preset": name})
        listens = {"ce_weight", "response_weight", "attention_weight", *weights}
        if all(values.get(key) == filled[key] for key in listens):
            return name
    return "custom"


def edited(rows: list[dict[str, Any]], edits: dict[str, Any]) -> tuple[list[dict[str, Any]], bool]:
    """The students' table after what was done in an editor.

    A preset that was chosen fills that row's weights, and a name that came from architecture and preset follows them,
    as does one that was emptied.

    Args:
        rows: as `student` makes them.
        edits: `edited_rows` (changes by row number), `added_rows`, `deleted_rows` (numbers).

    Returns:
        The new rows, and whether they hold more than was typed, so that the editor must be filled anew.
    """
    made: list[dict[str, Any]] = []
    rewritten = bool(edits.get("added_rows") or edits.get("deleted_rows"))
    changes_by_row = {int(number): changes for number, changes in (edits.get("edited_rows") or {}).items()}
    for number, row in enumerate(rows):
        if number in (edits.get("deleted_rows") or ()):
            continue
        changes = changes_by_row.get(number, {})
        new = row | changes
        if changes.get("preset") in PRESETS:
            new |= student({"preset": changes["preset"], "architecture": new["architecture"], "name": new["name"]})
        new["preset"] = preset_of(new)
        followed = row["name"] == f"{row['architecture']}-{row['preset']}" and "name" not in changes
        if followed or not new["name"]:
            label = new["preset"] if new["preset"] in PRESETS else row["preset"]
            wanted = f"{new['architecture']}-{label}"
            others = {other["name"] for other in [*made, *rows[number + 1 :]]}
            new["name"] = wanted if wanted == row["name"] else _free(wanted, others)
        rewritten |= new != row | changes
        made.append(new)
    for values in edits.get("added_rows") or ():
        new = student(values, {row["name"] for row in made})
        made.append(new | {"preset": preset_of(new)})
    return made, rewritten


TERMS = ("ce_weight", "response_weight", "temperature", "attention_weight", "attention_power", "label_smoothing")
"""The columns of a student's objective."""


def _free(name: str, taken: set[str]) -> str:
    number, free = 2, name
    while free.lower() in {other.lower() for other in taken}:
        free, number = f"{name}-{number}", number + 1
    return free


def _placed(place: str, message: str, students: list[dict[str, Any]]) -> tuple[str, str]:
    """The field that a problem belongs to, and its sentence."""
    field, _, rest = place.partition(".")
    if field == "students" and rest:
        number, _, column = rest.partition(".")
        row = students[int(number)] if number.isdigit() and int(number) < len(students) else {}
        who = row.get("name") or f"student {int(number) + 1}" if number.isdigit() else "students"
        return "students", f"{who}: {column} {message}" if column else f"{who}: {message}"
    if not field:  # a sentence about several fields at once: it stands by the one that mends it
        words = {"batch": "batch_size", "no teacher is given": "teacher"}
        field = next((name for word, name in words.items() if word in message), "students")
    return field, message


def _beyond(config: ExperimentConfig, teacher: Checkpoint | None) -> list[tuple[str, str]]:
    """What the trainer would refuse once it has read the data and the teacher."""
    found = []
    if config.dataset == "cifar10" and data.find_cifar10(data.data_root()) is None:
        found.append(("dataset", "CIFAR-10 is not here yet: get it below, or take the synthetic shapes"))
    sizes = data.SIZES if config.dataset == "cifar10" else data.SYNTHETIC_SIZES
    available = sizes["train"] - config.holdout
    if available < 20:
        found.append(("holdout", f"there are only {sizes['train']} training images: hold fewer out"))
    elif (config.train_images or 0) > available:
        found.append(("train_images", f"there are only {available}: ask for fewer"))
    elif config.batch_size > available:
        found.append(("batch_size", f"there are only {available} training images: take a smaller batch"))
    if not config.teacher:
        return found
    if teacher is None:
        return [*found, ("teacher", f"there is no network '{config.teacher[:100]}' that can be read: choose another")]
    if teacher.classes != data.CLASSES[config.dataset]:
        names = ", ".join(teacher.classes[:3])
        found.append(("teacher", f"it knows other classes ({names}, …): choose one that was trained on these data"))
    elif not any(one.needs_teacher for one in config.students):
        found.append(("teacher", "no student listens to it: give one a KL or attention weight, or choose no teacher"))
    for one in config.students:
        if one.attention_weight and STAGES[one.architecture] != STAGES[teacher.architecture]:
            found.append(
                (
                    "students",
                    f"{one.name} has {STAGES[one.architecture]} stages and the teacher {STAGES[teacher.architecture]}; "
                    "attention transfer needs the same number: choose one family, or attention weight 0",
                )
            )
    return found
