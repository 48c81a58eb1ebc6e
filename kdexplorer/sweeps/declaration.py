"""What a league compares, declared in a file before anything is trained.

A TOML file such as `sweeps/league-resnet8.toml`: `student`, `seeds`, `references`, a table `entries` (a name and an
objective in the command line's notation, without the architecture) and a table `settings` (fields of an experiment that
all entries share). The table of results is written beside it, and belongs to it by its hash.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, JsonValue, model_validator

from kdexplorer.config import MAX_STUDENTS, ArchitectureKey, RunConfig, StudentConfig
from kdexplorer.errors import ConfigError
from kdexplorer.notation import parse_student
from kdexplorer.runs.checkpoints import bundled_root
from kdexplorer.schema import Name, StrictModel, validate

OWN = ("version", "name", "students", "seed")
"""Fields of an experiment that are no settings: the declaration has its own, or they follow from it."""


class Declaration(StrictModel):
    """One student architecture, an objective for each entry, the seeds, and what all experiments share.

    An experiment trains all entries of one seed: on the same batches, from the same initial weights.
    """

    version: Literal[1] = 1
    student: ArchitectureKey
    seeds: list[int] = Field(min_length=1, max_length=100)
    references: list[Name] = Field(min_length=1, max_length=4)  # entries that all others are compared with
    entries: dict[Name, str] = Field(min_length=1, max_length=MAX_STUDENTS)
    settings: dict[str, JsonValue]

    @model_validator(mode="after")
    def _is_consistent(self) -> Declaration:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("a seed is declared twice: remove one")
        if unknown := [name for name in self.references if name not in self.entries]:
            raise ValueError(f"the reference {unknown[0]} is no entry: add it to the entries")
        if own := [name for name in OWN if name in self.settings]:
            raise ValueError(f"{own[0]} is no setting: remove it")
        try:
            self.experiment(self.seeds[0])
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def sha256(self) -> str:
        """Identifies what is declared, whatever the file's comments and line breaks."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    @property
    def recipe(self) -> RunConfig:
        """The first seed's experiment."""
        return self.experiment(self.seeds[0])

    def students(self) -> list[StudentConfig]:
        """A student for each entry, called as the entry. Raises ConfigError."""
        return [parse_student(f"{self.student}:{text}:name={name}") for name, text in self.entries.items()]

    def experiment(self, seed: int) -> RunConfig:
        """All entries with one seed. Raises ConfigError."""
        own = {"name": "league", "students": self.students(), "seed": seed}
        return validate(RunConfig, {**self.settings, **own})


def read_declaration(path: Path) -> Declaration:
    """Reads a declaration. Raises ConfigError when it is missing or not valid."""
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as a declaration: {error}") from error
    return validate(Declaration, values, str(path))


def bundled_declaration() -> Path:
    """The declaration that the bundled table belongs to."""
    return bundled_root().parent / "sweeps" / "league-resnet8.toml"
