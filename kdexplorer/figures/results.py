"""The figures about many images: results of networks and experiments, and what the audience votes."""

from __future__ import annotations

from kdexplorer.charts import evaluation
from kdexplorer.figures import Figure

FIGURES = (
    Figure("learning_curves", "Learning curves", "compare", "the measure", "results"),
    Figure(
        "accuracies", "Accuracies with intervals", "compare", "the teacher", "results", evaluation.accuracies,
        "family", size=1.4,
    ),
    Figure(
        "losses", "Cross-entropy and objective", "compare", "the teacher", "results", evaluation.losses, "family",
        size=1.3,
    ),
    Figure("accuracy_cost", "Accuracy against cost", "compare", "the cost", "results"),
    Figure("experiment", "A prepared experiment", "experiments", "the experiment", "experiments"),
    Figure("vote", "The room's soft label", "audience", "the votes", "votes"),
)  # fmt: skip
