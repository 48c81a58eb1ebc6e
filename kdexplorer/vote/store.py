"""Questions and votes in a database on the disk (SQLite), which is the only truth: a restart or a second process
reads the same.

A vote is a device's number and a class. The number is a hash of the browser's cookie and the question, so it does not
connect a device's votes on two questions, and the votes are deleted when the question is closed: its totals stay. A
vote is confirmed after it was written, so killing the server loses none; only a power cut may lose the last seconds.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import secrets
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from kdexplorer.errors import ConfigError
from kdexplorer.files import parse_json
from kdexplorer.runs.run_folder import runs_root
from kdexplorer.schema import validate
from kdexplorer.vote.questions import MAX_DEVICES, MAX_QUESTIONS, Question, VoteError

PATIENCE = 5.0
"""Seconds that a vote waits for another one that is written."""
NO_QUESTION = "none"
"""The state before the first question."""
Found = TypeVar("Found")
_DAMAGE = (ConfigError, ValueError, TypeError, RecursionError)
_DAMAGE_CODES = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
"""Of a file: other tables, or none. Without space or free file handles it may be whole."""
_TABLES = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS question (number INTEGER PRIMARY KEY, json TEXT);
CREATE TABLE IF NOT EXISTS vote (device TEXT PRIMARY KEY, choice INTEGER);
CREATE INDEX IF NOT EXISTS choices ON vote (choice);
"""


