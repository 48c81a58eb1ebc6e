"""What a run's students gained over their scratch baseline, in a sentence each."""

from __future__ import annotations

from collections.abc import Sequence

from kdexplorer.analysis.statistics import format_p, holm_by_name
from kdexplorer.analysis.tables import ResultRow

LEVEL = 0.05
"""Significance level."""


def describe_gains(rows: Sequence[ResultRow]) -> list[str]:
    """A sentence for each network of a run, those that can be compared with a scratch baseline first.

    Where several students are compared, p has Holm's correction. The tests count images: another seed is another run.
    """
    by_name = {row.name: row for row in rows}
    compared = [(row, pair) for row in rows if (pair := row.to_scratch_baseline) is not None]
    corrected = holm_by_name({row.name: pair.p for row, pair in compared})
    sentences = []
    for row, pair in sorted(compared, key=lambda one: -one[0].accuracy):
        baseline, points = by_name[pair.name], round(100 * pair.difference, 1)
        gain = f"+{points:.1f} points over" if points >= 0 else f"{-points:.1f} points below"
        figures = f"{100 * row.accuracy:.1f} against {100 * baseline.accuracy:.1f} %"
        verdict = _judge(corrected.get(row.name), len(corrected))
        sentences.append(f"{row.name}: {gain} its scratch baseline ({figures}), {row.evaluated_on}{verdict}.")
    paired = {name for row, pair in compared for name in (row.name, pair.name)}
    alone = [row for row in rows if row.name not in paired]
    return sentences + [f"{row.name}: {100 * row.accuracy:.1f} %, {row.evaluated_on}." for row in alone]


def _judge(p: float | None, comparisons: int) -> str:
    """`, significant: p = 0.003`, with the correction where there is one; empty without a test."""
    if p is None:
        return ""
    correction = f", corrected for {comparisons} comparisons" if comparisons > 1 else ""
    return f", {'significant' if p < LEVEL else 'not significant'} ({format_p(p)}, McNemar{correction})"
