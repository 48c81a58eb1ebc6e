"""A league: its folder, which seeds are left to train, and its table, written after each seed.

`runs/leagues/<id>/` has what a sweep's folder has; an experiment is a seed with all entries. Seeds that are complete in
the table are not trained again, wherever they were trained: the run folders need not be kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from kdexplorer.analysis import metrics
from kdexplorer.analysis.results import describe_evaluation
from kdexplorer.analysis.temperature_scaling import scaled_metrics
from kdexplorer.errors import CheckpointError, ConfigError
from kdexplorer.files import write_bytes, write_json
from kdexplorer.runs.checkpoints import open_checkpoint
from kdexplorer.runs.run_folder import Run, runs_root
from kdexplorer.runs.teachers import find_teachers, refer_to
from kdexplorer.schema import validate
from kdexplorer.sweeps.aggregate import load_labels, load_teacher_logits
from kdexplorer.sweeps.declaration import Declaration
from kdexplorer.sweeps.folder import PackedExperiment, Sweep, open_same
from kdexplorer.sweeps.league_report import to_markdown
from kdexplorer.sweeps.league_table import LeagueEntry, LeagueRow, LeagueSeed, LeagueTable, find_conflicts, read_table

More = Callable[[np.ndarray, np.ndarray, np.ndarray | None], dict[str, list[float]]]
"""What is measured of a student besides: from its logits `[N, K]`, the labels `[N]`, its teacher's logits or None."""


def _nothing(logits: np.ndarray, labels: np.ndarray, teacher: np.ndarray | None) -> dict[str, list[float]]:
    return {}


@dataclass(frozen=True)
class League(Sweep):
    """A run folder whose configuration is a `Declaration`."""

    kind: ClassVar[str] = "league"

    def config(self) -> Declaration:  # type: ignore[override]
        """Raises ConfigError when `config.json` is missing or damaged."""
        return validate(Declaration, self.read_values(), where=self.run_id)

    @staticmethod
    def parent_folder() -> Path:
        return runs_root() / "leagues"

    def run_ids(self, packed: list[PackedExperiment]) -> list[str]:
        """By seed: which seeds are left differs from start to start."""
        return [self.run_of(one.seed) for one in packed]

    def run_of(self, seed: int) -> str:
        """The id of the run that trains a seed."""
        return f"{self.run_id}-{seed}"

    def plan(self, seeds: list[int]) -> None:
        """Makes an experiment of each of these seeds the work of the next start. Raises OSError."""
        names = tuple(student.name for student in self.config().students())
        packed = [PackedExperiment(run=self.run_of(seed), seed=seed, students=names) for seed in seeds]
        write_json(self.path / "experiments.json", {"experiments": [one.model_dump(mode="json") for one in packed]})


def open_league(declaration: Declaration, run_id: str | None = None) -> League:
    """The folder of this declaration: the existing one, or a new one, with an id of its own if none is given.

    Raises RunError.
    """
    return open_same(declaration, League, "league", "league", run_id)


def begin_table(declaration: Declaration, path: Path) -> LeagueTable:
    """The table at `path`, where it belongs to the declaration, or one without rows. Nothing is written.

    Raises:
        ConfigError: when the table belongs to something else; it says why.
        KDError: when the teacher or the labels are missing.
    """
    table = read_table(path)
    config = declaration.recipe
    teacher = refer_to(find_teachers(config.teacher)).sha256 if config.teacher else ""
    if table is not None:
        conflicts = find_conflicts(table, declaration)
        if table.teacher != teacher:
            conflicts.append("The teacher's weights have changed since the table was begun.")
        if conflicts:
            raise ConfigError(f"{path} does not belong to this declaration. {' '.join(conflicts)} Move it elsewhere.")
        return table
    return LeagueTable(
        declaration=declaration, declaration_sha256=declaration.sha256, teacher=teacher, evaluated_on="", entries=[]
    )


def _describe_entries(declaration: Declaration) -> list[LeagueEntry]:
    """The entries with their memory, which is counted in a step of each. Raises KDError without the teacher."""
    from kdexplorer.training.estimate import count_student_memory

    memory = count_student_memory(declaration.recipe)
    return [
        LeagueEntry(
            name=student.name,
            objective=student.objective,
            state_bytes=memory[student.name].state,
            kept_bytes=memory[student.name].kept,
        )
        for student in declaration.students()
    ]


def seeds_to_train(table: LeagueTable, count: int | None = None) -> list[int]:
    """The first `count` declared seeds (all by default) that the table lacks."""
    return [seed for seed in table.declaration.seeds[:count] if seed not in table.complete_seeds()]


def write_table(league: Sweep, path: Path, more: More = _nothing) -> None:
    """Adds the league's finished experiments to the table and writes it, with `.md` beside it.

    `more` measures what the rows have besides.

    Raises:
        KDError: when the table belongs to something else, or a finished student cannot be read.
        OSError: when it cannot be written.
    """
    assert isinstance(league, League)
    table = known = begin_table(league.config(), path)
    for experiment, run in zip(league.experiments(), league.runs(), strict=True):
        if experiment.seed not in table.complete_seeds() and run.status().state == "finished":
            table = add_experiment(table, experiment.seed, run, more)
    if table is not known or (table.rows and not path.with_suffix(".md").exists()):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, table.model_dump(mode="json"))
        write_bytes(path.with_suffix(".md"), to_markdown(table).encode())


def add_experiment(table: LeagueTable, seed: int, run: Run, more: More = _nothing) -> LeagueTable:
    """The table with the rows of a finished experiment. Raises KDError."""
    config = run.config()
    labels, teacher = load_labels(config), load_teacher_logits(config)
    if labels is None:
        raise ConfigError(f"the labels of {config.dataset} are missing: the students cannot be evaluated.")
    history = run.metrics()
    entries = table.entries or _describe_entries(table.declaration)
    checkpoints = [open_checkpoint(run.path / entry.name) for entry in entries]
    rows = []
    for entry, checkpoint in zip(entries, checkpoints, strict=True):
        logits = checkpoint.logits()
        if len(logits) != len(labels):
            raise CheckpointError(f"{checkpoint.path} has logits of {len(logits)} images, not of {len(labels)}.")
        scaled = scaled_metrics(logits, labels)
        known = teacher if teacher is not None and teacher.shape == logits.shape else None
        rows.append(
            LeagueRow(
                entry=entry.name,
                seed=seed,
                accuracy=metrics.accuracy(logits, labels),
                cross_entropy=metrics.cross_entropy(logits, labels),
                calibration_error=metrics.expected_calibration_error(logits, labels),
                scaled_cross_entropy=scaled.cross_entropy,
                scaled_calibration_error=scaled.calibration_error,
                scaling_temperature=scaled.temperature,
                teacher_agreement=None if known is None else metrics.agreement(logits, known),
                step_seconds=_mean([row.step_seconds for row in history if row.student == entry.name]),
                more=more(logits, labels, teacher),
            )
        )
    first, leg = checkpoints[0], checkpoints[0].card.legs[-1]
    added = LeagueSeed(
        seed=seed,
        run=run.run_id,
        seconds=leg.seconds,
        batch_seconds=_mean([row.batch_seconds for row in history if row.student == first.name]),
        device=leg.device,
        precision=leg.precision,
        versions=leg.versions,
    )
    return table.model_copy(
        update={
            "entries": entries,
            "evaluated_on": describe_evaluation(first),
            "seeds": sorted([*table.seeds, added], key=lambda one: one.seed),
            "rows": sorted([*table.rows, *rows], key=lambda row: row.seed),
        }
    )


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 7) if known else None
