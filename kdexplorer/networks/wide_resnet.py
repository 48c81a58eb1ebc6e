"""Wide ResNets for 32-pixel images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from kdexplorer.networks.base import StagedNetwork, initialize


class _WideBlock(nn.Module):
    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        same = stride == 1 and channels_in == channels
        self.shortcut = None if same else nn.Conv2d(channels_in, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(x))
        residual = x if self.shortcut is None else self.shortcut(y)
        return self.conv2(F.relu(self.bn2(self.conv1(y)))) + residual


class WideResNet(StagedNetwork):
    """Zagoruyko & Komodakis, "Wide Residual Networks", BMVC 2016: depth 6n + 4, pre-activation."""

    stage_names = ("layer1", "layer2", "layer3")
    norm_follows_convolution = False

    def __init__(self, depth: int, width: int, classes: int = 10) -> None:
        super().__init__()
        blocks = (depth - 4) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        channels_in = 16
        for name, base, stride in zip(self.stage_names, (16, 32, 64), (1, 2, 2), strict=True):
            stage = []
            for block in range(blocks):
                stage.append(_WideBlock(channels_in, base * width, stride if block == 0 else 1))
                channels_in = base * width
            setattr(self, name, nn.Sequential(*stage))
        self.bn = nn.BatchNorm2d(channels_in)
        self.fc = nn.Linear(channels_in, classes)
        initialize(self)

    def embed(self, features: Tensor) -> Tensor:
        return F.relu(self.bn(features)).mean(dim=(2, 3))
