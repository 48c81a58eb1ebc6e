"""A handout's charts: the application's own, drawn once; the page's sliders set temperature, alpha and opacity."""

from __future__ import annotations

from typing import Any

import numpy as np

from kdexplorer.analysis import metrics, results
from kdexplorer.analysis.attention_similarity import attention_weight
from kdexplorer.analysis.human_agreement import Closeness, closeness
from kdexplorer.analysis.results import ResultRow
from kdexplorer.charts import (
    attention,
    class_maps,
    divergence,
    evaluation,
    gradients,
    learning_curves,
    soft_labels,
    style,
    taxonomy,
    temperature,
)
from kdexplorer.charts.common import NetworkLogits, Spec, fresh_student
from kdexplorer.datasets.cifar10 import Cifar10
from kdexplorer.handout.request import HandoutRequest
from kdexplorer.handout.shapes import Chart, Shapes
from kdexplorer.handout.sources import Sources
from kdexplorer.images.picture import Picture

OCTAVES = tuple(k / 4 for k in range(-4, 19))
"""log2 T of the class maps, four steps per octave: beyond both ends of the slider."""

OPACITY = 0.65
"""Where the slider from photo to attention map starts."""


def draw_pictures(request: HandoutRequest, sources: Sources, shapes: Shapes) -> list[dict[str, Any]]:
    """Each picture's caption, pixels, and charts by the name under which the page draws them. Raises KDError."""
    drawn = []
    for picture in request.pictures:
        charts = _draw_predictions(request, sources, picture) | _draw_human_labels(request, sources, picture)
        added = {name: shapes.add(chart) for name, chart in charts.items()}
        caption = picture.caption(request.teacher.classes) + _describe_right(request, sources, picture)
        drawn.append({"caption": caption, "pixels": picture.data_url, "charts": added})
    return drawn


def _describe_right(request: HandoutRequest, sources: Sources, picture: Picture) -> str:
    """Which networks predict the label of a test image; empty without a label or stored logits."""
    label, parts = picture.label, []
    if label is None:
        return ""
    stored = {name: sources.stored_logits(checkpoint, request.dataset) for name, checkpoint in request.networks.items()}
    right = {
        name: int(logits[picture.index].argmax()) == label for name, logits in stored.items() if logits is not None
    }
    for word, value in (("right", True), ("wrong", False)):
        names = [name for name, one in right.items() if one is value]
        parts += [f"{word}: {', '.join(names)}"] if names else []
    return "".join(f"; {part}" for part in parts)


def _draw_predictions(request: HandoutRequest, sources: Sources, picture: Picture) -> dict[str, Spec]:
    roles = request.roles(request.networks)
    classes, label = request.teacher.classes, picture.label
    networks, rows = [], []
    for name, checkpoint in request.networks.items():
        logits, maps = sources.predict(checkpoint, picture.pixels)
        stored = sources.stored_logits(checkpoint, request.dataset) if picture.index is not None else None
        networks.append(NetworkLogits(name, roles[name], logits if stored is None else stored[picture.index]))
        rows.append(attention.NetworkMaps(name, roles[name], maps[1], attention_weight(checkpoint)))
    teacher, *students = networks
    low, high = attention.color_limits(attention.relative_maps(rows, "map"), "map")
    photo = picture.pixels_last

    def push(student: NetworkLogits, alpha: float) -> Spec:
        return gradients.gradient_push(teacher, student, classes, label, request.temperature, alpha)

    first, *own = (request.alpha_of(checkpoint) for checkpoint in request.networks.values())
    return {
        "mirrored": soft_labels.mirrored(teacher, students, classes, label, request.temperature),
        "scale": attention.scale_bar(low, high, "map", True),
        "attention": attention.grid(rows, photo, "map", True, OPACITY),
        "gradient 0": push(fresh_student(teacher), own[0] if own else first),
    } | {f"gradient {number}": push(*one) for number, one in enumerate(zip(students, own, strict=True), start=1)}


def _draw_human_labels(request: HandoutRequest, sources: Sources, picture: Picture) -> dict[str, Spec]:
    """The human labels of a test image, and how close each network is to them."""
    near = {} if picture.index is None else measure_closeness(request, sources, picture.index)
    if sources.human_labels is None or not near:
        return {}
    labels, name = sources.human_labels[picture.index], f"test image {picture.index}"
    label, said = picture.label, ("Human labels", f"about 50 annotators, {name}")
    return {
        "human labels": soft_labels.probability_bars(labels, request.teacher.classes, label, style.HUMAN, *said),
        "closeness": temperature.closeness_curves(near, request.roles(request.networks), labels, name),
    }


def measure_closeness(request: HandoutRequest, sources: Sources, index: int | None) -> dict[str, Closeness]:
    """Each network's closeness to the human labels of a test image or (None) of the split, where both are available."""
    if sources.human_labels is None or request.teacher.classes != Cifar10.classes:
        return {}
    stored = {name: sources.stored_logits(checkpoint, Cifar10.key) for name, checkpoint in request.networks.items()}
    which = slice(None) if index is None else index
    return {
        name: closeness(sources.human_labels[which], logits[which])
        for name, logits in stored.items()
        if logits is not None
    }


def draw_split(
    request: HandoutRequest, sources: Sources, rows: list[ResultRow], near: dict[str, Closeness], shapes: Shapes
) -> dict[str, Chart]:
    """The charts that no picture changes: class maps over T, accuracies, learning curves, closeness to human labels."""
    roles, human = request.roles(request.compared), sources.human_labels
    drawn = {"accuracies": evaluation.accuracies(rows, roles)} | _draw_class_maps(request, sources)
    drawn |= {"taxonomy": taxonomy.taxonomy(), "divergence": divergence.mode_figure()}
    histories, teacher = results.learning_curves(request.compared, request.teacher)
    points = [
        learning_curves.CurvePoint(name, row.epoch, row.train, row.test)
        for name, history in histories.items()
        for row in history
    ]
    for measure in ("accuracy", "cross_entropy"):
        chart = learning_curves.learning_curves(points, style.series(roles), measure, teacher=teacher)
        drawn |= {} if chart is None else {f"curve {measure}": chart}
    if human is not None and near:
        subject = f"{len(human):,} test images"
        curves = temperature.closeness_curves(near, request.roles(request.networks), human, subject)
        drawn["closeness on the split"] = curves
    return {name: shapes.add(chart) for name, chart in drawn.items()}


def _draw_class_maps(request: HandoutRequest, sources: Sources) -> dict[str, Spec]:
    stored = {name: sources.stored_logits(checkpoint, request.dataset) for name, checkpoint in request.networks.items()}
    groups, teacher = results.evaluation_labels(request.teacher), next(iter(stored.values()))
    if groups is None and teacher is not None:
        groups = teacher.argmax(axis=1)
    classes = request.teacher.classes
    stacks = {
        name: np.stack([metrics.class_similarity(logits, groups, 2**octave, len(classes)) for octave in OCTAVES])
        for name, logits in stored.items()
        if groups is not None and logits is not None and len(logits) == len(groups)
    }
    if not stacks:
        return {}
    off_diagonal = ~np.eye(len(classes), dtype=bool)
    top = max(float(np.nanmax(stack[:, off_diagonal])) for stack in stacks.values())
    shown = class_maps.most_similar_classes(next(iter(stacks.values())))
    return {
        f"classes {number}": class_maps.similarity(stacks[name], classes, name, top, False, OCTAVES, shown)
        for number, name in enumerate(request.networks)
        if name in stacks
    }
