"""`claims`: the lab report's claims, each with evidence from the bundled networks and sweep."""

from __future__ import annotations

import argparse

from kdexplorer.analysis import claims, lab, results
from kdexplorer.analysis.measures import to_json
from kdexplorer.cli.options import DONE, JSON_HELP
from kdexplorer.errors import ConfigError
from kdexplorer.runs.checkpoints import bundled_checkpoints
from kdexplorer.sweeps.results import bundled_sweeps

HELP = "the lab report's claims, with evidence from the bundled networks and sweep"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The output's format, and which sweep."""
    parser.add_argument("--sweep", metavar="NAME", help="a bundled sweep (default: the first)")
    parser.add_argument("--json", action="store_true", help=JSON_HELP)


def run(options: argparse.Namespace) -> int:
    """Prints the lab's figures beside the bundled networks', and the claims. Raises ConfigError."""
    found = bundled_sweeps()
    if options.sweep is not None and options.sweep not in found:
        raise ConfigError(f"there is no bundled sweep '{options.sweep[:60]}': choose one of {', '.join(found)}.")
    sweep = found.get(options.sweep or next(iter(found), ""))
    rows = results.read_rows({checkpoint.name: checkpoint for checkpoint in bundled_checkpoints()})
    settings = [sweep.accuracies_by(name) if sweep else {} for name in ("temperature", "weight")]
    judged = claims.judge_all(rows, *settings)
    figures = lab.to_markdown(lab.compare_with_lab(rows))
    print(to_json(judged) if options.json else f"{figures}\n\n{claims.to_markdown(judged)}")
    return DONE
