"""What the registries find outside their packages.

These are the files that `--plugin` or `KDEXPLORER_PLUGINS` names and the entry points of the group
`kdexplorer.plugins`: modules with methods, architectures and data sets. Their code runs because whoever starts the
program named or installed them, and for no other reason. What is faulty is left out and named in a warning.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import inspect
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TypeVar

Kind = TypeVar("Kind")

VARIABLE, GROUP = "KDEXPLORER_PLUGINS", "kdexplorer.plugins"
"""Files, separated as in PATH; the processes that a command starts inherit it. The group of entry points."""


@cache
def plugins() -> tuple[ModuleType, ...]:
    """The modules from outside, loaded once."""
    files = [Path(name).resolve() for name in os.environ.get(VARIABLE, "").split(os.pathsep) if name]
    found = []
    for file in dict.fromkeys(files):
        with leave_out(str(file)):
            found.append(_load_file(file))
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        with leave_out(f"plugin {entry.value}"):
            found.append(importlib.import_module(entry.module))
    return tuple(found)


def _load_file(file: Path) -> ModuleType:
    name = f"kdexplorer_plugin_{file.stem}_{hashlib.sha256(os.fsencode(file)).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError("it is no Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # by which pickle finds its classes
    spec.loader.exec_module(module)
    return module


def classes_in(module: ModuleType, base: type[Kind]) -> Iterator[type[Kind]]:
    """The classes below `base` that a module itself defines, without abstract ones."""
    for _, one in inspect.getmembers(module, inspect.isclass):
        own = one.__module__ == module.__name__ and not inspect.isabstract(one)
        if own and issubclass(one, base) and one is not base:
            yield one


def name_plugins(arguments: Sequence[str]) -> None:
    """Adds the files of `--plugin` in a command to the variable; the registries must not have been read yet.

    Raises SystemExit where a file is missing.
    """
    parser = argparse.ArgumentParser("kdexplorer", "%(prog)s --plugin FILE COMMAND", add_help=False, allow_abbrev=False)
    parser.add_argument("--plugin", action="append", default=[], type=Path)
    files = [file.resolve() for file in parser.parse_known_args(arguments)[0].plugin]
    if missing := [str(file) for file in files if not file.is_file()]:
        parser.error(f"--plugin: there is no file {missing[0]}")
    os.environ[VARIABLE] = os.pathsep.join(filter(None, [os.environ.get(VARIABLE), *map(str, files)]))


@contextmanager
def leave_out(what: str) -> Iterator[None]:
    """What fails in the block is left out, and named in a warning."""
    try:
        yield
    except (Exception, SystemExit) as error:  # a script may end itself
        logging.getLogger("kdexplorer").warning("warning: %s is left out: %s: %s", what, type(error).__name__, error)
