"""The rule of what may start: what would end a run at its start, found before it is created. Loads no torch.

How many images an omitted class has is known only once they are loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from kdexplorer.config import RunConfig
from kdexplorer.datasets import get_dataset
from kdexplorer.errors import ConfigError, KDError
from kdexplorer.methods import get_method
from kdexplorer.networks import get_architecture
from kdexplorer.runs.checkpoints import Checkpoint, find_checkpoint, find_teachers
from kdexplorer.schema import problems

Problems = dict[str, list[str]]
"""Sentences by the field of `RunConfig`; a student's are under `students`, with the student named."""


def find_problems(values: dict[str, Any], teacher: Checkpoint | None = None) -> tuple[RunConfig | None, Problems]:
    """The run that a form's values describe, None when there is any problem, and the problems.

    `values` are fields of `RunConfig`, not validated; `teacher` is the network that they name, where it can be read.
    """
    config: RunConfig | None = None
    listed: list[tuple[str, str]] = []
    try:
        config = RunConfig.model_validate(values)
        if teacher is not None and not any(student.needs for student in config.students):
            listed = [("teacher", "no student uses it: add a distillation method to one, or choose no teacher")]
        listed += _start_problems(config, () if teacher is None else (teacher,))
    except ValidationError as error:
        listed = [_locate(place, message, values["students"]) for place, message in problems(error)]
    found: Problems = {}
    for field, sentence in listed:
        found.setdefault(field, []).append(sentence)
    return (None if found else config), found


def require_startable(config: RunConfig) -> None:
    """Prepares the data. Raises KDError, which names what would end the run at its start."""
    get_dataset(config.dataset).prepare()
    if found := [f"{field}: {sentence}" for field, sentence in _start_problems(config, find_teachers(config.teacher))]:
        missing = get_dataset(config.dataset).can_download and not get_dataset(config.dataset).is_available()
        found += [f"to download, run 'python -m kdexplorer data download {config.dataset}'"] if missing else []
        raise ConfigError("; ".join(found) + ".")


def _locate(place: str, message: str, students: list[dict[str, Any]]) -> tuple[str, str]:
    """The field that a problem belongs to, and its sentence."""
    field, _, rest = place.partition(".")
    if field == "students" and rest:
        number, _, column = rest.partition(".")
        name = students[int(number)].get("name") or f"student {int(number) + 1}"
        if column.startswith("terms."):  # a term is known by its method: terms.0.KEY.setting
            method, *setting = column.split(".")[2:] or [""]
            column = " ".join([get_method(method).label, *setting]) if method else ""
        return "students", f"{name}: {column.replace('_', ' ')} {message}" if column else f"{name}: {message}"
    if not field:  # a sentence about several fields: it is shown beside the one that fixes it
        words = {"batch": "batch_size", "no teacher is given": "teacher"}
        field = next((name for word, name in words.items() if word in message), "students")
    return field, message


def _start_problems(config: RunConfig, teachers: Sequence[Checkpoint]) -> Iterator[tuple[str, str]]:
    """Fields and sentences of everything that a valid configuration cannot say by itself."""
    if missing := config.missing():
        yield from (("students", sentence) for sentence in missing)
        return
    if config.device.startswith("cuda"):
        from kdexplorer.training.hardware import resolve_device  # loads torch

        try:
            resolve_device(config.device)
        except ConfigError as error:
            yield "device", str(error).removeprefix("device: ").rstrip(".")
    dataset = get_dataset(config.dataset)
    if not dataset.is_available():
        yield "dataset", f"{dataset.label} is not available yet: download it, or choose another data set"
    if config.without_class is not None and config.without_class >= len(dataset.classes):
        yield "without_class", f"there are only {len(dataset.classes)} classes, the first is 0"
    available = dataset.sizes["train"] - config.holdout
    if available < 20:
        what = ("holdout", "hold out fewer") if config.holdout else ("dataset", "a run needs 20")
        yield what[0], f"there are only {dataset.sizes['train']} training images: {what[1]}"
    else:
        yield from count_problems(config, available)
    if config.teacher:
        yield from _teacher_problems(config, teachers)
    yield from _initial_problems(config)


def count_problems(config: RunConfig, available: int) -> Iterator[tuple[str, str]]:
    """Fields and sentences where the run uses more training images than there are to choose from."""
    if (config.train_images or 0) > available:
        yield "train_images", f"there are only {available}: choose fewer"
    elif config.batch_size > available:
        yield "batch_size", f"there are only {available} training images: choose a smaller batch"


def _teacher_problems(config: RunConfig, teachers: Sequence[Checkpoint]) -> Iterator[tuple[str, str]]:
    if not teachers:
        yield "teacher", f"there is no network '{(config.teacher or '')[:100]}' that can be read: choose another"
        return
    for teacher in teachers:
        if teacher.classes != get_dataset(config.dataset).classes:
            names = ", ".join(teacher.classes[:3])
            yield "teacher", f"it has other classes ({names}, …): choose one that was trained on these data"
    if config.teacher_view != "fixed" and not all(teacher.computes for teacher in teachers):
        yield "teacher", "only logits of the images as they are are stored of it: set teacher_view to fixed"
    classes = len(get_dataset(config.dataset).classes)
    for student in config.students:
        for method in student.methods:
            if classes < method.min_classes:
                yield "students", f"{student.name}: {method.label} teaches nothing with {classes} classes: remove it"
            used = " and ".join(sorted(method.needs - {"logits"}))
            if len(teachers) > 1 and used:
                why = f"several teachers are averaged in their probabilities, but {method.label} uses {used}"
                yield "teacher", f"{why}: name one teacher, or remove this term"
                continue
            problem = method.check(get_architecture(student.architecture), get_architecture(teachers[0].architecture))
            if problem:
                yield "students", f"{student.name}: {problem}"


def _initial_problems(config: RunConfig) -> Iterator[tuple[str, str]]:
    for student in config.students:
        if not student.initial:
            continue
        if ":" in student.initial:
            yield "students", f"{student.name}: no command can name {student.initial}: rename what has a colon"
            continue
        try:
            start = find_checkpoint(student.initial)
        except KDError as error:
            yield "students", f"{student.name}: {str(error).rstrip('.')}"
            continue
        dataset, own = get_dataset(config.dataset), start.card.normalization
        pairs = zip(own.mean + own.std, dataset.normalization.mean + dataset.normalization.std, strict=True)
        refused = f"{student.name} cannot start from {student.initial}"
        if any(abs(one - other) > 0.05 for one, other in pairs):  # a folder's is measured anew when it grows
            yield "students", f"{refused}, whose images were normalized otherwise"
        if (start.architecture, start.classes) != (student.architecture, dataset.classes):
            kind = f"a {start.architecture} with {len(start.classes)} classes"
            yield "students", f"{refused}, {kind}: choose a checkpoint of the same architecture and data"
