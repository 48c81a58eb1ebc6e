"""Who learnt from whom: teachers, their students, and the twin from scratch, by what cards say.

A teacher is known by the hash of its weights, whatever its name. Students of one run saw the same batches from the same
initial weights, so one that learnt from labels alone there is the others' twin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kdexplorer.checkpoints import Checkpoint
from kdexplorer.config import METHODS


def is_student_of(checkpoint: Checkpoint, teacher: Checkpoint) -> bool:
    """Whether a network learnt from this teacher; one from scratch learnt from nobody."""
    return _taught_by(checkpoint) == teacher.sha256


def _taught_by(checkpoint: Checkpoint) -> Any:
    return (checkpoint.card.get("teacher") or {}).get("sha256")


def teacher_of(checkpoint: Checkpoint, chosen: Iterable[Checkpoint]) -> Checkpoint | None:
    """The one of these that a network learnt from, or None."""
    told = _taught_by(checkpoint)
    return next((other for other in chosen if told and other.sha256 == told), None)


def twin_of(checkpoint: Checkpoint, chosen: Iterable[Checkpoint]) -> Checkpoint | None:
    """The one of these that learnt from labels alone in the same run, and else as this distilled one did, or None."""
    if method(checkpoint) == "scratch":
        return None
    for other in chosen:
        if method(other) == "scratch" and _recipe(other) == _recipe(checkpoint):
            return other
    return None


def method(checkpoint: Checkpoint) -> str:
    """How a network learnt; what no run made learnt from labels alone, as far as is known."""
    return checkpoint.card.get("method") or "scratch"


def _recipe(checkpoint: Checkpoint) -> tuple[Any, ...]:
    """What students of one comparison share beside the batches."""
    objective = checkpoint.card.get("objective") or {}
    run = checkpoint.card.get("run") or checkpoint.path  # what no run made has no twin
    return run, checkpoint.architecture, objective.get("label_smoothing") or 0.0, _start(checkpoint)


def _start(checkpoint: Checkpoint) -> str | None:
    """What it went on from; the run alone where that was its own network there: so do twins that are trained on."""
    initial = (checkpoint.card.get("objective") or {}).get("initial")
    run, _, name = (initial or "").rpartition("/")
    return run if run and name == checkpoint.card.get("name") else initial


def twins(named: Mapping[str, Checkpoint]) -> dict[str, str]:
    """Each one's twin among these, by name; see `twin_of`."""
    return _names(named, twin_of)


def guides(named: Mapping[str, Checkpoint]) -> dict[str, str]:
    """Each one's teacher among these, by name; see `teacher_of`."""
    return _names(named, teacher_of)


def _names(named: Mapping[str, Checkpoint], relative_of: Callable[..., Checkpoint | None]) -> dict[str, str]:
    by_path = {checkpoint.path: name for name, checkpoint in named.items()}
    relatives = ((name, relative_of(checkpoint, named.values())) for name, checkpoint in named.items())
    return {name: by_path[relative.path] for name, relative in relatives if relative is not None}


def teachers(found: Mapping[str, Checkpoint]) -> list[str]:
    """The networks that others name as their teacher."""
    taught = {_taught_by(checkpoint) for checkpoint in found.values()}
    return [name for name, checkpoint in found.items() if checkpoint.sha256 in taught]


def pupils(found: Mapping[str, Checkpoint], teacher: Checkpoint) -> list[str]:
    """All networks that learnt from a teacher, and those that learnt from labels alone beside them."""
    heard = {c.card.get("run") for c in found.values() if is_student_of(c, teacher)} - {None}
    return [name for name, c in found.items() if is_student_of(c, teacher) or c.card.get("run") in heard]


def family(found: Mapping[str, Checkpoint], teacher: Checkpoint) -> dict[str, str]:
    """The teacher's first students of one architecture and run with their twin, as method to name; may be empty."""
    told = [(name, c) for name, c in found.items() if is_student_of(c, teacher)]
    same: dict[str, str] = {}
    for name, c in told:
        if (c.architecture, c.card.get("run")) == (told[0][1].architecture, told[0][1].card.get("run")):
            same.setdefault(method(c), name)
    twin = twins(found).get(told[0][0]) if told else None
    return ({"scratch": twin} if twin else {}) | {one: same[one] for one in METHODS if one in same}
