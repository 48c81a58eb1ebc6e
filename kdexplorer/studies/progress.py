"""What a study's driver reports: its status, its log, a line for each run, and the table so far."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter

from kdexplorer.errors import ConfigError, KDError
from kdexplorer.runs.launch import Work
from kdexplorer.runs.records import RunStatus, State
from kdexplorer.runs.run_folder import Run
from kdexplorer.studies.collect import collect
from kdexplorer.studies.folder import StudyFolder

ATTEMPTS = 3  # how often a run is started from the same place before it counts as failed

SAY = 30.0  # seconds between two lines about how far the runs are


def describe_progress(run: Run) -> str:
    """How far a run is: `RUN: epoch 2 of 4, 3 min 10 s left`."""
    from kdexplorer.training.estimate import format_duration

    status = run.status()
    if status.epoch is None or status.epochs is None:
        return f"{run.run_id}: {status.message or status.state}"
    left = "" if status.seconds_left is None else f", {format_duration(status.seconds_left)} left"
    return f"{run.run_id}: epoch {status.epoch + 1} of {status.epochs}{left}"


class Progress:
    """The state of a study while its driver works: status, log, a line for each run, and the table so far."""

    def __init__(self, folder: StudyFolder, work: Work, show: bool) -> None:
        self.folder, self.work, self.show = folder, work, show
        self.working: list[str] = []
        self.failed: dict[str, str] = {}
        self._starts: Counter[tuple[str, int | None, int | None]] = Counter()
        self._written, self._said = 0.0, time.monotonic()

    def may_start(self, run: Run, status: RunStatus) -> bool:
        """Counts a run's start from this status; False when it is one too many from the same place."""
        place = run.run_id, status.epoch, status.step
        self._starts[place] += 1
        return self._starts[place] <= ATTEMPTS

    def begin(self, run: Run, where: str = "on this machine") -> None:
        """A run starts, unless it has begun already."""
        if run.run_id not in self.working:
            self.working.append(run.run_id)
            self.log(f"{run.run_id} begins {where}")
            self.refresh(every=0)

    def end(self, run: Run, state: State, message: str) -> None:
        """A run is over: the results so far are written anew."""
        self.working.remove(run.run_id)
        if state == "failed":
            self.failed[run.run_id] = message
        self.log(f"{run.run_id} {state}" + (f": {message}" if message else ""))
        try:
            collect(self.folder)
        except (KDError, OSError) as error:
            self.log(f"the results so far could not be written: {error}")
        self.refresh(every=0)

    def log(self, line: str) -> None:
        """Writes a line to the log, and to stderr where lines are shown."""
        self.work.logger.info("%s", line)
        if self.show:
            print(line, file=sys.stderr, flush=True)

    def refresh(self, every: float = 2.0) -> None:
        """Writes the status again when it is `every` seconds old."""
        if time.monotonic() - self._written >= every:
            with contextlib.suppress(OSError):  # a full disk must not end a study
                self.write("training")
        if self.show and time.monotonic() - self._said >= SAY:
            self._said = time.monotonic()
            for run in self.folder.runs():
                if run.run_id in self.working:
                    print(describe_progress(run), file=sys.stderr, flush=True)

    def write(self, message: str) -> None:
        """Replaces the study's status. Raises OSError."""
        self._written = time.monotonic()
        states = []
        with contextlib.suppress(ConfigError):  # which the driver reports
            states = [run.status().state for run in self.folder.runs()]
        self.work.facts = {
            "runs": len(states), "finished": states.count("finished"), "working": self.working,
            "failed": self.failed,
        }  # fmt: skip
        self.work.write("running", message)
