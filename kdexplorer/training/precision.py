"""Forward passes in the precision of the training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from kdexplorer.networks import Outputs


def run_network(forward: Callable[..., Any], inputs: Tensor, dtype: torch.dtype, all_outputs: bool) -> Outputs:
    """A network's outputs in the training precision: stages in `dtype`, logits and embedding in float32.

    Without `all_outputs` only logits.
    """
    with autocast(inputs.device, dtype):
        if not all_outputs:
            return Outputs(forward(inputs).float())
        logits, stages, embedding = forward(inputs, all_outputs=True)
    return Outputs(logits.float(), stages, embedding.float())


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """The context in which forward passes run in `dtype`."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def in_autocast(adapter: Callable[..., Any], device: torch.device, dtype: torch.dtype) -> Callable[..., Any]:
    """An adapter whose forward pass runs in `dtype`."""

    def run(*inputs: Any) -> Any:
        with autocast(device, dtype):
            return adapter(*inputs)

    return run
