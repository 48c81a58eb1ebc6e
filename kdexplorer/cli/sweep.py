"""`sweep`: trains a grid of students over temperatures, weights and seeds."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from kdexplorer.cli.options import (
    DONE,
    FAILED,
    JSON_HELP,
    STOPPED,
    add_experiment_options,
    experiment_values,
    refuse_torchrun,
)
from kdexplorer.errors import ConfigError
from kdexplorer.networks import all_architectures
from kdexplorer.notation import format_number
from kdexplorer.sweeps.grid import SweepConfig, configure

if TYPE_CHECKING:
    from kdexplorer.sweeps.folder import Sweep

HELP = "train a grid of students over temperatures, weights and seeds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The grid, the options that all its experiments share, and where to train."""
    fields = SweepConfig.model_fields
    keys = [architecture.key for architecture in all_architectures()]
    parser.add_argument("--student", required=True, choices=keys, help="the architecture that is distilled")
    parser.add_argument(
        "--temperature",
        dest="temperatures",
        nargs="+",
        type=float,
        metavar="FLOAT",
        help=f"temperatures of the grid (default: {_join(fields['temperatures'].default)})",
    )
    parser.add_argument(
        "--weight",
        dest="weights",
        nargs="+",
        type=float,
        metavar="FLOAT",
        help=f"weights of the teacher's term; cross-entropy has 1 - weight "
        f"(default: {_join(fields['weights'].default)})",
    )
    parser.add_argument(
        "--seeds", type=int, metavar="INT", help=f"number of seeds, from --seed on (default: {fields['seeds'].default})"
    )
    parser.add_argument(
        "--students-per-experiment", type=int, metavar="INT", help="at most; fewer give a cluster more experiments"
    )
    parser.add_argument(
        "--memory",
        dest="memory_gib",
        type=float,
        metavar="GIB",
        help="memory for one experiment (default: seven tenths of what is free on this machine)",
    )
    add_experiment_options(parser)
    parser.add_argument("--ray", metavar="ADDRESS", help="train on a Ray cluster: its address, or auto")
    parser.add_argument("--json", action="store_true", help=JSON_HELP)
    parser.add_argument("--detach", action="store_true", help="train in the background and print the sweep's id")
    parser.add_argument("--quiet", action="store_true", help="print no progress and no results")


def _join(values: list[float]) -> str:
    return " ".join(map(format_number, values))


def run(options: argparse.Namespace) -> int:
    """Trains here, on a cluster, or with `--detach` in a process of its own. Raises ConfigError and RunError."""
    from kdexplorer.sweeps import folder

    refuse_torchrun("a sweep")
    if options.detach and options.ray:
        raise ConfigError("--detach starts a sweep on this machine: leave it out with --ray, or use nohup.")
    sweep = folder.create(configure(options.student, experiment_values(options), **grid_values(options)))
    if options.detach:
        folder.start_sweep(sweep)
        print(sweep.run_id)
        return DONE
    return run_sweep(sweep, options.quiet, options.json, options.ray)


def grid_values(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of `SweepConfig` that were given."""
    names = ("temperatures", "weights", "seeds", "students_per_experiment", "memory_gib")
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def run_sweep(sweep: Sweep, quiet: bool, as_json: bool = False, ray_address: str | None = None) -> int:
    """Trains a sweep to its end or until a signal, and prints its results."""
    from kdexplorer.sweeps.driver import execute_sweep
    from kdexplorer.sweeps.results import to_markdown

    if not quiet:
        print(f"{sweep.run_id}: in {sweep.path}; after Ctrl-C the same command continues it", file=sys.stderr)
    state = execute_sweep(sweep, ray_address, show=not quiet)
    results = None if quiet else sweep.results()
    if results is not None:
        print(json.dumps(results.model_dump(mode="json"), indent=1) if as_json else to_markdown(results))
    if state == "failed":
        print(f"error: {sweep.status().message}", file=sys.stderr)
    return {"finished": DONE, "stopped": STOPPED}.get(state, FAILED)
