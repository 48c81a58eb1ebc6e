"""The figures about many images: results of networks and experiments, and what the audience votes."""

from __future__ import annotations

from collections.abc import Sequence

from kdexplorer.analysis.results import ResultRow
from kdexplorer.charts import evaluation, learning_curves, studies
from kdexplorer.charts.learning_curves import CurvePoint, get_measure, list_measures
from kdexplorer.figures import Choice, Figure

SPLIT = Choice("split", "On", {"test": "Evaluation images", "train": "Training batches"})


def _choose_measure(points: Sequence[CurvePoint]) -> Choice:
    return Choice("measure", "Measure", {key: get_measure(key).label for key in list_measures(points)})


def _choose_cost(rows: Sequence[ResultRow]) -> Choice:
    costs = evaluation.COSTS.items()
    return Choice("cost", "Cost", {key: one.label for key, one in costs if any(getattr(row, key) for row in rows)})


FIGURES = (
    Figure(
        "learning_curves", "Learning curves", "compare", "the measure", "results", learning_curves.learning_curves,
        choose=(_choose_measure, lambda: SPLIT), name="Learning curves {measure}",
    ),
    Figure(
        "accuracies", "Accuracies with intervals", "compare", "the teacher", "results", evaluation.accuracies,
        "family", size=1.4,
    ),
    Figure(
        "losses", "Cross-entropy and objective", "compare", "the teacher", "results", evaluation.losses, "family",
        size=1.3,
    ),
    Figure(
        "accuracy_cost", "Accuracy against cost", "compare", "the cost", "results", evaluation.accuracy_cost,
        choose=(_choose_cost,), name="Accuracy and cost",
    ),
    Figure("experiment", "A prepared experiment", "experiments", "the experiment", "experiments", studies.figure_chart),
    Figure("vote", "The room's soft label", "audience", "the votes", "votes"),
)  # fmt: skip
