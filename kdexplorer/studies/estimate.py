"""What is left of studies before they start, and how long it takes: measured, and projected while they run."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

from kdexplorer.config import RunConfig
from kdexplorer.errors import ConfigError
from kdexplorer.networks.cost import count_multiply_adds
from kdexplorer.runs.checkpoints import bundled_checkpoints
from kdexplorer.runs.records import LIVE, RunStatus
from kdexplorer.runs.run_folder import Run
from kdexplorer.runs.teachers import find_teachers
from kdexplorer.studies.experiments.base import Experiment
from kdexplorer.studies.experiments.results import read, table_path
from kdexplorer.studies.folder import StudyConfig, folder_of, left_to_train
from kdexplorer.studies.study import Study
from kdexplorer.studies.table import StudyRun
from kdexplorer.training.estimate import Estimate, Measurement, format_duration, measure_apart
from kdexplorer.training.recipe import pixel_shares

SAMPLE = 3
"""Students of a grid's run that is timed; they differ in their settings alone."""


@dataclass(frozen=True)
class Left:
    """What a study has left to train."""

    name: str
    config: StudyConfig
    runs: list[StudyRun]
    again: bool = False  # its networks are missing, whatever its table has
    stand_in: str | None = None  # a bundled network like its teacher, where that is not trained yet

    @property
    def students(self) -> int:
        """Networks to train, over all seeds."""
        return sum(len(run.entries) for run in self.runs)

    def config_of(self, run: StudyRun) -> RunConfig:
        """A run, with the stand-in where the teacher is missing."""
        config = self.config.study.config(run.seed, run.entries)
        return config if self.stand_in is None else config.model_copy(update={"teacher": self.stand_in})

    @property
    def sample(self) -> RunConfig:
        """What is timed for all runs: the largest, of a grid with a few of its students."""
        config = self.config_of(max(self.runs, key=lambda run: len(run.entries)))
        return config.model_copy(update={"students": config.students[:SAMPLE]}) if self.config.study.grid else config

    def add_up(self, estimate: Estimate) -> float:
        """Seconds of all runs from the estimate of the sample; what they share is paid once."""
        times = sum(count_work(self.config_of(run)) for run in self.runs) / count_work(self.sample)
        return estimate.fixing + times * (estimate.seconds - estimate.fixing)

    def memory(self, elsewhere: bool = False) -> float:
        """Bytes that its largest run takes at its height, estimated. Raises KDError."""
        from kdexplorer.training.estimate import estimate_memory

        largest = max((self.config_of(run) for run in self.runs), key=lambda config: len(config.students))
        return estimate_memory(largest, elsewhere)

    def describe(self, seconds: float | None, memory: float) -> str:
        """It in a line; `seconds` is None where nobody has measured them."""
        runs = f"{len(self.runs)} run{'s' if len(self.runs) > 1 else ''}"
        students = f"{self.students} student{'s' if self.students > 1 else ''}"
        took = "" if seconds is None else f", about {format_duration(seconds)} on this machine"
        return f"{self.name}: {students} to train in {runs}{took}; about {memory / 2**30:.1f} GiB of memory for a run."


def study_config(experiment: Experiment, name: str, small: bool) -> StudyConfig:
    """How one of an experiment's studies is trained."""
    table = str(table_path(experiment.key, name, small))
    return StudyConfig(study=experiment.studies(small)[name], experiment=experiment.key, table=table)


def list_left(experiment: Experiment, small: bool = False) -> list[Left]:
    """What is left, in the order of training; studies of teachers come again where their networks are missing.

    Raises ConfigError when a table belongs to something else.
    """
    studies = experiment.studies(small)
    configs = {name: study_config(experiment, name, small) for name in studies}
    found, awaited = list[Left](), set[str]()
    for name, config in configs.items():
        if runs := left_to_train(config):
            teaching = _find_teaching(config.study, studies)
            waits = teaching is not None and not _exists(config.study.shared.teacher)
            awaited |= {teaching} if teaching is not None and waits else set()
            stand_in = _stand_in(studies[teaching]) if teaching is not None and waits else None
            found.append(Left(name, config, runs, stand_in=stand_in))
    again = [Left(name, configs[name], left_to_train(configs[name], again=True), again=True) for name in awaited]
    return again + [one for one in found if one.name not in awaited]


def _find_teaching(study: Study, studies: dict[str, Study]) -> str | None:
    """The name of the study that trains this one's teacher; None where none does."""
    run = (study.shared.teacher or "").partition("/")[0]
    return next((name for name, one in studies.items() if run in [one.run_id(seed) for seed in one.seeds]), None)


