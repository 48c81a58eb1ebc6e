"""Writes that are there whole or not at all, whatever happens in between; reads that a hostile file cannot abuse."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

from pydantic import BaseModel

T = TypeVar("T")
Row = TypeVar("Row", bound=BaseModel)

MAX_JSON_BYTES = 8 << 20
"""Of a JSON file; a card with the curves of a thousand epochs has half a megabyte."""
MAX_DEPTH = 32
"""Lists and objects within one another in a JSON file."""
MAX_ROWS, MAX_BYTES, MAX_LINE = 200_000, 256 << 20, 1 << 20
"""What is read at most of a file of a record a line; 64 students over 1,000 epochs write 64,000 lines of about 3 kB."""


def check_place(path: Path) -> None:
    """Raises OSError where no file of that path can be written, which is worth knowing before the work."""
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(path.parent))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder: name a file", str(path))


def write_bytes(path: Path, data: bytes) -> None:
    """Replaces a file atomically and syncs it. On OSError the old file is untouched, nothing temporary is left."""
    check_place(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):  # what went wrong before is the error
            temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def remove_leftovers(path: Path) -> None:
    """Removes what a killed writer of `path` left beside it. Only for the one process that writes there."""
    for temporary in path.parent.glob(f".{path.name}.*"):
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Replaces a JSON file atomically. Not-a-number has no place in JSON: ValueError."""
    write_bytes(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def open_regular(path: Path, follow_links: bool = False) -> BinaryIO:
    """Opens a regular file for reading; a FIFO or a device raises OSError at once, and so does a link by default."""
    refuse_links = 0 if follow_links else getattr(os, "O_NOFOLLOW", 0)
    handle = os.open(path, os.O_RDONLY | refuse_links | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return os.fdopen(handle, "rb")


def read_bytes(path: Path, limit: int, follow_links: bool = False) -> bytes:
    """The content of a regular file of at most `limit` bytes. Raises OSError; see `open_regular`."""
    with open_regular(path, follow_links) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"it has more than {limit:,} bytes", str(path))
    return data


def parse_json(text: bytes) -> Any:
    """JSON as it may be found on a disk: a whole number of more than 15 digits becomes a float, so that none overflows.

    Raises ValueError or RecursionError: it is not JSON, or nested more than `MAX_DEPTH` deep.
    """
    value = json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < 16 else float(digits))
    _check_depth(value, MAX_DEPTH)
    return value


def _check_depth(value: Any, levels: int) -> None:
    """Raises ValueError: everything that copies, compares or validates a value recurses as deep as it is nested."""
    if not levels:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(inner, (dict, list)):
            _check_depth(inner, levels - 1)


def read_json(path: Path, most: int = MAX_JSON_BYTES) -> dict[str, Any] | None:
    """A JSON object, or None when the file is missing, truncated, a link, too large, or holds something else."""
    try:
        value = parse_json(read_bytes(path, most))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


class LineReader(Generic[Row]):
    """Reads the lines that were added since the last call; a file that was replaced or shortened is read anew."""

    def __init__(self, path: Path, model: type[Row]) -> None:
        self.path, self.model = path, model
        self._lock = threading.Lock()
        self._rows: list[Row] = []
        self._inode, self._offset, self._last = 0, 0, b""

    def read(self) -> list[Row]:
        """All readable records so far, in order; half a line at the end and what is damaged are left out."""
        with self._lock:
            try:
                file = open_regular(self.path)
            except OSError:
                return []
            with file:  # an error from here on is raised: who writes the lines anew must not take them for none
                inode = os.fstat(file.fileno()).st_ino
                file.seek(self._offset - len(self._last))
                if inode != self._inode or file.read(len(self._last)) != self._last:
                    self._rows, self._inode, self._offset, self._last = [], inode, 0, b""
                    file.seek(0)
                while len(self._rows) < MAX_ROWS and self._offset < MAX_BYTES:
                    line = file.readline(MAX_LINE)
                    if not line.endswith(b"\n") and len(line) < MAX_LINE:  # the end, or half a line
                        break
                    self._offset, self._last = self._offset + len(line), line
                    with contextlib.suppress(ValueError, RecursionError):  # pydantic's error is a ValueError
                        self._rows.append(self.model.model_validate(parse_json(line)))
            return list(self._rows)


def read_once(read: Callable[[Path], T], path: Path) -> T:
    """What `read(path)` returns, computed once for each version of the file. The result is shared: never change it."""
    try:
        found = os.lstat(path)
        version = (found.st_mtime_ns, found.st_size, found.st_ino)
    except OSError:
        version = None
    return _read_version(read, path, version)


@functools.lru_cache(maxsize=2048)
def _read_version(read: Callable[[Path], Any], path: Path, version: Any) -> Any:
    return read(path)


def sync_folder(folder: Path) -> None:
    """Makes a rename in the folder durable, where the platform can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder beside `path`, which takes its place at the end and replaces what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    temporary.mkdir()
    old = temporary.with_name(f"{temporary.name}.old")
    try:
        yield temporary
        _put(temporary, path, old)
    except BaseException:
        if old.exists() and not path.exists():
            os.replace(old, path)
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def _put(new: Path, path: Path, old: Path) -> None:
    """Renames a folder to `path`, and what was there to `old`; another process may do the same at the same time."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            os.replace(path, old)
        try:
            os.replace(new, path)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            shutil.rmtree(old, ignore_errors=True)


def bundled(name: str) -> Path:
    """A file or folder that comes with the program: beside the package in a clone, in it where it is installed."""
    package = Path(__file__).resolve().parent
    inside = package / "bundled"  # setup.py
    return (inside if inside.is_dir() else package.parent) / name
