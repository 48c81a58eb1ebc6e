"""What a study is: named students × seeds on one recipe, declared and identified by a hash before anything is trained.

A TOML file such as `studies/league-resnet8.toml` has the fields of a `Study`: `seeds`, `references`, a table `entries`
(a name and a student in the command line's notation) and a table `recipe` (fields of a run that all students share). A
`Grid` makes the entries of a study over temperature and weight.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, Field, JsonValue, ValidationInfo, field_validator, model_validator

from kdexplorer.analysis.metrics import average_logits, fresh_push
from kdexplorer.config import MAX_STUDENTS, SCRATCH, ArchitectureKey, RunConfig, StudentConfig
from kdexplorer.errors import ConfigError
from kdexplorer.notation import format_number, format_options, parse_student
from kdexplorer.presets import PRESETS
from kdexplorer.runs.checkpoints import bundled_root, find_teachers
from kdexplorer.schema import RECORDED, Name, StrictModel, validate

MAX_VALUES = 32
"""The most temperatures, and the most weights, of a grid."""

OWN = ("version", "name", "students", "seed")
"""Fields of a run that a recipe does not have: the study has its own, or they follow from it."""

_TERM: dict[str, Any] = PRESETS["response"]["terms"][0]
"""Whose temperature and weight a grid varies: the lab's settings."""


class Place(NamedTuple):
    """A cell's place in a grid; the scratch baseline has none."""

    temperature: float
    weight: float

    def __str__(self) -> str:
        return f"T {self.temperature:g} with weight {self.weight:g}"


DEFAULT_PLACE = Place(_TERM["temperature"], _TERM["weight"])

Hold = Literal["weight", "gradient"]


class Grid(StrictModel):
    """Students over temperature and weight w of the teacher's term, with `ce_weight` 1 - w as in the lab's formula.

    The factor T² keeps the gradient's size only in the limit of large T, so at one weight another temperature is also
    another size of the gradient. `hold` says what is the same at every temperature: the weight, or the gradient's size
    at the start of training, see `weight_factors`.
    """

    student: ArchitectureKey
    temperatures: list[Annotated[float, Field(ge=0.1, le=100)]] = Field(
        [1.0, 2.0, 4.0, 8.0, 16.0], min_length=1, max_length=MAX_VALUES
    )
    weights: list[Annotated[float, Field(gt=0, le=1)]] = Field(
        [0.3, 0.5, 0.7, 0.9], min_length=1, max_length=MAX_VALUES
    )
    hold: Hold = "weight"

    @field_validator("temperatures", "weights")
    @classmethod
    def _has_each_value_once(cls, values: list[float]) -> list[float]:
        return list(dict.fromkeys(values))

    def places(self) -> dict[str, Place]:
        """The cells by the names of their entries: the lab's default, then the others."""
        cells = [DEFAULT_PLACE, *(Place(t, weight) for t in self.temperatures for weight in self.weights)]
        return {f"{self.student}-T{t:g}-w{weight:g}": Place(t, weight) for t, weight in cells}

    def entries(self, factors: Mapping[float, float]) -> dict[str, str]:
        """The scratch baseline and the cells; `factors` multiply the weights of the term."""
        found = {f"{self.student}-{SCRATCH}": f"{self.student}:{SCRATCH}"}
        for name, (temperature, weight) in self.places().items():
            of_term = float(f"{weight * factors.get(temperature, 1.0):.6g}")
            numbers = {"T": temperature, "weight": of_term, "ce_weight": round(1 - weight, 12)}
            settings = ":".join(f"{key}={format_number(value)}" for key, value in numbers.items())
            found[name] = f"{self.student}:{_TERM['method']}:{settings}"
        return found


