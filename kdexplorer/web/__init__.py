"""Networks in a browser: their graph and weights for `infer.js`, and the live view's script, style and settings.

The exported values are the checkpoint's own, as float16, so the page computes what the application computes. `infer.js`
folds batch norm into the convolutions, in double precision; folding here would round every weight a second time.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from kdexplorer.charts.style import look_of
from kdexplorer.charts.temperature import T_MAX, T_MIN
from kdexplorer.errors import CheckpointError
from kdexplorer.images.picture import interpolate_palette
from kdexplorer.networks import all_architectures, get_architecture
from kdexplorer.runs.checkpoints import Checkpoint, to_half_precision

PARTS = ("explain_refusal.js", "image_input.js", "predictions.js", "snapshot.js", "live.js")
"""What runs in the page. `infer.js` and `worker.js` are embedded in it as text and run in a worker."""

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
    network: Any = checkpoint.network()
    state, weights = to_half_precision(network), bytearray()

    def append(*keys: str) -> int:
        """Packs these tensors; returns where they begin."""
        begin = len(weights) // 2
        for key in keys:
            weights.extend(state[key].numpy().astype("<f2").tobytes())
        return begin

    def convolution(prefix: str, number: int) -> dict[str, int]:
        layer, norm = f"{prefix}conv{number}", f"{prefix}bn{number}"
        module = network.get_submodule(layer)
        parts = (f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var"))
        return {
            "in": module.in_channels,
            "out": module.out_channels,
            "stride": module.stride[0],
            "at": append(f"{layer}.weight", *parts),
        }

    kind = str(get_architecture(checkpoint.architecture).builder)
    is_air = kind == "air.AirNet"
    if is_air:
        stem = {"out": network.conv1.out_channels, "at": append("conv1.weight", "conv1.bias")}
        blocks = [[f"{name}."] for name in network.stage_names]
    else:
        stem = convolution("", 1)
        blocks = [[f"{name}.{k}." for k in range(len(getattr(network, name)))] for name in network.stage_names]
    graph = {
        "kind": kind,
        "epsilon": network.get_submodule("block1.bn1" if is_air else "bn1").eps,
        "stem": stem,
        "stages": [[[convolution(block, number) for number in (1, 2)] for block in one] for one in blocks],
        "head": {"in": network.fc.in_features, "out": network.fc.out_features}
        | ({"scale": network.scale} if is_air else {})
        | {"at": append("fc.weight", *([] if is_air else ["fc.bias"]))},
    }
    facts = {"name", "architecture", "parameters", "classes", "normalization"}
    description = checkpoint.card.model_dump(mode="json", include=facts)
    description |= {"sha256": hashlib.sha256(weights).hexdigest(), "graph": graph}
    return ExportedNetwork(description, bytes(weights))


@cache
def build_script() -> str:
    """A classic script that defines `KDLive.mount(host, settings)`; safe inside a script element."""
    worker = json.dumps(read("infer.js", "worker.js")).replace("<", "\\u003c")
    parts = f"const KD_WORKER = {worker};\n{read(*PARTS)}\nreturn {{ mount }};"
    return f'"use strict";\nconst KDLive = (() => {{\n{parts}\n}})();\n'


def describe_network(name: str, role: str, exported: ExportedNetwork, url: str | None = None) -> dict[str, Any]:
    """One network as the view takes it, by its name on the page and its `charts.style.role_of`.

    `url` is where its weights are served; None embeds them as base64.
    """
    look = look_of(role)
    weights = {"url": url} if url else {"weights": base64.b64encode(exported.weights).decode()}
    facts = {"name": name, "what": look.what, "color": look.color, "mark": look.mark}
    return facts | {"description": exported.description} | weights


def build_settings(
    networks: Sequence[dict[str, Any]], temperature: float, sample: tuple[str, str] | None = None
) -> dict[str, Any]:
    """What `KDLive.mount` takes: networks of `describe_network`, the teacher first, and the temperature at the start.

    `sample` is an image to begin with: its data URL, and what it is in a sentence without its full stop.
    """
    return {
        "networks": list(networks),
        "palette": interpolate_palette("map").tolist(),
        "temperature": temperature,
        "range": [T_MIN, T_MAX],
        "sample": None if sample is None else dict(zip(("url", "caption"), sample, strict=True)),
    }


@cache
def read(*names: str) -> str:
    """These scripts or style sheets of this folder, one after the other."""
    folder = resources.files("kdexplorer.web")
    return "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)
