"""Trains or measures what is left of a prepared experiment, part by part, with the machinery of leagues.

`runs/experiments/KEY/` (`KEY-small` for the small variant) has what a run's folder has: `config.json` says which
experiment, `status.json` how far it is, `log.txt` what happened. The tables alone decide what is left.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from filelock import FileLock, Timeout

from kdexplorer import processes
from kdexplorer.errors import ConfigError, RunError
from kdexplorer.experiments import get_experiment
from kdexplorer.experiments.base import Interrupted, MeasuredExperiment, Part, PreparedExperiment, league_id
from kdexplorer.experiments.results import MeasuredTable, measured_path, part_path, read_measured
from kdexplorer.files import read_json, write_json
from kdexplorer.runs import launch
from kdexplorer.runs.records import State
from kdexplorer.runs.run_folder import Run, runs_root
from kdexplorer.runs.teachers import find_teachers
from kdexplorer.schema import Name, StrictModel, validate
from kdexplorer.sweeps import league as leagues
from kdexplorer.sweeps.driver import execute_sweep
from kdexplorer.sweeps.league import League
from kdexplorer.sweeps.league_table import LeagueTable


class Chosen(StrictModel):
    """`config.json`: which experiment, and whether it is the small variant."""

    experiment: Name
    small: bool = False


@dataclass(frozen=True)
class ExperimentRun(Run):
    """A run folder whose configuration is a `Chosen`."""

    kind: ClassVar[str] = "experiment"

    def config(self) -> Chosen:  # type: ignore[override]
        """Raises ConfigError when `config.json` is missing or damaged."""
        return validate(Chosen, self.read_values(), where=self.run_id)

    @staticmethod
    def parent_folder() -> Path:
        return runs_root() / "experiments"


@dataclass(frozen=True)
class Todo:
    """What a part lacks: its league's seeds, of which it has the table so far."""

    part: Part
    table: LeagueTable | None  # None where its teacher is not trained yet
    seeds: list[int]


def get_run(key: str, small: bool = False) -> ExperimentRun:
    """The folder of an experiment, which need not exist."""
    return ExperimentRun(ExperimentRun.parent_folder() / (f"{key}-small" if small else key))


def open_run(key: str, small: bool = False) -> ExperimentRun:
    """The folder of an experiment, made where it is missing. Raises RunError."""
    run = get_run(key, small)
    if read_json(run.path / "config.json") is None:
        if run.path.is_dir():
            write_json(run.path / "config.json", {"kind": run.kind, "experiment": key, "small": small})
        else:
            launch.create_run(Chosen(experiment=key, small=small), key, run_id=run.run_id, kind=ExperimentRun)
    return run


def start(key: str, small: bool = False) -> None:
    """Starts an experiment as a process of its own; one that has finished starts anew, for what is left. KDError."""
    run = open_run(key, small)
    if run.status().state in ("finished", "damaged"):
        run.write_status("stopped", "starting")
    launch.start_run(run)


def list_todo(experiment: PreparedExperiment, small: bool, read_only: bool = False) -> list[Todo]:
    """What is left, in the order of training; a part that teaches comes again where its networks are missing.

    With `read_only` finished experiments that an earlier start did not write into the tables stay there.

    Raises:
        ConfigError: when a table belongs to something else.
        KDError: when a teacher is missing that no part trains.
    """
    found: list[Todo] = []
    parts = experiment.parts(small)
    for part in parts:
        path = part_path(experiment.key, part.name, small)
        if not _has_teacher(part):
            if not any(other.teaches for other in parts):
                find_teachers(str(part.declaration.recipe.teacher))  # raises
            found.append(Todo(part, None, part.declaration.seeds))
            continue
        if not read_only:
            leagues.write_table(_open_league(experiment.key, part), path, experiment.more)
        table = leagues.begin_table(part.declaration, path)
        found.append(Todo(part, table, leagues.seeds_to_train(table)))
    awaited = any(todo.table is None for todo in found)
    found = [
        Todo(todo.part, todo.table, todo.part.declaration.seeds if todo.part.teaches and awaited else todo.seeds)
        for todo in found
    ]
    return [todo for todo in found if todo.seeds]


def _has_teacher(part: Part) -> bool:
    """Whether its teacher can be found; one that no part trains counts as found, its absence is an error elsewhere."""
    teacher = part.declaration.recipe.teacher
    if teacher is None or part.stand_in is None:
        return True
    with contextlib.suppress(ConfigError):
        find_teachers(teacher)
        return True
    return False


def find_league(key: str, part: Part) -> League:
    """The folder of a part's league, which need not exist."""
    return League(League.parent_folder() / league_id(key, part.name, part.declaration))


def _open_league(key: str, part: Part) -> League:
    return leagues.open_league(part.declaration, league_id(key, part.name, part.declaration))


def execute(run: ExperimentRun, show: bool = False) -> State:
    """Trains or measures what is left; SIGTERM and SIGINT end it with everything saved.

    `show` prints progress to stderr.

    Raises:
        KDError: when another process works on it, or what ended it, which is then `failed`.
    """
    chosen = run.config()
    experiment = get_experiment(chosen.experiment)
    lock = FileLock(run.path / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"{run.run_id} is already running in another process: stop that one first.") from None
    try:
        run.write_status("running", "starting")
        if isinstance(experiment, MeasuredExperiment):
            state = _measure(experiment, chosen.small, run, show)
        else:
            state = _train(experiment, chosen.small, run, show)
        run.write_status(state, "stopped; it can be resumed" if state == "stopped" else "")
        return state
    except BaseException as error:
        with contextlib.suppress(OSError):
            run.write_status("failed", str(error)[:500])
        raise
    finally:
        lock.release()


def _train(experiment: PreparedExperiment, small: bool, run: ExperimentRun, show: bool) -> State:
    """Part by part; what a part's end has made possible is looked at anew."""
    while todo := list_todo(experiment, small):
        part, seeds = todo[0].part, todo[0].seeds
        left = f"{len(todo)} part{'s' if len(todo) > 1 else ''} left, now {part.name}"
        run.write_status("running", left)
        if show:
            print(f"{experiment.key}: {left}", file=sys.stderr, flush=True)
        league = _open_league(experiment.key, part)
        league.plan(seeds)
        path = part_path(experiment.key, part.name, small)
        write = functools.partial(leagues.write_table, path=path, more=experiment.more)
        state = execute_sweep(league, show=show, write_results=write)
        if state != "finished":
            if state == "failed":
                raise RunError(league.status().message)
            return state
    return "finished"


def _measure(experiment: MeasuredExperiment, small: bool, run: ExperimentRun, show: bool) -> State:
    """Keeps the table after each step."""
    path = measured_path(experiment.key, small)
    path.parent.mkdir(parents=True, exist_ok=True)
    with processes.stop_signals() as stopping:

        def keep(table: MeasuredTable) -> None:
            write_json(path, table.model_dump(mode="json"))
            last = table.rows[-1]
            run.write_status("running", f"{len(table.rows)} measured, the last {last.entry}, {last.part}")
            if show:
                print(f"{last.entry}, {last.part}: {100 * last.accuracy:.2f} %", file=sys.stderr, flush=True)
            if stopping.is_set():
                raise Interrupted

        table = read_measured(experiment.key, small) or MeasuredTable(experiment=experiment.key)
        try:
            experiment.measure(table, small, keep)
        except Interrupted:
            return "stopped"
    return "finished"
