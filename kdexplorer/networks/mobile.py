"""Networks for small devices, MobileNetV2 and ShuffleNetV2: torchvision's own, with strides for 32-pixel images."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from kdexplorer.networks.base import StagedNetwork


class MobileNetV2(StagedNetwork):
    """torchvision's MobileNetV2 (Sandler et al., CVPR 2018) with its first two strides set to 1.

    Without dropout, which earlier runs did not have either.
    """

    stage_names = ("layer1", "layer2", "layer3", "layer4")

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        import torchvision.models

        network = torchvision.models.mobilenet_v2(num_classes=classes, dropout=0.0)
        blocks = list(network.features)
        for convolution in (blocks[0].get_submodule("0"), blocks[2].get_submodule("conv.1.0")):
            cast(nn.Conv2d, convolution).stride = (1, 1)
        self.conv1 = blocks[0]
        self.layer1 = nn.Sequential(*blocks[1:4])
        self.layer2 = nn.Sequential(*blocks[4:7])
        self.layer3 = nn.Sequential(*blocks[7:14])
        self.layer4 = nn.Sequential(*blocks[14:18])
        self.conv2 = blocks[18]
        self.classifier = network.classifier

    def embed(self, features: Tensor) -> Tensor:
        return self.conv2(features).mean(dim=(2, 3))

    def classify(self, embedding: Tensor) -> Tensor:
        return self.classifier(embedding)


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

    def embed(self, features: Tensor) -> Tensor:
        return self.conv5(features).mean(dim=(2, 3))
