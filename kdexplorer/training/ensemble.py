"""Several teachers as one network: the average of their probabilities (Hinton et al. 2015, section 5)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdexplorer.datasets import Normalization
from kdexplorer.datasets.augmentation import to_device
from kdexplorer.networks.base import StagedNetwork, fold_batch_norm


class AveragedNetwork(nn.Module):
    """Networks whose probabilities are averaged; each receives the images in its own normalization."""

    def __init__(self, members: Sequence[StagedNetwork], normalizations: Sequence[Normalization]) -> None:
        super().__init__()
        self.members, self.normalizations = nn.ModuleList(members), tuple(normalizations)

    def fold(self) -> AveragedNetwork:
        """A copy for inference, see `fold_batch_norm`."""
        folded = [fold_batch_norm(member) for member in self.members if isinstance(member, StagedNetwork)]
        return AveragedNetwork(folded, self.normalizations).eval()

    def forward(self, images: Tensor) -> Tensor:
        """Images `[B, 3, H, W]` in the first member's normalization to logits float32 `[B, K]`.

        The logits are the logarithm of the mean of the members' probabilities at T = 1.
        """
        logits = []
        for member, normalization in zip(self.members, self.normalizations, strict=True):
            logits.append(member(_renormalize(images, self.normalizations[0], normalization)).float())
        return average_logits(torch.stack(logits))


def average_logits(logits: Tensor) -> Tensor:
    """The log of the mean over networks of their probabilities: `[networks, B, K]` to `[B, K]`."""
    return torch.logsumexp(F.log_softmax(logits, dim=-1), dim=0) - math.log(len(logits))


def _renormalize(images: Tensor, old: Normalization, new: Normalization) -> Tensor:
    if old == new:
        return images
    mean, std, other_mean, other_std = (
        to_device(np.asarray(values, np.float32), images.device).view(1, 3, 1, 1)
        for values in (old.mean, old.std, new.mean, new.std)
    )
    return ((images * std + mean) - other_mean) / other_std
