"""What several commands share: exit codes, subcommands, options from a model's fields, a progress bar."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, get_args

from kdexplorer.config import RunConfig
from kdexplorer.datasets import available_dataset, get_dataset
from kdexplorer.datasets.base import Progress
from kdexplorer.errors import ConfigError

DONE, FAILED, WRONG_USAGE, STOPPED = 0, 1, 2, 130
"""Exit codes. The last is a shell's for a process that SIGINT ended; the state is saved."""

CHECKPOINT_HELP = "a bundled checkpoint's name, RUN/STUDENT, or a checkpoint folder"
JSON_HELP = "print JSON instead of Markdown"

RUN_FIELDS = {name: field for name, field in RunConfig.model_fields.items() if name not in ("version", "students")}
"""The fields of a run that are options of `train` and `sweep`."""


def add_command(
    commands: Any, name: str, text: str, aliases: Sequence[str] = (), **defaults: Any
) -> argparse.ArgumentParser:
    """Adds a command to what `add_subparsers` returned and gives back its parser.

    Args:
        commands: what `add_subparsers` returned.
        name, text: of the command; its help.
        aliases: other names of it.
        defaults: attributes of its options, such as the function that carries it out.
    """
    parser = commands.add_parser(name, aliases=aliases, help=text, description=text)
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    parser.set_defaults(**defaults)
    return parser


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """An option for each of `RUN_FIELDS`: its description is the help, pydantic checks the value later."""
    for name, field in RUN_FIELDS.items():
        default = "" if field.default in (None, False) else f" (default: {field.default})"
        text = f"{field.description or ''}{default}".replace("%", "%%")
        add = partial(parser.add_argument, f"--{name.replace('_', '-')}", help=text)
        kinds = [kind for kind in (get_args(field.annotation) or (field.annotation,)) if kind is not type(None)]
        if kinds == [bool]:
            add(action="store_true", default=None)
        elif all(isinstance(kind, str) for kind in kinds):  # a Literal
            add(choices=kinds)
        else:
            kind = kinds[0] if kinds[0] in (int, float) else str
            add(type=kind, metavar=kind.__name__.upper())


def given_values(options: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """The options of these names that were given."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def default_dataset() -> str:
    """The data set of a run that names none, or its substitute where the data are missing."""
    return available_dataset(RunConfig.model_fields["dataset"].default)


def report_substitute(options: argparse.Namespace, dataset: str) -> None:
    """Says on stderr that the run uses a substitute, where the user has not chosen the data set."""
    default = get_dataset(RunConfig.model_fields["dataset"].default)
    if dataset == default.substitute and options.dataset is None and getattr(options, "config", None) is None:
        print(f"{default.label} is missing: training on {get_dataset(dataset).label}", file=sys.stderr)


def refuse_torchrun(what: str) -> None:
    """Raises ConfigError in a process that torchrun started together with others."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise ConfigError(f"{what} starts processes of its own: run it without torchrun.")


def add_confirmation(parser: argparse.ArgumentParser, text: str) -> None:
    """The option that answers the question of `confirm`; `text` is what it does without asking."""
    parser.add_argument("--yes", action="store_true", help=f"{text} without asking")


def confirm(options: argparse.Namespace, question: str) -> bool:
    """Whether the user agrees, by `--yes` or an answer. Raises ConfigError without a terminal."""
    if options.yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigError(f"{question} There is no terminal: pass --yes.")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """A bar on stderr, drawn from the first call of the function on that it gives (images done, total)."""
    from tqdm import tqdm

    with tqdm(desc=title, unit="img", unit_scale=True, delay=1e-3) as bar:

        def update(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update
