"""A network on one batch: its outputs, and what a student minimizes, cross-entropy and its methods' weighted losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdexplorer.config import Objective
from kdexplorer.methods import Method
from kdexplorer.networks import Architecture, Outputs
from kdexplorer.networks.outputs import as_float

Targets = Mapping[Method, Outputs]
"""What each method keeps of the teacher's outputs; methods with equal settings share it."""

Loss = Callable[[Outputs, Outputs, Tensor], Tensor]
"""A loss of the student's outputs, the teacher's and the labels `[B]`."""

Relate = Callable[[Loss, Outputs, Outputs, Tensor], Tensor]
"""Computes a loss that compares images with each other: which images are compared is its choice."""


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


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """The context in which forward passes run in `dtype`."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def run_network(forward: Callable[..., Any], inputs: Tensor, dtype: torch.dtype, all_outputs: bool) -> Outputs:
    """A network's outputs in the training precision: stages in `dtype`, logits and embedding in float32.

    Without `all_outputs` only logits.
    """
    with autocast(inputs.device, dtype):
        if not all_outputs:
            return Outputs(forward(inputs).float())
        logits, stages, embedding = forward(inputs, all_outputs=True)
    return Outputs(logits.float(), stages, embedding.float())


def relate_parts(size: int) -> Relate:
    """Relations within consecutive parts of at most `size` images; the mean over images."""

    def relate(loss: Loss, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:
        total = labels.new_zeros((), dtype=student.logits.dtype)
        for start in range(0, len(labels), size):
            own = labels[start : start + size]

            def part(tensor: Tensor, start: int = start) -> Tensor:
                return tensor[start : start + size]

            total = total + loss(student.map(part), teacher.map(part), own) * len(own)
        return total / len(labels)

    return relate


def compute_objective(
    objective: Objective,
    terms: list[BoundTerm],
    outputs: Outputs,
    labels: Tensor,
    targets: Targets,
    dtype: torch.dtype = torch.float32,
    relate: Relate = lambda loss, *batch: loss(*batch),
    progress: float = 1.0,
) -> dict[str, Tensor]:
    """What a student minimizes on one batch, and its parts.

    Args:
        objective: the weight of cross-entropy and the label smoothing.
        terms: the methods with their weights.
        outputs: the student's.
        labels: int64 `[B]`.
        targets: what each method kept of the teacher's outputs.
        dtype: of the adapters' forward passes.
        relate: computes the losses that compare images with each other; the default compares those of the batch.
        progress: the share of all steps that is done with this one, for methods whose weight rises at the beginning.

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
        target = targets.get(term.method, Outputs(logits.detach()))
        loss = _bind_adapter(term, logits.device, dtype)
        if term.method.relates_images:
            value = relate(loss, term.method.reduce_teacher(outputs), target, labels)
        else:
            value = loss(outputs, target, labels)
        parts[term.name] = value
        total = total + term.weight * term.method.weight_factor(progress) * value
    return {"objective": total, **parts}


def _bind_adapter(term: BoundTerm, device: torch.device, dtype: torch.dtype) -> Loss:
    """A term's loss with its adapter, where it has one."""
    module = term.adapter
    if module is None:
        return term.method.loss

    def adapter(*inputs: Any) -> Any:
        with autocast(device, dtype):
            return module(*inputs)

    return lambda student, teacher, labels: term.method.loss(student, teacher, labels, cast(nn.Module, adapter))
