"""The lab report's claims, each with the evidence of these networks and sweeps, and a verdict.

The evidence is computed: from rows of results (images are the unit, each network was trained once) and from accuracies
by seed of a sweep (seeds are the unit). A verdict is never better than its evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kdexplorer.analysis.difference import correct, format_p, over_counts
from kdexplorer.analysis.lab import LAB, LAB_IMAGES
from kdexplorer.analysis.metrics import softmax
from kdexplorer.analysis.results import ResultRow
from kdexplorer.analysis.statistics import ENOUGH_SEEDS, SeedTest, holm, seed_test
from kdexplorer.analysis.tables import markdown_table
from kdexplorer.networks import get_architecture

Verdict = Literal["supported", "not supported", "cannot be decided"]
BySeed = Mapping[float, Sequence[float]]
"""Accuracies by seed, 0 to 1, for each value of a setting; the same seeds for all."""

LAB_EXAMPLE, LAB_SOFTENED = (0.93, 0.05, 0.02), (0.51, 0.28, 0.21)
"""The report's example: predictions, and what it says they are at T = 4."""


@dataclass(frozen=True)
class Claim:
    """What the report says, what can be seen here, and whether that supports it."""

    claim: str
    evidence: str
    verdict: Verdict


def decide(tests: Sequence[SeedTest]) -> tuple[list[float], Verdict]:
    """p with Holm's correction, and whether all differences are above zero: not where any is clearly below."""
    corrected = holm([test.p for test in tests])
    signs = [0 if p >= 0.05 else 1 if test.difference > 0 else -1 for test, p in zip(tests, corrected, strict=True)]
    above, below = all(sign > 0 for sign in signs), any(sign < 0 for sign in signs)
    return corrected, "supported" if above else "not supported" if below else "cannot be decided"


def judge_setting(
    claim: str, setting: str, values: BySeed, inside: Callable[[float], bool], outside: Callable[[float], bool]
) -> Claim:
    """Whether the values of a setting inside a range beat those outside it, paired by seed with Holm's correction."""
    means = {value: float(np.mean(seeds)) for value, seeds in values.items()}
    listed = ", ".join(f"{setting} = {value:g}: {100 * mean:.2f} %" for value, mean in sorted(means.items()))
    own, others = [v for v in values if inside(v)], [v for v in values if outside(v)]
    if not own or not others:
        tried = f"The sweep has no such {setting} ({listed})" if listed else "There is no sweep"
        return Claim(claim, f"{tried}.", "cannot be decided")
    best = max(own, key=means.__getitem__)
    paired = [np.subtract(values[best], values[other]) for other in others]
    seeds = len(values[best])
    evidence = f"{listed}, means over {seeds} seed{'s' if seeds > 1 else ''}"
    tests = [test for one in paired if (test := seed_test(one.tolist()))]
    if seeds < ENOUGH_SEEDS or len(tests) < len(paired):
        return Claim(claim, f"{evidence}: fewer than {ENOUGH_SEEDS}.", "cannot be decided")
    corrected, verdict = decide(tests)
    compared = ", ".join(
        f"{100 * test.difference:+.2f} to {setting} = {other:g} ({format_p(p)})"
        for other, test, p in zip(others, tests, corrected, strict=True)
    )
    return Claim(claim, f"{evidence}. {setting} = {best:g}: {compared}, after Holm's correction.", verdict)


def judge_example() -> Claim:
    """The report's arithmetic, which needs no network."""
    exact = softmax(np.log(LAB_EXAMPLE), 4.0)
    given, told = (" / ".join(f"{p:.2f}" for p in one) for one in (LAB_EXAMPLE, LAB_SOFTENED))
    found = " / ".join(f"{p:.3f}" for p in exact)
    verdict: Verdict = "supported" if np.allclose(exact, LAB_SOFTENED, atol=0.005) else "not supported"
    return Claim(f"{given} becomes {told} at T = 4", f"It becomes {found}.", verdict)


def judge_channels(architectures: tuple[str, str]) -> Claim:
    """Whether the mean over channels makes the stages of two architectures comparable: student's, then teacher's."""
    student, teacher = (get_architecture(key) for key in architectures)
    own, other = student.stages, teacher.stages
    channels = [" – ".join(str(stage.channels) for stage in stages) for stages in (own, other)]
    evidence = f"{student.label} has {channels[0]} channels, {teacher.label} {channels[1]}"
    same = len(own) == len(other) and all(a.reduction == b.reduction for a, b in zip(own, other, strict=True))
    maps = "the maps without channels have the same sizes" if same else "but the maps' sizes differ too"
    claim = "The mean over channels solves the mismatch of channels"
    return Claim(claim, f"{evidence}; {maps}.", "supported" if same else "not supported")


