"""The figures about many images: results of networks and experiments, and what the audience votes."""

from __future__ import annotations

from kdexplorer.analysis.results import ResultRow
from kdexplorer.charts.evaluation import COSTS, accuracies, accuracy_cost, losses
from kdexplorer.charts.learning_curves import CurvePoint, get_measure, learning_curves, list_measures
from kdexplorer.charts.studies import figure_chart
from kdexplorer.figures import Choice, Figure


def _measures(points: list[CurvePoint]) -> Choice:
    return Choice("measure", "Measure", {key: get_measure(key).label for key in list_measures(points)})


def _costs(rows: list[ResultRow]) -> Choice:
    return Choice("cost", "Cost", {key: COSTS[key].label for key in COSTS if any(getattr(row, key) for row in rows)})


FIGURES = (
    Figure(
        "learning_curves", "Learning curves", "compare", "the measure", "results", learning_curves,
        choose=(_measures, lambda: Choice("split", "On", {"test": "Evaluation images", "train": "Training batches"})),
        name="Learning curves {measure}",
    ),
    Figure(
        "accuracies", "Accuracies with intervals", "compare", "the teacher", "results", accuracies, "family", size=1.4
    ),
    Figure("losses", "Cross-entropy and objective", "compare", "the teacher", "results", losses, "family", size=1.3),
    Figure(
        "accuracy_cost", "Accuracy against cost", "compare", "the cost", "results", accuracy_cost, choose=(_costs,),
        name="Accuracy and cost",
    ),
    Figure("experiment", "A prepared experiment", "experiments", "the experiment", "experiments", figure_chart),
    Figure("vote", "The room's soft label", "audience", "the votes", "votes"),
)  # fmt: skip
