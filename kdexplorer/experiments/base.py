"""What a prepared experiment is: a question, a protocol that is declared before, and what is made of its results.

An experiment is one file of this package with one subclass of `TrainedExperiment` or `MeasuredExperiment`; nothing else
needs to know it. Reading it loads no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from kdexplorer.analysis.claims import Claim
from kdexplorer.datasets import get_dataset
from kdexplorer.experiments.results import MeasuredTable, Results
from kdexplorer.sweeps.declaration import Declaration

SEEDS = [0, 1, 2, 3, 4]
IMAGES = 20_480
"""The declared part of the training images, in batches of 128: a size for two slow processor cores."""


@dataclass(frozen=True)
class Part:
    """Students that are trained together with each seed; parts differ in what an experiment's students share.

    Attributes:
        name: of the part, and of its table's file.
        declaration: the students, the seeds and the settings.
        teaches: whether its students are the teachers of other parts.
        stand_in: a bundled network like its teacher, by which the time is estimated before that teacher is trained.
    """

    name: str
    declaration: Declaration
    teaches: bool = False
    stand_in: str | None = None


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
class Figure:
    """What an experiment's chart shows.

    Attributes:
        kind: `dots`, a row for each label; `lines`, y over x; `scatter`, a point for each student.
        roles: each series' role (see `charts.style.role_of`), which decides its color.
        rule: a value that is marked, such as no difference: of x in `dots`, of y in `scatter`.
        rule_title: what is written at it (`scatter`).
        slider: the title of a slider that moves a marker along x.
    """

    kind: Literal["dots", "lines", "scatter"]
    title: str
    subtitle: str
    x_title: str
    points: tuple[Point, ...]
    roles: dict[str, str]
    y_title: str = ""
    logarithmic: bool = False
    rule: float | None = None
    rule_title: str = ""
    slider: str = ""


class PreparedExperiment(ABC):
    """A question about distillation with everything that answers it."""

    order: ClassVar[int]
    """Its place in the list: the order of training."""
    key: ClassVar[str]
    """The name on the command line, in links and in files."""
    title: ClassVar[str]
    question: ClassVar[str]
    literature: ClassVar[str]
    """What was found before, with the reference."""
    protocol: ClassVar[str]
    """Networks, images, length and seeds, declared before anything was trained."""
    comparison: ClassVar[str]
    """What is compared, in which unit, and which result gives which verdict."""
    expected: ClassVar[str]
    change: ClassVar[str]
    """What to try next, and how."""
    columns: ClassVar[dict[str, tuple[str, ...]]] = {}
    """What `more` measures, by name: a column's name in the CSV for each of its values, which are shares."""
    counts: ClassVar[tuple[str, ...]] = ()
    """The names in `columns` whose values are numbers of images instead."""

    @abstractmethod
    def judge(self, results: Results) -> Claim:
        """The verdict with its evidence; complete sentences for every outcome."""

    @abstractmethod
    def figure(self, results: Results) -> Figure:
        """The chart."""

    def parts(self, small: bool = False) -> tuple[Part, ...]:
        """What is trained; empty where nothing is. `small` is a variant of about a minute, without a verdict."""
        return ()

    def more(self, logits: np.ndarray, labels: np.ndarray, teacher_logits: np.ndarray | None) -> dict[str, list[float]]:
        """What is measured of a student besides a league's figures, from logits `[N, K]` and labels `[N]`."""
        return {}


def league_id(key: str, part: str, declaration: Declaration) -> str:
    """The id of a part's league, from which its runs' ids follow."""
    return f"{key}-{part}-{declaration.sha256[:8]}"


class TrainedExperiment(PreparedExperiment):
    """An experiment that trains students: it implements `parts`."""


class MeasuredExperiment(PreparedExperiment):
    """An experiment that trains nothing: it measures networks that exist."""

    cost: ClassVar[str]
    """What measuring takes, in words."""

    @abstractmethod
    def measure(self, table: MeasuredTable, small: bool, keep: Callable[[MeasuredTable], None]) -> MeasuredTable:
        """Adds the rows that are missing to a table.

        Args:
            table: of an earlier start, or empty.
            small: measure fewer images.
            keep: takes the table after each network; raises `Interrupted` where measuring shall end.

        Raises:
            KDError: when a network or the data cannot be used.
        """


class Interrupted(Exception):
    """A signal asked the measurement to end; what was kept is not measured again."""


def declare(entries: dict[str, str], references: list[str], small: bool, **settings: Any) -> Declaration:
    """ResNet-8 students of one teacher, the entries' objectives in the command line's notation.

    `settings` are fields of an experiment, `seeds` and `student`; the others are the same in all experiments. The small
    variant has the bundled images, a cheaper teacher and one seed. Raises ConfigError.
    """
    seeds, student = settings.pop("seeds", SEEDS), settings.pop("student", "resnet8")
    values: dict[str, Any] = {
        "dataset": "cifar10", "teacher": "resnet56", "train_images": IMAGES, "epochs": 4, "batch_size": 128,
        "learning_rate": 0.1, "schedule": "cosine", "warmup": 0.15,
    } | settings  # fmt: skip
    if small:
        values |= {"dataset": "cifar10-small", "epochs": min(values["epochs"], 2)}
        values["train_images"] = min(values["train_images"], 1_024)
        values["teacher"] = values["teacher"] and SMALL_TEACHER.get(values["teacher"], values["teacher"])
        values["snapshots"] = min(values.get("snapshots", 0), 1)
        seeds = seeds[:1]
    values["evaluate_every"] = values["epochs"]
    return Declaration(student=student, seeds=seeds, references=references, entries=entries, settings=values)


SMALL_TEACHER = {"resnet56": "resnet20-combined", "resnet50+resnet56": "resnet20-combined+resnet20-feature"}
"""Cheaper teachers of the small variants."""


def class_name(number: int) -> str:
    """A class of CIFAR-10 by its number."""
    return get_dataset("cifar10").classes[number]


def count_training(experiment: PreparedExperiment, small: bool = False) -> tuple[int, int]:
    """What an experiment costs: how many students it trains, and on how many images, each counted in every epoch."""
    students = images = 0
    for part in experiment.parts(small):
        config = part.declaration.recipe
        count = len(part.declaration.entries) * len(part.declaration.seeds)
        students, images = students + count, images + count * config.epochs * (config.train_images or 0)
    return students, images


def describe_cost(experiment: PreparedExperiment, small: bool = False) -> str:
    """What it takes, in a sentence without a time: that is measured by `--estimate`."""
    if isinstance(experiment, MeasuredExperiment):
        return experiment.cost
    students, images = count_training(experiment, small)
    return f"It trains {students} students on {images / 1e6:.1f} million images in all."
