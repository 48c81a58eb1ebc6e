"""`human-labels`: networks compared with CIFAR-10H's annotators."""

from __future__ import annotations

import argparse

from kdexplorer.analysis import human_agreement
from kdexplorer.analysis.measures import to_json, to_markdown
from kdexplorer.cli.options import CHECKPOINT_HELP, DONE, JSON_HELP
from kdexplorer.datasets.human_labels import FILES, VARIABLE, find_human_labels, load_human_labels
from kdexplorer.errors import DataError
from kdexplorer.runs.checkpoints import bundled_checkpoints, find_checkpoint

HELP = "compare networks with human labels (CIFAR-10H)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which networks."""
    text = f"{CHECKPOINT_HELP} (default: all bundled ones)"
    parser.add_argument("checkpoints", nargs="*", metavar="CHECKPOINT", help=text)
    parser.add_argument("--json", action="store_true", help=JSON_HELP)


def run(options: argparse.Namespace) -> int:
    """Prints the table. Raises KDError."""
    path = find_human_labels()
    if path is None:
        raise DataError(f"the human labels are missing: set {VARIABLE} to the path of CIFAR-10H's {FILES[0]}.")
    chosen = [find_checkpoint(name) for name in options.checkpoints] or bundled_checkpoints()
    rows = human_agreement.build_rows(chosen, load_human_labels(path))
    print(to_json(rows) if options.json else to_markdown(human_agreement.tabulate(rows)))
    return DONE
