"""VGG networks for 32-pixel images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from kdexplorer.networks.base import StagedNetwork, initialize


class VGG(StagedNetwork):
    """Simonyan & Zisserman, ICLR 2015, as Tian et al., "Contrastive Representation Distillation", ICLR 2020, train it.

    Five blocks of convolutions with batch norm, and one linear layer. Max-pooling halves the size before the second to
    the fourth block; the fifth sees what the fourth returns.
    """

    stage_names = ("block1", "block2", "block3", "block4")

    def __init__(self, convolutions: int, classes: int = 10) -> None:
        super().__init__()
        channels_in = 3
        for number, channels in enumerate((64, 128, 256, 512, 512)):
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if 1 <= number <= 3 else []
            for _ in range(convolutions):
                layers += [nn.Conv2d(channels_in, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()]
                channels_in = channels
            setattr(self, f"block{number}", nn.Sequential(*layers))
        self.classifier = nn.Linear(channels_in, classes)
        initialize(self)

    def stem(self, images: Tensor) -> Tensor:
        return self.get_submodule("block0")(images)

    def embed(self, features: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(features, 1).flatten(1)

    def classify(self, embedding: Tensor) -> Tensor:
        return self.classifier(embedding)
