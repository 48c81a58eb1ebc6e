"""`evaluate`: evaluates checkpoints again and compares the figures with their cards.

With `--after-choice` it measures on the test split what was chosen on held-out images, once.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from kdexplorer.analysis.evaluate import (
    evaluate_checkpoint,
    format_after_choice,
    format_report,
    measure_after_choice,
)
from kdexplorer.cli.options import CHECKPOINT_HELP, DONE, FAILED
from kdexplorer.runs.checkpoints import find_checkpoint
from kdexplorer.studies.collect import measure_choice
from kdexplorer.studies.folder import find_study
from kdexplorer.studies.report import to_markdown

HELP = "evaluate checkpoints on the test split again and compare with their cards"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which checkpoints."""
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT", help=CHECKPOINT_HELP)
    text = "evaluate networks, or a sweep's best cell, that were chosen on held-out images, once on the test split"
    parser.add_argument("--after-choice", action="store_true", help=text)
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")


def run(options: argparse.Namespace) -> int:
    """Prints a report for each; fails when one differs from its card. Raises KDError."""
    code = DONE
    for name in options.checkpoints:
        if options.after_choice:
            _measure_after_choice(name, options.json)
            continue
        report = evaluate_checkpoint(name, show=not options.json)
        print(json.dumps(asdict(report)) if options.json else format_report(report), flush=True)
        code = code if report.matches_card else FAILED
    return code


def _measure_after_choice(name: str, as_json: bool) -> None:
    folder = find_study(name)
    if folder is not None:
        table = measure_choice(folder, show=not as_json)
        print(json.dumps(table.model_dump(mode="json")) if as_json else to_markdown(table), flush=True)
        return
    found = measure_after_choice(find_checkpoint(name), show=not as_json)
    print(json.dumps(found.model_dump(mode="json")) if as_json else format_after_choice(name, found), flush=True)
