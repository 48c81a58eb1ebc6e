"""A checkpoint for the browser: its graph as JSON and its weights as one run of float16 values, for `infer.js`.

The values are the checkpoint's own, so the page answers as the application does. Batch norm is folded into the
convolutions where they are loaded, in double precision: folding here would round every weight a second time.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from kdexplorer.checkpoints import Checkpoint, half_precision
from kdexplorer.errors import CheckpointError

ARCHITECTURES = ("resnet8", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110")
"""The CIFAR ResNets of He et al. 2016: at most 1.7 M weights, where a ResNet-18 has 11 M."""


@dataclass(frozen=True)
class Exported:
    """A network as `infer.js` takes it: `description` goes through JSON, `weights` is little-endian float16."""

    description: dict[str, Any]
    weights: bytes


def runs_in_browser(checkpoint: Checkpoint) -> bool:
    """Whether `exported` takes this network, from its card alone."""
    return checkpoint.architecture in ARCHITECTURES


def exported(checkpoint: Checkpoint) -> Exported:
    """Turns a CIFAR ResNet into what `infer.js` runs.

    The description holds the card's `name`, `architecture`, `method`, `classes` and `normalisation`, the `sha256` of
    the weights, and the `graph`: a `stem`, `stages` of blocks of two convolutions, and a `head`. Each part says where
    its values begin (`at`): a convolution's kernel `[out, in, 3, 3]`, then its batch norm's scale, shift, mean and
    variance `[out]`; the head's matrix `[classes, features]`, then its bias.

    Raises:
        CheckpointError: for other architectures, and for weights that cannot be trusted.
    """
    if not runs_in_browser(checkpoint):
        raise CheckpointError(
            f"{checkpoint.name} is a {checkpoint.architecture}: only {', '.join(ARCHITECTURES)} are small enough to "
            "run in the page."
        )
    network = checkpoint.network()
    state = half_precision(network)
    values: list[bytes] = []
    length = 0

    def put(*keys: str) -> int:
        nonlocal length
        at = length
        for key in keys:
            values.append(state[key].numpy().astype("<f2").tobytes())
            length += state[key].numel()
        return at

    def convolution(prefix: str, number: int) -> dict[str, int]:
        layer, norm = f"{prefix}conv{number}", f"{prefix}bn{number}"
        module = network.get_submodule(layer)
        parts = (f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var"))
        return {
            "in": module.in_channels,
            "out": module.out_channels,
            "stride": module.stride[0],
            "at": put(f"{layer}.weight", *parts),
        }

    graph: dict[str, Any] = {"epsilon": network.bn1.eps, "stem": convolution("", 1)}
    graph["stages"] = [
        [[convolution(f"{name}.{block}.", number) for number in (1, 2)] for block in range(len(getattr(network, name)))]
        for name in network.stage_names
    ]
    graph["head"] = {
        "in": network.fc.in_features,
        "out": network.fc.out_features,
        "at": put("fc.weight", "fc.bias"),
    }
    weights = b"".join(values)
    card = checkpoint.card
    kept = {key: card.get(key) for key in ("name", "architecture", "parameters", "method", "classes", "normalisation")}
    return Exported(kept | {"sha256": hashlib.sha256(weights).hexdigest(), "graph": graph}, weights)
