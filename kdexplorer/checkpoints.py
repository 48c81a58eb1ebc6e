"""A network on disk: safetensors weights, a JSON card, and its logits on the test split.

Nothing here unpickles: weights are safetensors, or a PyTorch file read with `weights_only=True`. Keys, shapes
and dtype are checked before anything is used, and the weights' hash against the card's.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kdexplorer.config import ARCHITECTURES, MAX_EPOCHS, is_name
from kdexplorer.errors import CheckpointError
from kdexplorer.files import new_folder, read_json, write_bytes, write_json

if TYPE_CHECKING:
    import torch

    from kdexplorer.models import StagedNetwork

WEIGHTS, CARD, LOGITS = "weights.safetensors", "card.json", "test_logits.npz"
REQUIRED = {
    "name": str,
    "architecture": str,
    "parameters": int,
    "classes": list,
    "normalisation": dict,
    "test_accuracy": float,
    "test_cross_entropy": float,
    "sha256": str,
}
OPTIONAL = {"method": str, "objective": dict, "teacher": dict, "run": str, "test_objective": float, "history": list}
"""What a card may lack or leave null, and what it must be where it is given."""

MAX_BYTES = 1 << 30
MAX_LOGITS_BYTES = 1 << 26
"""Unpacked: 10,000 images of 1000 classes in float32 are 40 MB."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder whose card has been read and checked; weights are loaded on demand."""

    path: Path
    card: dict[str, Any]

    @property
    def name(self) -> str:
        return self.card["name"]

    @property
    def architecture(self) -> str:
        return self.card["architecture"]

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.card["classes"])

    @property
    def history(self) -> list[dict[str, Any]]:
        """The learning curve on the card, a line an epoch (`epoch`, `train`, `test`); what is damaged is left out."""
        rows = self.card.get("history") or []
        return [row for row in rows if isinstance(row, dict) and row.get("epoch") in range(MAX_EPOCHS)]

    @property
    def sha256(self) -> str:
        return self.card["sha256"]

    def network(self) -> StagedNetwork:
        """The network in eval mode, float32, without gradients. Raises CheckpointError."""
        weights = self.path / WEIGHTS
        try:
            if weights.stat().st_size > MAX_BYTES:
                raise CheckpointError(f"{weights} is over 1 GiB: not a network of this application.")
            data = weights.read_bytes()
        except OSError as error:
            raise CheckpointError(f"{weights} cannot be read: {error.strerror}.") from error
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise CheckpointError(f"{weights} is not the file that its card describes (other SHA-256): restore it.")
        import safetensors
        import safetensors.torch

        try:
            state = safetensors.torch.load(data)
        except (safetensors.SafetensorError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise CheckpointError(f"{weights} is not a readable safetensors file ({error}): restore it.") from error
        return network_from_state(self.architecture, state, len(self.classes), where=str(weights))

    def logits(self) -> np.ndarray:
        """The stored test logits `[N, classes]` as float32. Raises CheckpointError."""
        path = self.path / LOGITS
        try:
            with np.load(path, allow_pickle=False) as archive:
                if sum(part.file_size for part in archive.zip.infolist()) > MAX_LOGITS_BYTES:
                    raise ValueError("it unpacks to more than any test split needs")
                logits = archive["logits"]
        except Exception as error:  # zipfile, zlib and NumPy each have their own
            raise CheckpointError(f"{path} cannot be read ({error}): restore it or train again.") from error
        if logits.ndim != 2 or logits.shape[1] != len(self.classes) or logits.dtype.kind != "f":
            raise CheckpointError(f"{path} holds {logits.dtype} of shape {logits.shape}, not logits: restore it.")
        if not np.isfinite(logits).all():
            raise CheckpointError(f"{path} holds values that are not finite: train again.")
        return logits.astype(np.float32)


def bundled_root() -> Path:
    """Where the bundled networks are: `KDEXPLORER_CHECKPOINTS`, else `checkpoints/` beside the package."""
    given = os.environ.get("KDEXPLORER_CHECKPOINTS")
    beside = Path(__file__).resolve().parent.parent / "checkpoints"
    return Path(given) if given else beside if beside.is_dir() else Path("checkpoints")


def bundled() -> list[Checkpoint]:
    """The bundled checkpoints that can be read, teachers (largest first) before their students."""
    return listed(bundled_root())


def listed(root: Path) -> list[Checkpoint]:
    """The readable checkpoints in a folder, largest network first, then by method."""
    found = []
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        if (path / CARD).is_file() and not path.name.startswith("."):
            try:
                found.append(open_checkpoint(path))
            except CheckpointError:
                continue
    order = {None: 0, "scratch": 1, "response": 2, "feature": 3, "combined": 4}
    return sorted(found, key=lambda c: (-c.card["parameters"], order.get(c.card.get("method"), 5), c.name))


def open_checkpoint(path: Path) -> Checkpoint:
    """Reads and checks a card. Raises CheckpointError that says what is wrong with it."""
    card = read_json(path / CARD)
    if card is None:
        raise CheckpointError(f"{path} holds no readable {CARD}: it is not a checkpoint of this application.")
    for key, kind in REQUIRED.items():
        value = card.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise CheckpointError(f"{path / CARD}: '{key}' is missing or not a {kind.__name__}.")
        if kind is float and not math.isfinite(value):
            raise CheckpointError(f"{path / CARD}: '{key}' is not a finite number.")
    for key, kind in OPTIONAL.items():
        if not isinstance(card.get(key), (kind, type(None))):
            raise CheckpointError(f"{path / CARD}: '{key}' is not a {kind.__name__}.")
    facts = card.get("data", {})
    images = facts.get("measured_images", 10_000) if isinstance(facts, dict) else None
    if not isinstance(images, int) or images < 1:
        raise CheckpointError(f"{path / CARD}: 'data' does not say on how many images it was measured.")
    if not 0 <= card["test_accuracy"] <= 1:
        raise CheckpointError(f"{path / CARD}: 'test_accuracy' is not between 0 and 1.")
    if not is_name(card["name"]):
        raise CheckpointError(f"{path / CARD}: the name takes letters, digits and . _ - = + only.")
    if card["architecture"] not in ARCHITECTURES:
        raise CheckpointError(
            f"{path / CARD}: there is no architecture '{card['architecture'][:60]}'. "
            f"It must be one of {', '.join(ARCHITECTURES)}."
        )
    if not 2 <= len(card["classes"]) <= 1000 or not all(isinstance(name, str) for name in card["classes"]):
        raise CheckpointError(f"{path / CARD}: 'classes' must list the names of the classes.")
    check_normalisation(card["normalisation"], where=str(path / CARD))
    return Checkpoint(path, card)


def check_normalisation(values: dict[str, Any], where: str) -> None:
    """Whether images can be normalised so: `mean` and `std` of three channels. Raises CheckpointError."""
    for key in ("mean", "std"):
        channels = values.get(key)
        numbers = isinstance(channels, list) and len(channels) == 3
        if not numbers or not all(isinstance(v, (int, float)) and abs(v) < 1e3 for v in channels):
            raise CheckpointError(f"{where}: 'normalisation' needs 'mean' and 'std' of three channels.")
    if not all(value > 0 for value in values["std"]):
        raise CheckpointError(f"{where}: the standard deviations of 'normalisation' must be above 0.")


def network_from_state(architecture: str, state: dict[str, torch.Tensor], classes: int, where: str) -> StagedNetwork:
    """Builds a network from a state dict after checking keys, shapes, dtype and values.

    `num_batches_tracked` counters are ignored: no network here uses them.

    Raises:
        CheckpointError: naming the first key that is missing, unknown, misshapen, of a wrong dtype, or not finite.
    """
    import torch

    from kdexplorer.models import build

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
            raise CheckpointError(f"{where}: {key} holds values that are not finite.")
    network.load_state_dict({key: tensor.float() for key, tensor in state.items()}, strict=False)
    return network.eval().requires_grad_(False)


def half_precision(network: StagedNetwork) -> dict[str, torch.Tensor]:
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
                f"{key} holds values beyond float16's range (65504), in which networks are stored: train it with a "
                "lower learning rate."
            )
    return state


