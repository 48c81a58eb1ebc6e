"""Weights as files and as networks. Nothing here unpickles; keys, shapes, dtype and values are checked before use."""

from __future__ import annotations

import os
import pickletools
import re
import zipfile
from itertools import chain, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from kdexplorer.errors import CheckpointError
from kdexplorer.files import open_regular

if TYPE_CHECKING:
    import torch

    from kdexplorer.networks.base import StagedNetwork

_PREFIXES = re.compile(r"^((module|model|_orig_mod|backbone)\.)+")
"""What DataParallel, Lightning, torch.compile and detection code put before names."""
MAX_WEIGHTS_BYTES = 1 << 30
MAX_TENSORS = 10_000
"""Of a file from elsewhere; ResNet-152 has 932. Reading takes 2 kB and 25 microseconds for each."""


def network_from_state(architecture: str, state: dict[str, torch.Tensor], classes: int, where: str) -> StagedNetwork:
    """Builds a network from a state dict; `num_batches_tracked` counters are ignored: no network here uses them.

    Raises CheckpointError naming the first key that is missing, unknown, misshapen, of a wrong dtype, or not finite.
    """
    import torch

    from kdexplorer.networks import build_empty

    network = build_empty(architecture, classes)
    expected = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    missing, unknown = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing or unknown:
        facts = [f"lacks {name!r}" for name in missing[:1]] + [f"has an unknown {name!r}" for name in unknown[:1]]
        raise CheckpointError(f"{where} is not a {architecture}: it {' and '.join(facts)}.")
    for key, tensor in state.items():
        if not isinstance(tensor, torch.Tensor) or tensor.shape != expected[key].shape:
            raise CheckpointError(
                f"{where}: {key} has shape {tuple(getattr(tensor, 'shape', ()))}, {architecture} needs "
                f"{tuple(expected[key].shape)}."
            )
        is_plain = tensor.layout == torch.strided and tensor.device.type != "meta"
        if not is_plain or tensor.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            facts = f"{tensor.dtype}, {tensor.layout} on {tensor.device}"
            raise CheckpointError(f"{where}: {key} is {facts}; weights must be plain numbers, floating point.")
        layout = torch.channels_last if tensor.dim() == 4 else torch.contiguous_format
        state[key] = tensor.to(torch.float32, copy=True, memory_format=layout)
        if not torch.isfinite(state[key]).all():
            raise CheckpointError(f"{where}: {key} contains values that are not finite.")
    counters = {k: torch.zeros_like(v) for k, v in network.state_dict().items() if k not in expected}
    network.load_state_dict(state | counters, assign=True)  # a copy would leave the heap with holes
    return network.eval().requires_grad_(False)


