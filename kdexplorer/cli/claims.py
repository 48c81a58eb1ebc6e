"""`claims`: the lab report's claims, with evidence from the bundled networks and sweep."""

from __future__ import annotations

import argparse

from kdexplorer.analysis.measures import to_json
from kdexplorer.cli.options import DONE, JSON_HELP
from kdexplorer.studies.experiments import lab_claims
from kdexplorer.studies.experiments.results import read

HELP = "the lab report's claims, with evidence from the bundled networks and sweep"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The output's format."""
    parser.add_argument("--json", action="store_true", help=JSON_HELP)


def run(options: argparse.Namespace) -> int:
    """Prints the lab's figures beside the bundled networks', and the claims: `experiment lab-claims` as tables."""
    results = read(lab_claims.EXPERIMENT)
    print(to_json(lab_claims.judge(results)) if options.json else lab_claims.to_markdown(results))
    return DONE
