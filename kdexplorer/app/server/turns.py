"""Who goes first: runs of pages and computations, in one order for the whole server.

Nothing is rationed while the machine has time. Who waits is ordered: the presenter, then the address that has used
least, then its visitor (a browser's connection) who has used least. Use is time in turns and is halved every ten
seconds. A class behind one router is one address, so this machine is an address like any other.
"""

from __future__ import annotations

import contextlib
import math
import secrets
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, wait
from weakref import WeakValueDictionary

import streamlit as st

from kdexplorer.errors import KDError
from kdexplorer.runs.run_folder import count_live

HALF_LIFE = 10.0
PLACES = 2
"""Turns at a time, and one more of the presenter: Python runs one at a time, so more would only displace others."""
SHORTEST_THOUGHT, FIRST_THOUGHT, LONGEST_THOUGHT = 1.0, 2.0, 4.0
"""Seconds: who thinks less asks without pause; a new browser begins so; a longer thought counts as so long."""
REST, LONGEST_REST = 5.0, 30.0
"""The pause after a heavy turn while a run trains: in lengths of the turn, and seconds at most."""
NEWCOMERS_WAIT = 5.0
"""Seconds: so long those of an address who have just come let the others go first."""
BROWSERS = 1000
"""Of an address that are remembered longer than a minute."""
COMPUTATIONS, OF_A_VISITOR = 240, 2
"""At a time, those that wait included: each has a thread."""
POLL = 0.5
"""Seconds between two looks of a computation that waits."""
HEADER = "x-kdexplorer-visitor"
"""Names the connection to the page's script; the server sets it."""


class BusyError(KDError):
    """Too many computations are waiting."""


class Use:
    """Seconds of turns, halved every `HALF_LIFE`."""

    def __init__(self, used: float = 0.0) -> None:
        self._used, self._at = used, time.monotonic()

    def used(self, now: float | None = None) -> float:
        """What is left of it."""
        return self._used * 0.5 ** (((time.monotonic() if now is None else now) - self._at) / HALF_LIFE)

    def add(self, seconds: float) -> None:
        self._used, self._at = self.used() + seconds, time.monotonic()


class Address(Use):
    """What an address has used, how many connections it has, and its browsers by cookie."""

    def __init__(self) -> None:
        super().__init__()
        self.visitors, self.browsers = 0, dict[str, Browser]()


class Browser:
    """How much a browser's visitor thinks: seconds between the end of a turn and the next request, lately."""

    def __init__(self) -> None:
        self.thinks, self.left = FIRST_THOUGHT, math.nan
        """Averaged over the latest requests; when the last turn ended, NaN before."""

    def asks(self) -> None:
        """Notes that it requests a turn."""
        if not math.isnan(self.left):
            self.thinks += (min(LONGEST_THOUGHT, time.monotonic() - self.left) - self.thinks) / 4


class Visitor(Use):
    """A browser's connection. It begins with the mean of its address, so that coming and going gains nothing."""

    def __init__(self, address: Address | None = None, cookie: str = "") -> None:
        self.address, self.cookie, self.is_presenter = address or Address(), cookie, is_presenter(cookie)
        self.name = secrets.token_urlsafe(16)
        self.address.visitors += 1
        super().__init__(self.address.used() / self.address.visitors)
        self.page: Turn | None = None
        """The run of a page that goes on."""
        self.browser = self.address.browsers.setdefault(cookie, Browser()) if cookie else Browser()

    def favor(self) -> None:
        """This is the presenter's browser."""
        self.is_presenter = True
        if self.cookie:
            _presenters.add(self.cookie)

    def add(self, seconds: float) -> None:
        super().add(seconds)
        self.browser.left = self._at

    def step_aside(self) -> None:
        """Ends the turn of the page that runs, not of one that waits: what follows waits for something else."""
        if self.page is not None and self.page.granted.done():
            end(self.page)


class Turn:
    """A run of a page, or one step of a computation."""

    def __init__(self, visitor: Visitor, computes: bool = False) -> None:
        self.visitor, self.asked, self.began, self._computes = visitor, time.monotonic(), math.nan, computes
        self.granted, self.ended = Future[None](), Future[None]()
        for future in (self.granted, self.ended):
            future.set_running_or_notify_cancel()  # nobody who waits can cancel it

    @property
    def is_heavy(self) -> bool:
        """A computation, or a page of who asks without pause."""
        return self._computes or self.visitor.browser.thinks < SHORTEST_THOUGHT

    def rank(self, now: float) -> tuple[bool, float, bool, float]:
        """Whoever has the least goes first; within an address, those who have been here before who has just come.

        That for some seconds only: where the machine is too slow for all, who has just come would never have a turn.
        """
        one = self.visitor
        has_just_come = math.isnan(one.browser.left) and now < self.asked + NEWCOMERS_WAIT
        return not one.is_presenter, one.address.used(now), has_just_come, one.used(now)

    def has_place(self) -> bool:
        """Whether it could begin now.

        Of visitors' heavy turns one goes on at a time, and while a run trains it is followed by a pause without heavy
        turns: all together they take a bounded share from the training, and who asks now and then does not notice it.
        """
        if self.visitor.is_presenter:
            return len(_taken) < PLACES + 1
        others = (turn for turn in _taken if not turn.visitor.is_presenter)
        return len(_taken) < PLACES and not (
            self.is_heavy and (time.monotonic() < _rest_until or any(turn.is_heavy for turn in others))
        )