def to_half_precision(network: StagedNetwork) -> dict[str, torch.Tensor]:
    """The weights as they are stored: float16, contiguous, without `num_batches_tracked`.

    Raises CheckpointError naming the first key with values beyond float16's range, which nothing could read back.
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
    """Raises OSError, or CheckpointError for a file that would need more memory than its own size or than 1 GiB."""
    with open_regular(source, follow_links=True) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_WEIGHTS_BYTES:
            raise CheckpointError(f"{source} is over 1 GiB: no network of this application is that large.")
        if source.suffix == ".safetensors":  # begins with the length of its list of tensors
            _require(source, int.from_bytes(file.read(8), "little") < 400 * MAX_TENSORS)
        elif zipfile.is_zipfile(file):  # PyTorch packs tensors without compression
            file.seek(-min(size, 1 << 16), os.SEEK_END)
            _, _, end = file.read().rpartition(b"PK\5\6")  # has the length of the list of parts
            _require(source, int.from_bytes(end[8:12], "little") < 400 * MAX_TENSORS)
            with zipfile.ZipFile(file) as archive:
                parts = archive.infolist()
                if sum(part.file_size for part in parts) > size:
                    raise CheckpointError(f"{source} is no file of weights: it unpacks to more than its own size.")
                _require(source, len(parts) < MAX_TENSORS)
                for part in parts:
                    if part.filename.endswith(".pkl"):
                        with archive.open(part) as pickle:
                            _require(source, _has_few_tensors(pickle, 1))
        else:  # PyTorch before 1.6: three short pickles, that of the tensors, and their values
            file.seek(0)
            _require(source, _has_few_tensors(file, 4))


def _has_few_tensors(file: IO[bytes], pickles: int) -> bool:
    """Whether pickles in a row have at most `MAX_TENSORS`, which have some 40 operations each."""
    operations = chain.from_iterable(pickletools.genops(file) for _ in range(pickles))
    return sum(1 for _ in islice(operations, 50 * MAX_TENSORS)) < 50 * MAX_TENSORS


def _require(source: Path, few: bool) -> None:
    if not few:
        raise CheckpointError(f"{source} is no plain file of weights: it has more than {MAX_TENSORS:,} tensors.")


def read_weights(source: Path) -> dict[str, torch.Tensor]:
    """Reads a state dict from a PyTorch file (`weights_only=True`) or safetensors.

    Raises CheckpointError when it is missing, neither of both, or contains anything but tensors by name.
    """
    import torch

    try:
        _check_size(source)
        if source.suffix == ".safetensors":
            import safetensors.torch

            state: Any = safetensors.torch.load_file(source)
        else:
            state = torch.load(source, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{source} is not found: check the path.") from None
    except CheckpointError:
        raise
    except Exception as error:  # zip, pickle and safetensors each have their own; torch's advises to unpickle
        expected = "save a state dict with torch.save(network.state_dict(), FILE), or write a safetensors file"
        raise CheckpointError(f"{source} is not a plain file of weights: {expected}.") from error
    for key in ("state_dict", "model", "net"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    pairs = state.items() if isinstance(state, dict) else [(None, state)]
    if not all(isinstance(key, str) and isinstance(tensor, torch.Tensor) for key, tensor in pairs):
        raise CheckpointError(f"{source} does not contain a state dict (names to tensors).")
    bare = {_PREFIXES.sub("", key): tensor for key, tensor in state.items()}
    if len(bare) < len(state):
        raise CheckpointError(f"{source} contains the same weights twice, with and without a prefix: keep one copy.")
    return bare


def find_head(architecture: str, classes: int) -> dict[str, tuple[int, ...]]:
    """The names and shapes of what has a row for each class: weight and bias of the classifier."""
    from kdexplorer.networks import build_empty

    found, other = (build_empty(architecture, count).state_dict() for count in (classes, classes + 1))
    return {key: tuple(one.shape) for key, one in found.items() if one.shape != other[key].shape}


def check_head(architecture: str, state: dict[str, torch.Tensor], classes: int, where: str) -> None:
    """Raises CheckpointError where the weights are a network of this architecture with another number of classes."""
    widths = {shape[1] for shape in find_head(architecture, classes).values() if len(shape) == 2}
    for tensor in state.values():
        if tensor.dim() == 2 and tensor.shape[1] in widths and tensor.shape[0] != classes:
            raise CheckpointError(
                f"{where} has {tensor.shape[0]:,} classes, the data have {classes:,}: name its data set by --dataset."
            )


def rename_by_shape(architecture: str, state: dict[str, torch.Tensor], classes: int) -> dict[str, torch.Tensor]:
    """The state dict under the names of this package, as far as shapes decide them.

    A name that the architecture does not have stands for the one that is missing where, among both, only these two have
    that shape and that last part: `linear.weight` is `fc.weight`, `layer2.0.shortcut.0.weight` is
    `layer2.0.downsample.0.weight`. All others stay as they are, and `network_from_state` reports them.
    """
    from kdexplorer.networks import build_empty

    expected = {key: tuple(tensor.shape) for key, tensor in build_empty(architecture, classes).state_dict().items()}
    given = {key: tuple(tensor.shape) for key, tensor in state.items()}
    groups: dict[tuple[str, tuple[int, ...]], tuple[list[str], list[str]]] = {}  # unknown and missing names
    for side, (own, other) in enumerate(((given, expected), (expected, given))):
        for key in own.keys() - other.keys():
            groups.setdefault((key.rpartition(".")[2], own[key]), ([], []))[side].append(key)
    names = {unknown[0]: missing[0] for unknown, missing in groups.values() if len(unknown) == len(missing) == 1}
    return {names.get(key, key): tensor for key, tensor in state.items()}
