"""What a sweep is: a grid of students over temperature and weight, its seeds, and what all experiments share.

The students are the lab's response-based preset with another temperature and another weight w, with `ce_weight` 1 - w
as in the lab's formula. The factor T² keeps the gradient's size only in the limit of large T, so at one weight another
temperature is also another size of the gradient. A sweep can hold that size instead, see `weight_factors`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, model_validator

from kdexplorer.analysis.metrics import average_logits
from kdexplorer.analysis.temperature_effects import fresh_push
from kdexplorer.config import MAX_STUDENTS, SCRATCH, ArchitectureKey, RunConfig, StudentConfig
from kdexplorer.errors import ConfigError
from kdexplorer.notation import format_number, format_options, parse_student
from kdexplorer.presets import PRESETS
from kdexplorer.runs.teachers import find_teachers
from kdexplorer.schema import StrictModel, validate

MAX_VALUES = 32
"""The most temperatures, and the most weights, of a grid."""

_TERM: dict[str, Any] = PRESETS["response"]["terms"][0]  # whose temperature and weight are swept: the lab's settings


class GridPoint(StrictModel):
    """A place in the grid; the scratch baseline has weight 0 and no temperature."""

    temperature: float | None = Field(gt=0, le=1000)
    weight: float = Field(ge=0, le=1e6)

    @property
    def point(self) -> GridPoint:
        """The place of a student or a cell, without what is known of it."""
        return GridPoint(temperature=self.temperature, weight=self.weight)


DEFAULT_POINT = GridPoint(temperature=_TERM["temperature"], weight=_TERM["weight"])


Hold = Literal["weight", "gradient"]
"""What is the same at every temperature of a grid: the weight of the teacher's term, or the size of its gradient."""


class SweepConfig(StrictModel):
    """A grid over temperature and weight of the teacher's term, its seeds, and what all experiments share.

    `weight_factors` has a factor for each temperature, by which the weight of the teacher's term is multiplied; it is
    empty where the weight itself is held. Cross-entropy has 1 - weight in both cases.
    """

    version: Literal[2] = 2
    recipe: RunConfig  # `seed` is the first seed; the students are the references, see `references`
    student: ArchitectureKey
    temperatures: list[Annotated[float, Field(ge=0.1, le=100)]] = Field(
        [1.0, 2.0, 4.0, 8.0, 16.0], min_length=1, max_length=MAX_VALUES
    )
    weights: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        [0.3, 0.5, 0.7, 0.9], min_length=1, max_length=MAX_VALUES
    )
    seeds: int = Field(3, ge=1, le=100)
    students_per_experiment: int = Field(MAX_STUDENTS, ge=1, le=MAX_STUDENTS)
    memory_gib: float | None = Field(None, gt=0)
    weight_factors: dict[float, Annotated[float, Field(gt=0, le=1e5)]] = {}

    @model_validator(mode="after")
    def _is_consistent(self) -> SweepConfig:
        for values in (self.temperatures, self.weights):
            if len(set(values)) < len(values):
                raise ValueError("a value is in the grid twice: remove one")
        if self.weight_factors and not {*self.temperatures, DEFAULT_POINT.temperature} <= self.weight_factors.keys():
            raise ValueError("a temperature has no factor for its weight: add it, or hold the weight")
        if not self.recipe.teacher:
            raise ValueError("a sweep needs a teacher: choose one")
        if any([term.method for term in one.terms] not in ([], [_TERM["method"]]) for one in self.recipe.students):
            raise ValueError("the references of a sweep have no place in its grid: start a new sweep")
        return self

    def students(self) -> list[StudentConfig]:
        """Every student of one seed: the references, then the grid."""
        return list(self._students)

    @cached_property
    def _students(self) -> tuple[StudentConfig, ...]:
        grid = [
            cell(self.student, temperature, weight, self.weight_factors.get(temperature, 1.0))
            for temperature in self.temperatures
            for weight in self.weights
        ]
        by_name: dict[str, StudentConfig] = {}
        for student in [*self.recipe.students, *grid]:
            by_name.setdefault(student.name, student)
        return tuple(by_name.values())


def cell(architecture: str, temperature: float, weight: float, factor: float = 1.0) -> StudentConfig:
    """The student of one cell of the grid; `factor` multiplies the weight of its term. Raises ConfigError."""
    term = _TERM | {"temperature": temperature, "weight": float(f"{weight * factor:.6g}")}
    name = f"{architecture}-T{temperature:g}-w{weight:g}"
    values = {"name": name, "architecture": architecture, "ce_weight": round(1 - weight, 12), "terms": [term]}
    return validate(StudentConfig, values)


