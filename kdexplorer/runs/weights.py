"""Weights as files and as networks. Nothing here unpickles; keys, shapes, dtype and values are checked before use."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdexplorer.errors import CheckpointError
from kdexplorer.files import open_regular

if TYPE_CHECKING:
    import torch

    from kdexplorer.networks.base import StagedNetwork

MAX_WEIGHTS_BYTES = 1 << 30


def network_from_state(architecture: str, state: dict[str, torch.Tensor], classes: int, where: str) -> StagedNetwork:
    """Builds a network from a state dict after checking keys, shapes, dtype and values.

    `num_batches_tracked` counters are ignored: no network here uses them.

    Raises:
        CheckpointError: naming the first key that is missing, unknown, misshapen, of a wrong dtype, or not finite.
    """
    import torch

    from kdexplorer.networks import build

    network = build(architecture, classes=classes, seed=0)
    expected = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    missing, unknown = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing or unknown:
        facts = [f"{what} {names[0]!r}" for what, names in (("lacks", missing), ("has an unknown", unknown)) if names]
        raise CheckpointError(f"{where} is not a {architecture}: it {' and '.join(facts)}.")
    for key, tensor in state.items():
        if not isinstance(tensor, torch.Tensor) or tensor.shape != expected[key].shape:
            raise CheckpointError(
                f"{where}: {key} has shape {tuple(getattr(tensor, 'shape', ()))}, {architecture} needs "
                f"{tuple(expected[key].shape)}."
            )
        if tensor.layout != torch.strided or tensor.device.type == "meta":
            raise CheckpointError(
                f"{where}: {key} is {tensor.layout} on {tensor.device}; weights must be plain numbers."
            )
        if tensor.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            raise CheckpointError(f"{where}: {key} is {tensor.dtype}; weights must be floating point.")
        if not torch.isfinite(tensor.float()).all():
            raise CheckpointError(f"{where}: {key} contains values that are not finite.")
    network.load_state_dict({key: tensor.float() for key, tensor in state.items()}, strict=False)
    return network.eval().requires_grad_(False)


def to_half_precision(network: StagedNetwork) -> dict[str, torch.Tensor]:
    """The weights as they are stored: float16, contiguous, without `num_batches_tracked`.

    Raises:
        CheckpointError: naming the first key with values beyond float16's range, which nothing could read back.
    """
    import torch

    state = {
        key: tensor.detach().to("cpu", torch.float16).contiguous()
        for key, tensor in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    for key, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(
                f"{key} contains values beyond float16's range (65504), the format of stored weights: lower the "
                "learning rate."
            )
    return state


def _check_size(source: Path) -> None:
    """Raises OSError or ValueError for a file that would need more memory than its own size, or more than 1 GiB."""
    with open_regular(source, follow_links=True) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_WEIGHTS_BYTES:
            raise ValueError("over 1 GiB")
        if zipfile.is_zipfile(file):  # PyTorch packs tensors without compression
            with zipfile.ZipFile(file) as archive:
                if sum(part.file_size for part in archive.infolist()) > size:
                    raise ValueError("it unpacks to more than its own size")


def read_weights(source: Path) -> dict[str, torch.Tensor]:
    """Reads a state dict from a PyTorch file (`weights_only=True`) or safetensors.

    Raises:
        CheckpointError: when it is neither, or contains anything but tensors by name.
    """
    import torch

    try:
        _check_size(source)
        if source.suffix == ".safetensors":
            import safetensors.torch

            state: Any = safetensors.torch.load_file(source)
        else:
            state = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and safetensors each have their own
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CheckpointError(f"{source} is not a plain file of weights ({reason}).") from error
    for key in ("state_dict", "model", "net"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    named = isinstance(state, dict) and all(isinstance(key, str) for key in state)
    if not named or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise CheckpointError(f"{source} does not contain a state dict (names to tensors).")
    bare = {key.removeprefix("module."): tensor for key, tensor in state.items()}
    if len(bare) < len(state):
        raise CheckpointError(f"{source} contains the same weights twice, with and without 'module.': keep one copy.")
    return bare
