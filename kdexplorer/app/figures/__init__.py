"""Figures that stand alone: each with one thing to move, by calling what the pages' sections call."""

from __future__ import annotations

from collections.abc import Callable

from kdexplorer.app.figures import networks, predictions
from kdexplorer.app.figures.context import Context
from kdexplorer.app.figures.predictions import beside_picture

DRAW: dict[str, Callable[[Context], None]] = {
    "hard_label": beside_picture(predictions.hard_label),
    "teacher_prediction": beside_picture(predictions.teacher_prediction),
    "soft_labels": beside_picture(predictions.both_soft_labels),
    "temperature_curves": beside_picture(predictions.temperature_curves),
    "gradient": beside_picture(predictions.gradient),
    "students": beside_picture(predictions.students),
    "attention": beside_picture(predictions.attention),
    "attention_difference": beside_picture(predictions.attention_difference),
    "taxonomy": networks.taxonomy,
    "method": beside_picture(networks.method),
    "divergence": networks.show_divergence,
    "learning_curves": networks.learning_curves,
    "accuracies": networks.accuracies,
    "losses": networks.losses,
    "accuracy_cost": networks.accuracy_cost,
    "experiment": networks.experiment,
    "vote": networks.vote,
}
"""What draws each of `story.figures.FIGURES`."""
