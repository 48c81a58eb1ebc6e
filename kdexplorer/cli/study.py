"""`study` (or `league`): named students × seeds on one recipe, as a file declares them. `sweep`: those of a grid.

`experiment`: a prepared question, made of studies.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import zip_longest
from pathlib import Path
from typing import get_args

from kdexplorer.cli import options as shared
from kdexplorer.cli.options import argument, command, flag
from kdexplorer.errors import ConfigError
from kdexplorer.networks import all_architectures
from kdexplorer.notation import format_number
from kdexplorer.schema import RECORDED, validate
from kdexplorer.studies import driver, experiments, report
from kdexplorer.studies import folder as folders
from kdexplorer.studies.collect import collect
from kdexplorer.studies.driver import Left, list_left, measure_left
from kdexplorer.studies.experiments import Experiment, all_experiments, get_experiment
from kdexplorer.studies.folder import ExperimentFolder, StudyConfig, StudyFolder
from kdexplorer.studies.study import Grid, Hold, bundled_studies, make_grid_study, read_study
from kdexplorer.studies.table import Table, begin_table, find_conflicts, read_table, require_writable
from kdexplorer.training.checks import require_startable
from kdexplorer.training.estimate import format_duration

HOW = (
    argument("--students-per-run", type=int, metavar="INT", help="at most this many; fewer make more runs"),
    argument(
        "--memory", dest="memory_gib", type=float, metavar="GIB",
        help="memory for one run (default: seven tenths of what is free on this machine)",
    ),
    flag("--estimate", "print the estimated time and memory, then exit"),
    flag("--show", "print the table so far, then exit"),
    flag("--csv", "print a line for each student as CSV instead of Markdown"),
    shared.JSON,
    argument("--ray", metavar="ADDRESS", help="train on a Ray cluster: its address, or auto"),
    flag("--detach", "train in the background and print the study's id"),
    shared.QUIET,
    shared.YES,
)  # fmt: skip
"""How a study is trained and what is printed."""

TEMPERATURES, WEIGHTS = (
    " ".join(map(format_number, Grid.model_fields[name].default)) for name in ("temperatures", "weights")
)


@command(
    "study",
    argument("declaration", nargs="?", type=Path, help="a TOML file (default: bundled, league-resnet8.toml)"),
    flag("--list", "list the bundled declarations, then exit"),
    argument("--seeds", type=int, metavar="INT", help="train only the first INT declared seeds"),
    argument("--pair", help="of a file that declares several pairs of teacher and student: which"),
    argument("--teacher", help=f"the pair's trained teacher: {shared.CHECKPOINT_HELP}"),
    argument(
        "--table", type=Path, metavar="PATH", help="the table of results (default: beside the declaration, as .json)"
    ),
    *HOW,
    aliases=("league",),
)
def train_declared(options: argparse.Namespace) -> int:
    """Compare students over several seeds, as a file declares it; the default compares methods."""
    if options.list:
        for path in sorted(bundled_studies().glob("*.toml")):
            print(describe_study(path))
        return shared.DONE
    shared.refuse_torchrun("a study")
    path = options.declaration or bundled_studies() / "league-resnet8.toml"
    study = read_study(path, options.pair, options.teacher, recorded=options.show)
    if options.seeds is not None and not 1 <= options.seeds <= len(study.seeds):
        raise ConfigError(f"--seeds: {path} declares {len(study.seeds)} seeds: choose 1 to that many.")
    beside = path.with_name(f"{path.stem}{f'-{options.pair}' if options.pair else ''}.json")
    table = str((options.table or beside).resolve())
    if not table.endswith(".json"):
        raise ConfigError("--table: the file must end in .json, as its text is written beside it.")
    return run_study({"study": study, "table": table, "seeds": options.seeds}, options)


@command(
    "sweep",
    argument(
        "--student", required=True, choices=[one.key for one in all_architectures()],
        help="the architecture that is distilled",
    ),
    argument(
        "--temperature", dest="temperatures", nargs="+", type=float, metavar="FLOAT",
        help=f"temperatures of the grid (default: {TEMPERATURES})",
    ),
    argument(
        "--weight", dest="weights", nargs="+", type=float, metavar="FLOAT",
        help=f"weights of the teacher's term; cross-entropy has 1 - weight (default: {WEIGHTS})",
    ),
    argument(
        "--hold", choices=get_args(Hold),
        help="constant over temperatures: the weight (default), or the size of the gradient when training starts",
    ),
    argument("--seeds", type=int, metavar="INT", default=3, help="number of seeds, from --seed on (default: 3)"),
    argument("--name", metavar="STR", help="begins the study's id (default: sweep)"),
    *shared.RUN_OPTIONS[1:],  # without the run's name
    *HOW,
)  # fmt: skip
def sweep(options: argparse.Namespace) -> int:
    """Train a grid of students over temperatures, weights and seeds."""
    shared.refuse_torchrun("a sweep")
    recipe = {"dataset": shared.default_dataset()} | shared.given_values(options, shared.RUN_FIELDS)
    grid = shared.given_values(options, ("temperatures", "weights", "hold"))
    return run_study({"study": make_grid_study(options.student, recipe, options.seeds, **grid)}, options)


def describe_study(path: Path) -> str:
    """A declaration in a line: its file, how many students and seeds, how many measured; or what it lacks."""
    try:
        study, table = read_study(path, recorded=True), read_table(path.with_suffix(".json"))
    except ConfigError as error:  # it declares pairs
        return str(error)
    if table is not None and (conflicts := find_conflicts(table, study)):
        return f"{path}: {' '.join(conflicts)}"
    size = f"{len(study.entries)} student{'s' if len(study.entries) > 1 else ''} × {len(study.seeds)} seeds"
    return f"{path}: {size}, {len(table.rows) if table else 0} of {len(study.entries) * len(study.seeds)} measured"


def run_study(values: dict[str, object], options: argparse.Namespace) -> int:
    """Trains what the table lacks here, on a cluster, or with `--detach` in a process of its own, and prints the table.

    `values` are fields of `StudyConfig`. Raises KDError.
    """
    if options.detach and options.ray:
        raise ConfigError("--detach starts a study on this machine: leave it out with --ray, or use nohup.")
    more = {"students_per_run": options.students_per_run, "memory_gib": options.memory_gib}
    config = validate(StudyConfig, values | more, context=RECORDED)
    folder, starting = folders.folder_of(config.study), not (options.show or options.estimate)
    if starting and not options.ray:  # a cluster's machines have data of their own
        shared.prepare_data(options, config.study.shared.dataset)
        require_startable(config.study.shared)
    settled = config if options.show else folders.settle(config, bool(options.ray))
    runs = [] if options.show else folders.left_to_train(settled)
    if starting and not runs and any(folder.run(one).path.is_dir() for one in settled.runs()):
        collect(folders.open_study(settled))  # an earlier start may have been killed before it wrote what had finished
    if starting and runs:
        require_writable(config.table_path)
    asked, packed = options.students_per_run, settled.students_per_run
    if runs and asked and packed != min(asked, len(config.study.entries)) and not options.quiet:
        why = "what memory allows, or with how many its runs began; to begin anew, delete them and the study's folder"
        print(f"{packed} students in a run, not {asked}: {why}", file=sys.stderr)
    if runs:
        measure = not options.ray and (options.estimate or not (options.yes and options.quiet))
        announce([Left(config.study.study_id, settled, runs)], measure, bool(options.ray))
        if options.estimate:
            return shared.DONE
        if not shared.confirm(options, "Start?"):
            return shared.FAILED
        if options.detach:
            print(folders.start_work(folders.open_study(config)).run_id)
            return shared.DONE
        return execute(folders.open_study(config), options.quiet, options)
    if not options.quiet:
        print_table(begin_table(config.study, config.table_path), options)
    return shared.DONE


def announce(left: list[Left], measure: bool, elsewhere: bool = False) -> None:
    """Says on stderr what is left to train, how much memory it takes, and with `measure` how long here. KDError."""
    from kdexplorer.training.objective import estimate_memory, free_memory

    if measure:
        print("Estimating the time …", file=sys.stderr, flush=True)
    seconds = measure_left(left).wait() if measure else []
    for one, took in zip_longest(left, seconds):
        count, memory = sum(len(run.entries) for run in one.runs), estimate_memory(one.largest, elsewhere)
        students = f"{count} student{'s' if count > 1 else ''} to train"
        runs = f"{len(one.runs)} run{'s' if len(one.runs) > 1 else ''}"
        times = f", about {format_duration(took)} on this machine" if measure else ""
        text = f"{one.name}: {students} in {runs}{times}; about {memory / 2**30:.1f} GiB of memory for a run."
        print(text, file=sys.stderr, flush=True)
        if measure and memory > (free := free_memory(one.sample.device)):
            print(f"warning: only {free / 2**30:.1f} GiB are free for it", file=sys.stderr)
    if len(left) > 1 and measure:
        print(f"About {format_duration(sum(seconds))} in total.", file=sys.stderr)


def execute(folder: StudyFolder | ExperimentFolder, quiet: bool, options: argparse.Namespace | None = None) -> int:
    """Works to the end of a study or an experiment or until a signal, and prints a study's table. Raises KDError."""
    if not quiet:
        print(f"{folder.run_id}: in {folder.path}; after Ctrl-C the same command continues it", file=sys.stderr)
    try:
        state = driver.execute(folder, options.ray if options else None, show=not quiet)
    finally:
        if not quiet and isinstance(folder, StudyFolder) and (table := folder.table()) is not None:
            print_table(table, options)
    return shared.DONE if state == "finished" else shared.STOPPED


