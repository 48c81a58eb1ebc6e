"""Arrays that took long to compute, kept on the disk by what they were computed from.

A file's name is the hash of facts (weights, images, environment, …) that decide its content, so nothing in it is ever
out of date. It is there whole or not at all, ends with its own hash, and may be deleted at any time: it is computed
again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import time
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from kdexplorer.files import write_bytes
from kdexplorer.runs.run_folder import runs_root

Kind = Literal["predictions", "attention"]
"""A teacher's predictions, see `training.predictions`; similarities of maps, see `analysis.attention_similarity`."""

MAX_BYTES = 1 << 30
"""Of all kinds together; the files that were not used for the longest time are removed first."""
MAX_WRITING = 3600.0
"""Seconds after which an unfinished file counts as left behind by a process that was killed."""


def cache_folder() -> Path:
    """Where the files are: a hidden folder among the runs."""
    return runs_root() / ".cache"


def load(kind: Kind, facts: Any) -> np.ndarray | None:
    """The array that was saved with these facts (JSON), or None where there is none or the file is damaged."""
    path = _path(kind, facts)
    with contextlib.suppress(OSError, ValueError):
        data = path.read_bytes()
        if hashlib.sha256(data[:-32]).digest() == data[-32:]:
            os.utime(path)
            return np.load(io.BytesIO(data[:-32]), allow_pickle=False)
    return None


def contains(kind: Kind, facts: Any) -> bool:
    """Whether there is a file for `load`; it is not read."""
    return _path(kind, facts).is_file()


def save(kind: Kind, facts: Any, values: np.ndarray) -> None:
    """Keeps an array. Raises OSError."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    content = buffer.getvalue()
    write_bytes(_path(kind, facts), content + hashlib.sha256(content).digest())
    _remove_oldest()


class Stored(NamedTuple):
    """What the disk keeps: how many files, and their bytes."""

    files: int
    size: int


def measure(kind: Kind) -> Stored:
    """How much of a kind is kept on this machine."""
    sizes = [size for _, size, _ in _list_files(kind)]
    return Stored(len(sizes), sum(sizes))


def describe_predictions() -> str:
    """How much of a teacher's predictions is kept, in one line."""
    files, size = measure("predictions")
    count = "1 file" if files == 1 else f"{files} files"
    return f"Stored teacher predictions: {count}, {size / 1e6:.1f} MB of at most {MAX_BYTES / 1e6:,.0f} MB."


def delete(kind: Kind) -> None:
    """Removes everything of a kind that is kept or being written."""
    for _, _, path in _list_files(kind):
        with contextlib.suppress(FileNotFoundError):  # another process removes too
            path.unlink()


def hash_images(images: np.ndarray) -> str:
    """SHA-256 of uint8 images `[N, C, H, W]`, in their order."""
    return hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()


def _path(kind: Kind, facts: Any) -> Path:
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return cache_folder() / f"{kind}-{digest[:40]}.npy"


def _list_files(kind: str = "*") -> list[tuple[float, int, Path]]:
    """Time of the last use, bytes and path of each file, also of those that `write_bytes` has not finished."""
    found = []
    for path in (*cache_folder().glob(f"{kind}-*.npy"), *cache_folder().glob(f".{kind}-*.npy.*")):
        with contextlib.suppress(OSError):  # another process removes too
            found.append((path.stat().st_mtime, path.stat().st_size, path))
    return found


def _remove_oldest() -> None:
    total, now = 0, time.time()
    for used, size, path in sorted(_list_files(), reverse=True):
        total += size
        is_left = path.suffix != ".npy" and now - used > MAX_WRITING
        if total > MAX_BYTES or is_left:
            with contextlib.suppress(OSError):
                path.unlink()
