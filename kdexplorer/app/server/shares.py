"""What the visitors of one address may use of the server: connections, runs of pages at a time, processor time.

Whoever has used up the processor time waits until it has filled up again; a visitor who clicks as fast as pages appear
does not reach the limit. This machine itself is not limited. One address may stand for a whole lecture room behind a
router: `VARIABLE` says for how many visitors.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import streamlit as st

VARIABLE = "KDEXPLORER_VISITORS_PER_ADDRESS"
CONNECTIONS = 32
"""Open at a time; a browser has one for each tab."""
REQUESTS = 256
"""Answered at a time: the files of a page, uploads."""
RUNS = 2
"""Runs of pages at a time. Python runs one at a time in any case, so more would only displace other visitors."""
UPLOADS = 2
"""Received at a time."""
VOTES = 2048
"""Requests of phones that vote, answered at a time. A lecture room is one address, whatever `VARIABLE` says."""
KEPT = 1024
"""Addresses that are remembered without a connection."""


class Allowance:
    """Seconds of processor time, at first `most`, that fill up at a rate; they may be overdrawn."""

    def __init__(self, rate: float, most: float) -> None:
        """Starts full.

        Args:
            rate: seconds that are added each second.
            most: seconds that are kept.
        """
        self.rate, self.most = rate, most
        self._seconds, self._at, self._lock = most, time.monotonic(), threading.Lock()

    def spend(self, seconds: float) -> None:
        """Takes these seconds, also where fewer are left."""
        with self._lock:
            self._seconds, self._at = self._now() - seconds, time.monotonic()

    def left(self) -> float:
        """Seconds that are left; below zero it is overdrawn."""
        with self._lock:
            return self._now()

    def wait(self) -> float:
        """Seconds until it is not overdrawn any more."""
        return max(0.0, -self.left() / self.rate)

    def _now(self) -> float:
        return min(self.most, self._seconds + self.rate * (time.monotonic() - self._at))


def _visitors() -> int:
    """How many visitors an address stands for. Raises SystemExit for anything but a whole number from 1 on."""
    text = os.environ.get(VARIABLE) or "1"
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= 10_000:
        raise SystemExit(f"{VARIABLE} must be a whole number from 1 to 10000, not '{text[:40]}'.")
    return int(text)


@dataclass(eq=False)
class Share:
    """Of one address; what is counted here is in use now."""

    visitors: int = field(default_factory=_visitors)
    connections: int = 0
    requests: int = 0
    votes_now: int = 0
    """Requests of phones that vote."""
    warned: bool = False
    """Whether the log says that connections are refused."""

    def __post_init__(self) -> None:
        """Creates what fills up and what is waited for."""
        self.pages = Allowance(0.05 * self.visitors, 3.0 * self.visitors)
        """For runs of pages; one takes 0.02 to 0.08 s, and sending it a quarter of that, which is not charged."""
        self.jobs = Allowance(0.02 * self.visitors, 1.0 * self.visitors)
        """For `jobs`, while a run trains."""
        self.votes = Allowance(0.2, 10.0)
        """For phones that vote: 20,000 requests at once, then 400 a second, see `guard.COSTS`."""
        self.runs = asyncio.Semaphore(self.allow(RUNS))
        self.uploads = asyncio.Semaphore(self.allow(UPLOADS))

    def allow(self, of_one: int) -> int:
        """How many of something that one visitor may have `of_one` at a time."""
        return of_one + self.visitors // 8

    @property
    def most_connections(self) -> int:
        """How many may be open."""
        return max(CONNECTIONS, 4 * self.visitors)

    @property
    def most_requests(self) -> int:
        """How many may be answered at a time."""
        return max(REQUESTS, 8 * self.visitors)

    async def afford(self) -> None:
        """Waits until the pages' allowance is not overdrawn."""
        while (seconds := self.pages.wait()) > 0:
            await asyncio.sleep(seconds)

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be lost by forgetting it."""
        unused = all(one.left() == one.most for one in (self.pages, self.jobs, self.votes))
        return unused and not self.connections and not self.requests and not self.votes_now


_shares: dict[str, Share] = {}
_lock = threading.Lock()
_charging = threading.local()


def check_setting() -> None:
    """Ends the program with an explanation where `VARIABLE` is not a number. Raises SystemExit."""
    _visitors()


def share_of(address: str | None) -> Share | None:
    """The share of an address, or None for this machine itself. IPv6 networks of 64 bits are one address."""
    if address is None:
        return None
    key = address
    with contextlib.suppress(ValueError):
        found = ipaddress.ip_address(address)
        found = getattr(found, "ipv4_mapped", None) or found
        if found.is_loopback:
            return None
        key = str(found) if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))
    with _lock:
        if key not in _shares and len(_shares) >= KEPT:
            for other in [other for other, share in _shares.items() if share.is_idle]:
                del _shares[other]
        if key not in _shares:
            _shares[key] = Share()
        return _shares[key]


def own_share() -> Share | None:
    """The share of the visitor for whom the page runs."""
    return share_of(st.context.ip_address)


@contextlib.contextmanager
def charged(find_share: Callable[[], Share | None]) -> Iterator[None]:
    """Takes the processor time of what happens inside from a share; also a decorator, for fragments.

    A fragment that runs as a part of its page is charged with the page. What `leave_out` names is not charged.
    """
    if getattr(_charging, "now", False):
        yield
        return
    _charging.now, _charging.left_out, begin = True, 0.0, time.thread_time()
    try:
        yield
    finally:
        _charging.now, share = False, find_share()
        if share is not None:
            share.pages.spend(time.thread_time() - begin - _charging.left_out)


def leave_out(seconds: float) -> None:
    """Processor time of this thread that `charged` does not take, because another allowance pays for it."""
    _charging.left_out = getattr(_charging, "left_out", 0.0) + seconds
