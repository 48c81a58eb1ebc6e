"""`study`, also called `league`: named students × seeds on one recipe, as a file declares them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from kdexplorer.cli import options as shared
from kdexplorer.errors import ConfigError
from kdexplorer.schema import validate
from kdexplorer.studies import folder as folders
from kdexplorer.studies.collect import collect
from kdexplorer.studies.driver import execute_study
from kdexplorer.studies.estimate import Left, measure_seconds
from kdexplorer.studies.folder import StudyConfig, StudyFolder
from kdexplorer.studies.report import to_csv, to_markdown
from kdexplorer.studies.study import bundled_declaration, read_study
from kdexplorer.studies.table import Table, begin_table
from kdexplorer.training.checks import require_startable

HELP = "compare students over several seeds, as a file declares it; the default compares all methods"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The declaration, how much of it to train, and where."""
    add = parser.add_argument
    add("declaration", nargs="?", type=Path, help="a TOML file (default: the bundled studies/league-resnet8.toml)")
    add("--seeds", type=int, metavar="INT", help="train only the first INT declared seeds")
    add("--table", type=Path, metavar="PATH", help="the table of results (default: beside the declaration, as .json)")
    add_run_options(parser)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """How a study is trained and what is printed."""
    add = parser.add_argument
    memory = "memory for one run (default: seven tenths of what is free on this machine)"
    count = "at most this many; fewer make more runs"
    add("--students-per-run", type=int, metavar="INT", help=count)
    add("--memory", dest="memory_gib", type=float, metavar="GIB", help=memory)
    add("--estimate", action="store_true", help="print the estimated time and memory, then exit")
    add("--show", action="store_true", help="print the table so far, then exit")
    add("--csv", action="store_true", help="print a line for each student as CSV instead of Markdown")
    add("--json", action="store_true", help=shared.JSON_HELP)
    add("--ray", metavar="ADDRESS", help="train on a Ray cluster: its address, or auto")
    add("--detach", action="store_true", help="train in the background and print the study's id")
    add("--quiet", action="store_true", help="print no progress and no results")
    shared.add_confirmation(parser, "start")


def run(options: argparse.Namespace) -> int:
    """Trains the seeds that the table lacks. Raises KDError."""
    shared.refuse_torchrun("a study")
    path = options.declaration or bundled_declaration()
    study = read_study(path)
    if options.seeds is not None and not 1 <= options.seeds <= len(study.seeds):
        raise ConfigError(f"--seeds: {path} declares {len(study.seeds)} seeds: choose 1 to that many.")
    table = str((options.table or path.with_suffix(".json")).resolve())
    return run_study({"study": study, "table": table, "seeds": options.seeds}, options)


def run_study(values: dict[str, object], options: argparse.Namespace) -> int:
    """Trains what the table lacks here, on a cluster, or with `--detach` in a process of its own, and prints the table.

    `values` are fields of `StudyConfig`. Raises KDError.
    """
    if options.detach and options.ray:
        raise ConfigError("--detach starts a study on this machine: leave it out with --ray, or use nohup.")
    more = {"students_per_run": options.students_per_run, "memory_gib": options.memory_gib}
    config = validate(StudyConfig, values | more)
    folder, starting = folders.folder_of(config.study), not (options.show or options.estimate)
    if starting and not options.ray:  # a cluster's machines have data of their own
        require_startable(config.study.shared)
    if starting and folder.path.is_dir():  # an earlier start may have been killed before it wrote what had finished
        collect(folders.open_study(config))
    settled = config if options.show else folders.settle(config, bool(options.ray))
    runs = [] if options.show else folders.left_to_train(settled)
    if runs:
        measure = not options.ray and (options.estimate or not (options.yes and options.quiet))
        announce([Left(config.study.study_id, settled, runs)], measure, bool(options.ray))
        if options.estimate:
            return shared.DONE
        if not shared.confirm(options, "Start?"):
            return shared.FAILED
        folder = folders.open_study(config)
        if options.detach:
            folders.start_study(folder)
            print(folder.run_id)
            return shared.DONE
        return train(folder, options.quiet, options.ray, options)
    if not options.quiet:
        print_table(begin_table(config.study, config.table_path), options)
    return shared.DONE


def announce(left: list[Left], measure: bool, elsewhere: bool = False) -> None:
    """Says on stderr what is left to train, how much memory it takes, and with `measure` how long here. KDError."""
    from kdexplorer.training.estimate import format_duration, free_memory

    if measure:
        print("Estimating the time …", file=sys.stderr, flush=True)
    seconds = [measure_seconds(one) if measure else None for one in left]
    for one, took in zip(left, seconds, strict=True):
        memory = one.memory(elsewhere)
        print(one.describe(took, memory), file=sys.stderr, flush=True)
        if measure and memory > (free := free_memory(one.sample.device)):
            print(f"warning: only {free / 2**30:.1f} GiB are free for it", file=sys.stderr)
    if len(left) > 1 and measure:
        print(f"About {format_duration(sum(took or 0 for took in seconds))} in total.", file=sys.stderr)


def train(folder: StudyFolder, quiet: bool, ray: str | None = None, options: argparse.Namespace | None = None) -> int:
    """Trains a study to its end or until a signal, and prints its table."""
    if not quiet:
        print(f"{folder.run_id}: in {folder.path}; after Ctrl-C the same command continues it", file=sys.stderr)
    try:
        state = execute_study(folder, ray, show=not quiet)
    finally:
        if not quiet and (table := folder.table()) is not None:
            print_table(table, options)
    return shared.DONE if state == "finished" else shared.STOPPED


def print_table(table: Table, options: argparse.Namespace | None) -> None:
    """The table as the options say: Markdown, CSV or JSON."""
    if options is not None and options.json:
        print(json.dumps(table.model_dump(mode="json"), indent=1))
    else:
        print(to_csv({"": table}) if options is not None and options.csv else to_markdown(table))
