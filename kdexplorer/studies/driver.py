"""Trains what is left of a study, run by run, or of an experiment, study by study; tables decide what is left."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from functools import partial

from kdexplorer.errors import KDError, RunError, TrainingError
from kdexplorer.runs import launch
from kdexplorer.runs.launch import Stopped, Work, work_in
from kdexplorer.runs.records import LIVE, State
from kdexplorer.runs.run_folder import Run
from kdexplorer.studies import ray_backend
from kdexplorer.studies.collect import ATTEMPTS, Progress, collect, describe_progress
from kdexplorer.studies.estimate import list_left, list_working, seconds_left, study_config
from kdexplorer.studies.experiments import get_experiment
from kdexplorer.studies.experiments.base import Experiment
from kdexplorer.studies.experiments.results import table_path
from kdexplorer.studies.folder import (
    ExperimentFolder,
    StudyFolder,
    folder_of,
    left_to_train,
    open_study,
    prepare,
    settle,
    write_config,
)
from kdexplorer.studies.table import Table, read_table, write_table
from kdexplorer.training.estimate import format_duration

POLL = 0.5  # seconds between two looks at a run that trains


def execute_study(
    folder: StudyFolder, ray_address: str | None = None, show: bool = False, again: bool = False
) -> State:
    """Trains what is left of a study; returns `finished`, or `stopped` after a signal.

    Args:
        folder: of the study.
        ray_address: of a Ray cluster (`auto` finds it) that trains the runs; without one they are trained one after
            another on this machine.
        show: print a line for each run to stderr.
        again: see `folder.left_to_train`.

    Raises:
        TrainingError: when runs failed; the others have been trained.
        KDError: when another process drives this study, it cannot be packed, or the cluster cannot be reached.
    """
    return work_in(folder, partial(_train_study, folder, ray_address, show, again))


def _train_study(folder: StudyFolder, ray_address: str | None, show: bool, again: bool, work: Work) -> None:
    progress = Progress(folder, work, show)
    progress.write("packing the students into runs")
    collect(folder)
    config = settle(folder.config(), bool(ray_address))
    write_config(folder, config)
    left = left_to_train(config, again)
    prepare(folder, left)
    todo = [folder.run(planned) for planned in left]
    if ray_address:
        ray_backend.train_on_cluster(todo, ray_address, progress)
    else:
        for run in todo:
            train_in_turn(run, progress)
    progress.write("training")
    for run_id, reason in progress.failed.items():
        raise TrainingError(f"{len(progress.failed)} of {len(config.runs())} runs failed; {run_id}: {reason}")


def train_in_turn(run: Run, progress: Progress) -> None:
    """Trains one run in a process of its own, as Launch does, and waits for its end.

    The trainer outlives a driver that is killed; the next driver waits for it. Raises Stopped when the work shall stop,
    or the run was stopped.
    """
    started, stopping = False, progress.work.stopping
    progress.begin(run)
    while True:
        status = run.status()
        if status.state in LIVE and status.pid != os.getpid():
            started = True  # perhaps by an earlier driver
            if stopping.is_set():
                with contextlib.suppress(RunError):
                    launch.stop_run(run)
            progress.refresh()
            time.sleep(POLL)
            continue
        if status.state == "finished" or (started and status.state == "failed"):
            progress.end(run, status.state, status.message)
            return
        if stopping.is_set() or (started and status.state == "stopped"):
            raise Stopped
        if not progress.may_start(run, status):
            progress.end(run, "failed", f"its process ended without a message; {ATTEMPTS} starts made no progress")
            return
        launch.start_run(run)
        started = True


def execute_experiment(folder: ExperimentFolder, show: bool = False) -> State:
    """Trains or measures what is left; returns `finished`, or `stopped` after a signal, with everything saved.

    `show` prints progress to stderr.

    Raises:
        KDError: when another process works on it, or what ended it, which is then `failed`.
    """
    config = folder.config()
    experiment = get_experiment(config.experiment)
    return work_in(folder, partial(_train if experiment.measure is None else _measure, experiment, config.small, show))


def _train(experiment: Experiment, small: bool, show: bool, work: Work) -> None:
    """Study by study; what the end of one has made possible is looked at anew."""
    collect_finished(experiment, small)
    while left := list_left(experiment, small):
        one = left[0]
        said = f"{len(left)} part{'s' if len(left) > 1 else ''} left, now {one.name}"
        work.write("running", said)
        if show:
            print(f"{experiment.key}: {said}", file=sys.stderr, flush=True)
        state = execute_study(open_study(one.config), show=show, again=one.again)
        if state == "stopped" or work.stopping.is_set():
            raise Stopped


def collect_finished(experiment: Experiment, small: bool) -> None:
    """Adds to the tables what earlier starts have trained and did not write. Raises KDError and OSError."""
    for name in experiment.studies(small):
        folder = folder_of(study_config(experiment, name, small).study)
        if (folder.path / "config.json").is_file():
            collect(folder)


def _measure(experiment: Experiment, small: bool, show: bool, work: Work) -> None:
    """Keeps the table after each step."""
    path = table_path(experiment.key, small=small)
    assert experiment.measure is not None

    def keep(table: Table) -> None:
        write_table(table, path)
        last = table.rows[-1]
        work.write("running", f"{len(table.rows)} measured, the last {last.entry}, {last.part}")
        if show:
            print(f"{last.entry}, {last.part}: {100 * last.accuracy:.2f} %", file=sys.stderr, flush=True)
        if work.stopping.is_set():
            raise Stopped

    work.write("running", "starting")
    experiment.measure(read_table(path) or Table(), small, keep)


def describe_state(folder: ExperimentFolder) -> str:
    """How far an experiment's process is, and the time that its current run and all of it have left.

    Empty where none works.
    """
    status = folder.status()
    if status.state not in LIVE:
        return ""
    config = folder.config()
    experiment = get_experiment(config.experiment)
    working = [run for study in experiment.studies(config.small).values() for run in list_working(study)]
    left = None
    with contextlib.suppress(KDError):
        left = seconds_left(experiment, config.small)
    whole = [] if left is None else [f"about {format_duration(left)} until all of it is done"]
    return "; ".join([status.message, *(describe_progress(run) for run in working), *whole])
