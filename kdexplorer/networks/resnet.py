"""ResNets for 32-pixel images: the CIFAR design of He et al. 2016, and torchvision's with the CIFAR stem."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from kdexplorer.networks.base import StagedNetwork, initialize


class _BasicBlock(nn.Module):
    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.new_channels = channels - channels_in

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        if self.stride != 1 or self.new_channels:
            before = self.new_channels // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.new_channels - before))
        return F.relu(y + x, inplace=True)


class _ResNet(StagedNetwork):
    """What both designs share."""

    bn1: nn.BatchNorm2d

    def stem(self, images: Tensor) -> Tensor:
        return F.relu(self.bn1(self.conv1(images)), inplace=True)


class CifarResNet(_ResNet):
    """He et al., "Deep Residual Learning", CVPR 2016, section 4.2: depth 6n + 2, 16, 32 and 64 channels.

    The shortcut has no parameters (option A): every second pixel, new channels zero.
    """

    stage_names = ("layer1", "layer2", "layer3")

    def __init__(self, depth: int, classes: int = 10) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        channels_in = 16
        for name, channels, stride in zip(self.stage_names, (16, 32, 64), (1, 2, 2), strict=True):
            stage = []
            for block in range(blocks):
                stage.append(_BasicBlock(channels_in, channels, stride if block == 0 else 1))
                channels_in = channels
            setattr(self, name, nn.Sequential(*stage))
        self.fc = nn.Linear(64, classes)
        initialize(self)


class _ResidualBlock(nn.Module):
    """Two 3x3 convolutions or, with four times as many channels at its end, 1x1, 3x3 and 1x1; a 1x1 as shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide, downsample = channels * expansion, None
        if stride != 1 or channels_in != wide:  # drawn first
            downsample = nn.Sequential(nn.Conv2d(channels_in, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))
        sizes = [(3, stride), (3, 1)] if expansion == 1 else [(1, 1), (3, stride), (1, 1)]
        counts = [channels_in, *[channels] * (len(sizes) - 1), wide]
        for number, (size, step) in enumerate(sizes):
            conv = nn.Conv2d(counts[number], counts[number + 1], size, step, size // 2, bias=False)
            setattr(self, f"conv{number + 1}", conv)
            setattr(self, f"bn{number + 1}", nn.BatchNorm2d(counts[number + 1]))
        self.downsample = downsample
        self.convolutions = len(sizes)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for number in range(1, self.convolutions + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            if number < self.convolutions:
                y = F.relu(y, inplace=True)
        y += x if self.downsample is None else self.downsample(x)
        return F.relu(y, inplace=True)


class ImageNetResNet(_ResNet):
    """torchvision's ResNet, with its parameter names and initial values, and the CIFAR stem: 3x3, no max-pool.

    It is not torchvision's own because importing that takes seconds and 90 MB.
    """

    stage_names = ("layer1", "layer2", "layer3", "layer4")

    def __init__(self, blocks: Sequence[int], expansion: int, classes: int = 10) -> None:
        super().__init__()
        first = nn.Conv2d(3, 64, 7, bias=False)  # draws what the ImageNet stem's would
        channels_in, stages = 64, []
        for number, count in enumerate(blocks):
            channels, row = 64 * 2**number, list[nn.Module]()
            for block in range(count):
                stride = 2 if block == 0 and number > 0 else 1
                row.append(_ResidualBlock(channels_in, channels, stride, expansion))
                channels_in = channels * expansion
            stages.append(nn.Sequential(*row))
        fc = nn.Linear(channels_in, classes)
        initialize(nn.ModuleList([first, *stages]))
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        initialize(self.conv1)
        self.bn1, self.fc = nn.BatchNorm2d(64), fc
        for name, stage in zip(self.stage_names, stages, strict=True):
            setattr(self, name, stage)
