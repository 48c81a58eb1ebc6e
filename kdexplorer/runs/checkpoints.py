"""A network on disk: safetensors weights, a JSON card, and its logits on the split that it was evaluated on.

Nothing here unpickles. The weights' hash is checked against the card's; keys, shapes, dtype and values before use.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickletools
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from kdexplorer.errors import CheckpointError, ConfigError, did_you_mean
from kdexplorer.files import bundled, new_folder, open_regular, read_bytes, read_once, write_bytes, write_json
from kdexplorer.methods import all_methods
from kdexplorer.networks import STORED, build_empty
from kdexplorer.networks.outputs import torch
from kdexplorer.runs.card import Card, TeacherReference, read_card
from kdexplorer.runs.run_folder import Run, finished_students, runs_root
from kdexplorer.schema import is_name

if TYPE_CHECKING:
    from kdexplorer.networks.base import StagedNetwork

WEIGHTS, CARD, LOGITS = "weights.safetensors", "card.json", "test_logits.npz"
MAX_LOGITS_BYTES = 1 << 28
"""Unpacked: 100,000 images of 1000 classes in float16 are 200 MB; more than this is not stored."""
_PREFIXES = re.compile(r"^((module|model|_orig_mod|backbone)\.)+")
"""What DataParallel, Lightning, torch.compile and detection code put before names."""
MAX_WEIGHTS_BYTES = 1 << 30
MAX_TENSORS = 10_000
"""Of a file from elsewhere; ResNet-152 has 932. Reading takes 2 kB and 25 microseconds for each."""
LARGE = "The large bundled networks are in the repository only: set KDEXPLORER_CHECKPOINTS to its folder checkpoints."


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder whose card is valid; weights and logits are loaded on demand."""

    path: Path
    card: Card

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def architecture(self) -> str:
        return self.card.architecture

    @property
    def classes(self) -> tuple[str, ...]:
        return self.card.classes

    @property
    def sha256(self) -> str:
        return self.card.sha256

    @property
    def computes(self) -> bool:
        """Whether it is a network; else only its logits of the training and test images are known."""
        return self.architecture != STORED.key

    def network(self) -> StagedNetwork:
        """The network in eval mode, float32, without gradients. Raises CheckpointError."""
        import safetensors.torch

        weights = self.path / WEIGHTS
        try:
            data = read_bytes(weights, MAX_WEIGHTS_BYTES, follow_links=True)
        except OSError as error:
            raise CheckpointError(f"{weights} cannot be read: {error.strerror}.") from error
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise CheckpointError(f"{weights} does not match its card (different SHA-256): restore it.")
        try:
            state = safetensors.torch.load(data)
        except (safetensors.SafetensorError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise CheckpointError(f"{weights} is not a readable safetensors file ({error}): restore it.") from error
        if not self.computes:
            from kdexplorer.networks.stored import unpack

            return unpack(state, len(self.classes), where=str(weights))
        return network_from_state(self.architecture, state, len(self.classes), where=str(weights))

    def logits(self) -> np.ndarray:
        """The stored logits `[N, K]` of the evaluation split as float32. Raises CheckpointError."""
        path = self.path / LOGITS
        try:
            with open_regular(path, follow_links=True) as file, np.load(file, allow_pickle=False) as archive:
                if sum(part.file_size for part in archive.zip.infolist()) > MAX_LOGITS_BYTES:
                    raise ValueError("it unpacks to more than any test split needs")
                logits = archive["logits"]
        except Exception as error:  # zipfile, zlib and NumPy each raise their own
            raise CheckpointError(f"{path} cannot be read ({error}): restore it or train again.") from error
        if logits.ndim != 2 or logits.shape[1] != len(self.classes) or logits.dtype.kind != "f":
            raise CheckpointError(f"{path} contains {logits.dtype} of shape {logits.shape}, not logits: restore it.")
        if not np.isfinite(logits).all():
            raise CheckpointError(f"{path} contains values that are not finite: train again.")
        return logits[: self.card.data.evaluation_images].astype(np.float32)

    def logits_or_none(self) -> np.ndarray | None:
        """The stored logits, or None where they cannot be read."""
        try:
            return self.logits()
        except CheckpointError:
            return None


def open_checkpoint(path: Path) -> Checkpoint:
    """Reads and validates a card. Raises CheckpointError, which says what is wrong with it."""
    return Checkpoint(path, read_once(read_card, path / CARD))


def bundled_root() -> Path:
    """Where the bundled networks are: `KDEXPLORER_CHECKPOINTS`, else what comes with the program."""
    return Path(os.environ.get("KDEXPLORER_CHECKPOINTS") or bundled("checkpoints")).expanduser()


def bundled_checkpoints() -> list[Checkpoint]:
    """The bundled checkpoints that can be read, in the order of `list_checkpoints`."""
    return list_checkpoints(bundled_root())


def list_checkpoints(root: Path) -> list[Checkpoint]:
    """The readable checkpoints in a folder: the largest network first, then by objective."""
    found = [one for one in scan_checkpoints(root).values() if isinstance(one, Checkpoint)]
    return sorted(found, key=lambda c: (-c.card.parameters, objective_rank(c), c.name))


def scan_checkpoints(root: Path) -> dict[str, Checkpoint | CheckpointError]:
    """Every checkpoint in a folder by its folder's name, or why it cannot be used."""
    paths = sorted(root.iterdir()) if root.is_dir() else []
    return {p.name: try_checkpoint(p) for p in paths if os.path.lexists(p / CARD) and not p.name.startswith(".")}


def try_checkpoint(path: Path) -> Checkpoint | CheckpointError:
    """`open_checkpoint`, with the error instead of raising it."""
    try:
        return open_checkpoint(path)
    except CheckpointError as error:
        return error


def objective_rank(checkpoint: Checkpoint) -> tuple[int, ...]:
    """For sorting: networks trained on labels first, then one method in the registry's order, then several."""
    order = {method.key: rank for rank, method in enumerate(all_methods())}
    terms = checkpoint.card.objective.terms if checkpoint.card.objective else ()
    return len(terms), *(order.get(term.method, len(order)) for term in terms)


def run_checkpoints(run: Run) -> list[Checkpoint]:
    """The finished students of a run whose checkpoints can be read."""
    return [one for one in map(try_checkpoint, finished_students(run)) if isinstance(one, Checkpoint)]


def find_checkpoint(name: str) -> Checkpoint:
    """A bundled checkpoint by name, a run's student as RUN/STUDENT, or a checkpoint folder by path.

    Raises ConfigError when there is none, CheckpointError when its card is not valid.
    """
    run_id, _, student = name.partition("/")
    places = [bundled_root() / name] if is_name(name) else []
    places += [runs_root() / run_id / student] if is_name(run_id) and is_name(student) else []
    for place in (*places, Path(name)):
        with contextlib.suppress(OSError):  # too long for a path
            if (place / CARD).is_file():
                return open_checkpoint(place)
    names = [checkpoint.name for checkpoint in bundled_checkpoints()]
    near, choices = did_you_mean(name, names), ", ".join(names) or "none"
    hint = "" if (bundled_root() / "resnet50").is_dir() else f" {LARGE}"
    raise ConfigError(
        f"there is no checkpoint '{name[:100]}'{near}. Bundled: {choices}; or give RUN/STUDENT or a folder.{hint}"
    )


def save_checkpoint(path: Path, state: dict[str, torch.Tensor], card: Card, logits: np.ndarray | None) -> Checkpoint:
    """Writes a checkpoint folder completely or not at all; `sha256` is put into the card.

    `state` is what `to_half_precision` gives, `logits` `[N, K]` of the evaluation split; stored as float16.
    """
    import safetensors.torch

    data = safetensors.torch.save(state)
    card = card.model_copy(update={"sha256": hashlib.sha256(data).hexdigest()})
    with new_folder(path) as folder:
        write_bytes(folder / WEIGHTS, data)
        if logits is not None and 2 * logits.size < MAX_LOGITS_BYTES:
            packed = io.BytesIO()
            np.savez_compressed(packed, logits=logits.astype(np.float16))
            write_bytes(folder / LOGITS, packed.getvalue())
        write_json(folder / CARD, card.model_dump(mode="json"))
        open_checkpoint(folder)  # what cannot be read again is not kept
    return open_checkpoint(path)


# --- Weights as files and as networks ---


def network_from_state(architecture: str, state: dict[str, torch.Tensor], classes: int, where: str) -> StagedNetwork:
    """Builds a network from a state dict; `num_batches_tracked` counters are ignored: no network here uses them.

    Raises CheckpointError naming the first key that is missing, unknown, misshapen, of a wrong dtype, or not finite.
    """
    network = build_empty(architecture, classes)
    expected = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    missing, unknown = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing or unknown:
        facts = [f"lacks {name!r}" for name in missing[:1]] + [f"has an unknown {name!r}" for name in unknown[:1]]
        raise CheckpointError(f"{where} is not a {architecture}: it {' and '.join(facts)}.")
    for key, tensor in state.items():
        if tensor.shape != expected[key].shape:
            found, needed = tuple(tensor.shape), tuple(expected[key].shape)
            raise CheckpointError(f"{where}: {key} has shape {found}, {architecture} needs {needed}.")
        is_plain = tensor.layout == torch.strided and tensor.device.type != "meta"
        if not is_plain or tensor.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            raise CheckpointError(
                f"{where}: {key} is {tensor.dtype}, {tensor.layout} on {tensor.device}; weights must be plain numbers, "
                "floating point."
            )
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
        if (size := os.fstat(file.fileno()).st_size) > MAX_WEIGHTS_BYTES:
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
        raise CheckpointError(f"{source} is no plain file of weights: damaged, or more than {MAX_TENSORS:,} tensors.")


def read_weights(source: Path) -> dict[str, torch.Tensor]:
    """Reads a state dict from a PyTorch file (`weights_only=True`) or safetensors.

    Raises CheckpointError when it is missing, neither of both, or contains anything but tensors by name.
    """
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
    for key in ("state_dict", "model_state_dict", "model", "net"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    pairs = state.items() if isinstance(state, dict) else [(None, state)]
    if not all(isinstance(key, str) and isinstance(tensor, torch.Tensor) for key, tensor in pairs):
        raise CheckpointError(f"{source} does not contain a state dict (names to tensors).")
    bare = {_PREFIXES.sub("", key): tensor for key, tensor in state.items()}
    if len(bare) < len(state):
        raise CheckpointError(f"{source} contains the same weights twice, with and without a prefix: keep one copy.")
    return bare


# --- The teacher that a configuration names: a checkpoint, or several joined by `+`, which are averaged ---


def find_teachers(names: str | None) -> tuple[Checkpoint, ...]:
    """The checkpoints of `resnet56`, or of `resnet50+resnet56`; a name that contains a `+` itself is found whole.

    Empty where no name is given. Raises ConfigError when there is none of that name, or one is named twice;
    CheckpointError when a card is not valid.
    """
    if not names:
        return ()
    words, found = names.split("+"), list[Checkpoint]()
    while words:
        for count in range(len(words), 0, -1):  # as many of the first words as possible
            try:
                found.append(find_checkpoint("+".join(words[:count])))
                break
            except ConfigError:
                if count == 1:
                    raise
        words = words[count:]
    if len({checkpoint.sha256 for checkpoint in found}) < len(found):
        raise ConfigError(f"teacher: {names[:200]} names a network twice: each counts once in the average.")
    return tuple(found)


def refer_to(teachers: Sequence[Checkpoint]) -> TeacherReference:
    """What a card says of its teacher: several have their names joined and a hash of their hashes."""
    members = tuple(TeacherReference(name=one.name, sha256=one.sha256) for one in teachers)
    if len(members) == 1:
        return members[0]
    name, together = ("+".join(parts) for parts in zip(*((one.name, one.sha256) for one in members), strict=True))
    return TeacherReference(name=name[:300], sha256=hashlib.sha256(together.encode()).hexdigest(), members=members)
