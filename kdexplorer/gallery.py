"""Which test images are worth a look: filters and orders that follow from stored logits alone, so they are instant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kdexplorer import relatives
from kdexplorer.checkpoints import Checkpoint
from kdexplorer.inference import entropy
from kdexplorer.metrics import log_softmax


@dataclass(frozen=True)
class Answers:
    """What is known of N images: labels `[N]`, and logits `[N, classes]`; students' are None where not chosen."""

    labels: np.ndarray
    teacher: np.ndarray
    scratch: np.ndarray | None = None
    distilled: np.ndarray | None = None

    def right(self, network: str) -> np.ndarray:
        """Whether `teacher`, `scratch` or `distilled` answers the label, bool `[N]`."""
        return getattr(self, network).argmax(axis=1) == self.labels


def _sorted_by(score: np.ndarray) -> np.ndarray:
    return np.argsort(-score, kind="stable")


def _disagreement(answers: Answers) -> np.ndarray:
    teacher, student = log_softmax(answers.teacher), log_softmax(answers.distilled)
    return _sorted_by((np.exp(teacher) * (teacher - student)).sum(axis=1))


_FILTERS: dict[str, tuple[tuple[str, ...], Callable[[Answers], np.ndarray]]] = {
    "All images": ((), lambda a: np.arange(len(a.labels))),
    "Teacher right": ((), lambda a: np.flatnonzero(a.right("teacher"))),
    "Teacher wrong": ((), lambda a: np.flatnonzero(~a.right("teacher"))),
    "Distillation fixed it": (
        ("scratch", "distilled"),
        lambda a: np.flatnonzero(~a.right("scratch") & a.right("distilled")),
    ),
    "Distillation broke it": (
        ("scratch", "distilled"),
        lambda a: np.flatnonzero(a.right("scratch") & ~a.right("distilled")),
    ),
    "Most uncertain teacher": ((), lambda a: _sorted_by(entropy(np.exp(log_softmax(a.teacher))))),
    "Largest disagreement": (("distilled",), _disagreement),
}
FILTERS = tuple(_FILTERS)

EXPLAINED = {
    "All images": "in the order of the test split",
    "Teacher right": "the teacher's first answer is the label",
    "Teacher wrong": "the teacher's first answer is not the label",
    "Distillation fixed it": "the student from scratch is wrong, the distilled one right",
    "Distillation broke it": "the student from scratch is right, the distilled one wrong",
    "Most uncertain teacher": "by the entropy of the teacher's answer at T = 1, largest first",
    "Largest disagreement": "by KL from the teacher to the distilled student at T = 1, largest first",
}


def answers(
    teacher: Checkpoint,
    students: Sequence[Checkpoint],
    stored: Callable[[Checkpoint], np.ndarray | None],
    labels: np.ndarray,
) -> Answers | None:
    """What is known of the images: the first distilled student with its twin from scratch stands for all.

    None where the teacher's stored answers are not at hand.
    """
    told = [c for c in students if relatives.method(c) != "scratch"]
    distilled = next((c for c in told if relatives.twin_of(c, students)), next(iter(told), None))
    scratch = relatives.twin_of(distilled, students) if distilled else None
    logits = stored(teacher)
    if logits is None:
        return None
    return Answers(labels, logits, *(stored(c) if c else None for c in (scratch, distilled)))


def available(answers: Answers) -> list[str]:
    """The filters for which the needed students are there."""
    return [
        name
        for name, (needed, _) in _FILTERS.items()
        if all(getattr(answers, network) is not None for network in needed)
    ]


def positions(name: str, answers: Answers, label: int | None = None) -> np.ndarray:
    """The positions (0 to N - 1) that a filter keeps, in its order, of one class where `label` is given."""
    found = _FILTERS[name][1](answers)
    return found if label is None else found[answers.labels[found] == label]
