"""Trains or measures what is left of an experiment, study by study.

`runs/experiments/KEY/` (`KEY-small` for the small variant) has what a run's folder has: `config.json` says which
experiment, `status.json` how far it is, `log.txt` what happened. The tables alone decide what is left.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from kdexplorer import processes
from kdexplorer.errors import KDError, RunError
from kdexplorer.files import read_json, write_json
from kdexplorer.runs import launch
from kdexplorer.runs.records import LIVE, State
from kdexplorer.runs.run_folder import Run, runs_root
from kdexplorer.schema import Name, StrictModel, validate
from kdexplorer.studies.collect import collect
from kdexplorer.studies.driver import execute_study
from kdexplorer.studies.estimate import list_left, list_working, seconds_left, study_config
from kdexplorer.studies.experiments import get_experiment
from kdexplorer.studies.experiments.base import Experiment, Interrupted
from kdexplorer.studies.experiments.results import table_path
from kdexplorer.studies.folder import folder_of, open_study
from kdexplorer.studies.progress import describe_progress
from kdexplorer.studies.table import Table, read_table, write_table
from kdexplorer.training.estimate import format_duration


class ExperimentConfig(StrictModel):
    """`config.json`: which experiment, and whether it is the small variant."""

    kind: Literal["experiment"] = "experiment"
    experiment: Name
    small: bool = False


@dataclass(frozen=True)
class ExperimentFolder(Run):
    """A run folder whose configuration is an `ExperimentConfig`."""

    def config(self) -> ExperimentConfig:  # type: ignore[override]
        """Raises ConfigError when `config.json` is missing or damaged."""
        return validate(ExperimentConfig, read_json(self.path / "config.json"), where=self.run_id)

    @staticmethod
    def parent_folder() -> Path:
        return runs_root() / "experiments"


def find_experiment(run_id: str) -> ExperimentFolder | None:
    """The experiment of that folder, or None."""
    path = Path(run_id)
    is_one = path.resolve().parent == ExperimentFolder.parent_folder().resolve() and (path / "config.json").is_file()
    return ExperimentFolder(path) if is_one else None


def get_folder(key: str, small: bool = False) -> ExperimentFolder:
    """The folder of an experiment, which need not exist."""
    return ExperimentFolder(ExperimentFolder.parent_folder() / (f"{key}-small" if small else key))


def open_experiment(key: str, small: bool = False) -> ExperimentFolder:
    """The folder of an experiment, made where it is missing. Raises RunError."""
    folder, config = get_folder(key, small), ExperimentConfig(experiment=key, small=small)
    if read_json(folder.path / "config.json") is None:
        if folder.path.is_dir():
            write_json(folder.path / "config.json", config.model_dump())
        else:
            launch.create_run(config, key, folder.path.parent, folder.run_id)
    return folder


def start(key: str, small: bool = False) -> None:
    """Starts an experiment as a process of its own; one that has finished starts anew, for what is left. KDError."""
    folder = open_experiment(key, small)
    if folder.status().state in ("finished", "damaged"):
        folder.write_status("stopped", "starting")
    launch.start_run(folder)


def describe_state(key: str, small: bool = False) -> str:
    """How far an experiment's process is, and the time that its current run and all of it have left.

    Empty where none works.
    """
    status = get_folder(key, small).status()
    if status.state not in LIVE:
        return ""
    experiment = get_experiment(key)
    working = [run for study in experiment.studies(small).values() for run in list_working(study)]
    left = None
    with contextlib.suppress(KDError):
        left = seconds_left(experiment, small)
    whole = [] if left is None else [f"about {format_duration(left)} until all of it is done"]
    return "; ".join([status.message, *(describe_progress(run) for run in working), *whole])


def execute(folder: ExperimentFolder, show: bool = False) -> State:
    """Trains or measures what is left; SIGTERM and SIGINT end it with everything saved.

    `show` prints progress to stderr.

    Raises:
        KDError: when another process works on it, or what ended it, which is then `failed`.
    """
    config = folder.config()
    experiment = get_experiment(config.experiment)
    lock = FileLock(folder.path / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"{folder.run_id} is already running in another process: stop that one first.") from None
    try:
        folder.write_status("running", "starting")
        work = _train if experiment.measure is None else _measure
        state = work(experiment, config.small, folder, show)
        folder.write_status(state, "stopped; it can be resumed" if state == "stopped" else "")
        return state
    except BaseException as error:
        with contextlib.suppress(OSError):
            folder.write_status("failed", str(error)[:500])
        raise
    finally:
        lock.release()


def collect_finished(experiment: Experiment, small: bool) -> None:
    """Adds to the tables what earlier starts have trained and did not write. Raises KDError and OSError."""
    for name in experiment.studies(small):
        folder = folder_of(study_config(experiment, name, small).study)
        if (folder.path / "config.json").is_file():
            collect(folder)


def _train(experiment: Experiment, small: bool, folder: ExperimentFolder, show: bool) -> State:
    """Study by study; what the end of one has made possible is looked at anew."""
    collect_finished(experiment, small)
    while left := list_left(experiment, small):
        one = left[0]
        said = f"{len(left)} part{'s' if len(left) > 1 else ''} left, now {one.name}"
        folder.write_status("running", said)
        if show:
            print(f"{experiment.key}: {said}", file=sys.stderr, flush=True)
        study = open_study(one.config)
        state = execute_study(study, show=show, again=one.again)
        if state == "failed":
            raise RunError(study.status().message)
        if state != "finished":
            return state
    return "finished"


def _measure(experiment: Experiment, small: bool, folder: ExperimentFolder, show: bool) -> State:
    """Keeps the table after each step."""
    path = table_path(experiment.key, small=small)
    assert experiment.measure is not None
    with processes.stop_signals() as stopping:

        def keep(table: Table) -> None:
            write_table(table, path)
            last = table.rows[-1]
            folder.write_status("running", f"{len(table.rows)} measured, the last {last.entry}, {last.part}")
            if show:
                print(f"{last.entry}, {last.part}: {100 * last.accuracy:.2f} %", file=sys.stderr, flush=True)
            if stopping.is_set():
                raise Interrupted

        try:
            experiment.measure(read_table(path) or Table(), small, keep)
        except Interrupted:
            return "stopped"
    return "finished"