def weight_factors(teacher: str, temperatures: Iterable[float]) -> dict[float, float]:
    """The factors that give every temperature the gradient of the lab's default temperature at the start of training.

    A factor is `S(4) / S(T)`, rounded to six digits. S(T) is the mean, over the images of the teacher's stored logits,
    of the L1 norm of the gradient of T² KL on the logits of an untrained student, taken as zero: see
    `metrics.fresh_push`. Later in training the sizes differ again, as students differ.

    Raises ConfigError when the teacher cannot be read or has no stored logits.
    """
    logits = average_logits([checkpoint.logits_or_none() for checkpoint in find_teachers(teacher)])
    if logits is None:
        raise ConfigError(
            f"teacher: {teacher} has no stored logits, from which the gradient's size is computed: "
            "choose another teacher or hold the weight."
        )
    sizes = {t: fresh_push(logits, t) for t in sorted({*temperatures, DEFAULT_PLACE.temperature})}
    return {t: float(f"{sizes[DEFAULT_PLACE.temperature] / size:.6g}") for t, size in sizes.items()}


class Study(StrictModel):
    """Entries (a name and a student each), the seeds, and what all runs share.

    A run trains entries of one seed on the same batches from the same initial weights. The entries of a study with a
    `grid` follow from it and the teacher; such a study asks for the best cell, others how all entries differ.
    """

    version: Literal[2] = 2
    name: Name = "study"
    entries: dict[Name, str] = Field(min_length=1, max_length=2 + MAX_VALUES**2)
    seeds: list[Annotated[int, Field(ge=0, le=2**31 - 1)]] = Field(min_length=1, max_length=100)
    references: list[Name] = Field(min_length=1, max_length=4)  # entries that all others are compared with
    recipe: dict[str, JsonValue]
    grid: Grid | None = None

    @model_validator(mode="after")
    def _is_consistent(self, info: ValidationInfo) -> Study:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("a seed is declared twice: remove one")
        if unknown := [name for name in self.references if name not in self.entries]:
            raise ValueError(f"the reference {unknown[0]} is no entry: add it to the entries")
        if own := [name for name in OWN if name in self.recipe]:
            raise ValueError(f"{own[0]} is no setting: remove it")
        if self.grid and set(self.entries) != set(self.grid.entries({})):
            raise ValueError("the entries are not those of the grid: leave one of them out")
        names = list(self.entries)
        for text in () if info.context else self.entries.values():
            parse_student(text)
        for start in range(0, len(names), MAX_STUDENTS):
            self.config(self.seeds[0], names[start : start + MAX_STUDENTS], info.context)
        return self

    @cached_property
    def sha256(self) -> str:
        """Identifies what is declared, whatever a file's comments and line breaks."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    @property
    def study_id(self) -> str:
        """The name of its folder, with which its runs' ids begin."""
        return f"{self.name[:40]}-{self.sha256[:8]}"

    def run_id(self, seed: int) -> str:
        """The id of the run that trains a seed, or its first entries: it follows from what is declared."""
        return f"{self.study_id}-{seed}"

    @cached_property
    def students(self) -> dict[str, StudentConfig]:
        """A student for each entry, called as the entry; in a record it may have what is not installed now."""
        return {name: parse_student(f"{text}:name={name}", recorded=True) for name, text in self.entries.items()}

    @cached_property
    def shared(self) -> RunConfig:
        """What all runs share: a run of the first seed, with the first entries."""
        return self.config(self.seeds[0], list(self.entries)[:MAX_STUDENTS])

    @property
    def architecture(self) -> str:
        """Of the students; several joined by `, `."""
        return ", ".join(dict.fromkeys(student.architecture for student in self.students.values()))

    def config(self, seed: int, names: Iterable[str], context: dict[str, Any] | None = RECORDED) -> RunConfig:
        """The run of some entries and one seed. Raises ConfigError."""
        own = {"name": self.name, "students": [self.students[name] for name in names], "seed": seed}
        return validate(RunConfig, {**self.recipe, **own}, context=context)

    def places(self) -> dict[str, Place]:
        """Where each cell of a grid is; empty where there is no grid."""
        return self.grid.places() if self.grid else {}

    def describe_factors(self) -> str:
        """By what a grid's weights were multiplied, in sentences; empty where the weight itself is held."""
        if self.grid is None or self.grid.hold == "weight":
            return ""
        places = self.places().items()
        factors = {place.temperature: self.students[name].terms[0].weight / place.weight for name, place in places}
        listed = ", ".join(f"{factor:.3g} at T = {temperature:g}" for temperature, factor in sorted(factors.items()))
        return (
            "The size of the gradient is constant instead of the weight: the weight of the teacher's term is "
            f"multiplied by {listed}, so that at the start of training its gradient is as large as at T = "
            f"{DEFAULT_PLACE.temperature:g}."
        )

    def grid_command(self) -> str:
        """The command that starts or continues the study of a grid, in full."""
        assert self.grid is not None
        words = [f"python -m kdexplorer sweep --student {self.grid.student}", *format_options(self.shared)]
        for option, values in (("--temperature", self.grid.temperatures), ("--weight", self.grid.weights)):
            words.append(f"{option} " + " ".join(format_number(value) for value in values))
        words.append(f"--seeds {len(self.seeds)}")
        if self.grid.hold == "gradient":
            words.append("--hold gradient")
        return " ".join(words)


