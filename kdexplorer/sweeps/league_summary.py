"""What a league's rows say about its entries: means and intervals over seeds, paired differences to the references.

The unit is the seed: entries of one seed saw the same batches from the same initial weights, so differences are taken
seed by seed. p values have Holm's correction for all entries that are compared with the same reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kdexplorer.analysis.statistics import ENOUGH_SEEDS, SeedTest, holm_by_name, seed_interval, seed_test
from kdexplorer.config import Objective
from kdexplorer.sweeps.league_table import LeagueRow, LeagueTable

MEASURES = (
    "accuracy", "cross_entropy", "calibration_error", "scaled_cross_entropy", "scaled_calibration_error",
    "scaling_temperature", "teacher_agreement", "step_seconds",
)  # fmt: skip
"""Fields of `LeagueRow` that are averaged over seeds."""


@dataclass(frozen=True)
class SeedDifference:
    """An entry's accuracy minus a reference's, over the seeds that both have."""

    mean: float
    values: list[float]  # by seed
    test: SeedTest | None  # None for a single seed
    p_holm: float | None  # the test's p, corrected


@dataclass(frozen=True)
class EntrySummary:
    """One entry over its seeds; None is unknown."""

    name: str
    objective: Objective
    seeds: int
    means: dict[str, float | None]  # by the names of `MEASURES`
    accuracy_low: float | None
    accuracy_high: float | None
    differences: dict[str, SeedDifference]  # by reference; a reference has none to itself
    own_step: float | None  # its part of a step relative to the first reference's in the same run: mean over seeds
    whole_step: float | None  # with the batch and the teacher, relative to the last reference's
    memory: int  # bytes, see `LeagueEntry`

    @property
    def accuracy(self) -> float:
        """The mean over seeds."""
        mean = self.means["accuracy"]
        assert mean is not None
        return mean


def summarize_entries(table: LeagueTable) -> list[EntrySummary]:
    """Every entry that has rows, in the declared order."""
    references = table.declaration.references
    by_reference = {reference: _compare(table, reference) for reference in references}
    found = []
    for entry in table.entries:
        rows = table.rows_of(entry.name)
        if not rows:
            continue
        low, high = seed_interval([row.accuracy for row in rows]) or (None, None)
        found.append(
            EntrySummary(
                name=entry.name,
                objective=entry.objective,
                seeds=len(rows),
                means={measure: _mean([getattr(row, measure) for row in rows]) for measure in MEASURES},
                accuracy_low=low,
                accuracy_high=high,
                differences={ref: one[entry.name] for ref, one in by_reference.items() if entry.name in one},
                own_step=_relative_step(table, rows, references[0], lambda seed: 0.0),
                whole_step=_relative_step(table, rows, references[-1], _batch_seconds(table))
                if entry.objective.needs_teacher
                else None,
                memory=entry.memory,
            )
        )
    return found


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def _compare(table: LeagueTable, reference: str) -> dict[str, SeedDifference]:
    """Every other entry's difference to a reference, by entry."""
    other = {row.seed: row.accuracy for row in table.rows_of(reference)}
    values = {
        name: [row.accuracy - other[row.seed] for row in table.rows_of(name) if row.seed in other]
        for name in (entry.name for entry in table.entries if entry.name != reference)
    }
    tests = {name: seed_test(of_entry) for name, of_entry in values.items()}
    adjusted = holm_by_name({name: test.p for name, test in tests.items() if test is not None})
    return {
        name: SeedDifference(float(np.mean(of_entry)), of_entry, tests[name], adjusted.get(name))
        for name, of_entry in values.items()
        if of_entry
    }


def _batch_seconds(table: LeagueTable) -> Callable[[int], float | None]:
    by_seed = {one.seed: one.batch_seconds for one in table.seeds}
    return by_seed.get


def _relative_step(
    table: LeagueTable, rows: list[LeagueRow], reference: str, shared: Callable[[int], float | None]
) -> float | None:
    """The mean over seeds of a step's seconds divided by the reference's in the same run."""
    other = {row.seed: row.step_seconds for row in table.rows_of(reference)}
    ratios = []
    for row in rows:
        own, theirs, both = row.step_seconds, other.get(row.seed), shared(row.seed)
        if own is not None and theirs and both is not None:
            ratios.append((both + own) / (both + theirs))
    return float(np.mean(ratios)) if ratios else None


def describe_league(table: LeagueTable) -> str:
    """What the table decides, in sentences, with what limits the conclusion."""
    entries = summarize_entries(table)
    if not entries:
        return "No seed is complete yet."
    seeds = min(entry.seeds for entry in entries)
    count = "one seed" if seeds == 1 else f"{seeds} seeds"
    if seeds < ENOUGH_SEEDS:
        return (
            f"With {count} it cannot be decided which method is better: at least {ENOUGH_SEEDS} are needed. The order "
            "may change with further seeds."
        )
    sentences = [_describe_reference(entries, reference, count) for reference in table.declaration.references]
    best = max(entries, key=lambda entry: entry.accuracy)
    sentences.append(
        f"{best.name} has the highest mean, {100 * best.accuracy:.2f} %; as the best of {len(entries)} entries it is "
        "probably overestimated."
    )
    sentences.append("This holds for this pair, these settings and this length of training.")
    return " ".join(sentences)


def _describe_reference(entries: list[EntrySummary], reference: str, count: str) -> str:
    compared = [(entry.name, entry.differences[reference]) for entry in entries if reference in entry.differences]
    compared.sort(key=lambda pair: -pair[1].mean)
    decided = [(name, one) for name, one in compared if one.p_holm is not None and one.p_holm < 0.05]
    words = f"after Holm's correction for {len(compared)} comparisons over {count}"
    parts = []
    for side, phrase in ((1, "above"), (-1, "below")):
        named = [f"{name} ({100 * one.mean:+.2f})" for name, one in decided if side * one.mean > 0]
        if named:
            parts.append(f"{', '.join(named)} {'is' if len(named) == 1 else 'are'} {phrase} it")
    if not parts:
        return f"Compared with {reference}, no entry differs by more than chance {words}."
    return f"Compared with {reference}, {' and '.join(parts)} by more than chance {words}."