def judge_beta(rows: Sequence[ResultRow]) -> Claim:
    """Whether the unweighted attention term is of the size that β = 1000 is meant for."""
    claim = "β is 1000 because the term is of size 0.001"
    terms = [value for row in rows if (value := row.terms.get("at")) is not None]
    if not terms:
        return Claim(claim, "No network with this term is available.", "cannot be decided")
    within = [10**-3.5 <= value < 10**-2.5 for value in terms]
    verdict: Verdict = "supported" if all(within) else "cannot be decided" if any(within) else "not supported"
    size = f"{min(terms):.2g} to {max(terms):.2g}" if len(terms) > 1 else f"{terms[0]:.2g}"
    evidence = (
        f"After training it is {size} in {len(terms)} network{'s' if len(terms) > 1 else ''}. No other β was tried"
    )
    return Claim(claim, f"{evidence}, so the best β is unknown.", verdict)


def judge_beating(rows: Sequence[ResultRow]) -> Claim:
    """Whether distilled students beat their teachers: McNemar's tests with Holm's correction."""
    paired = {row.name: one for row in rows if row.is_distilled and (one := row.to_teacher) and one.p is not None}
    teacher = round(LAB["resnet50"][1] * LAB_IMAGES)
    told = [
        f"{100 * (LAB[name][1] - LAB['resnet50'][1]):+.2f} "
        f"({format_p(over_counts(round(LAB[name][1] * LAB_IMAGES), LAB_IMAGES, teacher, LAB_IMAGES).p or 0)})"
        for name in ("resnet18-response", "resnet18-feature")
    ]
    lab = f"In the lab {' and '.join(told)} points, unpaired; a paired test would need its predictions"
    claim = "Distilled students beat their teacher"
    if not paired:
        return Claim(claim, f"{lab}. No paired test is possible here.", "cannot be decided")
    listed = ", ".join(f"{name} {100 * one.estimate:+.2f}" for name, one in paired.items())
    signs = [one.sign for one in correct(paired).values()]
    above, below = (signs.count(1), signs.count(-1))
    verdict: Verdict = (
        "supported" if above == len(paired) else "not supported" if below > above else "cannot be decided"
    )
    counts = f"{above} clearly above, {below} clearly below of {len(paired)}"
    return Claim(claim, f"{lab}. Here {listed}: {counts}, by McNemar with Holm's correction.", verdict)


def judge_larger_loss(rows: Sequence[ResultRow]) -> Claim:
    """Whether distilled students have the larger loss, where it can be compared: cross-entropy, scaled."""
    claim, by_name = "The distilled students' loss is larger", {row.name: row for row in rows}
    pairs = [
        (row, by_name[one.other], one) for row in rows if row.is_distilled and (one := row.scaled_to_scratch_baseline)
    ]
    if not pairs:
        return Claim(claim, "No distilled student has a scratch baseline and stored logits here.", "cannot be decided")
    objective = sum((row.objective or 0) > (base.objective or 0) for row, base, _ in pairs)
    raw = sum(row.cross_entropy > base.cross_entropy for row, base, _ in pairs)
    higher = sum(one.sign > 0 for *_, one in pairs)
    lower = sum(one.sign < 0 for *_, one in pairs)
    evidence = (
        f"The objective, another sum for each method, is larger for {objective} of {len(pairs)}; cross-entropy, which "
        f"can be compared, for {raw}; after temperature scaling it is clearly larger for {higher} and clearly smaller "
        f"for {lower}."
    )
    verdict: Verdict = "supported" if higher == len(pairs) else "cannot be decided" if higher else "not supported"
    return Claim(claim, evidence, verdict)


def judge_all(rows: Sequence[ResultRow], temperatures: BySeed, weights: BySeed) -> list[Claim]:
    """Every claim; `temperatures` and `weights` are a sweep's accuracies by seed, empty without one."""

    def warm(t: float) -> bool:
        return 3 <= t <= 5

    def heavy(alpha: float) -> bool:
        return 0.7 <= alpha <= 0.9

    return [
        judge_setting("T of 3 to 5 is best", "T", temperatures, warm, lambda t: not warm(t)),
        judge_setting("T of 10 or more is worse", "T", temperatures, warm, lambda t: t >= 10),
        judge_setting("α of 0.7 to 0.9 is best", "α", weights, heavy, lambda alpha: not heavy(alpha)),
        judge_example(),
        judge_channels(("resnet18", "resnet50")),
        judge_beta(rows),
        judge_beating(rows),
        judge_larger_loss(rows),
    ]


def to_markdown(claims: Sequence[Claim]) -> str:
    """The claims as a Markdown table."""
    table = [[one.claim, one.evidence, one.verdict] for one in claims]
    return markdown_table(["The report's claim", "Evidence here", "Verdict"], table, 3)
