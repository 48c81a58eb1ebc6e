"""Arrays that take long to compute, kept on the disk by the facts that decide them.

These are teachers' predictions and the similarities of attention maps. A hidden folder among the runs holds a file for
each array. Its content is checked when it is read, and the files that were not used for the longest time are removed
when all together are too large.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kdexplorer.files import write_bytes
from kdexplorer.runs.run_folder import runs_root

MAX_BYTES = 1 << 30
"""How much is kept on the disk; the files that were not used for the longest time are removed first."""
MAX_WRITING = 3600.0
"""Seconds after which an unfinished file counts as left behind by a process that was killed."""

Arrays = dict[str, np.ndarray]
"""Float32, by name: a teacher's `logits` and perhaps `embedding`, or `similarity`."""
Shapes = Mapping[str, tuple[int, ...]]


def store_root() -> Path:
    """Where this machine's arrays are kept."""
    return runs_root() / ".predictions"


def load_arrays(facts: dict[str, Any], shapes: Shapes) -> Arrays | None:
    """Arrays by name, float32 of these shapes, or None where one is missing or its file damaged.

    `facts` are what decides their values, in JSON; a shape is such as `[steps, B, K]` for an epoch.
    """
    found: Arrays = {}
    with contextlib.suppress(OSError):
        for name, shape in shapes.items():
            data = (path := _path(facts, name)).read_bytes()
            content, digest = data[:-32], data[-32:]
            if len(content) == 4 * int(np.prod(shape)) and hashlib.sha256(content).digest() == digest:
                with contextlib.suppress(OSError):  # it is another user's
                    os.utime(path)
                found[name] = np.frombuffer(content, "<f4").reshape(shape).astype(np.float32)
    return found if len(found) == len(shapes) else None


def are_stored(facts: dict[str, Any], shapes: Shapes) -> bool:
    """Whether there are files of the right size for `load_arrays`; they are not read."""
    with contextlib.suppress(OSError):
        return all(_path(facts, k).stat().st_size == 4 * int(np.prod(shape)) + 32 for k, shape in shapes.items())
    return False


def can_store(shapes: Shapes) -> bool:
    """Whether arrays of these shapes have room together; more would remove everything else, and then itself."""
    return sum(4 * math.prod(shape) + 32 for shape in shapes.values()) <= MAX_BYTES


def save_arrays(facts: dict[str, Any], arrays: Arrays) -> None:
    """Keeps arrays for later, unless they are too large. Raises OSError where the disk is full or read-only."""
    if not can_store({name: values.shape for name, values in arrays.items()}):
        return
    store_root().mkdir(parents=True, exist_ok=True)
    for name, values in arrays.items():
        content = values.astype("<f4").tobytes()
        with contextlib.suppress(FileNotFoundError):  # another process deletes everything at this moment
            write_bytes(_path(facts, name), content + hashlib.sha256(content).digest())
    _remove_oldest()


def describe_store() -> str:
    """How much is kept, in one line."""
    sizes = [size for _, size, _ in list_files()]
    count = "1 file" if len(sizes) == 1 else f"{len(sizes)} files"
    kept = f"{sum(sizes) / 1e6:.1f} MB of at most {MAX_BYTES / 1e6:,.0f} MB"
    return f"Stored teacher predictions and attention similarities: {count}, {kept}."


def delete_store() -> None:
    """Removes everything that is kept or being written; who needs it computes it again."""
    for _, _, path in list_files():
        path.unlink(missing_ok=True)  # another process removes too


def _path(facts: dict[str, Any], part: str) -> Path:
    decisive = json.dumps(facts | {"part": part}, sort_keys=True)
    return store_root() / f"{hashlib.sha256(decisive.encode()).hexdigest()[:40]}.f32"


def list_files() -> list[tuple[float, int, Path]]:
    """Time of the last use, bytes and path of each file, also of those that `write_bytes` has not finished."""
    found = []
    for path in store_root().glob("*.f32*"):
        with contextlib.suppress(OSError):  # another process removes too
            found.append((path.stat().st_mtime, path.stat().st_size, path))
    return found


def _remove_oldest() -> None:
    total, now = 0, time.time()
    for used, size, path in sorted(list_files(), reverse=True):
        total += size
        if total > MAX_BYTES or (path.suffix != ".f32" and now - used > MAX_WRITING):
            with contextlib.suppress(OSError):
                path.unlink()
