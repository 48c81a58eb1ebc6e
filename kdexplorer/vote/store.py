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
import threading
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from kdexplorer.errors import ConfigError
from kdexplorer.files import read_json, sync_folder, write_json
from kdexplorer.runs.run_folder import runs_root
from kdexplorer.schema import validate
from kdexplorer.vote.records import (
    MAX_CHANGES,
    MAX_DEVICES,
    MAX_QUESTIONS,
    Lecture,
    Question,
    StudentComparison,
    VoteError,
    number_device,
)
from kdexplorer.vote.vote_file import VoteFile

PATIENCE = 5.0
"""Seconds that a vote waits for another one that writes."""
DAMAGED = "lecture.damaged.json"
"""Where a file that cannot be read is kept when the next question replaces it."""


class BusyError(VoteError):
    """Another thread or process writes."""


class Store:
    """The questions and votes in a folder; for any number of threads and processes."""

    def __init__(self, folder: Path) -> None:
        """Reads nothing yet; the folder is created by the first question."""
        self._folder, self._path = folder, folder / "lecture.json"
        self._lock = threading.RLock()
        self._stamp: tuple[int, int, int] | None = None
        self._lecture, self._is_damaged = Lecture(), False
        self._votes: VoteFile | None = None
        """Of the open question."""

    # What anyone may read.

    def lecture(self) -> Lecture:
        """All questions."""
        with self._lock:
            self._refresh()
            return self._lecture

    def current(self) -> Question | None:
        """The question that was asked last, open or closed."""
        return next(reversed(self.lecture().questions), None)

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
            return self._votes.get(number_device(question.key, cookie))[0]

    def voters(self) -> int:
        """How many devices have voted on the last question."""
        question = self.current()
        if question is None or question.counts is None:
            return len(self._votes or ())
        return sum(question.counts)

    # What a phone does.

    def vote(self, key: str, choice: int, cookie: str, patience: float = PATIENCE) -> None:
        """Stores a browser's vote, in place of its previous one.

        Args:
            key: of the question.
            choice: the class.
            cookie: the browser's.
            patience: seconds to wait while another thread or process writes; 0 for a caller that must not wait.

        Raises:
            BusyError: after that time, with the status 503.
            VoteError: with the status 409 when the question is not open, 400 for a class that it does not have, 429
                after `MAX_CHANGES` changes, 503 beyond `MAX_DEVICES` or when the disk does not take it.
        """
        with self._writing(patience):
            question = self._open_question()
            if question is None or self._votes is None or question.key != key:
                raise VoteError("This question is closed. Your vote was not counted.", 409)
            if not 0 <= choice < len(question.classes):
                raise VoteError("This is none of the question's classes.")
            device = number_device(key, cookie)
            previous, changes = self._votes.get(device)
            if previous == choice:
                return
            if previous is None and len(self._votes) >= MAX_DEVICES:
                raise VoteError(f"{MAX_DEVICES:,} devices have voted; no more are accepted.", 503)
            if changes >= MAX_CHANGES:
                raise VoteError(f"You have changed your vote {MAX_CHANGES} times. The last one counts.", 429)
            try:
                self._votes.append(device, choice)
            except OSError as error:
                raise VoteError("The vote could not be stored. Try again.", 503) from error

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
            if len(self._lecture.questions) >= MAX_QUESTIONS:
                raise VoteError(f"There are {MAX_QUESTIONS} questions, which is the limit: delete them first.")
            for left in self._folder.glob("*.votes"):
                left.unlink(missing_ok=True)
            self._votes_path(question).touch()
            self._write(questions=(*self._lecture.questions, question))

    def close(self, seen: str | None = None) -> None:
        """Closes the open question, if any: its totals stay, the devices' votes are deleted; errors as of `start`."""
        with self._writing():
            self._require(seen)
            self._close()

    def keep_comparison(self, comparison: StudentComparison) -> None:
        """Stores a comparison of students beside the questions. Raises OSError."""
        with self._writing():
            self._write(comparison=comparison)

    def clear(self) -> None:
        """Deletes all questions and votes. Raises OSError."""
        with self._writing():
            self._path.unlink(missing_ok=True)
            for left in self._folder.glob("*.votes"):
                left.unlink(missing_ok=True)
            sync_folder(self._folder)

    # How.

    def _require(self, seen: str | None) -> None:
        if seen not in (None, self._lecture.state):
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
            found_lecture = _read_lecture(self._path) if stamp else Lecture()
            self._lecture, self._is_damaged = found_lecture or Lecture(), found_lecture is None
            self._stamp, question = stamp, self._open_question()
            self._votes = VoteFile(self._votes_path(question), len(question.classes)) if question else None
        if self._votes is not None:
            self._votes.refresh()

    def _close(self) -> None:
        question = self._open_question()
        if question is not None:
            closed = question.model_copy(update={"counts": self.counts(question)})
            self._write(questions=(*self._lecture.questions[:-1], closed))
            self._votes_path(question).unlink(missing_ok=True)

    def _write(self, **changes: object) -> None:
        lecture = validate(Lecture, self._lecture.model_dump() | changes)
        if self._is_damaged:
            self._path.replace(self._path.with_name(DAMAGED))
        write_json(self._path, lecture.model_dump(mode="json", exclude_none=True))
        self._refresh()

    def _find(self, key: str) -> Question | None:
        return next((question for question in self._lecture.questions if question.key == key), None)

    def _open_question(self) -> Question | None:
        last = self._lecture.questions[-1:]
        return last[0] if last and last[0].is_open else None

    def _votes_path(self, question: Question) -> Path:
        return self._folder / f"{question.key}.votes"


def _read_lecture(path: Path) -> Lecture | None:
    """None where the file is damaged."""
    try:
        return validate(Lecture, read_json(path))
    except ConfigError:
        return None


def open_store() -> Store:
    """The server's store, among its runs."""
    return _open_store(runs_root() / ".vote")


@functools.lru_cache(maxsize=8)
def _open_store(folder: Path) -> Store:
    return Store(folder)
