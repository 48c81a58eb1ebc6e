"""Who goes first: runs of pages and computations, in one order for the whole server.

Nothing is rationed while the machine has time. Who waits is ordered: the presenter, then the address that has used
least, then its visitor (a browser) who has used least. Use is time in turns and is halved every ten
seconds. A class behind one router is one address, so this machine is an address like any other.
"""

from __future__ import annotations

import contextlib
import functools
import math
import secrets
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from weakref import WeakValueDictionary

import streamlit as st

from kdexplorer.app.server.refusals import log_refusal
from kdexplorer.errors import KDError
from kdexplorer.runs.run_folder import count_live

HALF_LIFE, UNUSED = 10.0, (0.0, 0.0)
PLACES = 2
"""Turns at a time, and one more of the presenter: Python runs one at a time, so more would only displace others."""
SHORTEST_THOUGHT, SHORT_THOUGHT, FIRST_THOUGHT, LONGEST_THOUGHT = 1.0, 1.5, 2.0, 4.0
"""Seconds: who thinks less asks without pause; who thinks less is hasty; a new browser begins so; a longer thought
counts as so long."""
REST, LONGEST_REST = 5.0, 30.0
"""The pause after a heavy turn while a run trains: in lengths of the turn, and seconds at most."""
TURNS_OF_OTHERS = 3
"""Before each of those who have just come or are hasty."""
LATE = 3.0
"""Seconds after which someone who has just come waits behind those who have come since."""
BROWSERS = 1000
"""That are remembered longer than a minute."""
CONNECTIONS, OF_A_BROWSER = 2000, 32
"""Tabs at a time. In a frame of another site no browser has the server's cookie: they share their address's."""
COMPUTATIONS, COMPUTED_BY_A_BROWSER = 240, 4
"""At a time, those that wait included: each has a thread."""
POLL = 0.5
"""Seconds between two looks of a computation that waits."""
HEADER = "x-kdexplorer-visitor"
"""Names the connection to the page's script; the server sets it."""


@dataclass
class Browser:
    """What is known of a browser while it comes and goes."""

    use: tuple[float, float]
    """Seconds of turns, and when they were so many. It begins with the mean of its address, so that a new one gains
    nothing."""
    thinks: float = FIRST_THOUGHT
    """Seconds between the end of a turn and the next request, averaged over the latest requests."""
    left: float = math.nan
    """When the last turn ended, NaN before."""
    is_presenter: bool = False

    @property
    def is_new(self) -> bool:
        """Whether it has just come: no turn of it has ended."""
        return math.isnan(self.left)

    @property
    def must_wait(self) -> bool:
        """Whether others go first: it has just come, or is hasty."""
        return self.is_new or self.thinks < SHORT_THOUGHT


class Visitor:
    """A browser's connection."""

    def __init__(self, address: str = "", cookie: str = "") -> None:
        self.address, self.cookie, self.name = address, cookie, secrets.token_urlsafe(16)
        self.page = Turn(self, computes=False)
        """The latest run of a page; at first one that is over."""
        self.page.ended.set_result(None)
        now, others = time.monotonic(), sum(one.address == address for one in list(visitors.values()))
        new = Browser((_left(_addresses.get(address, UNUSED), now) / (1 + others), now))
        self.browser = _browsers.get(cookie, new)

    @property
    def is_presenter(self) -> bool:
        """Whether the presenter token was entered in this browser, or may be done without."""
        return self.browser.is_presenter

    def step_aside(self) -> None:
        """Ends the turn of the page that runs, not of one that waits: what follows waits for something else."""
        page = self.page  # once: another thread may begin the next one
        if page.granted.done():
            end(page)


class Turn:
    """A run of a page, or one step of a computation."""

    def __init__(self, visitor: Visitor, computes: bool) -> None:
        self.visitor, self.asked, self.began, self._computes = visitor, time.monotonic(), math.nan, computes
        self.granted, self.ended = Future[None](), Future[None]()

    @property
    def is_heavy(self) -> bool:
        """A computation, or a page of who asks without pause; none of the presenter's."""
        return not self.visitor.is_presenter and (self._computes or self.visitor.browser.thinks < SHORTEST_THOUGHT)

    def rank(self, now: float) -> tuple[bool | float, ...]:
        """The presenter first, then the address, then the browser that has used least; those who must wait at the end.

        Yet one in so many turns is for these: where the machine is too slow for all, neither may wait until there are
        no more of the others, nor a single one who has just come behind hundreds.
        """
        one, browser = self.visitor, self.visitor.browser
        of_address = _left(_addresses.get(one.address, UNUSED), now)
        is_behind = browser.must_wait and _turns_of_others < TURNS_OF_OTHERS
        of_new, of_known = (False, now > self.asked + LATE, self.asked), (True, _left(browser.use, now))
        return not one.is_presenter, is_behind, of_address, *(of_new if browser.is_new else of_known)

    def has_place(self) -> bool:
        """Whether it could begin now.

        Of visitors' heavy turns one goes on at a time, and while a run trains it is followed by a pause without heavy
        turns: all together they take a bounded share from the training, and who asks now and then does not notice it.
        """
        if self.is_heavy and (time.monotonic() < _rest_until or any(turn.is_heavy for turn in _taken)):
            return False
        return len(_taken) < PLACES + self.visitor.is_presenter


def _left(use: tuple[float, float], now: float) -> float:
    """What is left of seconds of turns by a time, halved every `HALF_LIFE`."""
    seconds, at = use
    return seconds * 0.5 ** ((now - at) / HALF_LIFE)


