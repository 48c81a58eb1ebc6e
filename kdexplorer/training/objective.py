"""The objective of a student on one batch: cross-entropy and the weighted sum of its methods' losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from kdexplorer.config import Objective
from kdexplorer.methods import Method
from kdexplorer.networks import Architecture, Outputs
from kdexplorer.networks.outputs import as_float

Targets = Mapping[Method, Outputs]
"""What each method keeps of the teacher's outputs; methods with equal settings share it."""


@dataclass
class BoundTerm:
    """A term of one student's objective, with what it trains beside the student."""

    name: str
    """Its name in metrics, see `Objective.term_names`."""
    weight: float
    method: Method
    adapter: nn.Module | None


def bind_terms(objective: Objective, student: Architecture, teacher: Architecture | None) -> list[BoundTerm]:
    """The terms of an objective for a pair of networks; adapters get fresh weights."""
    return [
        BoundTerm(name, term.weight, method, method.adapter(student, teacher) if teacher is not None else None)
        for name, term, method in zip(objective.term_names, objective.terms, objective.methods, strict=True)
    ]


def compute_objective(
    objective: Objective,
    terms: list[BoundTerm],
    outputs: Outputs,
    labels: Tensor,
    targets: Targets,
    run_adapter: Callable[[nn.Module], Callable[[Tensor], Tensor]] = lambda adapter: adapter,
) -> dict[str, Tensor]:
    """What a student minimizes on one batch, and its parts.

    Args:
        objective: the weight of cross-entropy and the label smoothing.
        terms: the methods with their weights.
        outputs: the student's.
        labels: int64 `[B]`.
        targets: what each method kept of the teacher's outputs.
        run_adapter: wraps an adapter's forward pass, in autocast for instance.

    Returns:
        Scalars: `objective`; `cross_entropy` (plain, comparable between students whatever they minimize); and each
        term's unweighted loss by its name.
    """
    logits = as_float(outputs.logits)
    outputs = outputs._replace(logits=logits)
    parts = {"cross_entropy": F.cross_entropy(logits, labels)}
    hard = parts["cross_entropy"]
    if objective.label_smoothing:
        hard = F.cross_entropy(logits, labels, label_smoothing=objective.label_smoothing)
    total = objective.ce_weight * hard
    for term in terms:
        arguments = (outputs, targets.get(term.method, Outputs(logits.detach())), labels)
        if term.adapter is not None:
            loss = term.method.loss(*arguments, run_adapter(term.adapter))  # type: ignore[arg-type]
        else:
            loss = term.method.loss(*arguments)
        parts[term.name] = loss
        total = total + term.weight * loss
    return {"objective": total, **parts}
