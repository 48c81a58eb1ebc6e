"""Files of one JSON record a line that grow while a run trains: each line is parsed once."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import BinaryIO, Generic

from kdexplorer.files import open_regular, parse_json
from kdexplorer.runs.records import Record

MAX_ROWS, MAX_BYTES, MAX_LINE = 200_000, 256 << 20, 1 << 20
"""What is read of a file at most; 64 students over 1,000 epochs write 64,000 lines by epoch, of about 3 kB each."""


class LineReader(Generic[Record]):
    """Reads the lines that were added since the last call; a file that was replaced or shortened is read anew."""

    def __init__(self, path: Path, model: type[Record]) -> None:
        self.path, self.model = path, model
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._rows: list[Record] = []
        self._inode, self._offset, self._last = 0, 0, b""

    def read(self) -> list[Record]:
        """All readable records so far, in order; half a line at the end and what is damaged are left out."""
        with self._lock:
            try:
                file = open_regular(self.path)
            except OSError:
                self._forget()
            else:
                with file:
                    self._read_new(file)
            return list(self._rows)

    def _read_new(self, file: BinaryIO) -> None:
        inode = os.fstat(file.fileno()).st_ino
        file.seek(self._offset - len(self._last))
        if inode != self._inode or file.read(len(self._last)) != self._last:
            self._forget()
            self._inode = inode
            file.seek(0)
        while len(self._rows) < MAX_ROWS and self._offset < MAX_BYTES:
            line = file.readline(MAX_LINE)
            if not line.endswith(b"\n") and len(line) < MAX_LINE:  # the end, or half a line
                return
            self._offset, self._last = self._offset + len(line), line
            with contextlib.suppress(ValueError, RecursionError):  # pydantic's error is a ValueError
                self._rows.append(self.model.model_validate(parse_json(line)))
