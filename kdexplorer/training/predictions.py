"""The teacher's predictions, computed once and kept on the disk for every later run.

Every random choice of a batch derives from (seed, epoch, step). So the training images, the seed, the batch size and
the augmentation decide the pixels that the teacher receives in an epoch, and with its weights and the precision they
decide its logits. A run writes an epoch's logits when it has computed all of them; every later run with the same facts
reads them: a resumed one, one with another student or another temperature.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from kdexplorer.files import write_bytes
from kdexplorer.runs.run_folder import runs_root

VERSION = 1
"""Of what a file means; to be increased when the same facts lead to other pixels or logits."""
MAX_BYTES = 1 << 30
"""How much is kept on the disk; the files that were not used for the longest time are removed first."""


def predictions_root() -> Path:
    """Where this machine's predictions are kept: a hidden folder among the runs."""
    return runs_root() / ".predictions"


def load_predictions(facts: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray | None:
    """Logits float32 of that shape, or None where there are none or the file is damaged.

    Args:
        facts: what decides them; JSON.
        shape: such as `[steps, B, K]` for an epoch, `[N, K]` for an evaluation split.
    """
    path = predictions_root() / f"{_name(facts)}.f32"
    with contextlib.suppress(OSError):
        data = path.read_bytes()
        content, digest = data[:-32], data[-32:]
        if len(content) == 4 * int(np.prod(shape)) and hashlib.sha256(content).digest() == digest:
            os.utime(path)
            return np.frombuffer(content, "<f4").reshape(shape).astype(np.float32)
    return None


def save_predictions(facts: dict[str, Any], logits: np.ndarray) -> None:
    """Keeps logits float32 for later runs; a disk that is full or read-only only means that they are not kept."""
    root = predictions_root()
    with contextlib.suppress(OSError):
        root.mkdir(parents=True, exist_ok=True)
        content = logits.astype("<f4").tobytes()
        write_bytes(root / f"{_name(facts)}.f32", content + hashlib.sha256(content).digest())
        _remove_oldest(root)


class BatchPredictions:
    """The teacher's logits on an experiment's training batches, epoch by epoch."""

    def __init__(self, facts: dict[str, Any], shape: tuple[int, int, int]) -> None:
        self.facts, self.shape = facts | {"version": VERSION}, shape
        """`shape` is `[steps, B, K]`."""
        self._epoch: tuple[int, int] | None = None
        self._stored: np.ndarray | None = None
        self._computed: list[np.ndarray] = []

    def facts_of(self, epoch: int, side: int) -> dict[str, Any]:
        """What decides the logits of an epoch that is trained on images of `side` pixels."""
        return self.facts | {"epoch": epoch, "side": side}

    def get(self, epoch: int, side: int, step: int) -> np.ndarray | None:
        """The logits float32 `[B, K]` of a batch, or None where the teacher has to compute them."""
        self._turn_to(epoch, side)
        return None if self._stored is None else self._stored[step]

    def add(self, epoch: int, side: int, step: int, logits: np.ndarray) -> None:
        """Takes a batch's logits; after the last batch of an epoch that was computed from its first they are saved."""
        self._turn_to(epoch, side)
        if self._stored is None and step == len(self._computed):
            self._computed.append(logits)
            if len(self._computed) == self.shape[0]:
                save_predictions(self.facts_of(epoch, side), np.stack(self._computed))

    def _turn_to(self, epoch: int, side: int) -> None:
        if self._epoch != (epoch, side):
            self._epoch, self._computed = (epoch, side), []
            self._stored = load_predictions(self.facts_of(epoch, side), self.shape)


def hash_images(images: np.ndarray) -> str:
    """SHA-256 of uint8 images `[N, C, H, W]`, in their order."""
    return hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()


def _name(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:40]


def _remove_oldest(root: Path) -> None:
    found = []
    for path in root.glob("*.f32"):
        with contextlib.suppress(OSError):  # another process removes too
            found.append((path.stat().st_mtime, path.stat().st_size, path))
    total = 0
    for _, size, path in sorted(found, reverse=True):
        total += size
        if total > MAX_BYTES:
            with contextlib.suppress(OSError):
                path.unlink()
