"""Verdicts over seeds: one sentence of evidence for each difference, and one verdict for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kdexplorer.analysis.difference import ENOUGH_SEEDS, Difference, correct, decide, format_p, over_seeds
from kdexplorer.studies.experiments.base import Claim
from kdexplorer.studies.table import BySeed, differences

Named = Mapping[str, Sequence[float]]
"""Differences by seed, by what they are called."""


def compare(own: BySeed, other: BySeed) -> tuple[float, ...]:
    """One student minus another, over the seeds that both have."""
    return tuple(differences(own, other).values())


def judge(claim: str, named: Named, unit: str = "points", scale: float = 100) -> Claim:
    """Whether all differences are above zero, by paired t tests over seeds with Holm's correction.

    Supported where all are clearly above zero, not supported where any is clearly below; between these, and with fewer
    than five seeds, it cannot be decided.
    """
    if not named or not all(named.values()):
        missing = ", ".join(name for name, values in named.items() if not values) or "everything"
        return Claim(claim, f"Not all parts are trained yet: {missing}.", "cannot be decided")
    tests = correct({name: over_seeds(values) for name, values in named.items()})
    seeds = min(one.count for one in tests.values())
    if seeds < ENOUGH_SEEDS:
        listed = "; ".join(f"{name} {scale * one.estimate:+.2f} {unit}" for name, one in tests.items())
        count = "one seed" if seeds == 1 else f"{seeds} seeds"
        evidence = f"{_capitalize(listed)}. With {count} it is not decided: {ENOUGH_SEEDS} are needed."
        return Claim(claim, evidence, "cannot be decided")
    verdict = decide(list(tests.values()))
    sentences = [f"{name}: {_describe(one, unit, scale)}, {format_p(one.p or 0)}" for name, one in tests.items()]
    several, unclear, rest = len(tests) > 1, sum(not one.sign for one in tests.values()), ""
    if verdict == "cannot be decided":
        rest = f" {unclear} of {len(tests)} differences may be chance." if several else " That may be chance."
    words = f"95 % intervals over {seeds} seeds, p after Holm's correction" if several else (
        f"95 % interval over {seeds} seeds"
    )  # fmt: skip
    return Claim(claim, f"{_capitalize('; '.join(sentences))} ({words}).{rest}", verdict)


def add_beside(judged: Claim, named: Named, *sentences: str) -> Claim:
    """A claim whose evidence also says what no verdict depends on: differences in points, and whole sentences."""
    shown = [f"{name}: {_describe_values(values)}" for name, values in named.items() if values]
    beside = [f"In addition (95 % intervals, not corrected): {'; '.join(shown)}."] if shown else []
    return replace(judged, evidence=" ".join(filter(None, [judged.evidence, *beside, *sentences])))


def _describe_values(values: Sequence[float]) -> str:
    one = over_seeds(values)
    return f"{100 * values[0]:+.2f} points (one seed)" if one.interval is None else _describe(one, "points", 100)


def _describe(one: Difference, unit: str, scale: float) -> str:
    return f"{scale * one.estimate:+.2f} {unit} ({one.bounds(scale)})"


def _capitalize(text: str) -> str:
    """The first letter alone: names of students keep theirs."""
    return text[:1].upper() + text[1:]
