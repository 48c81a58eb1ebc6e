"""How students are trained: the optimizer, the learning rate by step, the resolution by epoch.

All of it is a function of the configuration, here and nowhere else: another recipe is another choice in this file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kdexplorer.config import RunConfig

if TYPE_CHECKING:
    import torch
    from torch import nn

FULL_RESOLUTION = 32
"""Pixels a side of the images as they are, and as they are evaluated."""


def build_optimizer(
    config: RunConfig, network: nn.Module, adapters: Iterable[nn.Module], precision: torch.dtype
) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, AdamW, or Muon for the network's filters and SGD for all else.

    Biases and the parameters of norms have no weight decay. A group's rate is `factor` times the step's. What is not
    trained is in no group. Muon multiplies in `precision`.
    """
    import torch
    from torch import nn

    from kdexplorer.training.fast_recipe import Muon

    linear = {id(module.bias) for module in network.modules() if isinstance(module, nn.Linear)}
    shifts = {id(p) for name, p in network.named_parameters() if name.endswith("bias")} - linear
    if config.bias_factor == 1:
        shifts = set()
    own = [p for p in network.parameters() if p.requires_grad]
    known = [*own, *(p for adapter in adapters for p in adapter.parameters())]
    filters = {id(p) for p in own if p.ndim == 4 and config.optimizer == "muon"}
    groups: list[dict[str, Any]] = [
        {"params": [p for p in known if p.ndim > 1 and id(p) not in filters], "weight_decay": config.weight_decay},
        {"params": [p for p in known if p.ndim <= 1 and id(p) not in shifts], "weight_decay": 0.0},
    ]
    if shifts:
        biases = [p for p in own if id(p) in shifts]
        groups.append({"params": biases, "weight_decay": 0.0, "factor": config.bias_factor})
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.momentum, 0.999))
    common: dict[str, Any] = {"lr": config.learning_rate, "momentum": config.momentum, "nesterov": config.momentum > 0}
    if not filters:
        return torch.optim.SGD(groups, **common)
    factor = config.filter_rate / config.learning_rate
    groups.append({"params": [p for p in own if id(p) in filters], "factor": factor, "orthogonal": precision})
    return Muon(groups, **common)


def learning_rate(config: RunConfig, step: int, steps: int) -> float:
    """The rate of a step (from 0): up in a straight line, then down to zero in a line or half a cosine, or by steps.

    The steps are those of RepDistiller's 240 epochs: a tenth from epoch 150, 180 and 210 on.
    """
    rise = round(config.warmup * steps)
    if step < rise:
        return config.learning_rate * (step + 1) / rise
    if config.schedule == "step":
        return config.learning_rate * 0.1 ** sum(step >= share * steps for share in (5 / 8, 3 / 4, 7 / 8))
    rest = (step - rise) / max(1, steps - rise)
    shape = 1 - rest if config.schedule == "one_cycle" else (1 + math.cos(math.pi * rest)) / 2
    return config.learning_rate * shape


def average_decay(config: RunConfig, step: int) -> float:
    """The decay of the weights' average in a step (from 0); at first it forgets faster, as it began untrained."""
    return min(config.ema, (1 + step) / (10 + step))


def resolution(config: RunConfig, epoch: int) -> int:
    """Pixels a side that an epoch (from 0) trains on: even steps of 8 from `start_resolution`, 32 in the last quarter.

    Smaller images first: Tan & Le, "EfficientNetV2", ICML 2021, section 4. However few epochs there are, the last has
    the size that is evaluated, because the statistics of batch norm depend on the size. Steps of 8 because every size
    is compiled for (half a minute for a ResNet-50), and because 28 pixels take nearly the time of 32.
    """
    rising = int(0.75 * config.epochs)
    if epoch >= rising:
        return FULL_RESOLUTION
    steps = (FULL_RESOLUTION - config.start_resolution) // 8
    return config.start_resolution + 8 * (steps * epoch // rising)


def pixel_shares(config: RunConfig) -> list[float]:
    """The pixels of each epoch's images as shares of those at full size, which a step's cost follows."""
    return [(resolution(config, epoch) / FULL_RESOLUTION) ** 2 for epoch in range(config.epochs)]
