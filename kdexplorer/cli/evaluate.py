"""`evaluate`: evaluates checkpoints again and compares the figures with their cards."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from kdexplorer.analysis.evaluate import evaluate_checkpoint, format_report
from kdexplorer.cli.options import CHECKPOINT_HELP, DONE, FAILED

HELP = "evaluate checkpoints on the test split again and compare with their cards"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which checkpoints."""
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT", help=CHECKPOINT_HELP)
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")


def run(options: argparse.Namespace) -> int:
    """Prints a report for each; fails when one differs from its card. Raises KDError."""
    code = DONE
    for name in options.checkpoints:
        report = evaluate_checkpoint(name, show=not options.json)
        print(json.dumps(asdict(report)) if options.json else format_report(report), flush=True)
        code = code if report.matches_card else FAILED
    return code
