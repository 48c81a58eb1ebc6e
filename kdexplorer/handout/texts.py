"""A handout's texts: the formulas of the methods that its networks were trained with, and what their cards say."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

import latex2mathml.converter
from markupsafe import Markup

from kdexplorer.analysis.results import describe_evaluation
from kdexplorer.config import RunConfig
from kdexplorer.datasets.folder import without_place
from kdexplorer.errors import ConfigError
from kdexplorer.methods import all_methods
from kdexplorer.notation import describe_objective, train_command
from kdexplorer.runs.card import Leg
from kdexplorer.runs.checkpoints import Checkpoint
from kdexplorer.schema import RECORDED, validate


@dataclass(frozen=True)
class Formula:
    """A formula with its heading and one or two sentences."""

    heading: str
    latex: str
    text: str

    @property
    def mathml(self) -> Markup:
        """A MathML element, which browsers draw without a library."""
        return Markup(latex2mathml.converter.convert(self.latex, display="block"))


SOFT_LABEL = Formula(
    "Soft label",
    r"p_i(T) = \frac{\exp(z_i / T)}{\sum_j \exp(z_j / T)}",
    "The logits z do not change. A higher temperature T raises the small probabilities.",
)
OBJECTIVE = Formula(
    "Objective",
    r"L = w_0 \, \mathrm{CE}\left(p^s(1), y\right) + \sum_m w_m L_m",
    "The student minimizes cross-entropy with the hard label y plus a weighted term for each method m.",
)
GRADIENT = Formula(
    "Gradient of response-based distillation on the student's logits",
    r"\frac{\partial L}{\partial z_i} = \alpha \, T \left(p^s_i(T) - p^t_i(T)\right)"
    r" + (1 - \alpha) \left(p^s_i(1) - y_i\right)",
    "α is the weight of the teacher's term. Gradient descent moves the logits against it (Hinton et al. 2015). The "
    "factor T² of the loss balances the gradient's 1/T² only in the limit of large T: its size still depends on T.",
)


def list_formulas(networks: Iterable[Checkpoint]) -> list[Formula]:
    """The general formulas, and one for each method that any of these networks was trained with."""
    used = {term.method for c in networks if c.card.objective for term in c.card.objective.terms}
    methods = [
        Formula(
            f"{method.label}, {method.family}-based",
            f"L_{{\\mathrm{{{method.label}}}}} = {method.formula}",
            f"{method.summary} {method.reference}.",
        )
        for method in all_methods()
        if method.key in used
    ]
    return [SOFT_LABEL, OBJECTIVE, *methods, GRADIENT]


def describe_card(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    """What a network's card says, as names and texts."""
    card = checkpoint.card
    epochs = [leg.epochs for leg in card.legs]
    total = str(sum(epochs)) if epochs else ""
    facts = {
        "Architecture": card.architecture,
        "Parameters": f"{card.parameters:,}",
        "Objective": describe_objective(card.objective) if card.objective else None,
        "Teacher": card.teacher.name if card.teacher else None,
        "Epochs": total + (f" ({' + '.join(map(str, epochs))})" if len(epochs) > 1 else ""),
        "Continued": "after its test accuracy was known" if card.continued_in_view else None,
        "Seed": _join(leg.seed for leg in card.legs),
        "Accuracy": f"{100 * card.test_accuracy:.2f} % on the {describe_evaluation(checkpoint)}",
        "Trained on": _join(leg.device for leg in card.legs),
        "Weights (SHA-256)": checkpoint.sha256,
    }
    commands = list_commands(checkpoint)
    headings = [f"Command {i} (RUN: the id that command {i - 1} prints)" for i in range(2, len(commands) + 1)]
    named = zip([f"Command{' 1' if headings else ''}", *headings], commands, strict=False)
    return [(name, text) for name, text in facts.items() if text] + list(named)


def _join(values: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values if value is not None))


def list_commands(checkpoint: Checkpoint) -> list[str]:
    """The commands that train such a network again, one for each run; empty where the recipe of one is unknown.

    A run continues from `RUN/NAME`, where RUN is the id that the command before prints. Recipes that were stored before
    images were ordered by content keep the order of their source. What began as another network has the commands of its
    own runs; a snapshot, whose run went on, has none.
    """
    card, commands = checkpoint.card, list[str]()
    own = list[Leg]()
    for leg in card.legs:
        own = [*own, leg] if own and leg.initial == f"{own[-1].run}/{card.name}" else [leg]
    is_snapshot = bool(own) and own[-1].recipe.get("snapshots") and card.name.endswith(f"-after-{own[-1].epochs}")
    if card.objective is None or is_snapshot or not all(leg.recipe for leg in own):
        return []
    for number, leg in enumerate(own):
        recipe = {key: value for key, value in leg.recipe.items() if key in RunConfig.model_fields}
        recipe.setdefault("image_order", "source")
        recipe |= {"dataset": without_place(str(recipe["dataset"]))} if "dataset" in recipe else {}
        initial = f"RUN/{card.name}" if number else leg.initial
        student = {"name": card.name, "architecture": card.architecture, "initial": initial}
        recipe |= {"teacher": card.teacher.name if card.teacher else None, "seed": leg.seed or 0, "epochs": leg.epochs}
        recipe |= {"students": [student | card.objective.model_dump()]}
        with contextlib.suppress(ConfigError):
            commands.append(train_command(validate(RunConfig, recipe, context=RECORDED)))
    return commands
