"""A student in training: its network, what its terms train beside it, its optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from kdexplorer.config import RunConfig, StudentConfig
from kdexplorer.errors import ConfigError, TrainingError
from kdexplorer.networks import Architecture, build, get_architecture
from kdexplorer.networks.base import StagedNetwork
from kdexplorer.runs.checkpoints import find_checkpoint
from kdexplorer.training.checks import why_not_started
from kdexplorer.training.ddp import Team
from kdexplorer.training.objective import BoundTerm, bind_terms
from kdexplorer.training.timing import Span


@dataclass
class Student:
    """A network in training with what belongs to it."""

    config: StudentConfig
    network: StagedNetwork
    forward: Callable[..., Any]
    terms: list[BoundTerm]
    optimizer: torch.optim.Optimizer
    sums: dict[str, float] = field(default_factory=dict)
    """Sums over the epoch's images so far: the objective's parts, `correct`, and `images`."""
    spans: list[Span] = field(default_factory=list)
    """When its part of each of the epoch's steps began and ended: forward pass, objective, backward pass, update."""

    unread: list[tuple[int, int, tuple[str, ...], Tensor]] = field(default_factory=list)
    """Epoch, step, names and values of losses that are still on the device."""

    def record(self, epoch: int, step: int, losses: dict[str, Tensor]) -> None:
        """Keeps a step's losses, scalars, without waiting for them."""
        values = torch.stack([value.detach().double() for value in losses.values()])
        self.unread.append((epoch, step, tuple(losses), values))

    def read(self) -> list[tuple[int, int, dict[str, float]]]:
        """Epoch, step and losses of the steps that were recorded since the last call."""
        steps, self.unread = self.unread, []
        if not steps:
            return []
        rows = torch.stack([values for *_, values in steps]).tolist()
        found = zip(steps, rows, strict=True)
        return [(epoch, step, dict(zip(names, row, strict=True))) for (epoch, step, names, _), row in found]

    @property
    def adapters(self) -> dict[str, nn.Module]:
        """What is trained beside the network, by the term's name."""
        return {term.name: term.adapter for term in self.terms if term.adapter is not None}

    @property
    def needs_features(self) -> bool:
        """Whether any term uses more than logits."""
        return any(term.method.needs - {"logits"} for term in self.terms)


def build_student(
    config: RunConfig,
    student: StudentConfig,
    classes: tuple[str, ...],
    teacher: Architecture | None,
    team: Team,
    device: torch.device,
) -> Student:
    """A student as it is before the first step; its initial weights derive from the run's seed.

    Raises:
        ConfigError: when it cannot start from its checkpoint, or a method cannot combine it with the teacher.
    """
    network = build(student.architecture, len(classes), seed=config.seed)
    if student.initial:
        start = find_checkpoint(student.initial)
        problem = why_not_started(student, start, classes)
        if problem:
            raise ConfigError(f"students: {problem}.")
        network.load_state_dict(start.network().state_dict())
    terms = _bind_terms(config, student, teacher)
    for term in terms:
        if term.adapter is not None:
            term.adapter = team.network(term.adapter.to(device), config.sync_batch_norm)
    network = team.network(network.to(device), config.sync_batch_norm)
    parameters = [*network.parameters(), *(p for term in terms if term.adapter for p in term.adapter.parameters())]
    optimizer = torch.optim.SGD(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=config.momentum > 0,
    )
    return Student(student, network, team.forward(compile_network(network, config)), terms, optimizer)


def _bind_terms(config: RunConfig, student: StudentConfig, teacher: Architecture | None) -> list[BoundTerm]:
    """The student's terms; adapters start from the run's seed in every process."""
    architecture = get_architecture(student.architecture)
    for method in student.methods:
        problem = method.check(architecture, teacher) if teacher else None
        if problem:
            raise ConfigError(f"students: {student.name}: {problem}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return bind_terms(student, architecture, teacher)


def compile_network(network: nn.Module, config: RunConfig) -> nn.Module:
    """The network, compiled where the configuration says so."""
    return cast(nn.Module, torch.compile(network, dynamic=False)) if config.compile else network


def average_sums(sums: dict[str, float]) -> dict[str, float]:
    """Means over images of what a student's `sums` contain; `correct` becomes `accuracy`."""
    means = {name: value / sums["images"] for name, value in sums.items() if name != "images"}
    means["accuracy"] = means.pop("correct")
    return means


def check_finite(student: Student, values: dict[str, float], when: str) -> None:
    """Raises TrainingError, which names the student, the term and the moment, where a value is not finite."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise TrainingError(
                f"{student.config.name}: {name} became {value} {when}. "
                "Lower the learning rate or the weight of that term."
            )
