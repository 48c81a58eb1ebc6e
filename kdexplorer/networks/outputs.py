"""What a network computes for a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


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
    import torch.nn.functional as F

    size = min(first.shape[-2], second.shape[-2]), min(first.shape[-1], second.shape[-1])

    def pool(maps: Tensor) -> Tensor:
        return maps if tuple(maps.shape[-2:]) == size else F.adaptive_avg_pool2d(maps, size)

    return pool(first), pool(second)


def as_float(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in float64 where it is that already."""
    import torch

    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
