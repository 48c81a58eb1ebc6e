"""Trains what is left of a study, run by run, or of an experiment, study by study; tables decide what is left.

How long that takes is measured before it starts, and projected while it runs.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from kdexplorer.config import RunConfig
from kdexplorer.datasets import get_dataset
from kdexplorer.errors import ConfigError, DataError, KDError, RunError, TrainingError
from kdexplorer.runs import launch
from kdexplorer.runs.checkpoints import bundled_checkpoints, find_teachers
from kdexplorer.runs.launch import Stopped, Work, work_in
from kdexplorer.runs.run_folder import LIVE, Run, State
from kdexplorer.studies import folder as folders
from kdexplorer.studies import ray_backend
from kdexplorer.studies.collect import ATTEMPTS, StudyProgress, collect, describe_progress, say
from kdexplorer.studies.experiments import get_experiment, table_path
from kdexplorer.studies.experiments.base import Experiment
from kdexplorer.studies.folder import ExperimentFolder, StudyConfig, StudyFolder
from kdexplorer.studies.study import Study
from kdexplorer.studies.table import StudyRun, Table, read_table, write_table
from kdexplorer.training.estimate import Measurement, count_work, format_duration

POLL = 0.5  # seconds between two looks at a run that trains
SAMPLE = 3  # students of a grid's run that is timed; they differ in their settings alone


def execute(
    folder: StudyFolder | ExperimentFolder, ray_address: str | None = None, show: bool = False, again: bool = False
) -> State:
    """Trains, or measures, what is left of a study or an experiment; returns `finished`, or `stopped` after a signal.

    A study's runs are trained on the Ray cluster at `ray_address` (`auto` finds it), without one in turn on this
    machine. `show` prints progress to stderr; for `again`, of a study, see `folder.left_to_train`.

    Raises TrainingError when runs failed (the study's others have been trained), and KDError when another process works
    in this folder, a study cannot be packed, or the cluster cannot be reached.
    """
    if isinstance(folder, StudyFolder):
        return work_in(folder, partial(_train_study, folder, ray_address, show, again))
    config = folder.config()
    experiment = get_experiment(config.experiment)
    return work_in(folder, partial(_train if experiment.measure is None else _measure, experiment, config.small, show))


def _train_study(folder: StudyFolder, ray_address: str | None, show: bool, again: bool, work: Work) -> None:
    progress = StudyProgress(folder, work, show)
    progress.write("packing the students into runs")
    config = folders.settle(folder.config(), bool(ray_address))
    launch.write_config(folder, config)
    if not ray_address:
        get_dataset(config.study.shared.dataset).prepare()  # so that images that were replaced are noticed
    with contextlib.suppress(KDError):  # of a run that cannot be read it is said at the end
        collect(folder)
    left = folders.left_to_train(config, again)
    folders.prepare(folder, left)
    todo = [folder.run(planned) for planned in left]
    if ray_address:
        ray_backend.train_on_cluster(todo, ray_address, progress)
    else:
        for run in todo:
            train_in_turn(run, progress)
    progress.write("training")
    collect(folder)  # what could not be written meanwhile: its error is the study's
    for run_id, reason in progress.failed.items():
        raise TrainingError(f"{len(progress.failed)} of {len(config.runs())} runs failed; {run_id}: {reason}")


def train_in_turn(run: Run, progress: StudyProgress) -> None:
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
        try:
            launch.start_run(run)
        except RunError as error:
            progress.end(run, "failed", str(error))
            return
        started = True


def _train(experiment: Experiment, small: bool, show: bool, work: Work) -> None:
    """Study by study; what the end of one has made possible is looked at anew. One that fails costs itself alone."""
    unread, failed = collect_finished(experiment, small), dict[str, KDError]()
    while left := [one for one in list_left(experiment, small) if one.name not in failed]:
        if work.stopping.is_set():
            raise Stopped
        one = left[0]
        said = f"{len(left)} part{'s' if len(left) > 1 else ''} left, now {one.name}"
        work.write("running", said)
        if show:
            say(f"{experiment.key}: {said}")
        try:
            if execute(folders.open_study(one.config), show=show, again=one.again) == "stopped":
                raise Stopped
        except KDError as error:
            failed[one.name] = error
    for first in (unread | failed).values():
        raise first


def collect_finished(experiment: Experiment, small: bool) -> dict[str, KDError]:
    """Adds to the tables what earlier starts trained and did not write; returns by part why not. Raises OSError."""
    failed = dict[str, KDError]()
    for name, study in experiment.studies(small).items():
        folder = folders.folder_of(study)
        if (folder.path / "config.json").is_file():
            try:
                collect(folder)
            except KDError as error:
                failed[name] = error
    return failed


def _measure(experiment: Experiment, small: bool, show: bool, work: Work) -> None:
    """Keeps the table after each step."""
    path = table_path(experiment.key, small=small)
    assert experiment.measure is not None
    work.write("running", "starting")
    for table in experiment.measure(read_table(path) or Table(), small):
        if not table.rows:
            raise DataError(f"{experiment.key}: the networks or the test images that it measures are missing.")
        write_table(table, path)
        last = table.rows[-1]
        work.write("running", f"{len(table.rows)} measured, the last {last.entry}, {last.part}")
        if show:
            say(f"{last.entry}, {last.part}: {100 * last.accuracy:.2f} %")
        if work.stopping.is_set():
            raise Stopped


# --- What is left, and how long it takes ---


@dataclass(frozen=True)
class Left:
    """What a study has left to train."""

    name: str
    config: StudyConfig
    runs: list[StudyRun]
    again: bool = False  # its networks are missing, whatever its table has
    stand_in: str | None = None  # a bundled network like its teacher, where that is not trained yet

    def config_of(self, run: StudyRun) -> RunConfig:
        """A run, with the stand-in where the teacher is missing."""
        config = self.config.study.config(run.seed, run.entries)
        return config.model_copy(update={"teacher": self.stand_in or config.teacher})

    @property
    def largest(self) -> RunConfig:
        """The run that has the most students."""
        return self.config_of(max(self.runs, key=lambda run: len(run.entries)))

    @property
    def sample(self) -> RunConfig:
        """What is timed for all runs: the largest, of a grid with a few of its students."""
        config = self.largest
        return config.model_copy(update={"students": config.students[:SAMPLE]}) if self.config.study.grid else config

    @property
    def times(self) -> float:
        """The work of all runs in samples."""
        return sum(count_work(self.config_of(run)) for run in self.runs) / count_work(self.sample)


def measure_left(left: Sequence[Left]) -> Measurement[list[float]]:
    """Measures how many seconds each takes on this machine. Raises KDError when a teacher is missing."""
    return Measurement(
        [one.sample for one in left],
        lambda found: [estimate.repeat(one.times) for one, estimate in zip(left, found, strict=True)],
        f"Timing a few batches of part {{part}} of {len(left)}",
    )


def list_left(experiment: Experiment, small: bool = False) -> list[Left]:
    """What is left, in the order of training; studies of teachers come again where their networks are missing.

    A study of teachers is declared before those whose students they teach. Raises ConfigError when a table belongs to
    something else.
    """
    studies, found, awaited = experiment.studies(small), list[Left](), set[str | None]()
    for name, study in reversed(studies.items()):
        again, table = name in awaited, str(table_path(experiment.key, name, small))
        config = folders.settle(StudyConfig(study=study, experiment=experiment.key, table=table), decide=False)
        if runs := folders.left_to_train(config, again):
            teaching, stand_in = _find_awaited(study, studies)
            found.append(Left(name, config, runs, again, stand_in))
            awaited.add(teaching)
        elif again:
            run_id = folders.folder_of(study).run_id
            raise ConfigError(f"{run_id} has finished without a network that others learn from: delete its runs.")
    return found[::-1]


def _find_awaited(study: Study, studies: dict[str, Study]) -> tuple[str | None, str | None]:
    """The study that has yet to train this one's teacher, and a bundled network by which the time can be estimated."""
    teacher = study.shared.teacher or ""
    run = teacher.partition("/")[0]
    name = next((name for name, one in studies.items() if run in [one.run_id(seed) for seed in one.seeds]), None)
    if name is None:
        return None, None
    with contextlib.suppress(ConfigError):
        find_teachers(teacher)
        return None, None
    architecture = studies[name].architecture
    return name, next((one.name for one in bundled_checkpoints() if one.architecture == architecture), None)


def seconds_left(experiment: Experiment, small: bool = False) -> float | None:
    """Until all studies are trained, as fast as the run that trains now; None before it says how long it takes.

    What is left is counted in multiply-adds. Raises KDError where a table belongs to something else.
    """
    left = list_left(experiment, small)
    work = {run.run: count_work(one.config_of(run)) for one in left for run in one.runs}
    for run in (run for one in left for run in list_working(one.config.study) if run.run_id in work):
        status = run.status()
        share = status.share_done(run.config().epochs)
        if share is not None and share < 1 and status.seconds_left is not None:
            work[run.run_id] *= 1 - share
            return status.seconds_left * sum(work.values()) / work[run.run_id]
    return None


def list_working(study: Study) -> list[Run]:
    """The runs that train a study now."""
    folder = folders.folder_of(study)
    status = folder.status()
    return [run for run in folder.runs() if run.run_id in status.working] if status.state in LIVE else []


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
    said = [status.message, *(describe_progress(run) for run in working)]
    with contextlib.suppress(KDError):
        if (left := seconds_left(experiment, config.small)) is not None:
            said.append(f"about {format_duration(left)} until all of it is done")
    return "; ".join(said)
