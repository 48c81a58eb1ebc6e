"""`sweep`: the study of a grid of students over temperatures, weights and seeds."""

from __future__ import annotations

import argparse
from typing import Any, get_args

from kdexplorer.cli import options as shared
from kdexplorer.cli import study
from kdexplorer.networks import all_architectures
from kdexplorer.notation import format_number
from kdexplorer.studies.study import Grid, Hold, make_grid_study

HELP = "train a grid of students over temperatures, weights and seeds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The grid, the options that all its runs share, and where to train."""
    add, fields = parser.add_argument, Grid.model_fields
    floats: dict[str, Any] = {"nargs": "+", "type": float, "metavar": "FLOAT"}
    temperatures, weights = (" ".join(map(format_number, fields[name].default)) for name in ("temperatures", "weights"))
    share = f"weights of the teacher's term; cross-entropy has 1 - weight (default: {weights})"
    held = (
        "constant over temperatures: the weight, or the size of the gradient at the start of training (default: weight)"
    )
    keys = [architecture.key for architecture in all_architectures()]
    add("--student", required=True, choices=keys, help="the architecture that is distilled")
    add("--temperature", dest="temperatures", **floats, help=f"temperatures of the grid (default: {temperatures})")
    add("--weight", dest="weights", **floats, help=share)
    add("--hold", choices=get_args(Hold), help=held)
    add("--seeds", type=int, metavar="INT", default=3, help="number of seeds, from --seed on (default: 3)")
    shared.add_run_options(parser)
    study.add_run_options(parser)


def run(options: argparse.Namespace) -> int:
    """Trains what the study's table lacks. Raises KDError."""
    shared.refuse_torchrun("a sweep")
    recipe = {"dataset": shared.default_dataset()} | shared.given_values(options, shared.RUN_FIELDS)
    grid = shared.given_values(options, ("temperatures", "weights", "hold"))
    made = make_grid_study(options.student, recipe, options.seeds, **grid)
    shared.report_substitute(options, made.shared.dataset)
    return study.run_study({"study": made}, options)