def point_of(student: StudentConfig) -> GridPoint:
    """Where a sweep's student is in the grid. Its weight is what cross-entropy lacks, whatever its term's factor."""
    term = (student.model_dump()["terms"] or [{"temperature": None}])[0]
    return GridPoint(temperature=term["temperature"], weight=round(1 - student.ce_weight, 12))


def weight_factors(teacher: str, temperatures: Iterable[float]) -> dict[float, float]:
    """The factors that give every temperature the gradient of the lab's default temperature at the start of training.

    A factor is `S(4) / S(T)`, rounded to six digits. S(T) is the mean, over the images of the teacher's stored logits,
    of the L1 norm of the gradient of T² KL on the logits of an untrained student, taken as zero: see
    `temperature_effects.fresh_push`. Later in training the sizes differ again, as students differ.

    Raises:
        ConfigError: when the teacher cannot be read or has no stored logits.
    """
    stored = [checkpoint.logits_or_none() for checkpoint in find_teachers(teacher)]
    known = [logits for logits in stored if logits is not None]
    if len(known) < len(stored) or len({logits.shape for logits in known}) > 1:
        raise ConfigError(
            f"teacher: {teacher} has no stored logits, from which the gradient's size is computed: "
            "choose another teacher or hold the weight."
        )
    logits = average_logits(known)
    default = _TERM["temperature"]
    sizes = {t: fresh_push(logits, t) for t in sorted({*temperatures, default})}
    return {t: float(f"{sizes[default] / size:.6g}") for t, size in sizes.items()}


def describe_factors(factors: Mapping[float, float]) -> str:
    """What the factors mean, in sentences; empty where there are none."""
    if not factors:
        return ""
    listed = ", ".join(f"{factor:.3g} at T = {temperature:g}" for temperature, factor in sorted(factors.items()))
    return (
        "The size of the gradient is constant instead of the weight: the weight of the teacher's term is multiplied by "
        f"{listed}, so that at the start of training its gradient is as large as at T = {DEFAULT_POINT.temperature:g}."
    )


def references(architecture: str) -> list[StudentConfig]:
    """Trained with every seed beside the grid: the scratch baseline, and the lab's default as a cell of the grid."""
    return [parse_student(f"{architecture}:{SCRATCH}"), cell(architecture, _TERM["temperature"], _TERM["weight"])]


def configure(student: str, recipe: dict[str, Any], hold: Hold = "weight", **grid: Any) -> SweepConfig:
    """A sweep of an architecture. Raises ConfigError, naming each invalid field.

    `recipe` contains fields of `RunConfig` without students, `grid` other fields of `SweepConfig`.
    """
    if not recipe.get("teacher"):
        raise ConfigError("teacher: a sweep needs a teacher, as in --teacher resnet56.")
    shared = validate(RunConfig, {"name": "sweep", **recipe, "students": references(student)})
    config = validate(SweepConfig, {"recipe": shared, "student": student, **grid})
    if hold == "weight":
        return config
    factors = weight_factors(recipe["teacher"], config.temperatures)
    return validate(SweepConfig, config.model_dump() | {"weight_factors": factors})


class Plan(Protocol):
    """What experiments are made of: a `SweepConfig`, or a league's declaration."""

    @property
    def recipe(self) -> RunConfig: ...

    def students(self) -> list[StudentConfig]: ...


def experiment_config(config: Plan, students: list[StudentConfig], seed: int) -> RunConfig:
    """The experiment of some of a plan's students and one seed. Raises ConfigError."""
    return validate(RunConfig, config.recipe.model_dump() | {"students": students, "seed": seed})


def sweep_command(config: SweepConfig) -> str:
    """The command that starts or continues this sweep, its grid in full."""
    words = [f"python -m kdexplorer sweep --student {config.student}", *format_options(config.recipe)]
    for option, values in (("--temperature", config.temperatures), ("--weight", config.weights)):
        words.append(f"{option} " + " ".join(format_number(value) for value in values))
    words.append(f"--seeds {config.seeds}")
    if config.weight_factors:
        words.append("--hold gradient")
    if config.students_per_experiment != MAX_STUDENTS:
        words.append(f"--students-per-experiment {config.students_per_experiment}")
    if config.memory_gib:
        words.append(f"--memory {format_number(config.memory_gib)}")
    return " ".join(words)
