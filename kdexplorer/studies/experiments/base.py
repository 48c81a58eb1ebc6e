"""What an experiment is: a question, a protocol that is declared before, its studies, a verdict and a figure.

An experiment is one file of this package with one `EXPERIMENT`; nothing else needs to know it. Reading it loads no
torch. One with studies trains them; one with `measure` measures networks that exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from kdexplorer.analysis import difference
from kdexplorer.analysis.difference import ENOUGH_SEEDS, MARGIN, Difference, Verdict, correct, format_p, over_seeds
from kdexplorer.networks import get_architecture
from kdexplorer.studies.study import Study
from kdexplorer.studies.table import BySeed, Table

AGAIN = "-full"
"""The ending of a study that is declared a second time, at full size."""

NETWORKS = "networks"
"""The name of the table of an experiment that measures networks that exist."""


@dataclass(frozen=True)
class Claim:
    """What is claimed, what can be seen here, and whether that supports it."""

    claim: str
    evidence: str
    verdict: Verdict
    needs: str = ""  # what would decide it, where it cannot be decided


@dataclass(frozen=True)
class Point:
    """A value in a figure with its interval; `label` is a row's (`dots`), or what a point or a line is of."""

    series: str
    x: float
    y: float = 0.0
    label: str = ""
    low: float | None = None  # of x in `dots`, else of y
    high: float | None = None
    seeds: tuple[float, ...] = ()  # the single values


@dataclass(frozen=True)
class Plot:
    """What an experiment's chart shows."""

    kind: Literal["dots", "lines", "scatter"]  # a row for each label; y over x; a point for each student
    title: str
    subtitle: str
    x_title: str
    points: tuple[Point, ...]
    roles: dict[str, str]  # each series' role (see `charts.style.role_of`), which decides its color
    y_title: str = ""
    logarithmic: bool = False
    rule: float | None = None  # a value that is marked, such as no difference: of x in `dots`, of y in `scatter`
    rule_title: str = ""  # what is written at it (`scatter`)
    slider: str = ""  # the title of a slider that moves a marker along x


def differences(own: BySeed, other: BySeed) -> BySeed:
    """One student minus another, over the seeds that both have."""
    return {seed: own[seed] - other[seed] for seed in own if seed in other}


@dataclass(frozen=True)
class Results:
    """What is known of an experiment so far."""

    tables: Mapping[str, Table] = field(default_factory=dict)  # by study, in the declared order
    left_out: tuple[str, ...] = ()  # why tables that exist are not among these, in sentences
    small: bool = False  # whether they are the small variant's

    def __bool__(self) -> bool:
        return any(table.rows for table in self.tables.values())

    @property
    def measured(self) -> Table:
        """The table of networks that exist; one without rows where they are not measured."""
        return self.tables.get(NETWORKS, Table())

    def values(self, student: str, measure: str = "accuracy") -> BySeed:
        """A student's values of a measure by seed; `student` is `STUDY/ENTRY`. Empty where it is not trained."""
        study, _, entry = student.partition("/")
        return self.tables[study].values(entry, measure) if study in self.tables else {}

    def compare(self, own: str, other: str) -> BySeed:
        """One student's accuracy minus another's, over the seeds that both have."""
        return differences(self.values(own), self.values(other))

    def latest(self, *studies: str) -> Results:
        """The second versions, under the names of the first, where all of these studies are trained; else these."""
        found = {name.removesuffix(AGAIN): table for name, table in self.tables.items() if name.endswith(AGAIN)}
        complete = all(name in found and not found[name].missing() for name in studies)
        return replace(self, tables=found) if complete else self

    def describe(self, *studies: str) -> str:
        """The network, images and epochs of studies' students, before what a figure shows of them."""
        known = [self.tables[study].declared for study in studies if study in self.tables]
        if not known:
            return ""
        (network,) = {get_architecture(one.architecture).label for one in known[0].students.values()}
        epochs = " and ".join(str(one.shared.epochs) for one in known)
        return f"{network}, {known[0].shared.train_images:,} images, {epochs} epochs: "

    def setting(self, study: str, name: str) -> float:
        """A number that a study's students share, such as `train_images`; NaN where it is not trained."""
        return float(getattr(self.tables[study].declared.shared, name)) if study in self.tables else float("nan")


Judge = Callable[[Results], list[Claim]]
"""The verdict with its evidence, one for each claim; complete sentences for every outcome."""

More = Callable[[np.ndarray, np.ndarray, "np.ndarray | None"], dict[str, float]]
"""What is measured of a student besides: from its logits `[N, K]`, the labels `[N]`, its teacher's logits or None."""

