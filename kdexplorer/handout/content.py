"""A handout's charts: the application's own, drawn once, with the temperature and alpha left to the page's sliders."""

from __future__ import annotations

from typing import Any

import numpy as np

from kdexplorer import comparison, metrics, table
from kdexplorer.data import CIFAR10_CLASSES
from kdexplorer.handout.order import Order
from kdexplorer.handout.shapes import Chart, Shapes
from kdexplorer.handout.sources import Picture, Sources
from kdexplorer.ui import charts, charts_attention, charts_people, charts_runs, charts_soft, style

OCTAVES = tuple(k / 4 for k in range(-4, 18))
"""log2 T of the class maps: from 0.5 to 19, four to the octave."""


def of_pictures(order: Order, sources: Sources, shapes: Shapes) -> list[dict[str, Any]]:
    """Each picture with its caption, its pixels and its charts by the name the page draws them under."""
    made = []
    for picture in order.pictures:
        drawn = _people_charts(order, sources, picture)
        answers = {n: sources.answer_to(c, picture, order.dataset) for n, c in order.networks.items()}
        made.append(
            {
                "caption": picture.caption(order.teacher),
                "pixels": picture.address(),
                "charts": {n: shapes.chart(c) for n, c in (_picture_charts(order, picture, answers) | drawn).items()},
            }
        )
    return made


def _picture_charts(order: Order, picture: Picture, answers: dict[str, Any]) -> dict[str, charts.Spec]:
    classes, label, roles = order.teacher.classes, picture.hard_label(order.teacher), order.roles(order.networks)
    teacher, *students = [charts_soft.Series(name, roles[name], logits) for name, (logits, _) in answers.items()]
    maps = {name: maps[1] for name, (_, maps) in answers.items()}
    rows = [
        charts_attention.row(name, roles[name], mine, None if name == teacher.name else maps[teacher.name])
        for name, mine in maps.items()
    ]
    low, high = charts_attention.limits(charts_attention.shown_values(rows, "map"), "map")
    photo = picture.pixels.transpose(1, 2, 0)
    return {
        "mirrored": charts_soft.mirrored(teacher, students, classes, label, order.temperature),
        "scale": charts_attention.scale_bar(low, high, "viridis", "map", True),
        "attention": charts_attention.grid(rows, photo, "map", True, 0.65, "viridis", beta=1000.0),
    } | {
        f"told {number}": charts_soft.told(teacher, student, classes, label, order.temperature, order.alpha)
        for number, student in enumerate(students, start=1)
    }


def _people_charts(order: Order, sources: Sources, picture: Picture) -> dict[str, charts.Spec]:
    """What people answered to a test image, and how close each network is to it."""
    near = {} if picture.index is None else near_people(order, sources, picture.index)
    if not near:
        return {}
    human, classes, label = sources.people[picture.index], order.teacher.classes, picture.hard_label(order.teacher)
    name = f"test image {picture.index}"
    return {
        "people": charts.answer(human, classes, label, "people", "What people answered", f"about 50 people, {name}"),
        "closest": charts_people.closest(near, order.roles(order.networks), human, name),
    }


def near_people(order: Order, sources: Sources, index: int | None) -> dict[str, charts_people.Closeness]:
    """How close each network is to people, on one test image or (None) the split; empty where that is not known."""
    if sources.people is None or order.teacher.classes != CIFAR10_CLASSES:
        return {}
    known = {name: sources.stored(checkpoint, "cifar10") for name, checkpoint in order.networks.items()}
    which = slice(None) if index is None else index
    return {
        name: charts_people.closeness(sources.people[which], logits[which])
        for name, logits in known.items()
        if logits is not None
    }


def of_the_split(order: Order, sources: Sources, rows: list[dict[str, Any]], shapes: Shapes) -> dict[str, Chart]:
    """The charts that no picture changes: class maps over T, accuracies, learning curves from the cards."""
    roles = order.roles(order.compared)
    drawn = {"accuracies": charts.accuracies([row | {"role": roles[row["name"]]} for row in rows])}
    drawn |= _class_maps(order, sources) | _curves(order, roles)
    near = near_people(order, sources, None)
    if near:
        roles = order.roles(order.networks)
        drawn["closest of all"] = charts_people.closest(near, roles, sources.people, "10,000 test images")
    return {name: shapes.chart(chart) for name, chart in drawn.items()}


def _class_maps(order: Order, sources: Sources) -> dict[str, charts.Spec]:
    stored = {name: sources.stored(checkpoint, order.dataset) for name, checkpoint in order.networks.items()}
    groups = table.measured_labels(order.teacher)
    if groups is None:
        teacher = next(iter(stored.values()))
        groups = None if teacher is None else teacher.argmax(axis=1)
    if groups is None:
        return {}
    classes = order.teacher.classes
    stacks = {
        number: np.stack([metrics.class_similarity(logits, groups, 2**octave, len(classes)) for octave in OCTAVES])
        for number, logits in enumerate(stored.values())
        if logits is not None and len(logits) == len(groups)
    }
    off = ~np.eye(len(classes), dtype=bool)
    top = max((float(np.nanmax(stack[:, off])) for stack in stacks.values()), default=1.0)
    names = list(order.networks)
    return {
        f"classes {number}": charts_soft.similarity(stack, classes, names[number], top, False, OCTAVES)
        for number, stack in stacks.items()
    }


def _curves(order: Order, roles: dict[str, str]) -> dict[str, charts.Spec]:
    rows, teacher = comparison.learning_curves(order.compared, order.teacher)
    looks = style.series(roles)
    drawn = {
        f"curve {measure}": charts_runs.learning_curves(rows, looks, measure, teacher=teacher)
        for measure in ("accuracy", "cross_entropy")
    }
    return {name: chart for name, chart in drawn.items() if chart is not None}
