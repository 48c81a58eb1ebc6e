"""The figures about one image: labels, predictions, the gradient on a student's logits, attention maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kdexplorer.analysis.metrics import softmax
from kdexplorer.charts import attention, gradients, soft_labels
from kdexplorer.charts import temperature as curves
from kdexplorer.charts.attention import NetworkMaps
from kdexplorer.charts.common import CLASS_LIMIT, NetworkLogits, Spec, format_share, select_classes
from kdexplorer.charts.style import HUMAN
from kdexplorer.config import SCRATCH
from kdexplorer.figures import Choice, Figure, Part, Words

ALL_STAGES = "all"


@dataclass(frozen=True)
class Source:
    """What the figures about one picture's predictions are drawn from."""

    logits: list[NetworkLogits]
    """Of the networks, the teacher first."""
    classes: tuple[str, ...]
    label: int | None
    temperature: float
    alpha: float = 0.0
    """The weight of the teacher's term, for the gradient on a student's logits."""
    student: NetworkLogits | None = None
    """Whose gradient or prediction is shown."""

    @property
    def teacher(self) -> NetworkLogits:
        return self.logits[0]

    @property
    def students(self) -> list[NetworkLogits]:
        return self.logits[1:]


@dataclass(frozen=True)
class Maps:
    """What the figures about attention maps are drawn from, as `charts.attention.grid` takes it."""

    maps: Sequence[NetworkMaps]
    photo: np.ndarray
    shared: bool = True
    smooth: bool = False
    power: int = 1
    stage: str = ALL_STAGES
    """Where nobody chooses it."""

    @property
    def source(self) -> Maps:
        return self


def _hard_label(classes: Sequence[str], label: int | None) -> Iterator[Part]:
    if label is None:
        yield Words("This picture has no hard label: choose a test image.", is_hint=True)
    else:
        certain, heading, rule = np.eye(len(classes))[label], "The hard label", "the label's"
        shown = None if len(classes) <= CLASS_LIMIT else [label]
        yield soft_labels.probability_bars(certain, classes, label, HUMAN, heading, classes[label], shown, rule)


def _teacher_prediction(teacher: NetworkLogits, classes: Sequence[str], label: int | None) -> Spec:
    return _draw_prediction(teacher, 1.0, classes, label, "The teacher's prediction")


def _draw_prediction(
    network: NetworkLogits, t: float, classes: Sequence[str], label: int | None, heading: str, *selection: Any
) -> Spec:
    soft, subtitle = softmax(network.logits, t), f"{network.name}, T = {t:g}"
    return soft_labels.probability_bars(soft, classes, label, network.role, heading, subtitle, *selection)


def _choose_curve(students: Sequence[NetworkLogits]) -> Choice:
    known = [key for key in curves.CURVES if students or key not in curves.COMPARED]
    return Choice("curve", "Measure", {key: curves.CURVES[key][0] for key in known})


def _gradient(
    teacher: NetworkLogits,
    student: NetworkLogits | None,
    classes: Sequence[str],
    label: int | None,
    temperature: float,
    alpha: float,
) -> Iterator[Part]:
    if student is None:
        yield Words("Choose a student to see the gradient on its logits.", is_hint=True)
    else:
        yield gradients.gradient_push(teacher, student, classes, label, temperature, alpha)


def _students(
    teacher: NetworkLogits,
    students: Sequence[NetworkLogits],
    student: NetworkLogits | None,
    classes: Sequence[str],
    label: int | None,
    temperature: float,
) -> Iterator[Part]:
    if student is None:
        yield Words("Choose a student to see its prediction.", is_hint=True)
        return
    kinds = {one.role == SCRATCH: one for one in [*reversed(students), student]}
    headings = {True: "Without a teacher", False: "Distilled"}
    found = [(kinds[kind], heading) for kind, heading in headings.items() if kind in kinds]
    top, predicted = select_classes(teacher.logits, label), [int(one.logits.argmax()) for one, _ in found]
    others = [index for index in dict.fromkeys(predicted) if index not in top]
    hard = [] if label is None else [label]
    shown = list(dict.fromkeys([*top[: CLASS_LIMIT - len(others)], *others, *hard]))
    rule = "the teacher's most probable, these students' predictions"
    yield tuple(_draw_prediction(one, temperature, classes, label, heading, shown, rule) for one, heading in found)
    soft = softmax(teacher.logits, temperature)
    first, second = np.argsort(-soft)[:2]
    listed = f"{format_share(soft[first])} {classes[first]}, {format_share(soft[second])} {classes[second]}"
    yield Words(f"The teacher, {teacher.name}, at T = {temperature:g}: {listed}.")


def choose_stage(maps: Sequence[NetworkMaps]) -> Choice:
    """Which stage of the teacher is shown; the first, whose maps are the finest, where nothing is chosen."""
    stages = [str(number + 1) for number in range(len(maps[0].maps))]
    return Choice("stage", "Stage", {**dict(zip(stages, stages, strict=True)), ALL_STAGES: ALL_STAGES})


def _attention(source: Maps, stage: str) -> Spec:
    return draw_maps(source, "map", stage)


def _attention_difference(source: Maps, stage: str) -> Iterator[Part]:
    if len(source.maps) == 1:
        yield Words("Choose a student to see how it differs from the teacher.", is_hint=True)
    else:
        yield draw_maps(source, "difference", stage)


def draw_maps(source: Maps, mode: str, stage: str) -> Spec:
    """The maps over the photo; `stage` is one of `choose_stage`. See `charts.attention.grid`."""
    number = None if stage == ALL_STAGES else int(stage)
    return attention.grid(source.maps, source.photo, mode, source.shared, number, source.smooth, source.power)


FIGURES = (
    Figure("hard_label", "The hard label", "soft_labels", "the picture", "soft", _hard_label, "picture"),
    Figure(
        "teacher_prediction", "The teacher's prediction", "soft_labels", "the picture", "soft", _teacher_prediction,
        "picture",
    ),
    Figure(
        "soft_labels", "Soft labels of teacher and students", "soft_labels", "T", "soft", soft_labels.columns,
        "picture",
    ),
    Figure(
        "temperature_curves", "Entropy, KL and gradient over T", "soft_labels", "the measure", "soft",
        curves.over_temperature, "picture", (_choose_curve,), is_titled=True,
    ),
    Figure(
        "gradient", "The gradient on the student's logits", "soft_labels", "α", "gradient", _gradient, "picture",
        is_titled=True,
    ),
    Figure(
        "students", "Two students' predictions", "soft_labels", "the picture", "soft", _students, "picture",
        is_titled=True,
    ),
    Figure(
        "attention", "Attention maps", "attention", "the maps' opacity", "attention", _attention, "picture",
        (choose_stage,),
    ),
    Figure(
        "attention_difference", "Attention, student minus teacher", "attention", "the picture", "attention",
        _attention_difference, "picture", (choose_stage,), is_titled=True,
    ),
)  # fmt: skip