MeasureNetworks = Callable[[Table, bool], Iterator[Table]]
"""Adds the rows that are missing to a table of an earlier start, or an empty one; of fewer images where the second is
true. Yields the table after each network. Raises KDError when a network or the data cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A question about distillation with everything that answers it."""

    order: int  # its place in the list: the order of training
    key: str  # the name on the command line, in links and in files
    title: str
    question: str
    literature: str  # what was found before, with the reference
    protocol: str  # networks, images, length and seeds, declared before anything was trained
    comparison: str  # what is compared, in which unit, and which result gives which verdict
    expected: str
    change: str  # what to try next, and how
    judge: Judge
    figure: Callable[[Results], Plot]
    # What is trained, by name and in order; `small` is a variant of about a minute, without a verdict.
    studies: Callable[[bool], dict[str, Study]] = lambda small: {}
    more: More | None = None
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # of the measures that `more` adds
    measure: MeasureNetworks | None = None
    cost: str = ""  # what measuring takes, in words
    details: Callable[[Results], str] = lambda results: ""  # what else belongs to its numbers, as Markdown

    def describe_cost(self, small: bool = False) -> str:
        """What it takes, in a sentence without a time: that is measured by `--estimate`."""
        students = images = 0  # an image is counted in every epoch
        for study in self.studies(small).values():
            config, own = study.shared, len(study.entries) * len(study.seeds)
            students, images = students + own, images + own * config.epochs * (config.train_images or 0)
        count = f"{images / 1e6:.1f} million" if images >= 50_000 else f"{images:,}"
        return self.cost or f"It trains {students} students on {count} images in all."


FIRST: dict[str, Any] = {
    "student": "resnet8", "seeds": [0, 1, 2, 3, 4], "dataset": "cifar10", "teacher": "resnet56",
    "train_images": 20_480, "epochs": 4, "batch_size": 128, "learning_rate": 0.1, "schedule": "cosine", "warmup": 0.15,
}  # fmt: skip
"""What experiments declare unless they say something else: a size for two slow processor cores."""
SECOND: dict[str, Any] = {"student": "air_16", "seeds": FIRST["seeds"], "dataset": "cifar10", "recipe": "fast"}
"""The same of second versions, which have the networks of the recipe `fast`."""
SMALL_TEACHER = {"resnet56": "resnet20-combined", "resnet50+resnet56": "resnet20-combined+resnet20-feature"}
"""Cheaper teachers of the small variants."""


def declare(name: str, entries: dict[str, str], references: list[str], small: bool = False, **settings: Any) -> Study:
    """A study of one teacher's students, the entries' objectives in the command line's notation.

    `name` is `EXPERIMENT-STUDY`; `settings` are fields of a run, `seeds` and `student`, where they are not the usual
    ones (`FIRST`, `SECOND`). The small variant has the bundled images, a cheaper teacher and one seed. Raises
    ConfigError.
    """
    values = (SECOND if name.endswith(AGAIN) else FIRST) | settings
    seeds, student = values.pop("seeds"), values.pop("student")
    if small:
        values |= {"dataset": "cifar10-small", "epochs": min(values["epochs"], 2)}
        values["train_images"] = min(values["train_images"], 1_024)
        values["teacher"] = SMALL_TEACHER.get(values["teacher"], values["teacher"])
        values["snapshots"] = min(values.get("snapshots", 0), 1)
        seeds = seeds[:1]
    values["evaluate_every"] = values["epochs"]
    students = {entry: f"{student}:{objective}" for entry, objective in entries.items()}
    return Study(name=name, seeds=seeds, references=references, entries=students, recipe=values)


def row_of(label: str, series: str, values: Iterable[float]) -> list[Point]:
    """A row of `dots`: the mean over seeds with its 95 % t interval, and the seeds; empty without values."""
    seeds = tuple(values)
    shown = tuple(100 * value for value in seeds)
    return [replace(point, x=point.y, y=0.0, seeds=shown) for point in point_at(0.0, series, seeds, label)]


def point_at(x: float, series: str, values: Iterable[float], label: str = "") -> list[Point]:
    """A point of `lines` or `scatter` whose y is the mean over seeds in percent; empty without values."""
    seeds = tuple(values)
    interval = difference.t_interval(seeds)
    low, high = (100 * interval[0], 100 * interval[1]) if interval is not None else (None, None)
    return [Point(series, x, 100 * float(np.mean(seeds)), label, low, high)] if seeds else []


Pairs = Mapping[str, tuple[str, str]]
"""Students that are compared, `STUDY/ENTRY`, by what their comparison says."""


def judge_pairs(claim: str, pairs: Pairs, beside: Pairs | None = None) -> Judge:
    """The verdict of `judge_differences` on pairs' accuracies, with those that no verdict depends on.

    Where all are compared with one student, p of `difference.compare_pooled` stands beside it.
    """

    def judge(results: Results) -> list[Claim]:
        named = {name: results.compare(*pair) for name, pair in pairs.items()}
        judged, firsts = judge_differences(claim, named), {own for own, _ in pairs.values()}
        if len(firsts) == 1 and len(pairs) > 1 and min(map(len, named.values())) >= ENOUGH_SEEDS:
            others = {name: results.values(other) for name, (_, other) in pairs.items()}
            found = difference.compare_pooled(others, results.values(*firsts))
            listed = ", ".join(format_p(one.p).removeprefix("p ").removeprefix("= ") for one in found.values())
            judged = add_beside(judged, {}, f"With pooled variance (Dunnett's test) p is {listed}.")
        return [add_beside(judged, {name: results.compare(*pair) for name, pair in (beside or {}).items()})]

    return judge


