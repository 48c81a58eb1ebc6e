"""ResNets for 32-pixel images: the CIFAR design of He et al. 2016, wide ones, torchvision's with the CIFAR stem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from kdexplorer.networks.base import StagedNetwork, initialize


def _make_stages(
    block: Callable[[int, int, int], nn.Module], channels_in: int, channels: Sequence[int], counts: Sequence[int]
) -> list[nn.Module]:
    """Each stage has so many blocks, of which the first takes the previous channels and has the stride."""
    stages: list[nn.Module] = []
    for width, count in zip(channels, counts, strict=True):
        first = block(channels_in, width, 2 if stages else 1)
        stages.append(nn.Sequential(first, *(block(width, width, 1) for _ in range(count - 1))))
        channels_in = width
    return stages


def _pad_channels(x: Tensor, stride: int, new: int) -> Tensor:
    """Every second pixel where the stride is 2, and new channels of zeros, half of them before the others."""
    return F.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, new // 2, new - new // 2))


class _ResidualBlock(nn.Module):
    """Two 3x3 convolutions or, with four times as many channels at its end, 1x1, 3x3 and 1x1.

    The shortcut is a 1x1 convolution where the shape changes or, with `pads`, has no parameters.
    """

    def __init__(self, channels_in: int, channels: int, stride: int, expansion: int = 1, pads: bool = False) -> None:
        super().__init__()
        downsample: Callable[[Tensor], Tensor] | None = None
        if stride != 1 or channels_in != channels:
            if pads:
                downsample = partial(_pad_channels, stride=stride, new=channels - channels_in)
            else:  # drawn first
                convolution = nn.Conv2d(channels_in, channels, 1, stride, bias=False)
                downsample = nn.Sequential(convolution, nn.BatchNorm2d(channels))
        sizes = [(3, stride), (3, 1)] if expansion == 1 else [(1, 1), (3, stride), (1, 1)]
        counts = [channels_in, *[channels // expansion] * (len(sizes) - 1), channels]
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
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        block = partial(_ResidualBlock, pads=True)
        self.layer1, self.layer2, self.layer3 = _make_stages(block, 16, (16, 32, 64), 3 * [(depth - 2) // 6])
        self.fc = nn.Linear(64, classes)
        initialize(self)


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

    def __init__(self, depth: int, width: int, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        channels = 16 * width, 32 * width, 64 * width
        self.layer1, self.layer2, self.layer3 = _make_stages(_WideBlock, 16, channels, 3 * [(depth - 4) // 6])
        self.bn = nn.BatchNorm2d(channels[-1])
        self.fc = nn.Linear(channels[-1], classes)
        initialize(self)

    def embed(self, features: Tensor) -> Tensor:
        return F.relu(self.bn(features)).mean(dim=(2, 3))


class ImageNetResNet(_ResNet):
    """torchvision's ResNet, with its parameter names and initial values, and the CIFAR stem: 3x3, no max-pool.

    It is not torchvision's own because importing that takes seconds and 90 MB.
    """

    stage_names = ("layer1", "layer2", "layer3", "layer4")

    def __init__(self, blocks: Sequence[int], expansion: int, classes: int = 10) -> None:
        super().__init__()
        first = nn.Conv2d(3, 64, 7, bias=False)  # draws what the ImageNet stem's would
        channels = [expansion * count for count in (64, 128, 256, 512)]
        stages = _make_stages(partial(_ResidualBlock, expansion=expansion), 64, channels, blocks)
        fc = nn.Linear(channels[-1], classes)
        initialize(nn.ModuleList([first, *stages]))
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        initialize(self.conv1)
        self.bn1, self.fc = nn.BatchNorm2d(64), fc
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
