"""What several commands share: exit codes, subcommands, options from a model's fields, a progress bar."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, get_args

from pydantic.fields import FieldInfo

from kdexplorer.config import ExperimentConfig
from kdexplorer.datasets.base import Progress
from kdexplorer.errors import ConfigError

DONE, FAILED, WRONG_USAGE, STOPPED = 0, 1, 2, 130
"""Exit codes. The last is a shell's for a process that SIGINT ended; the state is saved."""

CHECKPOINT_HELP = "a bundled checkpoint's name, RUN/STUDENT, or a checkpoint folder"
JSON_HELP = "print JSON instead of Markdown"

EXPERIMENT_FIELDS = {
    name: field for name, field in ExperimentConfig.model_fields.items() if name not in ("version", "students")
}
"""The fields of an experiment that are options of `train` and `sweep`."""


def add_command(
    commands: Any, name: str, text: str, **functions: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """Adds a command to what `add_subparsers` returned and gives back its parser.

    Args:
        commands: the subparsers.
        name: the command's word.
        text: its help and description.
        functions: what carries it out, by the attribute of the options under which the caller looks for it.
    """
    parser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    parser.set_defaults(**functions)
    return parser


def add_experiment_options(parser: argparse.ArgumentParser) -> None:
    """An option for each of `EXPERIMENT_FIELDS`."""
    for name, field in EXPERIMENT_FIELDS.items():
        _add_option(parser, name, field)


def _add_option(parser: argparse.ArgumentParser, name: str, field: FieldInfo) -> None:
    """An option from a field: its description is the help, pydantic checks the value later."""
    flag, annotation = f"--{name.replace('_', '-')}", field.annotation
    default = "" if field.default in (None, False) else f" (default: {field.default})"
    text = f"{field.description or ''}{default}".replace("%", "%%")
    if annotation is bool:
        parser.add_argument(flag, action="store_true", default=None, help=text)
        return
    kinds = [kind for kind in (get_args(annotation) or (annotation,)) if kind is not type(None)]
    if all(isinstance(kind, str) for kind in kinds):  # a Literal
        parser.add_argument(flag, choices=kinds, help=text)
    else:
        kind = kinds[0] if kinds[0] in (int, float) else str
        parser.add_argument(flag, type=kind, metavar=kind.__name__.upper(), help=text)


def experiment_values(options: argparse.Namespace) -> dict[str, Any]:
    """The values of `EXPERIMENT_FIELDS` that were given."""
    return {name: value for name in EXPERIMENT_FIELDS if (value := getattr(options, name)) is not None}


def refuse_torchrun(what: str) -> None:
    """Raises ConfigError in a process that torchrun started together with others."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise ConfigError(f"{what} starts processes of its own: run it without torchrun.")


def to_json(rows: Sequence[Any]) -> str:
    """Dataclasses as a JSON list of objects."""
    return json.dumps([asdict(row) for row in rows], indent=1)


class ProgressBar:
    """A bar on stderr, drawn from the first call of its `update` on."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.bar: Any = None

    def __enter__(self) -> Progress:
        return self.update

    def update(self, done: int, total: int) -> None:
        """Sets the number of images done, and the total."""
        from tqdm import tqdm

        self.bar = self.bar or tqdm(total=total, desc=self.title, unit="img", unit_scale=True)
        self.bar.update(done - self.bar.n)

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.close()
