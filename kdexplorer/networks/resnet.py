"""ResNets for 32-pixel images: the CIFAR design of He et al. 2016, and torchvision's with the CIFAR stem."""

from __future__ import annotations

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

    conv1: nn.Conv2d
    bn1: nn.BatchNorm2d
    fc: nn.Linear

    def stem(self, images: Tensor) -> Tensor:
        return F.relu(self.bn1(self.conv1(images)), inplace=True)

    def embed(self, features: Tensor) -> Tensor:
        return features.mean(dim=(2, 3))

    def classify(self, embedding: Tensor) -> Tensor:
        return self.fc(embedding)


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


class TorchvisionResNet(_ResNet):
    """torchvision's ResNet and parameter names with the CIFAR stem: 3x3, stride 1, no max-pool."""

    stage_names = ("layer1", "layer2", "layer3", "layer4")

    def __init__(self, depth: int, classes: int = 10) -> None:
        super().__init__()
        import torchvision.models

        network = getattr(torchvision.models, f"resnet{depth}")(num_classes=classes)
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.bn1, self.fc = network.bn1, network.fc
        for name in self.stage_names:
            setattr(self, name, getattr(network, name))
