"""Differences of two networks, methods or settings: the one record, its tests, the level and the correction.

Images are the unit of "are these two trained networks different" and seeds the unit of "is this method better". Of
SciPy only plain functions of numbers are used: the rest (`scipy.stats`) asks whether its input is a tensor once
anything has begun to import torch, and fails while torch is half loaded, as when many visitors open a page at once.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Literal, TypeVar

import numpy as np
import scipy

LEVEL = 0.05
"""The significance level: a p below it is called a difference, and intervals cover one minus it."""

POWER = 0.8
"""`Difference.detectable` is found with this probability."""

ENOUGH_SEEDS = 5
"""With fewer it is not decided whether a method or a setting is better."""

ROUNDING = 1e-12
"""Values of seeds that differ by less are the same: the last digits of a sum are chance."""

MARGIN = 0.005
"""What counts as equal: a difference that is shown to be smaller than half a point."""

Verdict = Literal["supported", "not supported", "cannot be decided"]
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Difference:
    """One minus another, in the measure's own unit (a share of images, nats); None is unknown.

    Its p is corrected for the `family` of comparisons that it belongs to; `p_alone` is that of this comparison alone.
    Over images nothing is said about other seeds, over seeds nothing about other images.
    """

    estimate: float
    interval: tuple[float, float] | None = None  # 95 %, of this comparison alone unless a test says simultaneous
    p: float | None = None  # two-sided
    unit: Literal["images", "seeds"] = "images"
    count: int = 0  # of images or seeds
    family: int = 1  # how many comparisons p is corrected for
    p_alone: float | None = None
    other: str = ""  # the name of what it is compared with
    gained: int | None = None  # images that only the first network (or more of its seeds) gets right
    lost: int | None = None  # images that only the other gets right
    values: tuple[float, ...] = ()  # by seed
    detectable: float | None = None  # the least difference that such a test finds with probability `POWER`
    paired: Difference | None = None  # the paired test, where this one pools the variance

    @property
    def sign(self) -> int:
        """1 or -1 where it is clearly above or below zero: by p, without one by the interval; else 0."""
        low, high = self.interval or (0.0, 0.0)
        clear = self.p < LEVEL if self.p is not None else low > 0 or high < 0
        return 0 if not clear else 1 if self.estimate > 0 else -1

    @property
    def half(self) -> float:
        """Half of the interval's width; 0 without one."""
        low, high = self.interval or (0.0, 0.0)
        return (high - low) / 2

    def is_within(self, margin: float) -> bool:
        """Whether two one-sided tests over seeds show that the difference is smaller (TOST, Schuirmann 1987).

        Corrected for the family, as p is (Bonferroni).
        """
        if self.interval is None:
            return False
        two_sided, one_sided = scipy.special.stdtrit(self.count - 1, [1 - LEVEL / 2, 1 - LEVEL / self.family]).tolist()
        return abs(self.estimate) + self.half * one_sided / two_sided < margin

    @property
    def points(self) -> str:
        """A difference of shares in percentage points with its p: `+1.35 (p = 0.031)`."""
        return f"{100 * self.estimate:+.2f}" + ("" if self.p is None else f" ({format_p(self.p)})")

    @property
    def nats(self) -> str:
        """With its interval as it is: `+0.012 ± 0.004`."""
        return f"{self.estimate:+.3f} ± {self.half:.3f}"

    @property
    def ends(self) -> tuple[float, float] | tuple[None, None]:
        """The interval's ends in percentage points, for a chart; None without one."""
        return (None, None) if self.interval is None else (100 * self.interval[0], 100 * self.interval[1])

    def bounds(self) -> str:
        """The interval's ends in percentage points: `+0.35 to +2.35`; empty without one."""
        return "" if self.interval is None else " to ".join(f"{100 * end:+.2f}" for end in self.interval)

    @property
    def simultaneous(self) -> Difference:
        """With an interval that covers together with all others of its family (Bonferroni)."""
        if self.interval is None:
            return self
        levels = [1 - LEVEL / 2, 1 - LEVEL / 2 / self.family]
        alone, together = scipy.special.stdtrit(self.count - 1, levels).tolist()
        reach = self.half * together / alone
        return replace(self, interval=(self.estimate - reach, self.estimate + reach))


