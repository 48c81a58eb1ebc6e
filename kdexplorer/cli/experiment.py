"""`experiment`: prepared experiments on why distillation works, each declared beforehand."""

from __future__ import annotations

import argparse
import sys

from kdexplorer.cli import options as shared
from kdexplorer.experiments import PreparedExperiment, all_experiments, driver, get_experiment
from kdexplorer.experiments.base import describe_cost
from kdexplorer.experiments.driver import Todo
from kdexplorer.experiments.report import describe_results, read, to_csv, to_markdown

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


def _start(experiment: PreparedExperiment, options: argparse.Namespace) -> int:
    """Says what is left and how long it takes; trains it after a yes."""
    todo = driver.list_todo(experiment, options.small, read_only=options.estimate)
    if experiment.parts(options.small):
        if not todo:
            return shared.DONE
        _announce(experiment, todo, measure=options.estimate or not options.yes)
    else:
        print(describe_cost(experiment, options.small), file=sys.stderr)
    if options.estimate or not shared.confirm(options, "Start?"):
        return shared.DONE
    return execute(driver.open_run(experiment.key, options.small), options.quiet)


def execute(run: driver.ExperimentRun, quiet: bool) -> int:
    """Works until it has finished or a signal arrives. Raises KDError."""
    if not quiet:
        print(f"{run.run_id}: after Ctrl-C the same command continues it", file=sys.stderr)
    state = driver.execute(run, show=not quiet)
    return {"finished": shared.DONE, "stopped": shared.STOPPED}.get(state, shared.FAILED)


def _announce(experiment: PreparedExperiment, todo: list[Todo], measure: bool) -> None:
    """Says on stderr what is left, and how long each part takes here."""
    from kdexplorer.training.estimate import format_duration

    print(f"{experiment.question}\n{experiment.protocol}", file=sys.stderr)
    total = 0.0
    for one in todo:
        count = "1 seed" if len(one.seeds) == 1 else f"{len(one.seeds)} seeds"
        line = f"{one.part.name}: {count} of {len(one.part.declaration.entries)} students"
        if measure:
            seconds = _measure_seconds(one)
            total += seconds
            line += f", about {format_duration(seconds)}"
        print(line, file=sys.stderr, flush=True)
    if measure:
        print(f"About {format_duration(total)} in total on this machine at its present load.", file=sys.stderr)


def _measure_seconds(todo: Todo) -> float:
    """How long what a part lacks takes. Raises RunError."""
    from kdexplorer.experiments.progress import add_up, sample_of
    from kdexplorer.training.estimate import measure_apart

    return add_up(todo, measure_apart(sample_of(todo)))
