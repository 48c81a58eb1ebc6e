"""ShuffleNetV2 for 32-pixel images."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from kdexplorer.networks.base import StagedNetwork


class ShuffleNetV2(StagedNetwork):
    """torchvision's ShuffleNetV2 1x (Ma et al., ECCV 2018), its first convolution without stride, no max-pooling."""

    stage_names = ("stage2", "stage3", "stage4")

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        import torchvision.models

        network = torchvision.models.shufflenet_v2_x1_0(num_classes=classes)
        cast(nn.Conv2d, network.conv1[0]).stride = (1, 1)
        self.conv1, self.conv5, self.fc = network.conv1, network.conv5, network.fc
        self.stage2, self.stage3, self.stage4 = network.stage2, network.stage3, network.stage4

    def stem(self, images: Tensor) -> Tensor:
        return self.conv1(images)

    def embed(self, features: Tensor) -> Tensor:
        return self.conv5(features).mean(dim=(2, 3))

    def classify(self, embedding: Tensor) -> Tensor:
        return self.fc(embedding)
