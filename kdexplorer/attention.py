"""Where a network looks: attention maps, as trained on and as drawn.

Spatial attention of Zagoruyko & Komodakis, "Paying More Attention to Attention", ICLR 2017, section 3.1.
`losses.attention_loss` uses these very functions, so the picture shown is the tensor trained on.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def attention_map(features: Tensor, power: int = 1) -> Tensor:
    """Collapses the channels of a stage's output to one map per image.

    Args:
        features: `[B, C, H, W]`, any floating dtype.
        power: 1 is the mean over channels (the lab's); 2 the mean of squares (the paper's F_sum^2 up to
            a constant, which the normalisation removes).

    Returns:
        `[B, H, W]` float32 (float64 stays), not normalised.
    """
    features = wide(features)
    return (features if power == 1 else features.pow(power)).mean(dim=1)


def normalised(maps: Tensor) -> Tensor:
    """Flattens maps `[B, H, W]` and scales each image's to unit L2 norm: `[B, H*W]` float32 (float64 stays)."""
    return F.normalize(wide(maps).flatten(1), dim=1)


def same_size(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Average-pools the larger of two `[B, H, W]` maps to the smaller's height and width."""
    size = tuple(min(a, b) for a, b in zip(first.shape[1:], second.shape[1:], strict=True))
    return tuple(  # type: ignore[return-value]
        maps if tuple(maps.shape[1:]) == size else F.adaptive_avg_pool2d(maps[:, None], size)[:, 0]
        for maps in (first, second)
    )


def similarity(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """How alike two networks' maps are, per image.

    Args:
        first, second: `[B, H, W]` maps of the same images; pooled to the smaller size if they differ.

    Returns:
        Cosine similarity `[B]` (-1 to 1), and the mean squared difference `[B]` between the normalised
        maps. The loss is the mean of the latter over images: `mse = 2 (1 - cosine) / (H W)`.
    """
    a, b = (normalised(maps) for maps in same_size(first, second))
    return (a * b).sum(dim=1), (a - b).square().mean(dim=1)


def wide(tensor: Tensor) -> Tensor:
    """At least float32: half precision is too coarse for a norm or a softmax's logarithm; float64 stays."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()
