"""Questions and votes on the disk, which is the only truth: a restart, or a second process, reads the same.

`lecture.json` has the questions and the totals of those that are closed, and is replaced as a whole. Votes on the open
question are lines that are appended to `KEY.votes`: a device's number and the class. The number is a hash of the
browser's cookie and the question, so it does not connect a device's votes on two questions, and the file is deleted
when the question is closed. A vote is answered after its line was written, so killing the server loses none; only a
power cut may lose the last seconds, because lines are not synced one by one.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from kdexplorer.errors import ConfigError
from kdexplorer.files import read_json, sync_folder, write_json
from kdexplorer.runs.run_folder import runs_root
from kdexplorer.schema import validate
from kdexplorer.vote.questions import (
    MAX_CHANGES,
    MAX_DEVICES,
    MAX_QUESTIONS,
    Question,
    Questions,
    VoteError,
)

PATIENCE = 5.0
"""Seconds that a vote waits for another one that writes."""
DAMAGED = "lecture.damaged.json"
"""Where a file that cannot be read is kept when the next question replaces it."""


class BusyError(VoteError):
    """Another thread or process writes."""


_LINE = re.compile(rb"([0-9a-f]{24}) ([0-9]{1,2})")


def _number_device(key: str, cookie: str) -> str:
    """A browser's number for one question, 24 hexadecimal digits."""
    return hashlib.blake2b(cookie.encode(), key=key.encode(), digest_size=12).hexdigest()


class VoteFile:
    """What a file of votes has; lines of another process are read by `refresh`."""

    def __init__(self, path: Path, n_classes: int) -> None:
        """Reads nothing yet; the file need not exist."""
        self._path, self._n_classes = path, n_classes
        self._votes: dict[str, tuple[int, int]] = {}
        """A device's class, and how often it was changed."""
        self._read = 0

    def __len__(self) -> int:
        """How many devices have voted."""
        return len(self._votes)

    def get(self, device: str) -> tuple[int | None, int]:
        """The device's class and the number of its changes; None and -1 before its first vote."""
        return self._votes.get(device, (None, -1))

    def counts(self) -> tuple[int, ...]:
        """Votes for each class."""
        chosen = [choice for choice, _ in self._votes.values()]
        return tuple(chosen.count(k) for k in range(self._n_classes))

    def refresh(self) -> None:
        """Reads the lines that were added since; the last one only when it is whole."""
        try:
            if self._path.stat().st_size <= self._read:
                return
            with open(self._path, "rb") as file:
                file.seek(self._read)
                data = file.read()
        except OSError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            match = _LINE.fullmatch(line)
            if match is not None and int(match[2]) < self._n_classes:
                device, choice = match[1].decode(), int(match[2])
                _, changes = self.get(device)
                if changes >= 0 or len(self._votes) < MAX_DEVICES:
                    self._votes[device] = choice, changes + 1

    def append(self, device: str, choice: int) -> None:
        """Writes a vote after the lines that `refresh` has read, and reads it. Raises OSError."""
        line = f"{device} {choice}\n".encode()
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            if os.fstat(handle).st_size > self._read:  # a line that was cut off is made invalid, and spoils no other
                line = b"-\n" + line
            if os.write(handle, line) != len(line):
                raise OSError("the disk is full")
        finally:
            os.close(handle)
        self.refresh()


