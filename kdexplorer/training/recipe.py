"""How students are trained: what a network begins with, and the optimizer. All of it follows from the configuration.

A network may begin with a whitened first layer, and with convolutions that pass their input on. Muon's steps of a
matrix have singular values that are all about 1 (Jordan et al., "Muon", 2024).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from kdexplorer.config import RunConfig
from kdexplorer.datasets import Normalization
from kdexplorer.datasets.augmentation import normalize

WHITENED_FROM = 1000
"""Images whose patches are measured."""


@torch.no_grad()
def prepare(config: RunConfig, network: nn.Module, images: Tensor, normalization: Normalization, fresh: bool) -> None:
    """Gives a network what its run's recipe says it begins with, and the momentum of its norms' statistics.

    `images` are those of training, uint8 `[N, 3, H, W]`. Only weights that are `fresh`, drawn, are replaced; a whitened
    first layer is not trained, fresh or not.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = config.norm_momentum
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    if config.start_filters == "dirac" and fresh:
        for convolution in convolutions[1:]:
            if convolution.kernel_size == (3, 3) and convolution.groups == 1:
                nn.init.dirac_(convolution.weight[: convolution.in_channels])
    if config.first_layer == "whitening":
        first = convolutions[0]
        first.weight.requires_grad_(False)
        if fresh:
            found = whitening(normalize(images[:WHITENED_FROM], normalization), first.kernel_size[0])
            both = torch.cat([found, -found])[: first.out_channels]
            first.weight[: len(both)] = both


def whitening(images: Tensor, size: int, epsilon: float = 5e-4) -> Tensor:
    """Filters whose outputs on the images' patches are uncorrelated, with variance 1; the most frequent patterns first.

    Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024, section 3.2, after Page: the eigenvectors of the
    patches' covariance, each divided by `sqrt(eigenvalue + epsilon)`, which bounds the filters of rare patterns.

    From normalized images, float `[N, C, H, W]`, to filters `[C * size * size, C, size, size]`.
    """
    channels = images.shape[1]
    patches = images.unfold(2, size, 1).unfold(3, size, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, channels * size**2)
    covariance = (patches.T @ patches).double() / len(patches)
    values, vectors = torch.linalg.eigh(covariance)
    filters = (vectors / (values + epsilon).sqrt()).T.flip(0)
    return filters.reshape(-1, channels, size, size).to(images.dtype)


def build_optimizer(
    config: RunConfig, network: nn.Module, adapters: Iterable[nn.Module], precision: torch.dtype
) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, AdamW, or Muon for the network's filters and SGD for all else.

    Biases and the parameters of norms have no weight decay. A group's rate is `factor` times the step's. What is not
    trained is in no group. Muon multiplies in `precision`, but not in float16, whose range is too small.
    """
    linear = {id(module.bias) for module in network.modules() if isinstance(module, nn.Linear)}
    own = {name: p for name, p in network.named_parameters() if p.requires_grad}
    shifts = [p for name, p in own.items() if name.endswith("bias") and id(p) not in linear and config.bias_factor != 1]
    filters = [p for p in own.values() if p.ndim == 4 and config.optimizer == "muon"]
    taken = {id(p) for p in (*shifts, *filters)}
    others = [*own.values(), *(p for adapter in adapters for p in adapter.parameters())]
    others = [p for p in others if id(p) not in taken]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in others if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if shifts:
        groups.append({"params": shifts, "weight_decay": 0.0, "factor": config.bias_factor})
    half = precision == torch.float16  # a fused SGD's first step, if skipped, leaves a momentum that nobody has written
    fused = (next(network.parameters()).is_cuda and not half) or None
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.momentum, 0.999), fused=fused)
    common: dict[str, Any] = {"lr": config.learning_rate, "momentum": config.momentum, "nesterov": config.momentum > 0}
    if not filters:
        return torch.optim.SGD(groups, **common, fused=fused)
    factor = config.filter_rate / config.learning_rate
    momentum = config.momentum if config.filter_momentum is None else config.filter_momentum
    orthogonal = torch.float32 if half else precision
    groups.append({"params": filters, "factor": factor, "orthogonal": orthogonal, "momentum": momentum})
    return Muon(groups, **common)


def orthogonalize(matrix: Tensor, steps: int = 3) -> Tensor:
    """Moves a matrix's singular values towards 1, by Newton-Schulz iterations, and keeps its singular vectors.

    `[M, N]` to `[M, N]`, in its dtype. After three steps those of a random matrix lie between 0.3 and 1.3, which for
    training is as good as 1: the coefficients are made for fast growth from 0, and do not converge.
    """
    x = matrix / (matrix.norm() + 1e-7)
    wide = len(x) <= x.shape[1]
    x = x if wide else x.T
    for _ in range(steps):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x if wide else x.T


class Muon(torch.optim.SGD):
    """SGD with Nesterov momentum, and Muon in the groups that have `orthogonal`, the precision of its products.

    As in Jordan's airbench94_muon: a filter bank `[out, in, H, W]` is a matrix with a row for each output channel; it
    is scaled to the norm `sqrt(out)` before each step, since a norm behind it undoes its size, and has no weight decay.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step of all groups; gradients that Muon has used are dropped."""
        for group in (one for one in self.param_groups if one.get("orthogonal") is not None):
            for filters in group["params"]:
                if (gradient := filters.grad) is None:
                    continue
                state = self.state[filters]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(gradient)
                momentum = state["momentum_buffer"].mul_(group["momentum"]).add_(gradient)
                direction = gradient.add(momentum, alpha=group["momentum"]) if group["nesterov"] else momentum
                update = orthogonalize(direction.flatten(1).to(group["orthogonal"]))
                filters.mul_(len(filters) ** 0.5 / filters.norm())
                filters.add_(update.to(filters.dtype).view(filters.shape), alpha=-group["lr"])
                filters.grad = None
        return super().step(closure)
