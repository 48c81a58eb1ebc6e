"""What a network computes for a batch, and torch for files whose descriptions are read without it."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch as torch
    import torch.nn.functional as F
    from torch import Tensor
    from torch import nn as nn
else:

    class _Later:
        """A module that is loaded once something of it is used: to read what a method is must not load torch."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, name: str) -> Any:
            load_torch()
            return getattr(importlib.import_module(self._name), name)

    torch, nn, F = _Later("torch"), _Later("torch.nn"), _Later("torch.nn.functional")
    Tensor = Any  # in annotations


def load_torch() -> None:
    """Loads torch as a whole: who imports a part of it while another thread loads it fails, as does that thread."""
    importlib.import_module("torch")


class Outputs(NamedTuple):
    """Logits `[B, K]`, the outputs of the stages `[B, C, H, W]`, and the embedding `[B, D]` before the classifier."""

    logits: Tensor
    stages: Sequence[Tensor] = ()
    embedding: Tensor | None = None

    def tensors(self) -> list[Tensor]:
        """Everything that is there."""
        return [self.logits, *self.stages, *([] if self.embedding is None else [self.embedding])]

    def map(self, change: Callable[[Tensor], Tensor]) -> Outputs:
        """The outputs with every tensor changed."""
        logits, stages = change(self.logits), [change(stage) for stage in self.stages]
        return Outputs(logits, stages, None if self.embedding is None else change(self.embedding))


def pool_to_same_size(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Average-pools the larger of two `[B, H, W]` or `[B, C, H, W]` to the height and width of the smaller."""
    size = min(first.shape[-2], second.shape[-2]), min(first.shape[-1], second.shape[-1])

    def pool(maps: Tensor) -> Tensor:
        return maps if tuple(maps.shape[-2:]) == size else F.adaptive_avg_pool2d(maps, size)

    return pool(first), pool(second)


def match_stages(first: Sequence[float], second: Sequence[float]) -> list[tuple[int, int]]:
    """Which stages of two networks are compared, by their positions; given the sizes of their outputs, or of shares.

    One by one where there are as many. Otherwise each of the network with fewer has one of the other's, in order: those
    whose sizes are nearest (the ratios' logarithms sum up to the least), and of several such choices the deepest.
    """
    if len(first) > len(second):
        return [(one, other) for other, one in match_stages(second, first)]

    def rate(chosen: Any) -> tuple[float, list[int]]:
        distance = sum(abs(math.log2(size / second[other])) for size, other in zip(first, chosen, strict=True))
        return round(distance, 6), [-other for other in chosen]

    return list(enumerate(min(combinations(range(len(second)), len(first)), key=rate)))


def as_float(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in float64 where it is that already."""
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