def over_images(right: np.ndarray, other_right: np.ndarray, other: str = "") -> Difference:
    """Accuracy on the same images by which predictions are right, bool `[images]`, or `[seeds, images]` of a recipe.

    The exact test of McNemar, Psychometrika 1947. Of several seeds, an image counts by how many more of the one's get
    it right, so that the same image is one observation and not several; under the null hypothesis each image's count is
    as likely with the other sign, and the distribution of their sum is computed exactly. The interval is the normal one
    of the mean over images.
    """
    one, two = np.atleast_2d(right), np.atleast_2d(other_right)
    score = one.sum(axis=0, dtype=np.int64) - two.sum(axis=0, dtype=np.int64)
    sizes, counts = np.unique(np.abs(score[score != 0]), return_counts=True)
    pmf = np.ones(1)  # of the sum, from -reach to reach
    for size, count in zip(sizes, counts, strict=True):
        steps, logs = np.zeros(2 * size * count + 1), scipy.special.gammaln(np.arange(count + 1) + 1)  # of factorials
        steps[:: 2 * size] = np.exp(logs[-1] - logs - logs[::-1] - count * np.log(2))
        pmf = np.convolve(pmf, steps)
    reach = len(pmf) // 2
    far = np.abs(np.arange(-reach, reach + 1)) >= abs(int(score.sum()))
    p = min(1.0, float(pmf[far].sum()))
    gained, lost = int((score > 0).sum()), int((score < 0).sum())
    return replace(over_mean(score / len(one), other), p=p, p_alone=p, gained=gained, lost=lost)


def over_mean(differences: np.ndarray, other: str = "") -> Difference:
    """The mean of two networks' differences `[N]` on the same images, with the normal interval; without a test.

    A single image has no interval.
    """
    mean, count = float(differences.mean()), len(differences)
    if count < 2:
        return Difference(mean, count=count, other=other)
    half = float(1.96 * differences.std() / count**0.5)
    found = half * (1 + float(scipy.special.ndtri(POWER)) / 1.96)
    return Difference(mean, (mean - half, mean + half), count=count, other=other, detectable=found)


def _vary(values: Sequence[float]) -> bool:
    """Whether a variance can be estimated: there are several values, which are not all equal."""
    return len(values) > 1 and max(values) - min(values) > ROUNDING


def over_seeds(values: Sequence[float]) -> Difference:
    """Student's paired t test ("The probable error of a mean", Biometrika 1908) of at least one difference by seed.

    A single seed says nothing about others, and neither do equal differences, by which no variance can be estimated:
    they have neither interval nor p.
    """
    mean, count, freedom = float(np.mean(values)), len(values), len(values) - 1
    if not _vary(values):
        return Difference(mean, unit="seeds", count=count, values=tuple(values))
    error = float(np.std(values, ddof=1)) / count**0.5
    reach = float(scipy.special.stdtrit(freedom, 1 - LEVEL / 2)) * error
    p = min(1.0, 2 * float(scipy.special.stdtr(freedom, -abs(mean) / error)))
    found = find_detectable(error, freedom)
    interval = mean - reach, mean + reach
    return Difference(mean, interval, p, "seeds", count, p_alone=p, values=tuple(values), detectable=found)


def find_detectable(error: float, freedom: int) -> float:
    """The difference that a two-sided t test of a difference with such a standard error finds with `POWER`."""
    return error * float(scipy.special.stdtrit(freedom, 1 - LEVEL / 2) + scipy.special.stdtrit(freedom, POWER))


def compare_seeds(entries: Mapping[Key, Mapping[int, float]], reference: Mapping[int, float]) -> dict[Key, Difference]:
    """Every entry minus the reference, both by seed: one family of tests over the seeds that both have.

    Entries that share no seed with the reference are left out.
    """
    shared = {key: [own[seed] - reference[seed] for seed in own if seed in reference] for key, own in entries.items()}
    return correct({key: over_seeds(values) for key, values in shared.items() if values})


def compare_pooled(entries: Mapping[Key, Mapping[int, float]], reference: Mapping[int, float]) -> dict[Key, Difference]:
    """Every entry minus the reference with one variance for all of them: Dunnett's test (JASA 1955).

    It takes students as independent, also those of one seed. p and intervals hold for the family together. The tests of
    `compare_seeds` are beside it (`paired`), and alone where no entry's seeds vary, as where there is one.
    """
    paired, own = compare_seeds(entries, reference), [*reference.values()]
    groups = {key: [*entries[key].values()] for key in paired}
    freedom = sum(len(values) - 1 for values in (own, *groups.values()))
    if not any(_vary(values) for values in (own, *groups.values())):
        return paired
    squares = sum(float(np.var(values)) * len(values) for values in (own, *groups.values()))
    shares = tuple(len(values) / (len(values) + len(own)) for values in groups.values())
    limit, found = _limit(shares, freedom), {}
    for key, values in groups.items():
        error = (squares / freedom * (1 / len(values) + 1 / len(own))) ** 0.5
        estimate, reach = float(np.mean(values) - np.mean(own)), limit * error
        statistic = abs(estimate) / error
        found[key] = replace(
            paired[key], estimate=estimate, interval=(estimate - reach, estimate + reach),
            p=max(0.0, 1 - _together(statistic, shares, freedom)),
            p_alone=2 * float(scipy.special.stdtr(freedom, -statistic)),
            detectable=reach + float(scipy.special.stdtrit(freedom, POWER)) * error, paired=paired[key],
        )  # fmt: skip
    return found


