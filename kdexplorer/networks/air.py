"""The small network of a speed record on CIFAR-10: 94 % in a few epochs."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from kdexplorer.networks.base import StagedNetwork


def _norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm that shifts and does not scale."""
    norm = nn.BatchNorm2d(channels)
    norm.weight.requires_grad_(False)
    return norm


class _Block(nn.Module):
    def __init__(self, channels_in: int, channels: int, shortcut: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, 1, 1, bias=False)
        self.bn1 = _norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = _norm(channels)
        self.shortcut = shortcut
        if shortcut:
            self.conv3 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
            self.bn3 = _norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.bn1(F.max_pool2d(self.conv1(x), 2)))  # scales are positive: the norm may be folded into conv1
        y = F.gelu(self.bn2(self.conv2(x)))
        return F.gelu(x + self.bn3(self.conv3(y))) if self.shortcut else y


class AirNet(StagedNetwork):
    """Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024, section 3.1: the network of its airbench94.

    A 2x2 convolution to 24 channels, of which only the shift is trained where it whitens (`training.recipe`), and
    three blocks of two convolutions, whose first is followed by max-pooling. 32-pixel images leave the blocks with 15,
    7 and 3 pixels a side. With `shortcut` each block has a third convolution and adds what its first one gives, as in
    the paper's airbench96 since June 2024.

    Logits are scaled by `sqrt(3 / D)` of the embedding's length D: with the classifier's initial weights, drawn from
    `±sqrt(1 / D)`, they begin at the size of the published network's.
    """

    stage_names = ("block1", "block2", "block3")
    conv1: nn.Conv2d

    def __init__(self, widths: tuple[int, int, int], classes: int = 10, shortcut: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 24, 2)
        nn.init.zeros_(self.conv1.bias)  # type: ignore[arg-type]
        for name, channels_in, channels in zip(self.stage_names, (24, *widths), widths, strict=False):
            setattr(self, name, _Block(channels_in, channels, shortcut))
        self.fc = nn.Linear(widths[-1], classes, bias=False)
        self.scale = (3 / widths[-1]) ** 0.5

    def stem(self, images: Tensor) -> Tensor:
        return F.gelu(self.conv1(images))

    def embed(self, features: Tensor) -> Tensor:
        return F.max_pool2d(features, features.shape[-2:]).flatten(1)  # amax has gradients of NaN when it is compiled

    def classify(self, embedding: Tensor) -> Tensor:
        return self.scale * self.fc(embedding)