class Store:
    """The questions and votes in a folder; for any number of threads and processes."""

    def __init__(self, folder: Path) -> None:
        """Reads nothing yet; the folder is created by the first question."""
        self._folder, self._path = folder, folder / "lecture.json"
        self._lock = threading.RLock()
        self._stamp: tuple[int, int, int] | None = None
        self._asked, self._is_damaged = Questions(), False
        self._votes: VoteFile | None = None
        """Of the open question."""
        self._devices = Counter[str]()
        """How many of an address have voted on it."""

    # What anyone may read.

    def questions(self) -> Questions:
        """All questions."""
        with self._lock:
            self._refresh()
            return self._asked

    def current(self) -> Question | None:
        """The question that was asked last, open or closed."""
        return next(reversed(self.questions().questions), None)

    def counts(self, question: Question) -> tuple[int, ...]:
        """Votes for each class until now."""
        with self._lock:
            self._refresh()
            question = self._find(question.key) or question
            if question.counts is not None:
                return question.counts
            return self._votes.counts() if self._votes else (0,) * len(question.classes)

    def choice(self, question: Question, cookie: str) -> int | None:
        """What this browser has voted for, while the question is open."""
        with self._lock:
            if self._votes is None or not question.is_open:
                return None
            return self._votes.get(_number_device(question.key, cookie))[0]

    def voters(self) -> int:
        """How many devices have voted on the last question."""
        question = self.current()
        if question is None or question.counts is None:
            return len(self._votes or ())
        return sum(question.counts)

    # What a phone does.

    def vote(self, key: str, choice: int, cookie: str, address: str = "", patience: float = PATIENCE) -> None:
        """Stores a browser's vote, in place of its previous one.

        Args:
            key: of the question.
            choice: the class.
            cookie: the browser's.
            address: the browser's; only the number of its devices is remembered, until the question is closed.
            patience: seconds to wait while another thread or process writes; 0 for a caller that must not wait.

        Raises:
            BusyError: after that time, with the status 503.
            VoteError: with the status 409 when the question is not open, 400 for a class that it does not have, 429
                after `MAX_CHANGES` changes, 503 beyond an address's part of `MAX_DEVICES` or when the disk is full.
        """
        with self._writing(patience):
            question = self._open_question()
            if question is None or self._votes is None or question.key != key:
                raise VoteError("This question is closed. Your vote was not counted.", 409)
            if not 0 <= choice < len(question.classes):
                raise VoteError("This is none of the question's classes.")
            device = _number_device(key, cookie)
            previous, changes = self._votes.get(device)
            if previous == choice:
                return
            own = self._devices[address]
            if previous is None and len(self._votes) + own >= MAX_DEVICES:
                raise VoteError(f"{len(self._votes):,} devices have voted, {own:,} of your network: it is full.", 503)
            if changes >= MAX_CHANGES:
                raise VoteError(f"You have changed your vote {MAX_CHANGES} times. The last one counts.", 429)
            try:
                self._votes.append(device, choice)
            except OSError as error:
                raise VoteError("The vote could not be stored. Try again.", 503) from error
            self._devices[address] += previous is None

    # What the presenter does.

    def start(self, question: Question, seen: str | None = None) -> None:
        """Opens a question; the one that is open is closed first.

        Args:
            question: the new one.
            seen: the lecture's state when the presenter decided this; None for any.

        Raises:
            VoteError: for one too many, and with the status 409 when another presenter has acted since `seen`.
            OSError: when the disk does not take it.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._writing():
            self._require(seen)
            self._close()
            if len(self._asked.questions) >= MAX_QUESTIONS:
                raise VoteError(f"There are {MAX_QUESTIONS} questions, which is the limit: delete them first.")
            for left in self._folder.glob("*.votes"):
                left.unlink(missing_ok=True)
            self._votes_path(question).touch()
            self._write(questions=(*self._asked.questions, question))

    def close(self, seen: str | None = None) -> None:
        """Closes the open question, if any: its totals stay, the devices' votes are deleted; errors as of `start`."""
        with self._writing():
            self._require(seen)
            self._close()

    def clear(self) -> None:
        """Deletes all questions and votes. Raises OSError."""
        with self._writing():
            self._path.unlink(missing_ok=True)
            for left in self._folder.glob("*.votes"):
                left.unlink(missing_ok=True)
            sync_folder(self._folder)

    # How.

    def _require(self, seen: str | None) -> None:
        if seen not in (None, self._asked.state):
            raise VoteError(
                "Nothing was changed: another presenter, or your other tab, was faster. This page now shows the "
                "question as it is.", 409,
            )  # fmt: skip

    @contextlib.contextmanager
    def _writing(self, patience: float = PATIENCE) -> Iterator[None]:
        """What was written before is known inside, and nobody else writes. Raises BusyError and VoteError with 503.

        Readers need the threads' lock, so nobody waits for the file's lock while holding it.
        """
        if not self._folder.is_dir():  # so there is no question
            with self._lock:
                self._refresh()
                yield
            return
        try:
            lock = FileLock(self._folder / ".lock").acquire(timeout=patience)
        except Timeout as error:
            raise BusyError("The server is busy. Try again.", 503) from error
        except OSError as error:
            raise VoteError("The vote could not be stored. Try again.", 503) from error
        with lock, self._lock:
            self._refresh()
            yield

    def _refresh(self) -> None:
        """Reads what has changed on the disk."""
        try:
            found = self._path.stat()
            stamp: tuple[int, int, int] | None = (found.st_mtime_ns, found.st_ino, found.st_size)
        except OSError:
            stamp = None
        if stamp != self._stamp:
            found_questions = _read_questions(self._path) if stamp else Questions()
            self._asked, self._is_damaged = found_questions or Questions(), found_questions is None
            self._stamp, question = stamp, self._open_question()
            self._votes = VoteFile(self._votes_path(question), len(question.classes)) if question else None
            self._devices.clear()
        if self._votes is not None:
            self._votes.refresh()

    def _close(self) -> None:
        question = self._open_question()
        if question is not None:
            closed = question.model_copy(update={"counts": self.counts(question)})
            self._write(questions=(*self._asked.questions[:-1], closed))
            self._votes_path(question).unlink(missing_ok=True)

    def _write(self, **changes: object) -> None:
        lecture = validate(Questions, self._asked.model_dump() | changes)
        if self._is_damaged:
            self._path.replace(self._path.with_name(DAMAGED))
        write_json(self._path, lecture.model_dump(mode="json", exclude_none=True))
        self._refresh()

    def _find(self, key: str) -> Question | None:
        return next((question for question in self._asked.questions if question.key == key), None)

    def _open_question(self) -> Question | None:
        last = self._asked.questions[-1:]
        return last[0] if last and last[0].is_open else None

    def _votes_path(self, question: Question) -> Path:
        return self._folder / f"{question.key}.votes"


def _read_questions(path: Path) -> Questions | None:
    """None where the file is damaged."""
    found = read_json(path)
    if found is not None:
        found.pop("comparison", None)  # of students, which earlier versions trained on the votes
    try:
        return validate(Questions, found)
    except ConfigError:
        return None


def open_store() -> Store:
    """The server's store, among its runs."""
    return _open_store(runs_root() / ".vote")


@functools.lru_cache(maxsize=8)
def _open_store(folder: Path) -> Store:
    return Store(folder)
