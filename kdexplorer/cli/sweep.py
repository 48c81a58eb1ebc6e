"""`sweep`: trains a grid of students over temperatures, weights and seeds."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, get_args

from kdexplorer.cli import options as shared
from kdexplorer.errors import ConfigError
from kdexplorer.networks import all_architectures
from kdexplorer.notation import format_number
from kdexplorer.sweeps import folder
from kdexplorer.sweeps.driver import execute_sweep
from kdexplorer.sweeps.grid import Hold, SweepConfig, configure
from kdexplorer.sweeps.report import to_markdown
from kdexplorer.training.checks import require_startable

HELP = "train a grid of students over temperatures, weights and seeds"

GRID_FIELDS = ("temperatures", "weights", "seeds", "students_per_experiment", "memory_gib")
"""The fields of `SweepConfig` that are options."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The grid, the options that all its experiments share, and where to train."""
    add, defaults = parser.add_argument, {name: SweepConfig.model_fields[name].default for name in GRID_FIELDS}
    temperatures, weights = (" ".join(map(format_number, defaults[name])) for name in ("temperatures", "weights"))
    floats: dict[str, Any] = {"nargs": "+", "type": float, "metavar": "FLOAT"}
    keys = [architecture.key for architecture in all_architectures()]
    share = f"weights of the teacher's term; cross-entropy has 1 - weight (default: {weights})"
    memory = "memory for one experiment (default: seven tenths of what is free on this machine)"
    add("--student", required=True, choices=keys, help="the architecture that is distilled")
    add("--temperature", dest="temperatures", **floats, help=f"temperatures of the grid (default: {temperatures})")
    add("--weight", dest="weights", **floats, help=share)
    held = (
        "constant over temperatures: the weight, or the size of the gradient at the start of training (default: weight)"
    )
    add("--hold", choices=get_args(Hold), default="weight", help=held)
    add("--seeds", type=int, metavar="INT", help=f"number of seeds, from --seed on (default: {defaults['seeds']})")
    add("--students-per-experiment", type=int, metavar="INT", help="at most this many; fewer make more experiments")
    add("--memory", dest="memory_gib", type=float, metavar="GIB", help=memory)
    shared.add_run_options(parser)
    add("--ray", metavar="ADDRESS", help="train on a Ray cluster: its address, or auto")
    add("--json", action="store_true", help=shared.JSON_HELP)
    add("--detach", action="store_true", help="train in the background and print the sweep's id")
    add("--quiet", action="store_true", help="print no progress and no results")
    shared.add_confirmation(parser, "start")


def run(options: argparse.Namespace) -> int:
    """Trains here, on a cluster, or with `--detach` in a process of its own. Raises KDError."""
    shared.refuse_torchrun("a sweep")
    if options.detach and options.ray:
        raise ConfigError("--detach starts a sweep on this machine: leave it out with --ray, or use nohup.")
    config = read_config(options)
    if not options.ray:  # a cluster's machines have data of their own
        require_startable(config.recipe)
    shared.report_substitute(options, config.recipe.dataset)
    if not (options.yes and options.quiet) and not _announce(config, options):
        return shared.FAILED
    sweep = folder.create(config)
    if options.detach:
        folder.start_sweep(sweep)
        print(sweep.run_id)
        return shared.DONE
    return run_sweep(sweep, options.quiet, options.json, options.ray)


def _announce(config: SweepConfig, options: argparse.Namespace) -> bool:
    """Says what there is to train and how long it takes; whether the user agrees. Raises KDError."""
    from kdexplorer.sweeps import plan

    planned = plan.make_plan(config, bool(options.ray))
    if planned.sample is None:
        return True
    seconds = None
    if not options.ray:
        print("Estimating the time …", file=sys.stderr)
        seconds = plan.estimate_seconds(planned)
    print(plan.describe_plan(planned, seconds), file=sys.stderr)
    return shared.confirm(options, "Start the sweep?")


def read_config(options: argparse.Namespace) -> SweepConfig:
    """The sweep that the options describe. Raises ConfigError."""
    recipe = {"dataset": shared.default_dataset()} | shared.given_values(options, shared.RUN_FIELDS)
    return configure(options.student, recipe, options.hold, **shared.given_values(options, GRID_FIELDS))


def run_sweep(sweep: folder.Sweep, quiet: bool, as_json: bool = False, ray_address: str | None = None) -> int:
    """Trains a sweep to its end or until a signal, and prints its results."""
    if not quiet:
        print(f"{sweep.run_id}: in {sweep.path}; after Ctrl-C the same command continues it", file=sys.stderr)
    state = execute_sweep(sweep, ray_address, show=not quiet)
    results = None if quiet else sweep.results()
    if results is not None:
        print(json.dumps(results.model_dump(mode="json"), indent=1) if as_json else to_markdown(results))
    if state == "failed":
        print(f"error: {sweep.status().message}", file=sys.stderr)
    return {"finished": shared.DONE, "stopped": shared.STOPPED}.get(state, shared.FAILED)
