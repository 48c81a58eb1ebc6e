"""What a network costs: parameters, multiply-adds, time for an image. Derived from the network, and computed once."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING

from kdexplorer.networks.registry import build

if TYPE_CHECKING:
    from torch import nn


def count_parameters(network: nn.Module) -> int:
    """The number of learned parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


@cache
def count_multiply_adds(architecture: str, classes: int = 10) -> int:
    """Multiply-adds of one 32x32 image in convolutions and linear layers, as torch counts them."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    network = build(architecture, classes).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, 32, 32))
    return counter.get_total_flops() // 2


def measure_latency(architecture: str, batch: int = 1, repetitions: int = 30) -> float:
    """Seconds that a batch takes on this machine's processor in float32: the median, after a warm-up."""
    import torch

    from kdexplorer.networks.base import fold_batch_norm

    network = fold_batch_norm(build(architecture))
    images = torch.zeros(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    seconds = []
    with torch.inference_mode():
        for repetition in range(repetitions + 3):
            begin = time.perf_counter()
            network(images)
            if repetition >= 3:
                seconds.append(time.perf_counter() - begin)
    return sorted(seconds)[len(seconds) // 2]
