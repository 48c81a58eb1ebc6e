"""Who distilled whom: teachers, their students, and scratch baselines, according to the cards.

A teacher is identified by the hash of its weights, whatever its name. Students of one run saw the same batches from the
same initial weights, so the one that was trained without a teacher there is the scratch baseline of the others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kdexplorer.config import SCRATCH
from kdexplorer.errors import KDError
from kdexplorer.runs.checkpoints import Checkpoint, bundled_checkpoints, find_teachers, list_checkpoints, objective_rank
from kdexplorer.runs.run_folder import find_run, imported_root


def name_family(teacher: str | None, students: Iterable[str]) -> str:
    """The names in one line: `teacher → student, student`."""
    return " → ".join(filter(None, [teacher, ", ".join(students)]))


def is_distilled(checkpoint: Checkpoint) -> bool:
    """Whether a network was trained with a distillation method."""
    return checkpoint.card.objective_key != SCRATCH


def teacher_of(checkpoint: Checkpoint, chosen: Iterable[Checkpoint]) -> Checkpoint | None:
    """The one of these that a network was distilled from, the first of several, or None."""
    hashes = checkpoint.card.teacher_hashes
    return next((other for other in chosen if other.sha256 in hashes), None)


def find_teacher(checkpoint: Checkpoint) -> Checkpoint | None:
    """The network that one was distilled from, the first of several: bundled, imported, or its run's; or None."""
    if checkpoint.card.teacher is None:
        return None
    found = teacher_of(checkpoint, [*bundled_checkpoints(), *list_checkpoints(imported_root())])
    with contextlib.suppress(KDError):
        if found is None and checkpoint.card.run:
            return teacher_of(checkpoint, find_teachers(find_run(checkpoint.card.run).config().teacher))
    return found


def scratch_baseline_of(checkpoint: Checkpoint, chosen: Iterable[Checkpoint]) -> Checkpoint | None:
    """The one of these that was trained without a teacher in the same run, and otherwise like this one, or None."""
    own = _shared_settings(checkpoint)
    same = (other for other in chosen if not is_distilled(other) and _shared_settings(other) == own)
    return next(same, None) if is_distilled(checkpoint) else None


def _shared_settings(checkpoint: Checkpoint) -> tuple[Any, ...]:
    """What students of one comparison share besides the batches; snapshots were trained for fewer epochs."""
    card = checkpoint.card
    run = card.run or checkpoint.path  # imported weights have no scratch baseline
    start, epochs = (card.legs[-1].initial, card.legs[-1].epochs) if card.legs else (None, None)
    earlier, _, name = (start or "").rpartition("/")
    if earlier and name == card.name:  # its own earlier leg: a continued baseline starts in that run, too
        start = earlier
    return run, checkpoint.architecture, card.objective.label_smoothing if card.objective else 0.0, start, epochs


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Names for tables and legends: `STUDENT` where that is unique, else with the end of its run's id."""
    parts, named = [key.rstrip("/").rpartition("/") for key in keys], {}
    students = [student for *_, student in parts]
    for key, (run_id, _, student) in zip(keys, parts, strict=True):
        end = run_id.split("-", 2)[2] if run_id.count("-") > 2 else run_id
        named[key] = f"{student} ({end})" if run_id and students.count(student) > 1 else student
    return named if len(set(named.values())) == len(keys) else {key: key for key in keys}


def name_relatives(
    named: Mapping[str, Checkpoint], relative_of: Callable[[Checkpoint, Iterable[Checkpoint]], Checkpoint | None]
) -> dict[str, str]:
    """The name of each network's relative among these, by its own: see `teacher_of` and `scratch_baseline_of`."""
    by_path = {checkpoint.path: name for name, checkpoint in named.items()}
    relatives = ((name, relative_of(checkpoint, named.values())) for name, checkpoint in named.items())
    return {name: by_path[relative.path] for name, relative in relatives if relative is not None}


def list_teachers(found: Mapping[str, Checkpoint]) -> list[str]:
    """The networks that others name as their teacher."""
    hashes = {sha256 for checkpoint in found.values() for sha256 in checkpoint.card.teacher_hashes}
    return [name for name, checkpoint in found.items() if checkpoint.sha256 in hashes]


def students_of(found: Mapping[str, Checkpoint], teacher: Checkpoint) -> list[str]:
    """All networks that were distilled from a teacher, and the scratch baselines of their runs."""
    runs = {c.card.run for c in found.values() if teacher.sha256 in c.card.teacher_hashes} - {None}
    return [name for name, c in found.items() if teacher.sha256 in c.card.teacher_hashes or c.card.run in runs]


def first_family(found: Mapping[str, Checkpoint], teacher: Checkpoint) -> list[str]:
    """The teacher's first students of one architecture and run, one for each objective: the scratch baseline first."""
    students = {name: c for name, c in found.items() if teacher.sha256 in c.card.teacher_hashes}
    if not students:
        return []
    first = next(iter(students.values()))
    same: dict[str, str] = {}
    for name, c in students.items():
        if (c.architecture, c.card.run) == (first.architecture, first.card.run):
            same.setdefault(c.card.objective_key, name)
    baseline = scratch_baseline_of(first, found.values())
    named = [name for name, c in found.items() if c is baseline]
    return [*named, *sorted(same.values(), key=lambda name: objective_rank(found[name]))]
