"""Work that visitors start and that takes seconds: one step of one job at a time in the whole server.

An address has `OF_A_GUEST` jobs at a time, and more where it stands for many visitors. Between two steps of a job
others may go first: those whose guests have used the least. While a run trains, a guest who has used up the allowance
for jobs waits between steps.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from kdexplorer.app.server.shares import Share, leave_out
from kdexplorer.errors import KDError
from kdexplorer.runs.run_folder import count_live

OF_A_GUEST = 2
IN_ALL = 16
"""Of all guests together. Each has a thread of the server."""
THREADS = 4 * IN_ALL
"""The presenter's are not counted, and Python's usual number on two cores is six."""
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
        self._places: list[Share] = []
        """Whose computations are counted."""
        self._turn: Job | None = None
        self._began = self._worked = 0.0

    def __len__(self) -> int:
        """Jobs that have not finished."""
        return len(self._jobs)

    @contextlib.contextmanager
    def job(
        self, guest: Share | None, key: Hashable = None, say: Callable[[int], object] = lambda before: None
    ) -> Iterator[Callable[[], None]]:
        """`place` and `turn` in one."""
        with self.place(guest), self.turn(guest, key, say) as give_way:
            yield give_way

    @contextlib.contextmanager
    def place(self, guest: Share | None) -> Iterator[None]:
        """Counts one computation of a guest, also where it waits for the same one of another; None is not counted.

        Raises:
            BusyError: when this guest, or all guests together, have too many.
        """
        if guest is None:
            yield
            return
        most = guest.allow(OF_A_GUEST)
        with self._changed:
            if self._places.count(guest) >= most:
                raise BusyError(f"Only {most} computations at a time: wait until one of yours has finished.")
            if len(self._places) >= max(IN_ALL, most):
                raise BusyError(f"{len(self._places)} computations are waiting: try again later.")
            self._places.append(guest)
        try:
            yield
        finally:
            with self._changed:
                self._places.remove(guest)

    @contextlib.contextmanager
    def turn(
        self, guest: Share | None, key: Hashable = None, say: Callable[[int], object] = lambda before: None
    ) -> Iterator[Callable[[], None]]:
        """Waits for the turn; yields what is to be called between two steps, where it waits again.

        Jobs with the same key run one after the other, so that the second finds the first one's result. The presenter's
        wait for no guest's, who may have to pause.

        Args:
            guest: whose share the time is taken from.
            key: what determines the result; None for a job that shares its result with no other.
            say: called while waiting with the number of jobs before this one.
        """
        job = Job(guest, object() if key is None else (guest is None, key))
        with self._changed:
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
                leave_out(time.thread_time() - self._worked)
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
            self._turn, self._began, self._worked = job, time.monotonic(), time.thread_time()
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


def provide_threads() -> None:
    """Gives the running event loop threads in which downloads are built, and wait for their turn."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "download"))


queue = Queue()
"""The server's."""
