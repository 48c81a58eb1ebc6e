"""The teacher's predictions, computed once and kept on the disk for every later run.

Every random choice of a batch derives from (seed, epoch, step). So the training images, the seed, the batch size and
the augmentation decide the pixels that the teacher receives in an epoch, and with its weights and the environment
(precision, threads, processor, torch) they decide the bits of its logits. A run writes an epoch's logits when it has
computed all of them; every later run with the same facts reads them: a resumed one, one with another student or another
temperature.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kdexplorer.files import write_bytes
from kdexplorer.runs.run_folder import runs_root

VERSION = 1
"""Of what a file means; to be increased when the same facts lead to other pixels or logits."""
MAX_BYTES = 1 << 30
"""How much is kept on the disk; the files that were not used for the longest time are removed first."""
MAX_WRITING = 3600.0
"""Seconds after which an unfinished file counts as left behind by a process that was killed."""


def predictions_root() -> Path:
    """Where this machine's predictions are kept: a hidden folder among the runs."""
    return runs_root() / ".predictions"


def load_predictions(facts: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray | None:
    """Logits or embeddings, float32 of that shape, or None where there are none or the file is damaged.

    Args:
        facts: what decides them; JSON.
        shape: such as `[steps, B, K]` for an epoch, `[N, K]` for an evaluation split.
    """
    path = _path(facts)
    with contextlib.suppress(OSError):
        data = path.read_bytes()
        content, digest = data[:-32], data[-32:]
        if len(content) == 4 * int(np.prod(shape)) and hashlib.sha256(content).digest() == digest:
            os.utime(path)
            return np.frombuffer(content, "<f4").reshape(shape).astype(np.float32)
    return None


def are_stored(facts: dict[str, Any], shape: tuple[int, ...]) -> bool:
    """Whether there is a file of the right size for `load_predictions`; it is not read."""
    with contextlib.suppress(OSError):
        return _path(facts).stat().st_size == 4 * int(np.prod(shape)) + 32
    return False


def save_predictions(facts: dict[str, Any], values: np.ndarray) -> None:
    """Keeps logits or embeddings for later runs; a disk that is full or read-only means that they are not kept."""
    with contextlib.suppress(OSError):
        predictions_root().mkdir(parents=True, exist_ok=True)
        content = values.astype("<f4").tobytes()
        write_bytes(_path(facts), content + hashlib.sha256(content).digest())
        _remove_oldest()


class BatchPredictions:
    """The teacher's logits, and its embeddings where a method needs them, on a run's training batches."""

    def __init__(self, facts: dict[str, Any], shapes: dict[str, tuple[int, int, int]]) -> None:
        self.facts, self.shapes = facts | {"version": VERSION}, shapes
        """`shapes` is `[steps, B, K]` for `logits`, and `[steps, B, D]` for `embedding`."""
        self._epoch: tuple[int, int] | None = None
        self._stored: dict[str, np.ndarray] | None = None
        self._computed: list[Callable[[], dict[str, np.ndarray]]] = []

    def contains(self, epoch: int, side: int) -> bool:
        """Whether an epoch that is trained on images of `side` pixels is stored, by its files' names and sizes."""
        return all(are_stored(self._facts_of(part, epoch, side), shape) for part, shape in self.shapes.items())

    def get(self, epoch: int, side: int, step: int) -> dict[str, np.ndarray] | None:
        """Float32 `[B, K]` and `[B, D]` of a batch, by part, or None where the teacher has to compute them."""
        self._turn_to(epoch, side)
        return None if self._stored is None else {part: values[step] for part, values in self._stored.items()}

    def add(self, epoch: int, side: int, step: int, computed: Callable[[], dict[str, np.ndarray]]) -> None:
        """Takes a batch's parts; after the last batch of an epoch that was computed from its first they are saved.

        `computed` returns them, float32 by part; it is called when they are saved, so that no step waits for a GPU.
        """
        self._turn_to(epoch, side)
        if self._stored is not None or step != len(self._computed):
            return
        self._computed.append(computed)
        if len(self._computed) == self.shapes["logits"][0]:
            batches = [read() for read in self._computed]
            for part in self.shapes:
                save_predictions(self._facts_of(part, epoch, side), np.stack([batch[part] for batch in batches]))

    def _facts_of(self, part: str, epoch: int, side: int) -> dict[str, Any]:
        return self.facts | {"epoch": epoch, "side": side} | ({} if part == "logits" else {"part": part})

    def _turn_to(self, epoch: int, side: int) -> None:
        if self._epoch == (epoch, side):
            return
        self._epoch, self._computed, self._stored = (epoch, side), [], {}
        for part, shape in self.shapes.items():
            values = load_predictions(self._facts_of(part, epoch, side), shape)
            if values is None:
                self._stored = None
                return
            self._stored[part] = values


class Stored(NamedTuple):
    """What the disk keeps: how many files, and their bytes."""

    files: int
    size: int


def measure_store() -> Stored:
    """How much is kept on this machine."""
    sizes = [size for _, size, _ in _list_files()]
    return Stored(len(sizes), sum(sizes))


def describe_store(found: Stored | None = None) -> str:
    """How much is kept, in one line; `found` is what `measure_store` says, measured if not given."""
    files, size = found or measure_store()
    count = "1 file" if files == 1 else f"{files} files"
    return f"Stored teacher predictions: {count}, {size / 1e6:.1f} MB of at most {MAX_BYTES / 1e6:,.0f} MB."


def delete_predictions() -> None:
    """Removes everything that is kept or being written; runs that train now or later compute it again."""
    for _, _, path in _list_files():
        with contextlib.suppress(FileNotFoundError):  # another process removes too
            path.unlink()


def hash_images(images: np.ndarray) -> str:
    """SHA-256 of uint8 images `[N, C, H, W]`, in their order."""
    return hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()


def _path(facts: dict[str, Any]) -> Path:
    return predictions_root() / f"{hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:40]}.f32"


def _list_files() -> list[tuple[float, int, Path]]:
    """Time of the last use, bytes and path of each file, also of those that `write_bytes` has not finished."""
    found = []
    for path in predictions_root().glob("*.f32*"):
        with contextlib.suppress(OSError):  # another process removes too
            found.append((path.stat().st_mtime, path.stat().st_size, path))
    return found


def _remove_oldest() -> None:
    total, now = 0, time.time()
    for used, size, path in sorted(_list_files(), reverse=True):
        total += size
        is_left = path.suffix != ".f32" and now - used > MAX_WRITING
        if total > MAX_BYTES or is_left:
            with contextlib.suppress(OSError):
                path.unlink()
