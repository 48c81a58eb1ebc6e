"""`league`: compares distillation methods over several seeds, as a file declares it before the start."""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path

from kdexplorer.cli import options as shared
from kdexplorer.errors import ConfigError
from kdexplorer.sweeps import league as leagues
from kdexplorer.sweeps.declaration import bundled_declaration, read_declaration
from kdexplorer.sweeps.driver import execute_sweep
from kdexplorer.sweeps.league_report import to_csv, to_markdown
from kdexplorer.sweeps.league_table import LeagueTable, read_table

HELP = "compare distillation methods over several seeds, as a file declares it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The declaration, how much of it to train, and where."""
    add = parser.add_argument
    add("declaration", nargs="?", type=Path, help="a TOML file (default: the bundled sweeps/league-resnet8.toml)")
    add("--seeds", type=int, metavar="INT", help="train only the first INT declared seeds")
    add("--table", type=Path, metavar="PATH", help="the table of results (default: beside the declaration, as .json)")
    add("--estimate", action="store_true", help="print the estimated time and memory, then exit")
    add("--show", action="store_true", help="print the table so far, then exit")
    add("--csv", action="store_true", help="print a line for each student as CSV instead of Markdown")
    shared.add_confirmation(parser, "start")
    add("--ray", metavar="ADDRESS", help="train on a Ray cluster: its address, or auto")
    add("--quiet", action="store_true", help="print no progress and no results")


def run(options: argparse.Namespace) -> int:
    """Trains the seeds that the table lacks. Raises KDError."""
    shared.refuse_torchrun("a league")
    path = options.declaration or bundled_declaration()
    declaration = read_declaration(path)
    if options.seeds is not None and not 1 <= options.seeds <= len(declaration.seeds):
        raise ConfigError(f"--seeds: {path} declares {len(declaration.seeds)} seeds: choose 1 to that many.")
    place = options.table or path.with_suffix(".json")
    starting = not (options.estimate or options.show)
    if starting:  # an earlier start may have been killed before it wrote what had finished
        leagues.write_table(leagues.open_league(declaration), place)
    table = leagues.begin_table(declaration, place)
    seeds = [] if options.show else leagues.seeds_to_train(table, options.seeds)
    if seeds:
        _announce(table, seeds, measure=options.estimate or not options.yes or not options.quiet)
        if not starting or not shared.confirm(options, "Start?"):
            return shared.DONE
        league = leagues.open_league(declaration)
        league.plan(seeds)
        print(f"{league.run_id}: in {league.path}; after Ctrl-C the same command continues it", file=sys.stderr)
        write = functools.partial(leagues.write_table, path=place)
        state = execute_sweep(league, options.ray, show=not options.quiet, write_results=write)
        if state == "failed":
            print(f"error: {league.status().message}", file=sys.stderr)
        code = {"finished": shared.DONE, "stopped": shared.STOPPED}.get(state, shared.FAILED)
    else:
        code = shared.DONE
    if not options.quiet and (written := read_table(place)) is not None:
        print(to_csv(written) if options.csv else to_markdown(written))
    return code


def _announce(table: LeagueTable, seeds: list[int], measure: bool) -> None:
    """Says on stderr what will be trained, how long that takes here, and how much memory."""
    from kdexplorer.training.estimate import estimate_memory, format_duration, free_memory

    config, entries = table.declaration.experiment(seeds[0]), len(table.declaration.entries)
    length = "1 epoch" if config.epochs == 1 else f"{config.epochs} epochs"
    done = ", ".join(map(str, sorted(table.complete_seeds()))) or "none"
    what = "1 experiment (seed" if len(seeds) == 1 else f"{len(seeds)} experiments (seeds"
    print(
        f"{what} {', '.join(map(str, seeds))}) of {entries} students each: "
        f"{table.declaration.student} distilled from {config.teacher}, {length} of "
        f"{config.train_images or 'all'} training images. Seeds already complete: {done}.",
        file=sys.stderr,
    )
    if not measure:
        return
    memory, free = estimate_memory(config), free_memory(config.device)
    print("Measuring some steps …", file=sys.stderr, flush=True)
    seconds = _measure_seconds(table, seeds[0])
    print(
        f"About {format_duration(seconds)} per experiment on this machine at its present load, "
        f"{format_duration(len(seeds) * seconds)} in total; about {memory / 2**30:.1f} GiB of memory.",
        file=sys.stderr,
    )
    if memory > free:
        print(f"warning: only {free / 2**30:.1f} GiB are free for it", file=sys.stderr)


def _measure_seconds(table: LeagueTable, seed: int) -> float:
    """How long an experiment takes. Raises RunError."""
    from kdexplorer.training.estimate import measure_apart

    return measure_apart(table.declaration.experiment(seed)).seconds
