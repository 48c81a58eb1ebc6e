"""The commands, and how a command ends.

An error is one line on stderr, without a traceback unless `--debug` is given. Exit codes: 0 done, 1 failed, 2 wrong
usage, 130 stopped by a signal with the state saved.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from kdexplorer import __version__
from kdexplorer.cli import (
    attention,
    claims,
    data,
    demo,
    evaluate,
    experiment,
    handout,
    human_labels,
    import_weights,
    runs,
    start,
    story,
    study,
    sweep,
    train,
)
from kdexplorer.cli.options import FAILED, STOPPED, WRONG_USAGE, add_command
from kdexplorer.errors import ConfigError, KDError

COMMANDS = {
    "demo": demo, "train": train, "sweep": sweep, "study": study, "league": study, "experiment": experiment,
    "start": start, "evaluate": evaluate, "attention": attention, "human-labels": human_labels, "claims": claims,
    "import": import_weights, "runs": runs, "handout": handout, "story": story,
    "data": data,
}  # fmt: skip
"""Modules with `HELP`, perhaps `ALIASES`, `add_arguments(parser)` and `run(options)`, which returns an exit code."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code."""
    options = build_parser().parse_args(arguments)
    try:
        return options.run(options)
    except (KDError, OSError) as error:
        if options.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return WRONG_USAGE if isinstance(error, ConfigError) else FAILED
    except KeyboardInterrupt:
        return STOPPED


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(prog="kdexplorer", description="Train distilled networks and examine them.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        aliases = getattr(module, "ALIASES", ())
        module.add_arguments(add_command(commands, name, module.HELP, aliases, run=module.run))
    return parser