def ask(visitor: Visitor, computes: bool = False) -> Turn:
    """A turn that waits: of a page, or of a computation."""
    turn, browser = Turn(visitor, computes), visitor.browser
    with _lock:
        if not computes and not browser.is_new:
            browser.thinks += (min(LONGEST_THOUGHT, turn.asked - browser.left) - browser.thinks) / 4
        _waiting.append(turn)
        _grant()
    return turn


def end(turn: Turn | None) -> None:
    """This turn is over, or is not waited for any longer."""
    global _rest_until
    with _lock:
        if turn in _waiting:
            _waiting.remove(turn)
        if turn not in _taken:
            return
        address, browser, now = turn.visitor.address, turn.visitor.browser, time.monotonic()
        browser.use = _left(browser.use, now) + now - turn.began, now
        if not turn.visitor.is_presenter:  # whose class would have to wait for it
            _addresses[address] = _left(_addresses.get(address, UNUSED), now) + now - turn.began, now
        browser.left = now
        _taken.remove(turn)
        turn.ended.set_result(None)
        if turn.is_heavy and is_training(int(now)):
            rest = min(LONGEST_REST, REST * (now - turn.began))
            _rest_until = now + rest
            later(rest, _grant)
        _grant()


def _grant() -> None:
    global _turns_of_others
    with _lock:
        while ready := [turn for turn in _waiting if turn.has_place()]:
            now = time.monotonic()
            turn = min(ready, key=lambda turn: turn.rank(now))
            _waiting.remove(turn)
            _taken.append(turn)
            turn.began, _turns_of_others = now, 0 if turn.visitor.browser.must_wait else _turns_of_others + 1
            turn.granted.set_result(None)


def later(seconds: float, call: Callable[[], None]) -> None:
    """Calls it in a thread after that time."""
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()


@functools.lru_cache(maxsize=1)
def is_training(second: int) -> bool:
    """Whether one of the latest runs trains or waits, looked up once in this second."""
    return count_live() > 0


_lock, _browsers = threading.RLock(), dict[str, Browser]()
"""Browsers by their cookies."""
_addresses = dict[str, tuple[float, float]]()
"""What each address had used, and when."""
_keys = WeakValueDictionary[Hashable, threading.Lock]()
_waiting, _taken, _rest_until, _turns_of_others = list[Turn](), list[Turn](), -math.inf, 0
visitors, computations = dict[str, Visitor](), list[Visitor]()
"""Open connections by name, and whose computations have not finished, in the order in which they began."""


def arrive(address: str, cookie: str) -> Visitor | None:
    """A connection that begins, in `visitors` until it ends; None where there are too many."""
    now = time.monotonic()
    with _lock:
        for other in [other for other, use in _addresses.items() if _left(use, now) < 0.01]:
            del _addresses[other]
        if len(_browsers) > BROWSERS:
            for key in [key for key, one in _browsers.items() if not (one.left > now - 60 or one.is_presenter)]:
                del _browsers[key]
        visitor = Visitor(address, cookie)
        if not is_free(visitor, list(visitors.values()), CONNECTIONS, OF_A_BROWSER):
            return None
        visitors[visitor.name] = visitor
        if cookie:
            _browsers[cookie] = visitor.browser
    return visitor


def own() -> Visitor:
    """The visitor for whom the script runs; a new one where there is no connection."""
    return visitors.get(st.context.headers.get(HEADER) or "") or Visitor()


def load() -> float:
    """How many turns at a time the visitors have used lately."""
    now = time.monotonic()
    return math.log(2) / HALF_LIFE * sum(_left(use, now) for use in list(_addresses.values()))


def is_free(visitor: Visitor, taken: Sequence[Visitor], most: int, of_a_browser: int) -> bool:
    """Whether a visitor may have one more of something finite: its address has less than half of what others leave."""
    own = sum(one.address == visitor.address for one in taken)
    has_few = sum(one is visitor or one.cookie == visitor.cookie != "" for one in taken) < of_a_browser
    return visitor.is_presenter or (has_few and own < (most - len(taken) + own) // 2)


@contextlib.contextmanager
def compute(
    visitor: Visitor, key: Hashable = None, say: Callable[[int], object] = lambda before: None
) -> Iterator[Callable[[], None]]:
    """Waits for a turn to compute; yields what is to be called between two steps, where it waits again.

    The key is what determines the result: computations with the same one run one after the other, so that the second
    finds the first one's result; the presenter's wait for no other visitor's. `say` is called while waiting with the
    number of computations before this one. Raises KDError where there are too many, see `is_free`.
    """
    turn: Turn | None = None
    mine = threading.Lock() if key is None else _keys.setdefault((visitor.is_presenter, key), threading.Lock())

    def wait_for_turn() -> None:
        nonlocal turn
        end(turn)
        turn = ask(visitor, computes=True)
        while not turn.granted.done():
            say(computations.index(visitor))
            wait([turn.granted], POLL)

    visitor.step_aside()
    with contextlib.ExitStack() as ending:
        with _lock:
            if not is_free(visitor, computations, COMPUTATIONS, COMPUTED_BY_A_BROWSER):
                log_refusal(visitor.address, "more computations than a visitor or an address may have")
                raise KDError("Too many computations at a time: wait until one of them has finished.")
            computations.append(visitor)
        ending.callback(computations.remove, visitor)
        while not mine.acquire(timeout=POLL):
            say(computations.index(visitor))
        ending.callback(mine.release)
        ending.callback(lambda: end(turn))
        wait_for_turn()
        yield wait_for_turn