@lru_cache(maxsize=64)
def _limit(shares: tuple[float, ...], freedom: int) -> float:
    """What the t of a family exceed together with the probability `LEVEL`, by bisection; see `_together`."""
    low, high = 0.0, 100.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if _together(middle, shares, freedom) < 1 - LEVEL else (low, middle)
    return high


def _together(limit: float, shares: tuple[float, ...], freedom: int) -> float:
    """The probability that no t of a family that shares its reference exceeds a limit, by Gauss's quadrature.

    Over the reference's deviate and the pooled deviation; the correlation of two is the root of their shares' product.
    """
    deviates, weights, places, by_place = _quadrature()
    deviations = np.sqrt(scipy.special.gammaincinv(freedom / 2, (places + 1) / 2) * 2 / freedom)[:, None]
    inside = np.ones((len(places), len(deviates)))
    for share, count in zip(*np.unique(shares, return_counts=True), strict=True):
        ends = [(side * limit * deviations - share**0.5 * deviates) / (1 - share) ** 0.5 for side in (-1, 1)]
        inside *= (scipy.special.ndtr(ends[1]) - scipy.special.ndtr(ends[0])) ** count
    return float(by_place @ inside @ weights / by_place.sum() / weights.sum())


@cache
def _quadrature() -> tuple[np.ndarray, ...]:
    """Gauss's 64 places and their weights: for a normal deviate (Hermite), then from -1 to 1 (Legendre)."""
    return *np.polynomial.hermite_e.hermegauss(64), *np.polynomial.legendre.leggauss(64)


def describe_assumption(seeds: int) -> str:
    """What every test over seeds is conditional on, and why: so many seeds have `2 ** seeds` patterns of signs."""
    return f"Normality is assumed: an exact sign-flip test of {seeds} seeds gives at least p = {2 / 2**seeds:.4f}."


def over_shares(accuracy: float, other: float, count: int) -> Difference:
    """Two accuracies on `count` images each, which are not the same or whose predictions are unknown.

    The normal test of two shares with a pooled variance. It is less sensitive than a paired test.
    """
    share = (accuracy + other) / 2
    error = (share * (1 - share) * 2 / count) ** 0.5
    p = 2 * float(scipy.special.ndtr(-abs(accuracy - other) / error)) if error else 1.0
    return Difference(accuracy - other, None, p, "images", count, p_alone=p)


def correct(differences: Mapping[Key, Difference]) -> dict[Key, Difference]:
    """One family: each p with Holm's correction (Scandinavian Journal of Statistics 1979) for all that were tested."""
    tested = {key: one.p_alone for key, one in differences.items() if one.p_alone is not None}
    found, largest = dict(differences), 0.0
    for rank, (key, p) in enumerate(sorted(tested.items(), key=lambda pair: pair[1])):
        largest = max(largest, min(1.0, (len(tested) - rank) * p))
        found[key] = replace(differences[key], p=largest, family=len(tested))
    return found


def decide(differences: Sequence[Difference]) -> Verdict:
    """Whether all differences are clearly above zero; not supported where any is clearly below."""
    signs = [one.sign for one in differences]
    above, below = all(sign > 0 for sign in signs), any(sign < 0 for sign in signs)
    return "supported" if above else "not supported" if below else "cannot be decided"


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of Wilson, "Probable inference", JASA 1927, for a share of so many, 0 to 1."""
    z2 = float(scipy.special.ndtri(1 - LEVEL / 2)) ** 2
    middle = share + z2 / (2 * count)
    reach = (z2 * (share * (1 - share) + z2 / (4 * count)) / count) ** 0.5
    low, high = ((middle + side * reach) / (1 + z2 / count) for side in (-1, 1))
    return (0.0 if share == 0 else low), (1.0 if share == 1 else high)


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's 95 % interval for the mean over seeds; None for a single seed, which says nothing about others."""
    return over_seeds(values).interval if values else None


def format_p(p: float | None) -> str:
    """`p = 0.031`, or `p < 0.0001`; in words where seeds that are equal allow no test."""
    if p is None:
        return "no p, as seeds do not differ"
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}" if p < 0.1 else f"p = {p:.2f}"


def format_p_cell(p: float | None) -> str:
    """A p of a table: `0.0312`, `< 0.0001`, or nothing where there is none."""
    return "" if p is None else "< 0.0001" if p < 1e-4 else f"{p:.4f}"
