"""The commands, and how a command ends.

An error is one line on stderr, without a traceback unless `--debug` is given. Exit codes: 0 done, 1 failed, 2 wrong
usage, 130 stopped by a signal, a run with its state saved.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from kdexplorer import __version__
from kdexplorer.cli import data, handout, networks, runs, study, train
from kdexplorer.cli.options import COMMANDS, DONE, FAILED, STOPPED, WRONG_USAGE
from kdexplorer.errors import ConfigError, KDError, did_you_mean

MODULES = (train, study, runs, networks, handout, data)
"""In the order in which the help lists their commands."""
GROUPS = {
    "runs": "list, show, stop and delete runs; print their results",
    "data": "download data sets, check which are available, delete stored teacher predictions",
}
"""The help of commands that have commands of their own."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code."""
    options = build_parser().parse_args(arguments)
    try:
        code = options.run(options) or DONE
        print(end="", flush=True)  # nothing where stdout is closed
        return code
    except BrokenPipeError:  # who read the output has had enough; Python would complain once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (KDError, OSError) as error:
        if options.debug:
            raise
        of_file = isinstance(error, OSError) and error.filename and f"{error.filename}: {error.strerror}"
        print(f"error: {of_file or error}", file=sys.stderr)
        return WRONG_USAGE if isinstance(error, ConfigError) else FAILED
    except KeyboardInterrupt:
        return STOPPED


class Parser(argparse.ArgumentParser):
    """Names the nearest of the choices."""

    def error(self, message: str) -> NoReturn:
        found = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        near = did_you_mean(found[1], found[2].replace("'", "").split(", ")) if found else ""
        super().error(message + near)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; it takes no abbreviation, as `plugins.name_plugins` knows none."""
    parser = Parser("kdexplorer", description="Train distilled networks and examine them.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    plugin = "a file with methods, networks or data sets of your own; its code runs"
    parser.add_argument("--plugin", action="append", metavar="FILE", help=plugin)  # `plugins.name_plugins` reads it
    places: dict[str, Any] = {"": parser.add_subparsers(required=True, metavar="COMMAND")}
    modules = [module.__name__ for module in MODULES]
    for name, declared in sorted(COMMANDS.items(), key=lambda item: modules.index(item[1].run.__module__)):
        group, _, word = name.rpartition(" ")
        if group not in places:
            added = places[""].add_parser(group, help=GROUPS[group], description=GROUPS[group])
            places[group] = added.add_subparsers(required=True, metavar="COMMAND")
        facts = {"help": declared.help, "description": declared.help, "allow_abbrev": False}
        added = places[group].add_parser(word, aliases=declared.aliases, **facts)
        added.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        added.add_argument("--plugin", action="append", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        added.set_defaults(run=declared.run)
        for add in declared.arguments:
            add(added)
    return parser
