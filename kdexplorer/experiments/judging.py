"""Verdicts over seeds: one sentence of evidence for each comparison, and one verdict for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kdexplorer.analysis.claims import Claim, decide
from kdexplorer.analysis.statistics import ENOUGH_SEEDS, SeedTest, format_p, seed_test
from kdexplorer.experiments.results import BySeed, differences


@dataclass(frozen=True)
class Comparison:
    """A difference: what it is called, and its values by seed."""

    name: str
    values: tuple[float, ...]


def compare(name: str, own: BySeed, other: BySeed) -> Comparison:
    """One student minus another, over the seeds that both have."""
    return Comparison(name, tuple(differences(own, other).values()))


def judge(claim: str, comparisons: Sequence[Comparison], unit: str = "points", scale: float = 100) -> Claim:
    """Whether all differences are above zero, by paired t tests over seeds with Holm's correction.

    Supported where all are clearly above zero, not supported where any is clearly below; between these, and with fewer
    than five seeds, it cannot be decided.
    """
    if not comparisons or not all(one.values for one in comparisons):
        missing = ", ".join(one.name for one in comparisons if not one.values) or "everything"
        return Claim(claim, f"Not all parts are trained yet: {missing}.", "cannot be decided")
    seeds = min(len(one.values) for one in comparisons)
    if seeds < ENOUGH_SEEDS:
        listed = "; ".join(f"{one.name} {scale * sum(one.values) / len(one.values):+.2f} {unit}" for one in comparisons)
        count = "one seed" if seeds == 1 else f"{seeds} seeds"
        evidence = f"{_capitalize(listed)}. With {count} it is not decided: {ENOUGH_SEEDS} are needed."
        return Claim(claim, evidence, "cannot be decided")
    tests = [test for one in comparisons if (test := seed_test(one.values)) is not None]
    corrected, verdict = decide(tests)
    sentences = [
        f"{one.name}: {_describe(test, unit, scale)}, {format_p(p)}"
        for one, test, p in zip(comparisons, tests, corrected, strict=True)
    ]
    unclear = sum(p >= 0.05 for p in corrected)
    rest = ""
    if verdict == "cannot be decided":
        rest = f" {unclear} of {len(tests)} differences may be chance." if len(tests) > 1 else " That may be chance."
    words = f" (95 % intervals over {seeds} seeds, p after Holm's correction)" if len(tests) > 1 else (
        f" (95 % interval over {seeds} seeds)"
    )  # fmt: skip
    return Claim(claim, f"{_capitalize('; '.join(sentences))}{words}.{rest}", verdict)


def add_beside(judged: Claim, comparisons: Sequence[Comparison], *sentences: str) -> Claim:
    """A claim whose evidence also says what no verdict depends on: differences in points, and whole sentences."""
    shown = [f"{one.name}: {_describe_values(one.values)}" for one in comparisons if one.values]
    beside = [f"In addition (95 % intervals, not corrected): {'; '.join(shown)}."] if shown else []
    return replace(judged, evidence=" ".join(filter(None, [judged.evidence, *beside, *sentences])))


def _describe_values(values: Sequence[float]) -> str:
    test = seed_test(values)
    return f"{100 * values[0]:+.2f} points (one seed)" if test is None else _describe(test, "points", 100)


def _describe(test: SeedTest, unit: str, scale: float) -> str:
    low, high = scale * test.low, scale * test.high
    return f"{scale * test.difference:+.2f} {unit} ({low:+.2f} to {high:+.2f})"


def _capitalize(text: str) -> str:
    """The first letter alone: names of students keep theirs."""
    return text[:1].upper() + text[1:]