def print_table(table: Table, options: argparse.Namespace | None) -> None:
    """The table as the options say: Markdown, CSV or JSON."""
    if options is not None and options.json:
        print(json.dumps(table.model_dump(mode="json"), indent=1))
    else:
        print(report.to_csv({"": table}) if options is not None and options.csv else report.to_markdown(table))


@command(
    "experiment",
    argument("name", nargs="?", help="one of the list; trains or measures what its tables lack"),
    flag("--small", "a variant of a few minutes with its own tables and without a verdict"),
    flag("--estimate", "print the estimated time for what is left on this machine, then exit"),
    flag("--show", "print the results so far, then exit"),
    flag("--csv", "print a line for each student as CSV instead of the verdict"),
    shared.YES,
    shared.QUIET,
)
def experiment(options: argparse.Namespace) -> int:
    """Prepared experiments: why does distillation work? Without a name they are listed."""
    if options.name is None:
        for one in all_experiments():
            print(f"{one.key:<16} {one.question}\n{'':<16} {experiments.describe_results(one, experiments.read(one))}")
        return shared.DONE
    shared.refuse_torchrun("an experiment")
    chosen = get_experiment(options.name)
    code = shared.DONE if options.show else _start(chosen, options)
    if not options.quiet and (options.show or not options.estimate):
        found = experiments.read(chosen, options.small)
        if options.csv:  # the verdict says it
            sys.stderr.writelines(f"{reason}\n" for reason in found.left_out)
        print(report.to_csv(found.tables).strip() if options.csv else experiments.to_markdown(chosen, found))
    return code


def _start(chosen: Experiment, options: argparse.Namespace) -> int:
    """Says what is left and how long it takes; trains it after a yes."""
    if chosen.measure is not None:
        print(chosen.describe_cost(options.small), file=sys.stderr)
    else:
        left = list_left(chosen, options.small)
        if not left:
            if not options.estimate:  # an earlier start may have been killed before it wrote what had finished
                for error in driver.collect_finished(chosen, options.small).values():
                    raise error
            return shared.DONE
        print(f"{chosen.question}\n{chosen.protocol}", file=sys.stderr)
        announce(left, measure=options.estimate or not options.yes)
    if options.estimate:
        return shared.DONE
    if not shared.confirm(options, "Start?"):
        return shared.FAILED
    return execute(folders.open_experiment(chosen.key, options.small), options.quiet)
