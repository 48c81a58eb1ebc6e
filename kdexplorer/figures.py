"""Figures: charts with one thing to move, on the pages, in a lecture's steps, in handouts, and alone in a frame.

Each is one entry at the end of this module. What draws a figure takes a source from whoever shows it, and returns
charts and words; it knows neither Streamlit nor the networks themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kdexplorer.analysis.metrics import softmax
from kdexplorer.charts import attention, evaluation, gradients, methods, soft_labels
from kdexplorer.charts import temperature as curves
from kdexplorer.charts.attention import ALL_STAGES, Maps
from kdexplorer.charts.common import CLASS_LIMIT, NetworkLogits, Source, Spec, format_share, select_classes
from kdexplorer.charts.learning_curves import Curves, get_measure, learning_curves, list_measures
from kdexplorer.charts.studies import figure_chart
from kdexplorer.charts.style import HUMAN, TEACHER
from kdexplorer.config import SCRATCH
from kdexplorer.methods import all_methods, get_method


@dataclass(frozen=True)
class Words:
    """A sentence beside a chart, as plain text, perhaps after a few in bold; or a hint what to choose."""

    text: str
    strong: str = ""
    is_hint: bool = False


Part = Spec | tuple[Spec, ...] | Words
"""A chart, charts side by side, or words."""


@dataclass(frozen=True)
class Choice:
    """What a figure's viewer may choose: its name in links, its label, and the options' labels by key."""

    name: str
    label: str
    options: Mapping[str, str]
    default: str | None = None
    """The first where it is None."""


@dataclass(frozen=True)
class Figure:
    """One figure."""

    key: str  # its name in links and lectures
    title: str  # what it shows
    page: str  # the page that it belongs to, by its file's name
    moves: str  # what its viewer moves
    section: str  # the handout's section about it; empty where another figure begins that section
    draw: Callable[..., Spec | Iterable[Part] | None] | None = None
    """Makes its chart, if there is one, or yields its parts, of a source; None for what only its page can draw."""
    needs: str = ""  # where it stands alone: `picture` beside it, or the results of a chosen teacher's `family`
    choose: tuple[Callable[[Any], Choice], ...] = ()  # the viewer's choices, by whose names `draw` takes what is chosen
    slid: tuple[str, ...] = ()  # the source's fields that its charts' sliders start at
    is_titled: bool = False  # whether its charts' titles say more than a lecture's step

    def parts(self, source: Any, **chosen: str) -> Iterable[Part]:
        """Its charts and words, with what was chosen. Raises KDError."""
        drawn = None if self.draw is None else self.draw(source, **chosen)
        return (drawn,) if isinstance(drawn, dict) else drawn or ()


def _hard_label(source: Source) -> Iterator[Part]:
    classes, label = source.classes, source.label
    if label is None:
        yield Words("This picture has no hard label: choose a test image.", is_hint=True)
    else:
        certain, heading, rule = np.eye(len(classes))[label], "The hard label", "the label's"
        shown = None if len(classes) <= CLASS_LIMIT else [label]
        yield soft_labels.probability_bars(certain, classes, label, HUMAN, heading, classes[label], shown, rule)


def _draw_prediction(source: Source, network: NetworkLogits, t: float, heading: str, *selection: Any) -> Spec:
    known = softmax(network.logits, t), source.classes, source.label, network.role
    return soft_labels.probability_bars(*known, heading, f"{network.name}, T = {t:g}", *selection)


def _choose_curve(source: Source) -> Choice:
    known = [key for key in curves.CURVES if source.students or key not in curves.COMPARED]
    return Choice("curve", "Measure", {key: curves.CURVES[key][0] for key in known})


def _gradient(source: Source) -> Iterator[Part]:
    if source.student is None:
        yield Words("Choose a student to see the gradient on its logits.", is_hint=True)
    else:
        yield gradients.gradient_push(source, source.student)


def _students(source: Source) -> Iterator[Part]:
    teacher, classes, t = source.teacher, source.classes, source.temperature
    if source.student is None:
        yield Words("Choose a student to see its prediction.", is_hint=True)
        return
    kinds = {one.role == SCRATCH: one for one in [*reversed(source.students), source.student]}
    headings = {True: "Without a teacher", False: "Distilled"}
    found = [(kinds[kind], heading) for kind, heading in headings.items() if kind in kinds]
    top, predicted = select_classes(teacher.logits, source.label), [int(one.logits.argmax()) for one, _ in found]
    others = [index for index in dict.fromkeys(predicted) if index not in top]
    hard = [] if source.label is None else [source.label]
    shown = list(dict.fromkeys([*top[: CLASS_LIMIT - len(others)], *others, *hard]))
    rule = "the teacher's most probable, these students' predictions"
    yield tuple(_draw_prediction(source, one, t, heading, shown, rule) for one, heading in found)
    soft = softmax(teacher.logits, t)
    first, second = np.argsort(-soft)[:2]
    listed = f"{format_share(soft[first])} {classes[first]}, {format_share(soft[second])} {classes[second]}"
    yield Words(f"The teacher, {teacher.name}, at T = {t:g}: {listed}.")


def _choose_stage(source: Maps) -> Choice:
    """Which stage of the teacher is shown; the first, whose maps are the finest, where nothing is chosen."""
    stages = [*(str(number + 1) for number in range(len(source.maps[0].maps))), ALL_STAGES]
    return Choice("stage", "Stage", dict(zip(stages, stages, strict=True)))


def _attention_difference(source: Maps, stage: str) -> Iterator[Part]:
    if len(source.maps) == 1:
        yield Words("Choose a student to see how it differs from the teacher.", is_hint=True)
    else:
        yield attention.grid(source, "difference", stage)


def _choose_method(_: None) -> Choice:
    return Choice("method", "Method", {method.key: method.label for method in all_methods()}, "kd")


def _taxonomy(_: None, method: str) -> Iterator[Part]:
    yield methods.taxonomy(method)
    chosen = get_method(method)
    yield Words(f": {chosen.summary}", strong=chosen.label)


def _measures(source: Curves) -> Choice:
    return Choice("measure", "Measure", {key: get_measure(key).label for key in list_measures(source)})


def _splits(source: Curves) -> Choice:
    labels = {"test": "Evaluation images", "train": "Training batches"}
    return Choice("split", "On", {k: text for k, text in labels.items() if any(getattr(r, k) for r in source.rows)})


def _costs(source: Any) -> Choice:
    known = [key for key in evaluation.COSTS if any(getattr(row, key) for row in source.rows)]
    return Choice("cost", "Cost", {key: evaluation.COSTS[key].label for key in known})


def _sizes(source: Any) -> Spec | None:
    """The teacher and the students that were trained without one."""
    alone = [look for look in source.looks if look.look.label in (TEACHER, SCRATCH)]
    return evaluation.accuracy_cost(source.rows, alone, "parameters")


_FIGURES = (
    Figure("hard_label", "The hard label", "soft_labels", "the picture", "soft", _hard_label, "picture"),
    Figure("teacher_prediction", "The teacher's prediction", "soft_labels", "the picture", "soft",
           lambda source: _draw_prediction(source, source.teacher, 1.0, "The teacher's prediction"), "picture"),
    Figure("soft_labels", "Soft labels of teacher and students", "soft_labels", "T", "soft", soft_labels.columns,
           "picture", slid=("temperature",)),
    Figure("temperature_curves", "Entropy, KL and gradient over T", "soft_labels", "the measure", "soft",
           curves.over_temperature, "picture", (_choose_curve,), is_titled=True),
    Figure("gradient", "The gradient on the student's logits", "soft_labels", "α", "gradient", _gradient, "picture",
           slid=("temperature", "alpha"), is_titled=True),
    Figure("students", "Two students' predictions", "soft_labels", "the picture", "soft", _students, "picture",
           is_titled=True),
    Figure("attention", "Attention maps", "attention", "the maps' opacity", "attention",
           lambda source, stage: attention.grid(source, "map", stage), "picture", (_choose_stage,)),
    Figure("attention_difference", "Attention, student minus teacher", "attention", "the picture", "attention",
           _attention_difference, "picture", (_choose_stage,), is_titled=True),
    Figure("taxonomy", "Where methods connect two networks", "methods", "the method", "methods", _taxonomy,
           choose=(_choose_method,)),
    Figure("method", "A method's gradient on a student", "methods", "the method", "methods", needs="picture"),
    Figure("divergence", "Forward or reverse KL", "methods", "β", "methods", lambda _: methods.mode_figure(),
           is_titled=True),
    Figure("sizes", "Accuracy against parameters, without a teacher", "compare", "the teacher", "", _sizes, "family"),
    Figure("learning_curves", "Learning curves", "compare", "the measure", "results", learning_curves,
           choose=(_measures, _splits)),
    Figure("accuracies", "Accuracies with intervals", "compare", "the teacher", "results",
           lambda source: evaluation.accuracies(source.rows, source.roles), "family"),
    Figure("losses", "Cross-entropy and objective", "compare", "the teacher", "results",
           lambda source: evaluation.losses(source.rows, source.roles), "family"),
    Figure("accuracy_cost", "Accuracy against cost", "compare", "the cost", "results",
           lambda source, cost: evaluation.accuracy_cost(source.rows, source.looks, cost), choose=(_costs,)),
    Figure("experiment", "An experiment", "experiments", "the experiment", "experiments", figure_chart, is_titled=True),
    Figure("vote", "The audience's soft label", "audience", "the votes", "votes"),
)  # fmt: skip


def all_figures() -> dict[str, Figure]:
    """All figures by key."""
    return {figure.key: figure for figure in _FIGURES}
