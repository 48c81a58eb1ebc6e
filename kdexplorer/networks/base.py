"""A network as stem, stages, embedding and classifier, and its form for inference.

Stages come from the forward pass itself: a hook on a network that several threads share would be a race.
"""

from __future__ import annotations

import copy
import itertools
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class StagedNetwork(nn.Module):
    """The base of all architectures; `stage_names` are the attributes that hold the stages."""

    stage_names: tuple[str, ...] = ()
    conv1: nn.Module
    fc: nn.Module
    card: Any = None
    """Its checkpoint's card, where `kdexplorer.load` returned it."""

    def stem(self, images: Tensor) -> Tensor:
        """Normalized images `[B, 3, H, W]` to the first stage's input."""
        return self.conv1(images)

    def embed(self, features: Tensor) -> Tensor:
        """The last stage's output `[B, C, H, W]` to the embedding `[B, D]`."""
        return features.mean(dim=(2, 3))

    def classify(self, embedding: Tensor) -> Tensor:
        """The embedding `[B, D]` to logits `[B, K]`."""
        return self.fc(embedding)

    def forward(self, images: Tensor, all_outputs: bool = False) -> Tensor | tuple[Tensor, list[Tensor], Tensor]:
        """Maps normalized images `[B, 3, H, W]` to logits `[B, K]`.

        With `all_outputs` to the fields of `Outputs`: logits, the stages' outputs `[B, C, H, W]` and the embedding
        `[B, D]`, as a plain tuple, which torch.compile and DistributedDataParallel take as it is.
        """
        features = self.stem(images)
        stages = []
        for name in self.stage_names:
            features = getattr(self, name)(features)
            stages.append(features)
        embedding = self.embed(features)
        logits = self.classify(embedding)
        return (logits, stages, embedding) if all_outputs else logits


def fold_batch_norm(network: StagedNetwork) -> StagedNetwork:
    """A copy for inference with each batch norm that follows a convolution folded into it.

    Those are neighbors in a sequence, and a block's `convN` and `bnN` where it has them in this order and is of this
    package: what a plugin's block computes in which order, its names do not say.
    Jacob et al., "Quantization and Training of Neural Networks", CVPR 2018, section 3.2. The outputs are the same up
    to rounding. Pre-activation networks, which have no such pairs, come back as plain copies.
    """
    copied = copy.deepcopy(network).eval()
    for module in list(copied.modules()):
        is_own = type(module).__module__.startswith("kdexplorer.networks.")
        for (conv, first), (norm, second) in itertools.pairwise(list(module.named_children())):
            is_pair = isinstance(module, nn.Sequential) or (is_own and norm == conv.replace("conv", "bn"))
            if is_pair and isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                setattr(module, conv, fuse_conv_bn_eval(first, second))
                setattr(module, norm, nn.Identity())
    return copied.requires_grad_(False)


def initialize(network: nn.Module) -> None:
    """Draws the convolutions' weights as He et al., "Delving Deep into Rectifiers", ICCV 2015."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