def judge_latest(judge: Judge, first: str, *studies: str) -> Judge:
    """The verdict on the second versions of studies, with that on the first; `first` says what these were."""

    def judge_both(results: Results) -> list[Claim]:
        before, latest = judge(results), results.latest(*studies)
        if latest is results:
            return before
        [now], [was] = judge(latest), before
        said = f"The first version, with {first}: {was.verdict}. {was.evidence}"
        return [replace(now, evidence=f"{now.evidence} {said}")]

    return judge_both


def judge_differences(claim: str, named: Mapping[str, BySeed]) -> Claim:
    """Whether all differences are above zero, by paired t tests over seeds with Holm's correction, as was declared.

    Supported where all are clearly above zero, not supported where any is clearly below; between these, and with fewer
    than five seeds, it cannot be decided.
    """
    if not named or not all(named.values()):
        missing = ", ".join(name for name, values in named.items() if not values) or "everything"
        evidence = f"Not all parts are trained yet: {missing}."
        return Claim(claim, evidence, "cannot be decided", "the parts that are not trained yet")
    tests = correct({name: over_seeds(list(values.values())) for name, values in named.items()})
    seeds = min(one.count for one in tests.values())
    if seeds < ENOUGH_SEEDS:
        listed = "; ".join(f"{name} {100 * one.estimate:+.2f} points" for name, one in tests.items())
        count = "one seed" if seeds == 1 else f"{seeds} seeds"
        evidence = f"{_capitalize(listed)}. With {count} it is not decided: {ENOUGH_SEEDS} are needed."
        return Claim(claim, evidence, "cannot be decided", f"at least {ENOUGH_SEEDS} seeds")
    verdict = difference.decide(list(tests.values()))
    listed = "; ".join(f"{name}: {_describe(one.simultaneous)}, {format_p(one.p)}" for name, one in tests.items())
    words = "simultaneous 95 % intervals over {} seeds, paired t tests with Holm's correction"
    words = (words if len(tests) > 1 else "95 % interval over {} seeds, paired t test").format(seeds)
    rest = describe_undecided(tests) if verdict == "cannot be decided" else ""
    evidence = f"{_capitalize(listed)} ({words}).{rest} {difference.describe_assumption(seeds)}"
    return Claim(claim, evidence, verdict, say_what_decides(tests))


def say_what_decides(tests: Mapping[str, Difference]) -> str:
    """How many seeds or images would find differences of `MARGIN` among those that may be chance.

    The least difference that is found is taken to fall with the square root of their number.
    """
    unclear = [one for one in tests.values() if not one.sign and one.detectable]
    if difference.decide(list(tests.values())) != "cannot be decided" or not unclear:
        return ""
    widest = max(unclear, key=lambda one: one.detectable or 0)
    factor, count = ((widest.detectable or 0) / MARGIN) ** 2, widest.count or 0
    if factor <= 1:
        return f"more than {count:,} {widest.unit}: these would already find {100 * MARGIN:g} points"
    needed = max(count + 1, round(count * factor) if count * factor < 100 else round(count * factor, -2))
    found = f"would find a difference of {100 * MARGIN:g} points with 80 % power"
    return f"about {needed:,.0f} {widest.unit} instead of {count:,}, which {found}"


def describe_undecided(tests: Mapping[str, Difference]) -> str:
    """Which differences may be chance, what this design finds, and over seeds which are shown to be small."""
    unclear = {name: one for name, one in tests.items() if not one.sign}
    count = f"{len(unclear)} of {len(tests)} differences" if len(tests) > 1 else "That"
    listed = ", ".join(f"{100 * one.detectable:.2f}" for one in unclear.values() if one.detectable is not None)
    text = f" {count} may be chance{f': 80 % power, alone, at {listed} points' if listed else ''}."
    if any(one.unit == "images" for one in unclear.values()):
        return text
    equal = ", ".join(name for name, one in unclear.items() if one.is_within(MARGIN)) or "none"
    return f"{text} Shown to be within {100 * MARGIN:g} points of zero (two one-sided tests): {equal}."


def add_beside(judged: Claim, named: Mapping[str, BySeed], *sentences: str) -> Claim:
    """A claim whose evidence also says what no verdict depends on: differences in points, and whole sentences."""
    tests = {name: over_seeds(list(values.values())) for name, values in named.items() if values}
    shown = "; ".join(f"{name}: {_describe(one)}" for name, one in tests.items())
    beside = f"In addition (95 % intervals, not corrected): {shown}." if shown else ""
    return replace(judged, evidence=" ".join(filter(None, [judged.evidence, beside, *sentences])))


def _describe(one: Difference) -> str:
    power = f"; 80 % power at {100 * one.detectable:.2f}" if one.detectable and one.family == 1 and not one.sign else ""
    reach = one.bounds() or ("one seed" if one.count == 1 else "the same in all seeds")
    return f"{100 * one.estimate:+.2f} points ({reach}{power})"


def _capitalize(text: str) -> str:
    """The first letter alone: names of students keep theirs."""
    return text[:1].upper() + text[1:]
