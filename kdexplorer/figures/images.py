"""The figures about one image: labels, predictions, the gradient on a student's logits, attention maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kdexplorer.analysis.metrics import softmax
from kdexplorer.charts import attention, gradients, soft_labels
from kdexplorer.charts import temperature as curves
from kdexplorer.charts.attention import NetworkMaps
from kdexplorer.charts.common import NetworkLogits, Spec, format_share, select_classes
from kdexplorer.charts.style import HUMAN
from kdexplorer.config import SCRATCH
from kdexplorer.figures import Choice, Figure, Part, Words

ALL_STAGES = "all"
NO_DIFFERENCE = "Choose a student to see how it differs from the teacher."
"""Where the teacher is alone."""


@dataclass(frozen=True)
class Source:
    """What the figures about one picture are drawn from; those about attention maps take them and the photo."""

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


def _hard_label(classes: Sequence[str], label: int | None) -> Iterator[Part]:
    if label is None:
        yield Words("This picture has no hard label: choose a test image.", is_hint=True)
    else:
        certain = np.eye(len(classes))[label]
        yield soft_labels.probability_bars(certain, classes, label, HUMAN, "The hard label", classes[label])


def _teacher_prediction(teacher: NetworkLogits, classes: Sequence[str], label: int | None) -> Spec:
    shown = select_classes(teacher.logits, label)
    return _draw_prediction(teacher, 1.0, classes, label, "The teacher's prediction", shown)


def _draw_prediction(
    network: NetworkLogits, t: float, classes: Sequence[str], label: int | None, heading: str, shown: Sequence[int]
) -> Spec:
    soft, subtitle = softmax(network.logits, t), f"{network.name}, T = {t:g}"
    return soft_labels.probability_bars(soft, classes, label, network.role, heading, subtitle, shown)


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
    shown, headings = select_classes(teacher.logits, label), {True: "Without a teacher", False: "Distilled"}
    found = [(kinds[kind], heading) for kind, heading in headings.items() if kind in kinds]
    yield tuple(_draw_prediction(one, temperature, classes, label, heading, shown) for one, heading in found)
    soft = softmax(teacher.logits, temperature)
    first, second = np.argsort(-soft)[:2]
    listed = f"{format_share(soft[first])} {classes[first]}, {format_share(soft[second])} {classes[second]}"
    yield Words(f"The teacher, {teacher.name}, at T = {temperature:g}: {listed}.")


def choose_stage(maps: Sequence[NetworkMaps]) -> Choice:
    """Which stage of the teacher is shown; the first, whose maps are the finest, where nothing is chosen."""
    stages = [str(number + 1) for number in range(len(maps[0].maps))]
    return Choice("stage", "Stage", {**dict(zip(stages, stages, strict=True)), ALL_STAGES: ALL_STAGES})


def _attention(maps: Sequence[NetworkMaps], photo: np.ndarray, stage: str) -> Spec:
    return draw_maps(maps, photo, "map", True, stage)


def _attention_difference(maps: Sequence[NetworkMaps], photo: np.ndarray, stage: str) -> Iterator[Part]:
    if len(maps) == 1:
        yield Words(NO_DIFFERENCE, is_hint=True)
    yield draw_maps(maps, photo, "difference", True, stage)


def draw_maps(
    maps: Sequence[NetworkMaps], photo: np.ndarray, mode: str, shared: bool, stage: str, smooth: bool = False
) -> Spec:
    """The maps over the photo, uint8 `[32, 32, 3]`; `stage` is one of `choose_stage`. See `charts.attention.grid`."""
    number = None if stage == ALL_STAGES else int(stage)
    return attention.grid(maps, photo, mode, shared, number, smooth)


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