def ask(visitor: Visitor, computes: bool = False) -> Turn:
    """A turn that waits: of a page, or of a computation."""
    turn = Turn(visitor, computes)
    with _lock:
        visitor.browser.asks()
        _waiting.append(turn)
        _grant()
    return turn


def end(turn: Turn) -> None:
    """This turn is over, or is not waited for any longer."""
    global _rest_until
    with _lock:
        if turn.ended.done():
            return
        turn.ended.set_result(None)
        if turn in _waiting:
            _waiting.remove(turn)
        if turn not in _taken:
            return
        seconds = time.monotonic() - turn.began
        turn.visitor.add(seconds)
        turn.visitor.address.add(seconds)
        _taken.remove(turn)
        if turn.is_heavy and not turn.visitor.is_presenter and is_training():
            rest = min(LONGEST_REST, REST * seconds)
            _rest_until = time.monotonic() + rest
            later(rest, _grant)
        _grant()


def _grant() -> None:
    with _lock:
        while ready := [turn for turn in _waiting if turn.has_place()]:
            now = time.monotonic()
            turn = min(ready, key=lambda turn: turn.rank(now))
            _waiting.remove(turn)
            _taken.append(turn)
            turn.began = now
            turn.granted.set_result(None)


def later(seconds: float, call: Callable[[], None]) -> None:
    """Calls it in a thread after that time."""
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()


def is_training() -> bool:
    """Whether one of the latest runs trains or waits, as of the last second."""
    global _looked
    if time.monotonic() >= _looked[0] + 1:
        _looked = time.monotonic(), count_live() > 0
    return _looked[1]


_lock, _looked = threading.RLock(), (-math.inf, False)
_presenters, _addresses, _visitors = set[str](), dict[str, Address](), dict[str, Visitor]()
"""Browsers' cookies, addresses, and connections by name."""
_keys = WeakValueDictionary[Hashable, threading.Lock]()
_waiting, _taken, _rest_until = list[Turn](), list[Turn](), -math.inf
computations: list[Visitor] = []
"""Whose have not finished, in the order in which they began."""


@contextlib.contextmanager
def visit(address: str, cookie: str) -> Iterator[Visitor]:
    """A connection, while it lasts."""
    with _lock:
        for other in [other for other, one in _addresses.items() if not one.visitors and one.used() < 0.01]:
            del _addresses[other]
        own = _addresses.setdefault(address, Address())
        if len(own.browsers) > BROWSERS:
            recent = time.monotonic() - 60
            own.browsers = {cookie: one for cookie, one in own.browsers.items() if one.left > recent}
        visitor = Visitor(own, cookie)
        _visitors[visitor.name] = visitor
    try:
        yield visitor
    finally:
        with _lock:
            del _visitors[visitor.name]
            visitor.address.visitors -= 1


def own() -> Visitor:
    """The visitor for whom the script runs; a new one where there is no connection."""
    return _visitors.get(st.context.headers.get(HEADER) or "") or Visitor()


def is_presenter(cookie: str) -> bool:
    """Whether this is the presenter's browser."""
    return bool(cookie) and cookie in _presenters


def count_visitors(address: str | None = None, cookie: str = "") -> int:
    """Open connections, all or those of one browser at an address."""
    if address is None:
        return len(_visitors)
    with _lock:
        own = _addresses.get(address)
        return sum(one.address is own and one.cookie == cookie for one in _visitors.values())


def load() -> float:
    """How many turns at a time the visitors have used lately."""
    return math.log(2) / HALF_LIFE * sum(address.used() for address in _addresses.values())


def is_free(own: int, all_together: int, most: int) -> bool:
    """Whether an address may have one more of something finite: it gets at most half of what the others leave."""
    return own < (most - all_together + own) // 2


@contextlib.contextmanager
def compute(
    visitor: Visitor, key: Hashable = None, say: Callable[[int], object] = lambda before: None
) -> Iterator[Callable[[], None]]:
    """Waits for a turn to compute; yields what is to be called between two steps, where it waits again.

    Args:
        visitor: whose turn it is.
        key: what determines the result. Computations with the same key run one after the other, so that the second
            finds the first one's result; the presenter's wait for no other visitor's.
        say: called while waiting with the number of computations before this one.

    Raises:
        BusyError: when this visitor, or all together, have too many.
    """
    turn, mine = Turn(visitor), threading.Lock()
    if key is not None:
        mine = _keys.setdefault((visitor.is_presenter, key), mine)

    def wait_for_turn() -> None:
        nonlocal turn
        end(turn)
        turn = ask(visitor, computes=True)
        while not turn.granted.done():
            say(computations.index(visitor))
            wait([turn.granted], POLL)

    visitor.step_aside()
    with _lock:
        of_address = sum(other.address is visitor.address for other in computations)
        is_busy = computations.count(visitor) >= OF_A_VISITOR
        if not visitor.is_presenter and (is_busy or not is_free(of_address, len(computations), COMPUTATIONS)):
            raise BusyError("Too many computations at a time: wait until one of them has finished.")
        computations.append(visitor)
    try:
        while not mine.acquire(timeout=POLL):
            say(computations.index(visitor))
        try:
            wait_for_turn()
            yield wait_for_turn
        finally:
            end(turn)
            mine.release()
    finally:
        computations.remove(visitor)
