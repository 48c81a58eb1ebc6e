"""How a command is declared, and what several commands share: exit codes, options from a run's fields, questions."""

from __future__ import annotations

import argparse
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from operator import methodcaller
from typing import Any, NamedTuple, get_args

from tqdm import tqdm

from kdexplorer.config import RunConfig
from kdexplorer.datasets import available_dataset, data_root, dataset_choices, get_dataset
from kdexplorer.datasets.base import Progress
from kdexplorer.errors import ConfigError
from kdexplorer.training.progress import LOG_KINDS, LOG_VARIABLE

DONE, FAILED, WRONG_USAGE, STOPPED = 0, 1, 2, 130
"""Exit codes. The last is a shell's for a process that SIGINT ended; a run's state is saved."""

Add = Callable[[argparse.ArgumentParser], object]
"""Adds an argument to a parser."""
Handler = Callable[[argparse.Namespace], int | None]
"""Carries out a command and returns its exit code, or nothing when it is done. Raises KDError, or OSError."""


class Command(NamedTuple):
    """What a command is called besides its name, what it takes, what carries it out, and how that is described."""

    run: Handler
    arguments: tuple[Add, ...]
    aliases: tuple[str, ...]
    help: str


COMMANDS: dict[str, Command] = {}
"""By name, of two words where it belongs to a group; filled by the modules of this package."""


def command(name: str, *arguments: Add, aliases: tuple[str, ...] = ()) -> Callable[[Handler], Handler]:
    """Declares a function as a command; the first line of its docstring is the help."""

    def declare(run: Handler) -> Handler:
        line = (inspect.getdoc(run) or "").partition("\n")[0].removesuffix(".")
        COMMANDS[name] = Command(run, arguments, aliases, line[:1].lower() + line[1:])
        return run

    return declare


def argument(*names: str, **facts: Any) -> Add:
    """An argument as `ArgumentParser.add_argument` takes it."""
    return methodcaller("add_argument", *names, **facts)


def flag(name: str, text: str) -> Add:
    """An option without a value."""
    return argument(name, action="store_true", help=text)


CHECKPOINT_HELP = "a bundled checkpoint's name, RUN/STUDENT, or a checkpoint folder"
JSON = flag("--json", "print JSON instead of Markdown")
QUIET = flag("--quiet", "print no progress and no results, of `train` only the run's id")
LOG = argument("--log", choices=LOG_KINDS, help="also write measures for TensorBoard, to tensorboard/ among the runs")
YES = flag("--yes", "start, or delete, without asking")

RUN_FIELDS = {name: field for name, field in RunConfig.model_fields.items() if name not in ("version", "students")}
"""The fields of a run that are options of `train` and `sweep`."""


def _run_option(name: str, field: Any) -> Add:
    """An option for a field: its description is the help, pydantic checks the value later."""
    default = "" if field.default is None or field.default is False else f" (default: {field.default})"
    facts: dict[str, Any] = {"help": f"{field.description or ''}{default}".replace("%", "%%")}
    kinds = [kind for kind in (get_args(field.annotation) or (field.annotation,)) if kind is not type(None)]
    if kinds == [bool]:
        facts |= {"action": "store_true", "default": None}
    elif all(isinstance(kind, str) for kind in kinds):  # a Literal
        facts |= {"choices": kinds}
    else:
        kind = kinds[0] if kinds[0] in (int, float) else str
        facts |= {"type": kind, "metavar": kind.__name__.upper()}
    return argument(f"--{name.replace('_', '-')}", **facts)


RUN_OPTIONS = tuple(_run_option(name, field) for name, field in RUN_FIELDS.items())


def choose_log(options: argparse.Namespace) -> None:
    """Hands `--log` on to the process that trains, see `training.progress`."""
    if options.log:
        os.environ[LOG_VARIABLE] = options.log


def given_values(options: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """The options of these names that were given."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def default_dataset() -> str:
    """The data set of a run that names none, or its substitute where the data are missing."""
    return available_dataset(RunConfig.model_fields["dataset"].default)


def prepare_data(options: argparse.Namespace, dataset: str, remark: bool = True) -> None:
    """Makes a data set ready, with a progress bar, and says on stderr what a user should know of it, with `remark`:
    that it is a substitute which the user has not chosen, and the data set's remarks.

    Raises ConfigError where `KDEXPLORER_DATA` says that the default's data are in a folder, and they are not.
    """
    default, prepared = get_dataset(RunConfig.model_fields["dataset"].default), get_dataset(dataset)
    replaces = dataset == default.substitute and getattr(options, "dataset", dataset) is None
    if replaces and os.environ.get("KDEXPLORER_DATA"):
        raise ConfigError(
            f"KDEXPLORER_DATA is {data_root()}, but {default.label} is not there: correct it, run 'python -m "
            f"kdexplorer data download', or choose another data set by --dataset ({dataset_choices()})."
        )
    with progress_bar("reading images") as progress:
        prepared.prepare(progress)
    if replaces and remark:
        print(f"{default.label} is missing: training on {prepared.label}", file=sys.stderr)
    for text in prepared.remarks if remark else ():
        print(f"{prepared.label}: {text}", file=sys.stderr)


def refuse_torchrun(what: str) -> None:
    """Raises ConfigError in a process that torchrun started together with others."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise ConfigError(f"{what} starts processes of its own: run it without torchrun.")


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
    with tqdm(desc=title, unit="img", unit_scale=True, delay=1e-3) as bar:

        def update(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update
