"""What a sweep's driver reports: its status, its log, a line for each experiment, and the results so far."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable

from kdexplorer.errors import ConfigError, KDError
from kdexplorer.runs.records import RunStatus, State
from kdexplorer.runs.run_folder import Run
from kdexplorer.sweeps.choice import write_results
from kdexplorer.sweeps.folder import Sweep

ATTEMPTS = 3  # how often an experiment is started from the same place before it counts as failed

SAY = 30.0  # seconds between two lines about how far the experiments are


def describe_progress(run: Run) -> str:
    """How far a run is: `RUN: epoch 2 of 4, 3 min 10 s left`."""
    from kdexplorer.training.estimate import format_duration

    status = run.status()
    if status.epoch is None or status.epochs is None:
        return f"{run.run_id}: {status.message or status.state}"
    left = "" if status.seconds_left is None else f", {format_duration(status.seconds_left)} left"
    return f"{run.run_id}: epoch {status.epoch + 1} of {status.epochs}{left}"


class SweepStopped(Exception):
    """SIGTERM or SIGINT arrived, or one of the sweep's runs was stopped."""


class SweepProgress:
    """The state of a sweep while its driver works."""

    def __init__(
        self, sweep: Sweep, logger: logging.Logger, show: bool, write_results: Callable[[Sweep], object] = write_results
    ) -> None:
        self.sweep, self.logger, self.show, self.write_results = sweep, logger, show, write_results
        self.working: list[str] = []
        self.failed: dict[str, str] = {}
        self._starts: Counter[tuple[str, int | None, int | None]] = Counter()
        self._written, self._said = 0.0, time.monotonic()

    def may_start(self, run: Run, status: RunStatus) -> bool:
        """Counts an experiment's start from this status; False when it is one too many from the same place."""
        place = run.run_id, status.epoch, status.step
        self._starts[place] += 1
        return self._starts[place] <= ATTEMPTS

    def begin(self, run: Run, where: str = "on this machine") -> None:
        """An experiment starts, unless it has begun already."""
        if run.run_id not in self.working:
            self.working.append(run.run_id)
            self.log(f"{run.run_id} begins {where}")
            self.refresh(every=0)

    def end(self, run: Run, state: State, message: str) -> None:
        """An experiment is over: the results so far are written anew."""
        self.working.remove(run.run_id)
        if state == "failed":
            self.failed[run.run_id] = message
        self.log(f"{run.run_id} {state}" + (f": {message}" if message else ""))
        try:
            self.write_results(self.sweep)
        except (KDError, OSError) as error:
            self.log(f"the results so far could not be written: {error}")
        self.refresh(every=0)

    def log(self, line: str) -> None:
        """Writes a line to the log, and to stderr where lines are shown."""
        self.logger.info("%s", line)
        if self.show:
            print(line, file=sys.stderr, flush=True)

    def refresh(self, every: float = 2.0) -> None:
        """Writes the status again when it is `every` seconds old."""
        if time.monotonic() - self._written >= every:
            with contextlib.suppress(OSError):  # a full disk must not end a sweep
                self.write("running", "training")
        if self.show and time.monotonic() - self._said >= SAY:
            self._said = time.monotonic()
            for run in self.sweep.runs():
                if run.run_id in self.working:
                    print(describe_progress(run), file=sys.stderr, flush=True)

    def write(self, state: State, message: str) -> None:
        """Replaces the sweep's status. Raises OSError."""
        self._written = time.monotonic()
        states = []
        with contextlib.suppress(ConfigError):  # which the driver reports
            states = [run.status().state for run in self.sweep.runs()]
        facts = {"experiments": len(states), "finished": states.count("finished")}
        self.sweep.write_status(state, message, working=self.working, failed=self.failed, **facts)