def save(path: Path, state: dict[str, torch.Tensor], card: dict[str, Any], logits: np.ndarray | None) -> Checkpoint:
    """Writes a checkpoint folder whole or not at all; `sha256` is put into the card."""
    import safetensors.torch

    data = safetensors.torch.save(state)
    card = {**card, "sha256": hashlib.sha256(data).hexdigest()}
    with new_folder(path) as folder:
        write_bytes(folder / WEIGHTS, data)
        if logits is not None:
            packed = io.BytesIO()
            np.savez_compressed(packed, logits=logits.astype(np.float16))
            write_bytes(folder / LOGITS, packed.getvalue())
        write_json(folder / CARD, card)
        open_checkpoint(folder)  # what could not be read again is not left there
    return open_checkpoint(path)


def import_weights(source: Path, architecture: str) -> dict[str, torch.Tensor]:
    """Reads a state dict from a PyTorch file (`weights_only=True`) or safetensors: bring your own teacher.

    Raises:
        CheckpointError: when it is neither, or holds anything but tensors by name.
    """
    import torch

    try:
        if source.stat().st_size > MAX_BYTES:
            raise ValueError("over 1 GiB")
        if source.suffix == ".safetensors":
            import safetensors.torch

            state = safetensors.torch.load_file(source)
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
        raise CheckpointError(f"{source} does not hold a state dict (names to tensors).")
    bare = {key.removeprefix("module."): tensor for key, tensor in state.items()}
    if len(bare) < len(state):
        raise CheckpointError(f"{source} holds the same weights twice, with and without 'module.': keep one of them.")
    return bare
