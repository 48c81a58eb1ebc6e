"""The teacher that a configuration names: a checkpoint, or several joined by `+`, whose probabilities are averaged."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence

from kdexplorer.errors import ConfigError
from kdexplorer.methods import Method
from kdexplorer.runs.card import TeacherMember, TeacherReference
from kdexplorer.runs.checkpoints import Checkpoint, find_checkpoint

MAX_TEACHERS = 8


def find_teachers(names: str) -> tuple[Checkpoint, ...]:
    """The checkpoints of `resnet56`, or of `resnet50+resnet56`; a name that contains a `+` itself is found whole.

    Raises:
        ConfigError: when there is none of that name, one is named twice, or there are more than `MAX_TEACHERS`.
        CheckpointError: when a card is not valid.
    """
    words, found = names.split("+"), list[Checkpoint]()
    while words:
        checkpoint, used = _find_longest(words)
        found.append(checkpoint)
        words = words[used:]
    if len({checkpoint.sha256 for checkpoint in found}) < len(found):
        raise ConfigError(f"teacher: {names[:200]} names a network twice: each counts once in the average.")
    if len(found) > MAX_TEACHERS:
        raise ConfigError(f"teacher: {len(found)} teachers are too many: name at most {MAX_TEACHERS}.")
    return tuple(found)


def _find_longest(words: list[str]) -> tuple[Checkpoint, int]:
    """The checkpoint whose name is as many of the first words as possible, and their number. Raises ConfigError."""
    for count in range(len(words), 1, -1):
        with contextlib.suppress(ConfigError):
            return find_checkpoint("+".join(words[:count])), count
    return find_checkpoint(words[0]), 1


def why_not_averaged(teachers: Sequence[Checkpoint], method: Method) -> str | None:
    """Why a method cannot learn from several teachers and what to do, or None where it can or there is only one."""
    others = method.needs - {"logits"}
    if len(teachers) < 2 or not others:
        return None
    used = " and ".join(sorted(others))
    return (
        f"several teachers are averaged in their probabilities, but {method.label} uses {used}: name one teacher, or "
        "remove this term"
    )


def refer_to(teachers: Sequence[Checkpoint]) -> TeacherReference:
    """What a card says of its teacher: several have their names joined and a hash of their hashes."""
    first, *others = teachers
    if not others:
        return TeacherReference(name=first.name, sha256=first.sha256)
    together = "+".join(teacher.sha256 for teacher in teachers)
    return TeacherReference(
        name="+".join(teacher.name for teacher in teachers)[:300],
        sha256=hashlib.sha256(together.encode()).hexdigest(),
        members=tuple(TeacherMember(name=one.name, sha256=one.sha256) for one in teachers),
    )