class Store:
    """The questions and votes in a folder; for any number of threads and processes. A damaged file counts as empty."""

    def __init__(self, folder: Path) -> None:
        """Reads nothing yet; the folder is created by the first question."""
        self._path = folder / "votes.sqlite"
        self._reading, self._writing_now = threading.RLock(), threading.Lock()
        self._bases = dict[str, sqlite3.Connection]()
        """To read and to write, so that nobody who reads waits for somebody who writes."""
        self._devices = dict[str, Counter[str]]()
        """How many of an address have voted on the open question, by its key; on no disk."""
        self.link = ""
        """For phones, where the presenter has chosen another than the server's; on no disk: each room has its own."""

    # What anyone may read.

    def questions(self) -> tuple[Question, ...]:
        """All in the order in which they were asked; only the last one may be open."""
        return self._read(_read_questions, ())

    def closed(self) -> tuple[Question, ...]:
        return tuple(one for one in self.questions() if not one.is_open)

    def current(self) -> Question | None:
        """The question that was asked last, open or closed."""
        return next(reversed(self.questions()), None)

    def state(self) -> str:
        question = self.current()
        return NO_QUESTION if question is None else question.state

    def counts(self, question: Question) -> tuple[int, ...]:
        question = next((one for one in self.questions() if one.key == question.key), question)
        return question.counts or self._read(lambda base: _count(base, question), question.totals)

    def choice(self, question: Question, cookie: str) -> int | None:
        """What this browser has voted for, while the question is open."""
        query = "SELECT choice FROM vote WHERE device = ?"
        found = self._read(lambda base: base.execute(query, (_number(question.key, cookie),)).fetchone(), None)
        return None if found is None else found[0]

    def voters(self) -> int:
        """How many devices have voted on the last question."""
        question = self.current()
        return sum(question.counts) if question and question.counts else self._read(_count_devices, 0)

    # What a phone does.

    def vote(self, key: str, choice: int, cookie: str, address: str = "") -> None:
        """Stores a browser's vote on the question of that key, in place of its previous one.

        Of an address only the number of devices is remembered, until the next question.

        Raises:
            VoteError: with the status 409 when the question is not open, 400 for a class that it does not have, 503
                beyond an address's part of `MAX_DEVICES`, when the disk is full, or after `PATIENCE`.
        """
        with self._write() as base:
            question = self.current()
            if question is None or not question.is_open or question.key != key:
                raise VoteError("This question is closed. Your vote was not counted.", 409)
            if not 0 <= choice < len(question.classes):
                raise VoteError("This is none of the question's classes.")
            device = _number(key, cookie)
            if not base.execute("UPDATE vote SET choice = ? WHERE device = ?", (choice, device)).rowcount:
                self._devices = {key: self._devices.get(key, Counter())}  # perhaps another process has opened it
                devices, own = _count_devices(base), self._devices[key][address]
                if devices + own >= MAX_DEVICES:
                    raise VoteError(f"{devices:,} devices have voted, {own:,} of your network: it is full.", 503)
                base.execute("INSERT INTO vote (device, choice) VALUES (?, ?)", (device, choice))
                self._devices[key][address] += 1

    # What the presenter does.

    def start(self, question: Question, seen: str | None = None) -> None:
        """Opens a question; the one that is open is closed first. `seen`: the `state` when the presenter decided it.

        Raises VoteError: for one too many, when the disk does not take it, and with the status 409 when another
        presenter has acted since `seen`.
        """
        self._create()
        with self._write() as base:
            self._close(base, seen)
            if len(self.questions()) >= MAX_QUESTIONS:
                raise VoteError(f"There are {MAX_QUESTIONS} questions, which is the limit: delete them first.")
            base.execute("INSERT INTO question (json) VALUES (?)", (question.model_dump_json(),))

    def close(self, seen: str | None = None) -> None:
        """Closes the open question, if any: its totals stay, the devices' votes are deleted; errors as of `start`."""
        if self.questions():
            with self._write() as base:
                self._close(base, seen)

    def clear(self) -> None:
        """Deletes all questions and votes. Raises VoteError."""
        if self._path.exists():
            self._create()
            with self._write() as base:
                base.execute("DELETE FROM question")
                base.execute("DELETE FROM vote")

    # How.

    def _close(self, base: sqlite3.Connection, seen: str | None) -> None:
        question = self.current()
        if seen not in (None, self.state()):
            raise VoteError(
                "Nothing was changed: another presenter, or your other tab, was faster. This page now shows the "
                "question as it is.", 409,
            )  # fmt: skip
        if question is not None and question.is_open:
            closed = question.model_copy(update={"counts": _count(base, question)}).model_dump_json()
            base.execute("UPDATE question SET json = ? WHERE number = (SELECT max(number) FROM question)", (closed,))
        base.execute("DELETE FROM vote")

    def _connect(self, use: str) -> sqlite3.Connection:
        if use not in self._bases:
            base = sqlite3.connect(self._path, PATIENCE, isolation_level=None, check_same_thread=False)
            base.execute("PRAGMA synchronous = NORMAL")  # with WAL: nothing is synced for each vote
            self._bases[use] = base
        return self._bases[use]

    def _read(self, query: Callable[[sqlite3.Connection], Found], empty: Found) -> Found:
        """What a query finds in the file; `empty` where there is none or it cannot be read."""
        with self._reading:
            try:
                return query(self._connect("read")) if self._path.exists() else empty
            except (sqlite3.Error, *_DAMAGE):
                self._bases.pop("read", None)
                return empty

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """A transaction. Raises VoteError with the status 503."""
        if not self._path.exists():
            raise VoteError("This question is closed. Your vote was not counted.", 409)
        if not self._writing_now.acquire(timeout=PATIENCE):
            raise VoteError("The server is busy. Try again.", 503)
        try:
            with self._connect("write") as base:  # commits, or rolls back
                base.execute("BEGIN IMMEDIATE")
                yield base
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                raise VoteError("The server is busy. Try again.", 503) from error
            self._bases.pop("write", None)
            raise VoteError("The vote could not be stored. Try again.", 503) from error
        finally:
            self._writing_now.release()

    def _create(self) -> None:
        """Makes the file where there is none; one that cannot be read is kept under another name."""
        with self._writing_now, self._reading:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if not self._path.exists():  # it was deleted: open connections still have it
                self._bases.clear()
            for is_new in (False, True):
                try:
                    self._connect("write").executescript(_TABLES)
                    _read_questions(self._connect("write"))
                    return
                except (sqlite3.Error, *_DAMAGE) as error:
                    self._bases.clear()
                    code = getattr(error, "sqlite_errorcode", -1) & 0xFF
                    if is_new or (isinstance(error, sqlite3.Error) and code not in _DAMAGE_CODES):
                        raise VoteError("The question could not be stored. Try again.", 503) from error
                with contextlib.suppress(FileNotFoundError):
                    self._path.replace(self._path.with_name(f"votes.damaged.{secrets.token_hex(4)}.sqlite"))


def _read_questions(base: sqlite3.Connection) -> tuple[Question, ...]:
    rows = base.execute("SELECT json FROM question ORDER BY number").fetchall()
    return tuple(_parse_question(text) for (text,) in rows)


@functools.lru_cache(maxsize=2 * MAX_QUESTIONS)
def _parse_question(text: Any) -> Question:
    return validate(Question, parse_json(text))


def _count(base: sqlite3.Connection, question: Question) -> tuple[int, ...]:
    votes = dict(base.execute("SELECT choice, count(*) FROM vote GROUP BY choice").fetchall())
    return tuple(votes.get(k, 0) for k in range(len(question.classes)))


def _count_devices(base: sqlite3.Connection) -> int:
    """Rows are numbered, and deleted only all at once."""
    return base.execute("SELECT max(rowid) FROM vote").fetchone()[0] or 0


def _number(key: str, cookie: str) -> str:
    """A browser's number for one question, 24 hexadecimal digits."""
    return hashlib.blake2b(cookie.encode(), key=key.encode(), digest_size=12).hexdigest()


_open = functools.lru_cache(maxsize=8)(Store)


def open_store() -> Store:
    """The server's store, among its runs."""
    return _open(runs_root() / ".vote")
