"""How long what is left of an experiment takes: measured before it starts, and projected while it runs."""

from __future__ import annotations

import contextlib
import time

from kdexplorer.config import RunConfig
from kdexplorer.errors import KDError
from kdexplorer.experiments import driver, get_experiment
from kdexplorer.experiments.base import Part, PreparedExperiment
from kdexplorer.experiments.driver import Todo
from kdexplorer.experiments.report import read
from kdexplorer.runs.records import LIVE, RunStatus
from kdexplorer.runs.run_folder import Run
from kdexplorer.sweeps.plan import count_work
from kdexplorer.sweeps.progress import describe_progress
from kdexplorer.training.estimate import Estimate, Measurement, format_duration
from kdexplorer.training.recipe import pixel_shares


def sample_of(todo: Todo) -> RunConfig:
    """What is timed for a part: its first seed, with a stand-in where its teacher is not trained yet."""
    config = todo.part.declaration.experiment(todo.seeds[0])
    return config if todo.table is not None else config.model_copy(update={"teacher": todo.part.stand_in})


def add_up(todo: Todo, estimate: Estimate) -> float:
    """Seconds of a part's seeds; what they share is paid once."""
    return estimate.fixing + len(todo.seeds) * (estimate.seconds - estimate.fixing)


class ExperimentEstimate:
    """The time of what an experiment has left, while it is measured part by part. `poll` it, or `cancel` it.

    Raises:
        KDError: when a table belongs to something else, or a teacher is missing.
    """

    def __init__(self, experiment: PreparedExperiment) -> None:
        self.key = experiment.key
        self.todo = driver.list_todo(experiment, small=False, read_only=True)
        self._seconds: list[float] = []
        self._current: Measurement | None = None

    def poll(self) -> float | None:
        """Seconds of all parts, or None while one is being measured. Raises RunError when it failed."""
        if self._current is not None and (estimate := self._current.poll()) is not None:
            self._seconds.append(add_up(self.todo[len(self._seconds)], estimate))
            self._current = None
        if len(self._seconds) == len(self.todo):
            return sum(self._seconds)
        if self._current is None:
            self._current = Measurement(sample_of(self.todo[len(self._seconds)]))
        return None

    def describe(self) -> str:
        """How far it is."""
        number = min(len(self._seconds) + 1, len(self.todo))
        since = time.time() - self._current.started if self._current else 0.0
        return f"Timing a few batches of part {number} of {len(self.todo)} … {since:.0f} s"

    def cancel(self) -> None:
        """Ends what still measures."""
        if self._current is not None:
            self._current.cancel()


def describe_state(key: str, small: bool = False) -> str:
    """How far the experiment's process is, and the time that its current run and all of it have left.

    Empty where none works.
    """
    status = driver.get_run(key, small).status()
    if status.state not in LIVE:
        return ""
    experiment = get_experiment(key)
    working = [run for part in experiment.parts(small) for run in _list_working(key, part)]
    left = None
    with contextlib.suppress(KDError):
        left = seconds_left(experiment, small)
    whole = [] if left is None else [f"about {format_duration(left)} until all of it is done"]
    return "; ".join([status.message, *(describe_progress(run) for run in working), *whole])


def seconds_left(experiment: PreparedExperiment, small: bool = False) -> float | None:
    """Until all parts are trained; None where no run has said how long it takes.

    A seed takes as long as the current one of its part, else as the part's finished ones, else as much more or less
    than one of another part as it has more or less to compute. Raises KDError where a teacher is unknown.
    """
    left = waiting = seconds = work = 0.0  # `waiting` is work of parts of which no seed was timed
    tables = read(experiment, small).tables
    for part in experiment.parts(small):
        table, seeds, known = tables.get(part.name), set(part.declaration.seeds), list[float]()
        if table is not None:
            seeds -= table.complete_seeds()
            known = [one.seconds for one in table.seeds if one.seconds]
        for run in _list_working(experiment.key, part):
            status = run.status()
            if (share := _share_done(status)) and status.seconds_left is not None:
                seeds.discard(run.config().seed)
                left += status.seconds_left
                known = [status.seconds_left / (1 - share)] if share < 1 else known
        mean, of_seed = sum(known) / len(known) if known else None, _count_work(part)
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


def _count_work(part: Part) -> float:
    """Multiply-adds of a seed, which follow the pixels of each epoch. Raises KDError where its teacher is unknown."""
    config = part.declaration.recipe
    if part.stand_in is not None:
        config = config.model_copy(update={"teacher": part.stand_in})
    return count_work(config) * sum(pixel_shares(config)) * (config.train_images or 1)


def _list_working(key: str, part: Part) -> list[Run]:
    """The runs that train a part now."""
    league = driver.find_league(key, part)
    status = league.status()
    return [run for run in league.runs() if run.run_id in status.working] if status.state in LIVE else []
