"""The figures that stand alone, in a lecture's step or in a frame of slides. What draws them is in `app.figures`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """What is known of a figure before it is drawn."""

    label: str
    page: str
    """The page that it belongs to, by its file's name."""
    moves: str
    """What its viewer moves."""
    section: str = ""
    """The handout's section about it."""


FIGURES = {
    "hard_label": Figure("The hard label", "soft_labels", "the picture", "soft"),
    "teacher_prediction": Figure("The teacher's prediction", "soft_labels", "the picture", "soft"),
    "soft_labels": Figure("Soft labels of teacher and students", "soft_labels", "T", "soft"),
    "temperature_curves": Figure("Entropy, KL and gradient over T", "soft_labels", "the measure", "soft"),
    "gradient": Figure("The gradient on the student's logits", "soft_labels", "α", "gradient"),
    "students": Figure("Two students' predictions", "soft_labels", "the picture", "soft"),
    "attention": Figure("Attention maps", "attention", "the maps' opacity", "attention"),
    "attention_difference": Figure("Attention, student minus teacher", "attention", "the picture", "attention"),
    "taxonomy": Figure("Where methods connect two networks", "methods", "the method", "methods"),
    "method": Figure("A method's gradient on a student", "methods", "the method", "methods"),
    "divergence": Figure("Forward or reverse KL", "methods", "β", "methods"),
    "learning_curves": Figure("Learning curves", "compare", "the measure", "results"),
    "accuracies": Figure("Accuracies with intervals", "compare", "the teacher", "results"),
    "losses": Figure("Cross-entropy and objective", "compare", "the teacher", "results"),
    "accuracy_cost": Figure("Accuracy against cost", "compare", "the cost", "results"),
    "experiment": Figure("A prepared experiment", "experiments", "the experiment", "experiments"),
    "vote": Figure("The room's soft label", "audience", "the votes", "votes"),
}
"""By the name that links and lectures use."""
