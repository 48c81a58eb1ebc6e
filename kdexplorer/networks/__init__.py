"""Architectures by name: how each is built, its stages, and what it costs. Reading them loads no torch.

An entry says which class builds the network and what its stages are; what follows from the network itself (parameters,
multiply-adds, time for an image) is derived from it, and computed once.
"""

from __future__ import annotations

import pkgutil
import statistics
import timeit
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from kdexplorer.errors import ConfigError, unknown_name
from kdexplorer.networks.outputs import Outputs as Outputs
from kdexplorer.networks.outputs import load_torch, nn, torch
from kdexplorer.plugins import leave_out, plugins

if TYPE_CHECKING:
    from kdexplorer.networks.base import StagedNetwork


@dataclass(frozen=True)
class Stage:
    """A stage's output: its channels, and by how much it is smaller than the image in each direction."""

    channels: int
    reduction: int


@dataclass(frozen=True)
class Architecture:
    """An architecture that can be trained, imported and drawn."""

    key: str
    label: str
    builder: str | Callable[..., StagedNetwork]
    """`module.Class` in this package, or in a plugin a function or class; called with `arguments` and `classes`."""
    stages: tuple[Stage, ...]
    embedding: int
    """Length of the vector before the classifier."""
    arguments: dict[str, Any] = field(default_factory=dict)
    runs_in_browser: bool = False
    """Whether `web/infer.js` computes it: the CIFAR ResNets and the AirNets of two convolutions a block."""


def _stages(*channels: int) -> tuple[Stage, ...]:
    return tuple(Stage(count, 2**number) for number, count in enumerate(channels))


def _cifar_resnet(depth: int) -> Architecture:
    key, label, stages = f"resnet{depth}", f"ResNet-{depth}", _stages(16, 32, 64)
    return Architecture(key, label, "resnet.CifarResNet", stages, 64, {"depth": depth}, runs_in_browser=True)


def _imagenet_resnet(depth: int, blocks: tuple[int, ...], expansion: int = 1) -> Architecture:
    stages = _stages(*(expansion * count for count in (64, 128, 256, 512)))
    key, label, given = f"resnet{depth}", f"ResNet-{depth}", {"blocks": blocks, "expansion": expansion}
    return Architecture(key, label, "resnet.ImageNetResNet", stages, stages[-1].channels, given)


def _wide_resnet(depth: int, width: int) -> Architecture:
    key, label, stages = f"wrn_{depth}_{width}", f"WRN-{depth}-{width}", _stages(16 * width, 32 * width, 64 * width)
    return Architecture(key, label, "resnet.WideResNet", stages, 64 * width, {"depth": depth, "width": width})


def _air_net(width: int, shortcut: bool = False) -> Architecture:
    widths = (width, 4 * width, 4 * width)
    stages = tuple(Stage(channels, 2 * 2**number) for number, channels in enumerate(widths))
    given, key, label = {"widths": widths, "shortcut": shortcut}, f"air_{width}", f"Air-{width}"
    return Architecture(key, label, "air.AirNet", stages, 4 * width, given, runs_in_browser=not shortcut)


def _vgg(depth: int, convolutions: int) -> Architecture:
    """The stages are the blocks after the first one, which the reference uses as features."""
    stages = tuple(Stage(channels, reduction) for channels, reduction in ((128, 2), (256, 4), (512, 8), (512, 8)))
    return Architecture(f"vgg{depth}", f"VGG-{depth}", "vgg.VGG", stages, 512, {"convolutions": convolutions})


_ARCHITECTURES = (
    *(_cifar_resnet(depth) for depth in (8, 20, 32, 44, 56, 110)),
    _imagenet_resnet(18, (2, 2, 2, 2)),
    _imagenet_resnet(34, (3, 4, 6, 3)),
    _imagenet_resnet(50, (3, 4, 6, 3), expansion=4),
    _wide_resnet(16, 2),
    _wide_resnet(40, 2),
    Architecture("mobilenet_v2", "MobileNetV2", "mobile.MobileNetV2", _stages(24, 32, 96, 320), 1280),
    Architecture(
        "shufflenet_v2", "ShuffleNetV2", "mobile.ShuffleNetV2", (Stage(116, 2), Stage(232, 4), Stage(464, 8)), 1024
    ),
    _vgg(8, 1),
    _vgg(13, 2),
    *(_air_net(width) for width in (16, 32, 64)),
    _air_net(80, shortcut=True),
)
"""One entry each, in the order in which forms list them."""
STORED = Architecture("stored_logits", "Stored logits", "stored.StoredLogits", (), 0)
"""A teacher of which only logits are known, see `stored`; no student can be one."""


@cache
def all_architectures() -> tuple[Architecture, ...]:
    """Every architecture, in the order in which forms list them, and those that plugins have as global variables."""
    found = {one.key: one for one in _ARCHITECTURES}
    for plugin in plugins():
        for one in vars(plugin).values():
            if isinstance(one, Architecture) and one not in found.values():
                with leave_out(f"architecture {one.key} in {plugin.__file__}"):
                    if one.key in found:
                        raise ValueError("there is another of that name")
                    found[one.key] = one
    return tuple(found.values())


def get_architecture(key: str) -> Architecture:
    """The architecture of that key. Raises ConfigError, which lists the choices, for any other."""
    found = {one.key: one for one in all_architectures()}
    if key == STORED.key:
        return STORED
    if key not in found:
        raise ConfigError(unknown_name("architecture", key, found))
    return found[key]


def build(architecture: str, classes: int = 10, seed: int | None = None) -> StagedNetwork:
    """Builds a network with fresh weights, in train mode, float32, channels_last. Raises ConfigError on an unknown key.

    A seed makes the weights reproducible without touching torch's global generator.
    """
    load_torch()
    entry = get_architecture(architecture)
    make: Any = entry.builder
    if isinstance(make, str):
        make = pkgutil.resolve_name(f"kdexplorer.networks.{make}")
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        return make(**entry.arguments, classes=classes).to(memory_format=torch.channels_last)


def build_empty(architecture: str, classes: int = 10) -> StagedNetwork:
    """A network as from `build`, but for its values: weights are to be loaded, no time is spent on drawing them."""
    load_torch()
    from torch.overrides import TorchFunctionMode

    class _Undrawn(TorchFunctionMode):
        """Not the device "meta": its random numbers and `to_empty` import all of torch's compiler."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(func, "__module__", "") == "torch.nn.init" or func.__name__ in ("normal_", "uniform_"):
                return args[0] if args else kwargs["tensor"]
            return func(*args, **(kwargs or {}))

    with _Undrawn():
        return build(architecture, classes)


# --- What a network costs ---


def count_parameters(network: nn.Module) -> int:
    """The number of learned parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


@cache
def count_multiply_adds(architecture: str, classes: int = 10) -> int:
    """Multiply-adds of one 32x32 image in convolutions and linear layers, as torch counts them."""
    load_torch()
    from torch.utils.flop_counter import FlopCounterMode

    network = build_empty(architecture, classes).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, 32, 32))
    return counter.get_total_flops() // 2


def measure_latency(architecture: str) -> float:
    """Seconds that one image takes on this machine's processor in float32: the median of 30, after 3 to warm up."""
    from kdexplorer.networks.base import fold_batch_norm

    network = fold_batch_norm(build(architecture))
    images = torch.zeros(1, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        seconds = timeit.repeat(lambda: network(images), number=1, repeat=33)
    return statistics.median(seconds[3:])
