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
from collections.abc import Callable
from typing import Any

import numpy as np

from kdexplorer.runs.array_store import is_stored, load_array, save_array

VERSION = 1
"""Of what a file means; to be increased when the same facts lead to other pixels or logits."""


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
        return all(is_stored(self._facts_of(part, epoch, side), shape) for part, shape in self.shapes.items())

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
                with contextlib.suppress(OSError):  # on a full disk they are not kept
                    save_array(self._facts_of(part, epoch, side), np.stack([batch[part] for batch in batches]))

    def _facts_of(self, part: str, epoch: int, side: int) -> dict[str, Any]:
        return self.facts | {"epoch": epoch, "side": side} | ({} if part == "logits" else {"part": part})

    def _turn_to(self, epoch: int, side: int) -> None:
        if self._epoch == (epoch, side):
            return
        self._epoch, self._computed, self._stored = (epoch, side), [], {}
        for part, shape in self.shapes.items():
            values = load_array(self._facts_of(part, epoch, side), shape)
            if values is None:
                self._stored = None
                return
            self._stored[part] = values


def hash_images(images: np.ndarray) -> str:
    """SHA-256 of uint8 images `[N, C, H, W]`, in their order."""
    return hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()
