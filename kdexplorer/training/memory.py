"""How much memory an experiment takes, estimated from its networks."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import psutil

from kdexplorer.config import ExperimentConfig
from kdexplorer.datasets import get_dataset
from kdexplorer.networks import build
from kdexplorer.networks.cost import count_parameters
from kdexplorer.runs.checkpoints import find_checkpoint

if TYPE_CHECKING:
    import torch

RUNTIME = 0.5 * 2**30
"""Bytes of the interpreter and of torch itself."""


def estimate_memory(config: ExperimentConfig, elsewhere: bool = False) -> float:
    """Bytes that an experiment takes at its height, estimated from its networks; see `docs/scaling.md`.

    A student's weights, gradients, momentum and what saving its state copies are seven float32 a parameter. Activations
    are those that autograd keeps, of the largest student, since students learn in turn, and half as much again for what
    comes and goes. The images of both splits lie in memory as bytes.

    Args:
        elsewhere: another machine will run it, so this one's devices do not matter.

    Raises:
        KDError: when the teacher cannot be found, or this machine lacks the device.
    """
    import torch

    from kdexplorer.training.hardware import resolve_device, resolve_precision
    from kdexplorer.training.teacher import EVALUATION_BATCH

    device = resolve_device("cpu" if elsewhere else config.device)
    dtype = resolve_precision(config.precision, device)
    total = 28.0 * sum(count_parameters(build(one.architecture)) for one in config.students)
    kept = max(_activations(one.architecture, dtype)[0] for one in config.students)
    total += 1.5 * kept * config.batch_size
    if config.teacher:
        architecture = find_checkpoint(config.teacher).architecture
        total += 8 * count_parameters(build(architecture))  # as it is, and folded
        # Without gradients a forward pass holds about three outputs at a time; its widest batch is the evaluation's.
        images = max(config.batch_size, EVALUATION_BATCH)
        total += 3 * images * _activations(architecture, torch.float32)[1]
    return RUNTIME + total + sum(get_dataset(config.dataset).sizes.values()) * 3 * 32 * 32


@functools.cache
def _activations(architecture: str, dtype: torch.dtype) -> tuple[float, float]:
    """Bytes an image that autograd keeps of a forward pass, and those of its largest single output."""
    import torch

    network = build(architecture)
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}

    def kept(batch: int) -> np.ndarray:
        storages: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.untyped_storage().data_ptr() not in weights:
                storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        images = torch.zeros(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
        autocast = torch.autocast("cpu", dtype, enabled=dtype != torch.float32)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
            logits = network(images)  # alive until here, so that no address is used twice
        del logits
        return np.array([sum(storages.values()), max(storages.values())])

    whole, largest = (kept(4) - kept(2)) / 2  # what does not grow with the batch is no activation
    return float(whole), float(largest)


def free_memory(device: str) -> float:
    """Bytes that an experiment may take: seven tenths of what is free on the device that it would run on."""
    import torch

    from kdexplorer.training.hardware import resolve_device

    if resolve_device(device).type == "cuda":
        return 0.7 * torch.cuda.mem_get_info()[0]
    return 0.7 * psutil.virtual_memory().available
