"""Work that visitors start and that takes seconds: one step of one job at a time in the whole server.

A guest has `OF_A_GUEST` jobs at a time. Between two steps of a job others may go first: those whose guests have used
the least. While a run trains, a guest who has used up the allowance for jobs waits between steps.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass

from kdexplorer.app.shares import Share
from kdexplorer.errors import KDError
from kdexplorer.runs.run_folder import count_live

OF_A_GUEST = 2
IN_ALL = 16
LONGEST_PAUSE = 60.0
"""Seconds between two steps."""
POLL = 0.5
"""Seconds between two looks at the queue."""


class BusyError(KDError):
    """Too many jobs are waiting."""


@dataclass(eq=False)
class Job:
    """Work for a visitor; `guest` is None for the presenter and for this machine."""

    guest: Share | None
    key: Hashable
    ready: float = 0.0
    """When the next step may begin."""


class Queue:
    """Jobs that wait for their turn."""

    def __init__(self) -> None:
        """Empty."""
        self._changed = threading.Condition()
        self._jobs: list[Job] = []
        self._waiting: list[Job] = []
        self._turn: Job | None = None
        self._began = 0.0

    def __len__(self) -> int:
        """Jobs that have not finished."""
        return len(self._jobs)

    @contextlib.contextmanager
    def job(
        self, guest: Share | None, key: Hashable = None, say: Callable[[int], object] = lambda before: None
    ) -> Iterator[Callable[[], None]]:
        """Waits for the turn; yields what is to be called between two steps, where it waits again.

        Jobs with the same key run one after the other, so that the second finds the first one's result.

        Args:
            guest: whose share the time is taken from.
            key: what determines the result; None for a job that shares its result with no other.
            say: called while waiting with the number of jobs before this one.

        Raises:
            BusyError: when this guest, or all visitors together, have too many jobs.
        """
        job = Job(guest, object() if key is None else key)
        with self._changed:
            if guest is not None and sum(other.guest is guest for other in self._jobs) >= OF_A_GUEST:
                raise BusyError(f"Only {OF_A_GUEST} computations at a time: wait until one of yours has finished.")
            if len(self._jobs) >= IN_ALL:
                raise BusyError(f"{IN_ALL} computations are waiting: try again later.")
            self._jobs.append(job)
        try:
            self._wait(job, say)
            yield lambda: self._give_way(job, say)
        finally:
            self._end_turn(job)
            with self._changed:
                self._jobs.remove(job)
                self._changed.notify_all()

    def _give_way(self, job: Job, say: Callable[[int], object]) -> None:
        self._end_turn(job)
        self._wait(job, say)

    def _end_turn(self, job: Job) -> None:
        with self._changed:
            if self._turn is job:
                self._turn = None
                if job.guest is not None:
                    job.guest.jobs.spend(time.monotonic() - self._began)
                self._changed.notify_all()

    def _wait(self, job: Job, say: Callable[[int], object]) -> None:
        """Takes the turn."""
        if job.guest is not None and job.guest.jobs.wait() > 0 and is_training():
            job.ready = time.monotonic() + min(LONGEST_PAUSE, job.guest.jobs.wait())
        with self._changed:
            self._waiting.append(job)
        try:
            while not self._take(job):
                say(self._count_before(job))
                with self._changed:
                    self._changed.wait(POLL)
        finally:
            with self._changed:
                self._waiting.remove(job)

    def _take(self, job: Job) -> bool:
        with self._changed:
            if self._turn is not None or self._first() is not job:
                return False
            self._turn, self._began = job, time.monotonic()
            return True

    def _first(self) -> Job | None:
        """The job whose turn it is: of the first of each key that are ready, that of the guest who has used least.

        Of equals it is the one that waits longest.
        """
        now, by_key = time.monotonic(), dict[Hashable, Job]()
        for job in self._jobs:
            by_key.setdefault(job.key, job)
        ready = [job for job in self._waiting if job.ready <= now and by_key[job.key] is job]
        return min(ready, key=lambda job: -job.guest.jobs.left() if job.guest else -math.inf, default=None)

    def _count_before(self, job: Job) -> int:
        with self._changed:
            return self._jobs.index(job)


def is_training() -> bool:
    """Whether one of the latest runs trains or waits."""
    return count_live() > 0


queue = Queue()
"""The server's."""
