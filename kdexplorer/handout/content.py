"""A handout's charts: the application's own, drawn once; the page's sliders set temperature, alpha and opacity."""

from __future__ import annotations

from typing import Any

import numpy as np

from kdexplorer.analysis import metrics, results
from kdexplorer.analysis.human_agreement import Closeness, closeness
from kdexplorer.analysis.records import ResultRow
from kdexplorer.charts import (
    annotators,
    attention,
    bars,
    class_maps,
    gradient,
    learning_curves,
    soft_labels,
    style,
)
from kdexplorer.charts.common import NetworkLogits, Spec
from kdexplorer.datasets.cifar10 import Cifar10
from kdexplorer.handout.request import HandoutRequest
from kdexplorer.handout.shapes import Chart, Shapes
from kdexplorer.handout.sources import Picture, Prediction, Sources
from kdexplorer.presets import PRESETS

OCTAVES = tuple(k / 4 for k in range(-4, 18))
"""log2 T of the class maps: from 0.5 to 19, four steps per octave."""

OPACITY = 0.65
"""Where the slider from photo to attention map starts."""

_BETA = PRESETS["feature"]["terms"][0]["weight"]
"""The lab's weight of the attention term, for the numbers under the maps."""


def draw_pictures(request: HandoutRequest, sources: Sources, shapes: Shapes) -> list[dict[str, Any]]:
    """Each picture's caption, pixels, and charts by the name under which the page draws them. Raises KDError."""
    drawn = []
    for picture in request.pictures:
        predictions = {
            name: sources.predict_picture(checkpoint, picture, request.dataset)
            for name, checkpoint in request.networks.items()
        }
        charts = _draw_predictions(request, picture, predictions) | _draw_human_labels(request, sources, picture)
        drawn.append(
            {
                "caption": picture.caption(request.teacher),
                "pixels": picture.data_url(),
                "charts": {name: shapes.add(chart) for name, chart in charts.items()},
            }
        )
    return drawn


def _draw_predictions(request: HandoutRequest, picture: Picture, predictions: dict[str, Prediction]) -> dict[str, Spec]:
    roles = request.roles(request.networks)
    classes, label = request.teacher.classes, picture.hard_label(request.teacher)
    networks = [NetworkLogits(name, roles[name], logits) for name, (logits, _) in predictions.items()]
    teacher, *students = networks
    rows = [attention.NetworkMaps(name, roles[name], maps[1]) for name, (_, maps) in predictions.items()]
    low, high = attention.color_limits(attention.relative_maps(rows, "map"), "map")
    photo = picture.pixels.transpose(1, 2, 0)
    return {
        "mirrored": soft_labels.mirrored(teacher, students, classes, label, request.temperature),
        "scale": attention.scale_bar(low, high, "viridis", "map", True),
        "attention": attention.grid(rows, photo, "map", True, OPACITY, "viridis", beta=_BETA),
    } | {
        f"gradient {number}": gradient.gradient_push(
            teacher, student, classes, label, request.temperature, request.alpha
        )
        for number, student in enumerate(students, start=1)
    }


def _draw_human_labels(request: HandoutRequest, sources: Sources, picture: Picture) -> dict[str, Spec]:
    """The human labels of a test image, and how close each network is to them."""
    near = {} if picture.index is None else measure_closeness(request, sources, picture.index)
    if sources.human_labels is None or not near:
        return {}
    labels, label = sources.human_labels[picture.index], picture.hard_label(request.teacher)
    name = f"test image {picture.index}"
    return {
        "human labels": bars.probability_bars(
            labels, request.teacher.classes, label, style.HUMAN, "Human labels", f"about 50 annotators, {name}"
        ),
        "closeness": annotators.closeness_curves(near, request.roles(request.networks), labels, name),
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
    roles = request.roles(request.compared)
    drawn = {"accuracies": bars.accuracies(rows, roles)}
    drawn |= _draw_class_maps(request, sources) | _draw_curves(request, roles)
    if sources.human_labels is not None and near:
        subject = f"{len(sources.human_labels):,} test images"
        drawn["closeness on the split"] = annotators.closeness_curves(
            near, request.roles(request.networks), sources.human_labels, subject
        )
    return {name: shapes.add(chart) for name, chart in drawn.items()}


def _draw_class_maps(request: HandoutRequest, sources: Sources) -> dict[str, Spec]:
    stored = {name: sources.stored_logits(checkpoint, request.dataset) for name, checkpoint in request.networks.items()}
    groups = results.evaluation_labels(request.teacher)
    if groups is None:
        teacher = next(iter(stored.values()))
        groups = None if teacher is None else teacher.argmax(axis=1)
    if groups is None:
        return {}
    classes = request.teacher.classes
    stacks = {
        number: np.stack([metrics.class_similarity(logits, groups, 2**octave, len(classes)) for octave in OCTAVES])
        for number, logits in enumerate(stored.values())
        if logits is not None and len(logits) == len(groups)
    }
    off_diagonal = ~np.eye(len(classes), dtype=bool)
    top = max((float(np.nanmax(stack[:, off_diagonal])) for stack in stacks.values()), default=1.0)
    shown = class_maps.most_similar_classes(next(iter(stacks.values()))) if stacks else None
    names = list(request.networks)
    return {
        f"classes {number}": class_maps.similarity(stack, classes, names[number], top, False, OCTAVES, shown)
        for number, stack in stacks.items()
    }


def _draw_curves(request: HandoutRequest, roles: dict[str, str]) -> dict[str, Spec]:
    histories, teacher = results.learning_curves(request.compared, request.teacher)
    points = [
        learning_curves.CurvePoint(name, row.epoch, row.train, row.test)
        for name, history in histories.items()
        for row in history
    ]
    looks = style.series(roles)
    drawn = {
        f"curve {measure}": learning_curves.learning_curves(points, looks, measure, teacher=teacher)
        for measure in ("accuracy", "cross_entropy")
    }
    return {name: chart for name, chart in drawn.items() if chart is not None}
