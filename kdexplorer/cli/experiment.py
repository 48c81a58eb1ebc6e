"""`experiment`: prepared experiments on why distillation works, each declared beforehand."""

from __future__ import annotations

import argparse
import sys

from kdexplorer.cli import options as shared
from kdexplorer.cli.study import announce
from kdexplorer.studies.driver import collect_finished, execute_experiment
from kdexplorer.studies.estimate import list_left
from kdexplorer.studies.experiments import Experiment, all_experiments, get_experiment
from kdexplorer.studies.experiments.results import describe_results, read, to_csv, to_markdown
from kdexplorer.studies.folder import ExperimentFolder, open_experiment

HELP = "prepared experiments: why does distillation work? Without a name they are listed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which experiment, and how much of it."""
    add = parser.add_argument
    add("name", nargs="?", help="one of the list; trains or measures what its tables lack")
    add("--small", action="store_true", help="a variant of a few minutes with its own tables and without a verdict")
    add("--estimate", action="store_true", help="print the estimated time for what is left on this machine, then exit")
    add("--show", action="store_true", help="print the results so far, then exit")
    add("--csv", action="store_true", help="print a line for each student as CSV instead of the verdict")
    shared.add_confirmation(parser, "start")
    add("--quiet", action="store_true", help="print no progress and no results")


def run(options: argparse.Namespace) -> int:
    """Lists, shows, estimates, or trains what is left. Raises KDError."""
    if options.name is None:
        print(list_experiments())
        return shared.DONE
    shared.refuse_torchrun("an experiment")
    experiment = get_experiment(options.name)
    code = shared.DONE
    if not options.show:
        code = _start(experiment, options)
    if code in (shared.DONE, shared.STOPPED) and not (options.quiet or options.estimate):
        results = read(experiment, options.small)
        print(to_csv(experiment, results).strip() if options.csv else to_markdown(experiment, results, options.small))
    return code


def list_experiments() -> str:
    """Every experiment: its name, its question, and what is known."""
    lines = []
    for experiment in all_experiments():
        results = read(experiment)
        lines += [f"{experiment.key:<16} {experiment.question}", f"{'':<16} {describe_results(experiment, results)}"]
    return "\n".join(lines)


def _start(experiment: Experiment, options: argparse.Namespace) -> int:
    """Says what is left and how long it takes; trains it after a yes."""
    if experiment.measure is not None:
        print(experiment.describe_cost(options.small), file=sys.stderr)
    else:
        if not options.estimate:
            collect_finished(experiment, options.small)
        left = list_left(experiment, options.small)
        if not left:
            return shared.DONE
        print(f"{experiment.question}\n{experiment.protocol}", file=sys.stderr)
        announce(left, measure=options.estimate or not options.yes)
    if options.estimate or not shared.confirm(options, "Start?"):
        return shared.DONE
    return execute(open_experiment(experiment.key, options.small), options.quiet)


def execute(folder: ExperimentFolder, quiet: bool) -> int:
    """Works until it has finished or a signal arrives. Raises KDError."""
    if not quiet:
        print(f"{folder.run_id}: after Ctrl-C the same command continues it", file=sys.stderr)
    state = execute_experiment(folder, show=not quiet)
    return {"finished": shared.DONE, "stopped": shared.STOPPED}.get(state, shared.FAILED)
