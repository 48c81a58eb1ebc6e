"""The figures about many images: results of networks and experiments, and what the audience votes."""

from __future__ import annotations

from kdexplorer.analysis.results import ResultRow
from kdexplorer.charts.common import Spec
from kdexplorer.charts.evaluation import COSTS, accuracies, accuracy_cost, losses
from kdexplorer.charts.learning_curves import CurvePoint, get_measure, learning_curves, list_measures
from kdexplorer.charts.studies import figure_chart
from kdexplorer.charts.style import TEACHER, Series
from kdexplorer.config import SCRATCH
from kdexplorer.figures import Choice, Figure


def _measures(points: list[CurvePoint]) -> Choice:
    return Choice("measure", "Measure", {key: get_measure(key).label for key in list_measures(points)})


def _splits(points: list[CurvePoint]) -> Choice:
    labels = {"test": "Evaluation images", "train": "Training batches"}
    return Choice("split", "On", {key: text for key, text in labels.items() if any(getattr(p, key) for p in points)})


def _costs(rows: list[ResultRow]) -> Choice:
    return Choice("cost", "Cost", {key: COSTS[key].label for key in COSTS if any(getattr(row, key) for row in rows)})


def _sizes(rows: list[ResultRow], looks: list[Series]) -> Spec | None:
    """The teacher and the students that were trained without one."""
    alone = [look for look in looks if look.look.label in (TEACHER, SCRATCH)]
    return accuracy_cost([row for row in rows if row.name in {look.name for look in alone}], alone, "parameters")


FIGURES = (
    Figure(
        "sizes", "Accuracy against parameters, without a teacher", "compare", "the teacher", "", _sizes, "family"
    ),
    Figure(
        "learning_curves", "Learning curves", "compare", "the measure", "results", learning_curves,
        choose=(_measures, _splits), name="Learning curves {measure} {split}",
    ),
    Figure(
        "accuracies", "Accuracies with intervals", "compare", "the teacher", "results", accuracies, "family"
    ),
    Figure("losses", "Cross-entropy and objective", "compare", "the teacher", "results", losses, "family"),
    Figure(
        "accuracy_cost", "Accuracy against cost", "compare", "the cost", "results", accuracy_cost, choose=(_costs,),
        name="Accuracy and {cost}",
    ),
    Figure(
        "experiment", "An experiment", "experiments", "the experiment", "experiments", figure_chart,
        is_titled=True,
    ),
    Figure("vote", "The audience's soft label", "audience", "the votes", "votes"),
)  # fmt: skip
