"""Intervals and tests: over images for trained networks, over seeds for methods and settings.

Of SciPy only plain functions of numbers are used: the rest (`scipy.stats`) asks whether its input is a tensor once
anything has begun to import torch, and fails while torch is half loaded, as when many visitors open a page at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MeanDifference:
    """The mean of paired differences over images, with its 95 % interval `difference ± half`."""

    difference: float
    half: float
    images: int

    def __str__(self) -> str:
        return f"{self.difference:+.3f} ± {self.half:.3f}"

    @property
    def sign(self) -> int:
        """1 or -1 where the interval leaves out zero, else 0."""
        return 0 if abs(self.difference) <= self.half else 1 if self.difference > 0 else -1


@dataclass(frozen=True)
class SeedTest:
    """The mean of paired differences over seeds, its 95 % t interval, and Student's two-sided p."""

    difference: float
    low: float
    high: float
    p: float
    seeds: int


ENOUGH_SEEDS = 5
"""With fewer it is not decided whether a method or a setting is better."""


def wilson_interval(correct: int, count: int) -> tuple[float, float]:
    """The 95 % interval of Wilson, "Probable inference", JASA 1927, for a share, 0 to 1."""
    from scipy.special import ndtri

    share, z2 = correct / count, float(ndtri(0.975)) ** 2
    middle = share + z2 / (2 * count)
    reach = (z2 * (share * (1 - share) + z2 / (4 * count)) / count) ** 0.5
    low, high = ((middle + side * reach) / (1 + z2 / count) for side in (-1, 1))
    return (0.0 if correct == 0 else low), (1.0 if correct == count else high)


def mcnemar(logits: np.ndarray, other_logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """McNemar's exact test between two networks on the same images (Psychometrika 1947): `paired_test` of one seed."""
    right, other_right = ((one.argmax(axis=1) == labels)[None] for one in (logits, other_logits))
    return paired_test(right, other_right)


def paired_test(right: np.ndarray, other_right: np.ndarray) -> dict[str, float]:
    """Whether one recipe beats another on the same images, when each was trained from several seeds.

    Both are bool `[seeds, images]` of the same seeds and images. An image counts by how many more of the one's seeds
    get it right, so the same image under several seeds is one observation and not several. Under the null hypothesis
    each image's count is as likely with the other sign: the distribution of the sum is computed exactly.

    Returns:
        `gained`, `lost`: images on which the one (the other) has more seeds right; `difference` in mean accuracy;
        `p`: two-sided, exact. It speaks of other images, not of other seeds.
    """
    from scipy.special import gammaln

    score = right.sum(axis=0, dtype=np.int64) - other_right.sum(axis=0, dtype=np.int64)
    sizes, counts = np.unique(np.abs(score[score != 0]), return_counts=True)
    pmf = np.ones(1)  # of the sum, from -reach to reach
    for size, count in zip(sizes, counts, strict=True):
        steps, heads = np.zeros(2 * size * count + 1), np.arange(count + 1)
        ways = gammaln(count + 1) - gammaln(heads + 1) - gammaln(count - heads + 1)
        steps[:: 2 * size] = np.exp(ways - count * np.log(2))
        pmf = np.convolve(pmf, steps)
    reach = len(pmf) // 2
    far = np.abs(np.arange(-reach, reach + 1)) >= abs(int(score.sum()))
    return {
        "gained": int((score > 0).sum()),
        "lost": int((score < 0).sum()),
        "difference": float(score.sum()) / right.size,
        "p": min(1.0, float(pmf[far].sum())),
    }


def paired_interval(differences: np.ndarray) -> MeanDifference:
    """The mean of two networks' differences `[N]` on the same images, with a 95 % interval (normal)."""
    half = 1.96 * differences.std() / max(1, len(differences)) ** 0.5
    return MeanDifference(float(differences.mean()), float(half), len(differences))


def holm(p_values: list[float]) -> list[float]:
    """p values corrected for multiple comparisons by Holm, Scandinavian Journal of Statistics 1979, in their order."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def holm_by_name(p_values: Mapping[str, float | None]) -> dict[str, float]:
    """`holm` of the p values that are known, by name."""
    known = {name: p for name, p in p_values.items() if p is not None}
    return dict(zip(known, holm(list(known.values())), strict=True))


def seed_interval(values: list[float]) -> tuple[float, float] | None:
    """Student's 95 % t interval for the mean over seeds; None for a single seed, which says nothing about others."""
    from scipy.special import stdtrit

    if len(values) < 2:
        return None
    middle, error = float(np.mean(values)), float(np.std(values, ddof=1)) / len(values) ** 0.5
    reach = float(stdtrit(len(values) - 1, 0.975)) * error
    return middle - reach, middle + reach


def seed_test(differences: Sequence[float]) -> SeedTest | None:
    """Student's paired t test ("The probable error of a mean", Biometrika 1908) over seeds; None for a single one.

    It speaks of other seeds, which the tests over images do not.
    """
    from scipy.special import stdtr

    interval = seed_interval(list(differences))
    if interval is None:
        return None
    middle, error = float(np.mean(differences)), float(np.std(differences, ddof=1)) / len(differences) ** 0.5
    statistic = abs(middle) / error if error else np.inf if middle else 0.0
    return SeedTest(middle, *interval, min(1.0, 2 * float(stdtr(len(differences) - 1, -statistic))), len(differences))


def unpaired_p(correct: int, count: int, other_correct: int, other_count: int) -> float:
    """Whether two accuracies differ whose images are not the same or whose predictions are unknown; two-sided.

    The normal test of two shares with a pooled variance. It is less sensitive than a paired test.
    """
    from scipy.special import ndtr

    share = (correct + other_correct) / (count + other_count)
    error = (share * (1 - share) * (1 / count + 1 / other_count)) ** 0.5
    return 2 * float(ndtr(-abs(correct / count - other_correct / other_count) / error)) if error else 1.0


def format_p_cell(p: float | None) -> str:
    """A p of a table: `0.0312`, `< 0.0001`, or nothing where there is none."""
    return "" if p is None else "< 0.0001" if p < 1e-4 else f"{p:.4f}"


def format_p(p: float) -> str:
    """`p = 0.031`, or `p < 0.0001`."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}" if p < 0.1 else f"p = {p:.2f}"