def _exists(teacher: str | None) -> bool:
    with contextlib.suppress(ConfigError):
        find_teachers(teacher or "")
        return True
    return False


def _stand_in(teaching: Study) -> str:
    """A bundled network of the architecture that a study trains, by which the time of its students is estimated."""
    found = [one.name for one in bundled_checkpoints() if one.architecture == teaching.architecture]
    if not found:
        raise ConfigError(f"there is no bundled network of {teaching.architecture} by which the time can be estimated.")
    return found[0]


def count_work(config: RunConfig) -> float:
    """Multiply-adds of a run, which follow the pixels of each epoch: a backward pass takes twice the forward pass.

    A teacher whose logits are fixed computes them once, which is not counted. Raises KDError without the teacher.
    """
    students = sum(3.0 * count_multiply_adds(student.architecture) for student in config.students)
    teachers = find_teachers(config.teacher) if config.teacher and config.teacher_view != "fixed" else ()
    image = students + sum(count_multiply_adds(teacher.architecture) for teacher in teachers)
    return image * sum(pixel_shares(config)) * (config.train_images or 1)


def measure_seconds(left: Left) -> float:
    """How long what is left takes here: some steps of its sample, in a process of its own. Raises RunError."""
    return left.add_up(measure_apart(left.sample))


class StudiesEstimate:
    """The time of what an experiment has left, while it is measured study by study. `poll` it, or `cancel` it.

    Raises:
        KDError: when a table belongs to something else, or a teacher is missing.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.key = experiment.key
        self.left = list_left(experiment)
        self._seconds: list[float] = []
        self._current: Measurement | None = None

    def poll(self) -> float | None:
        """Seconds of all studies, or None while one is being measured. Raises RunError when it failed."""
        if self._current is not None and (estimate := self._current.poll()) is not None:
            self._seconds.append(self.left[len(self._seconds)].add_up(estimate))
            self._current = None
        if len(self._seconds) == len(self.left):
            return sum(self._seconds)
        if self._current is None:
            self._current = Measurement(self.left[len(self._seconds)].sample)
        return None

    def describe(self) -> str:
        """How far it is."""
        number = min(len(self._seconds) + 1, len(self.left))
        since = time.time() - self._current.started if self._current else 0.0
        return f"Timing a few batches of part {number} of {len(self.left)} … {since:.0f} s"

    def cancel(self) -> None:
        """Ends what still measures."""
        if self._current is not None:
            self._current.cancel()


def seconds_left(experiment: Experiment, small: bool = False) -> float | None:
    """Until all studies are trained; None where no run has said how long it takes.

    A seed takes as long as the current one of its study, else as the study's finished ones, else as much more or less
    than one of another study as it has more or less to compute. Raises KDError where a teacher is unknown.
    """
    left = waiting = seconds = work = 0.0  # `waiting` is work of studies of which no seed was timed
    tables, studies = read(experiment, small).tables, experiment.studies(small)
    for name, study in studies.items():
        seeds, known = set(study.seeds), list[float]()
        if name in tables:
            seeds = set(tables[name].missing())
            known = [one.seconds for one in tables[name].runs if one.seconds]
        for run in list_working(study):
            status = run.status()
            if (share := _share_done(status)) and status.seconds_left is not None:
                seeds.discard(run.config().seed)
                left += status.seconds_left
                known = [status.seconds_left / (1 - share)] if share < 1 else known
        mean, of_seed = sum(known) / len(known) if known else None, _count_seed(study, studies)
        if mean is None:
            waiting += len(seeds) * of_seed
        else:
            left, seconds, work = left + len(seeds) * mean, seconds + mean, work + of_seed
    return left + waiting * seconds / work if work else None


def _share_done(status: RunStatus) -> float:
    """Of a run's steps, 0 to 1; 0 where it does not say."""
    if status.epoch is None or not status.epochs or status.step is None or not status.steps_per_epoch:
        return 0.0
    return min(1.0, (status.epoch + status.step / status.steps_per_epoch) / status.epochs)


def _count_seed(study: Study, studies: dict[str, Study]) -> float:
    """Multiply-adds of a seed. Raises KDError where its teacher is unknown."""
    config, teaching = study.shared, _find_teaching(study, studies)
    if teaching is not None:
        config = config.model_copy(update={"teacher": _stand_in(studies[teaching])})
    return count_work(config)


def list_working(study: Study) -> list[Run]:
    """The runs that train a study now."""
    folder = folder_of(study)
    status = folder.status()
    return [run for run in folder.runs() if run.run_id in status.working] if status.state in LIVE else []
