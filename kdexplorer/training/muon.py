"""Muon: steps of a matrix whose singular values are all about 1 (Jordan et al., "Muon", 2024)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


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
        for group in self.param_groups:
            if group.get("orthogonal") is None:
                continue
            for filters in group["params"]:
                if filters.grad is not None:
                    self._step_filters(filters, group)
                    filters.grad = None
        return super().step(closure)

    def _step_filters(self, filters: Tensor, group: dict[str, Any]) -> None:
        state, gradient = self.state[filters], filters.grad
        assert gradient is not None
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        momentum = state["momentum_buffer"].mul_(group["momentum"]).add_(gradient)
        direction = gradient.add(momentum, alpha=group["momentum"]) if group["nesterov"] else momentum
        update = orthogonalize(direction.flatten(1).to(group["orthogonal"]))
        filters.mul_(len(filters) ** 0.5 / filters.norm())
        filters.add_(update.to(filters.dtype).view(filters.shape), alpha=-group["lr"])
