"""Exports a checkpoint for the browser: its graph as JSON and its weights as one array of float16, for `infer.js`.

The values are the checkpoint's own, so the page computes what the application computes. `infer.js` folds batch norm
into the convolutions, in double precision; folding here would round every weight a second time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kdexplorer.errors import CheckpointError
from kdexplorer.networks import all_architectures, get_architecture
from kdexplorer.runs.checkpoints import Checkpoint, to_half_precision

MAX_STUDENTS = 3
"""Beside the teacher: a phone has room for four columns."""


@dataclass(frozen=True)
class ExportedNetwork:
    """A network as `infer.js` takes it: `description` goes through JSON, `weights` is little-endian float16."""

    description: dict[str, Any]
    weights: bytes


def runs_in_browser(checkpoint: Checkpoint) -> bool:
    """Whether `export_network` supports this network; reads no weights."""
    return any(one.runs_in_browser for one in all_architectures() if one.key == checkpoint.architecture)


def select_networks(networks: Mapping[str, Checkpoint]) -> dict[str, Checkpoint]:
    """The networks that the view shows: the first, which is the teacher, and the first students that can run."""
    teacher, *students = networks
    supported = [name for name in students if runs_in_browser(networks[name])]
    return {name: networks[name] for name in [teacher, *supported[:MAX_STUDENTS]]}


def export_network(checkpoint: Checkpoint) -> ExportedNetwork:
    """Converts a CIFAR ResNet or an AirNet to what `infer.js` runs.

    The description holds the card's `name`, `architecture`, `parameters`, `classes` and `normalization`, the `sha256`
    of the weights, and the `graph`: a `stem`, `stages` of blocks of two convolutions, and a `head`. Each part says
    where its values begin (`at`): a convolution's kernel `[out, in, 3, 3]`, then its batch norm's scale, shift, mean
    and variance `[out]`; the head's matrix `[classes, features]`, then its bias. An AirNet's stem is its kernel
    `[out, 3, 2, 2]` and its bias, and its head, without a bias, has the `scale` of its logits.

    Raises:
        CheckpointError: for other architectures, and for weights that do not match their card.
    """
    if not runs_in_browser(checkpoint):
        supported = ", ".join(one.key for one in all_architectures() if one.runs_in_browser)
        raise CheckpointError(
            f"{checkpoint.name} is a {checkpoint.architecture}: the browser's script computes only {supported}."
        )
    packed = _Packed(str(get_architecture(checkpoint.architecture).builder), checkpoint.network())
    graph, card = packed.graph(), checkpoint.card
    weights = b"".join(packed.values)
    description = {
        **card.model_dump(mode="json", include={"name", "architecture", "parameters", "classes", "normalization"}),
        "sha256": hashlib.sha256(weights).hexdigest(),
        "graph": graph,
    }
    return ExportedNetwork(description, weights)


class _Packed:
    """A network's weights as one sequence, and where each part begins in it."""

    def __init__(self, kind: str, network: Any) -> None:
        self.kind, self.network = kind, network
        self.state = to_half_precision(network)
        self.values: list[bytes] = []
        self.length = 0

    def graph(self) -> dict[str, Any]:
        """The graph, whose parts are packed in the order in which they stand in it."""
        network, is_air = self.network, self.kind == "air.AirNet"
        if is_air:
            stem = {"out": network.conv1.out_channels, "at": self._append("conv1.weight", "conv1.bias")}
            blocks = [[f"{name}."] for name in network.stage_names]
        else:
            stem = self._convolution("", 1)
            blocks = [[f"{name}.{k}." for k in range(len(getattr(network, name)))] for name in network.stage_names]
        return {
            "kind": self.kind,
            "epsilon": network.get_submodule("block1.bn1" if is_air else "bn1").eps,
            "stem": stem,
            "stages": [[[self._convolution(block, number) for number in (1, 2)] for block in one] for one in blocks],
            "head": {"in": network.fc.in_features, "out": network.fc.out_features}
            | ({"scale": network.scale} if is_air else {})
            | {"at": self._append("fc.weight", *([] if is_air else ["fc.bias"]))},
        }

    def _convolution(self, prefix: str, number: int) -> dict[str, int]:
        layer, norm = f"{prefix}conv{number}", f"{prefix}bn{number}"
        module = self.network.get_submodule(layer)
        parts = (f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var"))
        return {
            "in": module.in_channels,
            "out": module.out_channels,
            "stride": module.stride[0],
            "at": self._append(f"{layer}.weight", *parts),
        }

    def _append(self, *keys: str) -> int:
        begin = self.length
        for key in keys:
            self.values.append(self.state[key].numpy().astype("<f2").tobytes())
            self.length += self.state[key].numel()
        return begin