def make_grid_study(student: str, recipe: Mapping[str, Any], seeds: Any = 3, **grid: Any) -> Study:
    """The study of an architecture over a grid, whose other fields follow. Raises ConfigError, naming invalid fields.

    `recipe` has fields of a run without its students: `seed` is the first of so many seeds, `name` the study's.
    """
    teacher = recipe.get("teacher")
    if not teacher:
        raise ConfigError("teacher: a sweep needs a teacher, as in --teacher resnet56.")
    if not isinstance(seeds, int) or not 1 <= seeds <= 100:
        raise ConfigError(f"seeds: should be a number from 1 to 100, not '{str(seeds)[:60]}'")
    made = validate(Grid, {"student": student} | grid)
    shared = validate(RunConfig, {"name": "sweep", **recipe, "students": [parse_student(f"{student}:{SCRATCH}")]})
    factors = weight_factors(teacher, made.temperatures) if made.hold == "gradient" else {}
    values: dict[str, Any] = {"name": shared.name, "recipe": shared.model_dump(mode="json", exclude={*OWN})}
    values |= {"entries": made.entries(factors), "references": [next(iter(made.places()))], "grid": made}
    return validate(Study, values | {"seeds": list(range(shared.seed, shared.seed + seeds))})


class _Pair(BaseModel):
    """The architectures of a teacher and its student; a declaration says more of them."""

    teacher: str
    student: str


class _Pairs(BaseModel):
    """A declaration of several pairs; its other fields are those of the `Study` that one of them makes."""

    pairs: dict[str, _Pair]
    name: str
    entries: dict[str, str]
    recipe: dict[str, Any]


def read_study(path: Path, pair: str | None = None, teacher: str | None = None, recorded: bool = False) -> Study:
    """Reads a declaration in TOML. Raises ConfigError when it is missing or not valid.

    Where its results are only shown, it may name what is not installed: it is `recorded`.

    Where the file declares several `pairs` of a teacher's and a student's architecture, `pair` names one, whose student
    takes the place of STUDENT in the entries, and `teacher` the trained network.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as a declaration: {error}") from error
    if values.get("pairs"):
        pairs = (several := validate(_Pairs, values, str(path))).pairs
        del values["pairs"]
        if pair not in pairs or not teacher:
            raise ConfigError(f"{path} declares pairs: name one by --pair ({', '.join(pairs)}) and its --teacher.")
        if (found := find_teachers(teacher)[0].architecture) != (wanted := pairs[pair].teacher):
            raise ConfigError(f"--teacher: {pair} needs a {wanted}, not a {found}.")
        own = {name: text.replace("STUDENT", pairs[pair].student) for name, text in several.entries.items()}
        values |= {"name": f"{several.name}-{pair}", "entries": own, "recipe": several.recipe | {"teacher": teacher}}
    elif pair or teacher:
        raise ConfigError(f"{path} declares no pairs: leave out --pair and --teacher.")
    return validate(Study, values, str(path), RECORDED if recorded else None)


def bundled_studies() -> Path:
    """The folder of the bundled declarations and tables, beside that of the bundled networks."""
    return bundled_root().parent / "studies"
