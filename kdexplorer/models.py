"""Networks by name. Each returns logits and, on request, the outputs of its stages.

CIFAR ResNets (`resnet8` … `resnet110`): He et al., "Deep Residual Learning", CVPR 2016, section 4.2, depth
6n+2, 16-32-64 channels, with the paper's parameter-free shortcut (option A: every second pixel, new
channels zero). `resnet18/34/50` and `mobilenet_v2` are torchvision's with the CIFAR stem (3x3, stride 1, no
max-pool). Wide ResNets: Zagoruyko & Komodakis, BMVC 2016. Stages come from the forward pass itself: a hook
on a network that several threads share would be a race.
"""

from __future__ import annotations

import copy
import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kdexplorer.errors import ConfigError

Output = Tensor | tuple[Tensor, list[Tensor]]


class StagedNetwork(nn.Module):
    """A network as stem, stages and head; `stage_names` are the attributes that hold the stages."""

    stage_names: tuple[str, ...] = ()

    def stem(self, images: Tensor) -> Tensor:
        raise NotImplementedError

    def head(self, features: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, images: Tensor, return_stages: bool = False) -> Output:
        """Maps normalised images `[B, 3, 32, 32]` to logits `[B, classes]`.

        With `return_stages` also the list of stage outputs, `[B, C, H, W]` each.
        """
        features = self.stem(images)
        stages = []
        for name in self.stage_names:
            features = getattr(self, name)(features)
            stages.append(features)
        logits = self.head(features)
        return (logits, stages) if return_stages else logits


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


class CifarResNet(StagedNetwork):
    """He et al. 2016, section 4.2: `depth = 6 n + 2`, three stages of 32, 16 and 8 pixels a side."""

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
        _initialise(self)

    def stem(self, images: Tensor) -> Tensor:
        return F.relu(self.bn1(self.conv1(images)), inplace=True)

    def head(self, features: Tensor) -> Tensor:
        return self.fc(features.mean(dim=(2, 3)))


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
    """Zagoruyko & Komodakis 2016: `depth = 6 n + 4`, pre-activation, three stages of 32, 16, 8 pixels."""

    stage_names = ("layer1", "layer2", "layer3")

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
        _initialise(self)

    def stem(self, images: Tensor) -> Tensor:
        return self.conv1(images)

    def head(self, features: Tensor) -> Tensor:
        return self.fc(F.relu(self.bn(features)).mean(dim=(2, 3)))


class TorchvisionResNet(StagedNetwork):
    """torchvision's ResNet with the CIFAR stem and its parameter names: stages of 32, 16, 8, 4 pixels."""

    stage_names = ("layer1", "layer2", "layer3", "layer4")

    def __init__(self, depth: int, classes: int = 10) -> None:
        super().__init__()
        import torchvision.models

        network = getattr(torchvision.models, f"resnet{depth}")(num_classes=classes)
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        for name in ("bn1", *self.stage_names, "fc"):
            setattr(self, name, getattr(network, name))

    def stem(self, images: Tensor) -> Tensor:
        return F.relu(self.bn1(self.conv1(images)), inplace=True)

    def head(self, features: Tensor) -> Tensor:
        return self.fc(features.mean(dim=(2, 3)))


class MobileNetV2(StagedNetwork):
    """torchvision's MobileNetV2 with its first two strides set to 1: stages of 32, 16, 8, 4 pixels.

    Without dropout: it would draw from torch's global generator, whose history a resumed run does not have.
    """

    stage_names = ("layer1", "layer2", "layer3", "layer4")

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        import torchvision.models

        network = torchvision.models.mobilenet_v2(num_classes=classes, dropout=0.0)
        blocks = list(network.features)
        blocks[0][0].stride = (1, 1)
        blocks[2].conv[1][0].stride = (1, 1)
        self.conv1 = blocks[0]
        self.layer1 = nn.Sequential(*blocks[1:4])
        self.layer2 = nn.Sequential(*blocks[4:7])
        self.layer3 = nn.Sequential(*blocks[7:14])
        self.layer4 = nn.Sequential(*blocks[14:18])
        self.conv2 = blocks[18]
        self.classifier = network.classifier

    def stem(self, images: Tensor) -> Tensor:
        return self.conv1(images)

    def head(self, features: Tensor) -> Tensor:
        return self.classifier(self.conv2(features).mean(dim=(2, 3)))


BUILDERS = {
    **{f"resnet{depth}": (CifarResNet, depth) for depth in (8, 20, 32, 44, 56, 110)},
    **{f"resnet{depth}": (TorchvisionResNet, depth) for depth in (18, 34, 50)},
    "wrn_16_2": (WideResNet, 16, 2),
    "wrn_40_2": (WideResNet, 40, 2),
    "mobilenet_v2": (MobileNetV2,),
}


def build(architecture: str, classes: int = 10, seed: int | None = None) -> StagedNetwork:
    """Builds a network with fresh weights, in train mode, float32, channels_last.

    Args:
        architecture: a name from `config.ARCHITECTURES`.
        classes: length of the logits.
        seed: makes the initial weights reproducible without touching torch's global generator.

    Raises:
        ConfigError: on a name that is not known.
    """
    if architecture not in BUILDERS:
        raise ConfigError(f"there is no architecture '{architecture}'. Choose one of {', '.join(BUILDERS)}.")
    make, *arguments = BUILDERS[architecture]
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        return make(*arguments, classes=classes).to(memory_format=torch.channels_last)


def parameter_count(network: nn.Module) -> int:
    """The number of learned parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def folded(network: StagedNetwork) -> StagedNetwork:
    """A copy for inference with each batch norm that follows a convolution folded into it.

    Jacob et al., "Quantization and Training of Neural Networks", CVPR 2018, section 3.2. The outputs are
    the same up to rounding. Networks without such pairs by name (Wide ResNets) come back as plain copies.
    """
    copied = copy.deepcopy(network).eval()
    for module in list(copied.modules()):
        children = dict(module.named_children())
        pairs = []
        if isinstance(module, nn.Sequential):
            names = list(children)
            pairs = list(itertools.pairwise(names))
        elif not isinstance(module, (WideResNet, _WideBlock)):
            pairs = [(name, name.replace("conv", "bn")) for name in children if name.startswith("conv")]
        for conv, norm in pairs:
            if isinstance(children.get(conv), nn.Conv2d) and isinstance(children.get(norm), nn.BatchNorm2d):
                setattr(module, conv, fuse_conv_bn_eval(children[conv], children[norm]))
                setattr(module, norm, nn.Identity())
    return copied.requires_grad_(False)


def _initialise(network: nn.Module) -> None:
    """He et al., "Delving Deep into Rectifiers", ICCV 2015, on convolutions."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
