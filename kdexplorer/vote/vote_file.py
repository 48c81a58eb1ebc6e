"""The votes on one question: lines that are appended to a file and read once.

A line is a device's number and the class; see `Store` for who writes when.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from kdexplorer.vote.records import MAX_DEVICES

_LINE = re.compile(rb"([0-9a-f]{24}) ([0-9]{1,2})")


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
