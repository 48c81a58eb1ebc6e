"""Networks as programs: one to take away, which runs without this package, and a teacher from elsewhere as its logits.

A teacher's logits are stored ones, or those of a program of `torch.export`, of ONNX, or of a function's network. Files
run no code and nothing is unpickled. `module:function` runs code, so only a command names it: no record, card, form or
link.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from tqdm import tqdm

from kdexplorer.analysis import metrics
from kdexplorer.analysis.results import describe_evaluation
from kdexplorer.datasets import Dataset, Normalization, Split, get_dataset
from kdexplorer.datasets.augmentation import normalize, resize
from kdexplorer.datasets.base import SplitName
from kdexplorer.errors import CheckpointError, ConfigError, DataError, unknown_name
from kdexplorer.networks import STORED, build
from kdexplorer.networks.outputs import Tensor, nn, torch
from kdexplorer.runs.card import Card, DataFacts
from kdexplorer.runs.checkpoints import Checkpoint, find_checkpoint, open_checkpoint, save_checkpoint
from kdexplorer.schema import RECORDED, is_name


class Program(NamedTuple):
    """What is run: images float32 `[B, 3, H, W]` as it takes them to logits `[B, K]`."""

    predict: Callable[[np.ndarray], np.ndarray]
    batch: int | None = None  # how many images at once, where it takes only so many
    side: int | None = None  # of which size, where it takes only one


# --- A network to take away ---

Format = Literal["pt2", "onnx", "safetensors"]
FORMATS: tuple[Format, ...] = get_args(Format)
CHECKED, TOLERANCE = 200, 1e-3  # images on which a program is compared with the network; how far logits may differ
_EXPORTING = threading.Lock()  # torch.export changes what holds for the whole process


def export(network: str | Checkpoint, format: Format = "pt2") -> bytes:
    """The content of a file with a network in float32.

    `pt2` (`torch.export`) and `onnx` take pixels float32 `[N, 3, 32, 32]` from 0 to 1, any N, and return logits
    `[N, K]`: the normalization is inside. `safetensors` has the weights under the names of this package; the card's
    facts are its metadata. Each is read back and compared with the network on 200 images. `network` is a name as for
    `load`, or its checkpoint; `onnx` needs onnx, onnxscript and onnxruntime.

    Raises:
        ConfigError: on a format that is not known, or whose libraries are missing.
        CheckpointError: when the weights cannot be trusted, or the program computes something else.
    """
    if format not in FORMATS:
        raise ConfigError(unknown_name("format", str(format), FORMATS))
    if format == "onnx" and not has_onnx():
        raise ConfigError("onnx needs more libraries: pip install onnx onnxscript onnxruntime")
    checkpoint = network if isinstance(network, Checkpoint) else find_checkpoint(str(network))
    if not checkpoint.computes:
        raise CheckpointError(f"{checkpoint.name} is no network: only its logits are stored.")

    program = _with_normalization(checkpoint.network(), checkpoint)
    images = _images(checkpoint).astype(np.float32) / 255
    with _EXPORTING, torch.no_grad():
        data, run = _pack_weights(checkpoint) if format == "safetensors" else _pack_program(program, format)
        difference = float(np.abs(run(images) - program(torch.from_numpy(images)).numpy()).max())
    if not difference < TOLERANCE:
        raise CheckpointError(f"{checkpoint.name}: as {format} its logits differ by up to {difference:.2g}.")
    return data


def _pack_weights(checkpoint: Checkpoint) -> tuple[bytes, Callable[[np.ndarray], np.ndarray]]:
    import safetensors.torch

    state = {name: tensor.contiguous() for name, tensor in checkpoint.network().state_dict().items()}
    facts = {"architecture", "classes", "normalization", "test_accuracy"}
    card = checkpoint.card.model_dump(mode="json", include=facts) | {"evaluated_on": describe_evaluation(checkpoint)}
    data = safetensors.torch.save(state, {name: json.dumps(value) for name, value in card.items()})
    restored = build(checkpoint.architecture, len(checkpoint.classes))
    restored.load_state_dict(safetensors.torch.load(data))
    program = _with_normalization(restored, checkpoint)
    return data, lambda images: program(torch.from_numpy(images)).numpy()


def _pack_program(program: nn.Module, format: Format) -> tuple[bytes, Callable[[np.ndarray], np.ndarray]]:
    shapes = ({0: torch.export.Dim("images")},)
    exported = torch.export.export(program, (torch.zeros(2, 3, 32, 32),), dynamic_shapes=shapes)
    for graph in filter(None, (getattr(module, "graph", None) for module in exported.graph_module.modules())):
        for node in graph.nodes:
            node.meta.pop("stack_trace", None)  # else the file names this machine's folders
    if format == "onnx":
        made = torch.onnx.export(exported, dynamo=True, verbose=False, input_names=["pixels"], output_names=["logits"])
        assert made is not None
        data = made.model_proto.SerializeToString()
        return data, _open_onnx(data).predict
    file = io.BytesIO()
    torch.export.save(exported, file)
    module = torch.export.load(io.BytesIO(file.getvalue())).module()
    return file.getvalue(), lambda images: module(torch.from_numpy(images)).numpy()


def _with_normalization(network: Any, checkpoint: Checkpoint) -> nn.Module:
    class Normalized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network.to(memory_format=torch.contiguous_format)
            mean, std = (torch.tensor(v).view(3, 1, 1) for v in checkpoint.card.normalization.model_dump().values())
            self.mean, self.std = nn.Buffer(mean), nn.Buffer(std)

        def forward(self, pixels: Tensor) -> Tensor:
            return self.network((pixels - self.mean) / self.std)

    return Normalized().eval()


def _images(checkpoint: Checkpoint) -> np.ndarray:
    """Test images uint8 of the data that fit the network, and noise where there are fewer."""
    images = get_dataset(checkpoint.card.dataset).gallery().images[:CHECKED]
    noise = np.random.default_rng(0).integers(0, 256, (CHECKED - len(images), *images.shape[1:]), np.uint8)
    return np.concatenate([images, noise])


def has_onnx() -> bool:
    """Whether the libraries for ONNX are installed."""
    return all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))


# --- A teacher from elsewhere ---

SUFFIXES = (".npz", ".pt2", ".onnx")
BATCH = 100
"""Images at once, where a program does not say how many it takes."""
PIXELS = Normalization(mean=(0, 0, 0), std=(1, 1, 1))
"""Pixels from 0 to 1: of programs with the normalization inside, as `export` writes them."""
TRIED = 500
"""The first training images, on which normalizations are tried."""


def import_logits(
    source: Path | str, name: str, output: Path, dataset: Dataset, normalization: Normalization | None,
    show: bool = False,
) -> Checkpoint:  # fmt: skip
    """Makes the checkpoint folder `output / name` of a teacher's logits for all training and test images.

    `source` is `.npz` with arrays `train` and `test` `[N, K]` in the data's order and `sha256`, the data's fingerprint;
    or `.pt2` or `.onnx` of a program from images `[B, 3, H, W]` to logits `[B, K]`, for which images are enlarged where
    it takes another size; or `module:function`, as text, see `open_function`. `normalization` is that of a program's
    images; None tries `PIXELS` and the data's on training images. `show` draws a progress bar on stderr. Raises KDError
    when the file or the data cannot be used, or the name is taken.
    """
    from kdexplorer.networks.stored import pack

    if not is_name(name) or (output / name).exists():
        raise CheckpointError(f"the name {name[:60]} is taken, or is no name: choose another.")
    splits: dict[SplitName, Split] = {"train": dataset.load("train"), "test": dataset.load("test")}
    program = _open(source)
    if program is None:
        logits = _read_stored(Path(source), dataset)
    else:
        chosen = normalization
        if chosen is None:  # a program does not tell: whichever has the smaller cross-entropy on some training images
            some = splits["train"].first(TRIED)
            found = {one: _predict_split(some, program, one, "") for one in (PIXELS, dataset.normalization)}
            chosen = min(found, key=lambda one: metrics.cross_entropy(found[one], some.labels))
        if show:
            values = " and ".join(" ".join(map(str, part)) for part in chosen.model_dump().values())
            print(f"{source} sees images normalized by mean and std {values}", file=sys.stderr)
        logits = {
            key: _predict_split(one, program, chosen, f"{name}: {key}" if show else "") for key, one in splits.items()
        }
    for key, split in splits.items():
        shape, expected = logits[key].shape, (len(split), len(dataset.classes))
        if shape != expected or not (np.abs(logits[key]) <= np.finfo(np.float16).max).all():
            wrong = f"{key} has shape {shape} instead of {expected}, or values that are not finite or beyond ±65504"
            raise CheckpointError(f"{source}: {wrong}.")
    test, labels = logits["test"].astype(np.float16), splits["test"].labels
    card = {
        "name": name, "architecture": STORED.key, "parameters": 0, "classes": dataset.classes,
        "normalization": PIXELS,
        "data": DataFacts(dataset=dataset.key, sha256=dataset.sha256, evaluation_images=len(test)),
        "test_accuracy": metrics.accuracy(test, labels), "test_cross_entropy": metrics.cross_entropy(test, labels),
    }  # fmt: skip
    images = np.concatenate([splits[key].images for key in logits])
    state = pack(images, np.concatenate([logits[key] for key in logits]))
    return save_checkpoint(output / name, state, Card.model_validate(card, context=RECORDED), test)


def find_or_import(source: Path | str, output: Path, dataset: Dataset, show: bool) -> Checkpoint:
    """What `import_logits` makes of a source, once for each content: the name has the beginning of its hash.

    A function's content is what its network predicts for the first training images.
    """
    if isinstance(source, str):
        content = _predict_split(dataset.load("train").first(TRIED), open_function(source), PIXELS, "").tobytes()
    else:
        content = source.read_bytes()
    stem = re.sub("[^A-Za-z0-9]+", "-", source if isinstance(source, str) else source.stem).strip("-")[:40]
    digest = hashlib.sha256(content + repr((dataset.key, dataset.sha256)).encode()).hexdigest()
    name = f"{stem or 'teacher'}-{digest[:8]}"
    if (output / name).is_dir():
        return open_checkpoint(output / name)
    return import_logits(source, name, output, dataset, None, show)


def is_function(text: str) -> bool:
    """Whether it is `module:function`, which no name of a network is."""
    return re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", text) is not None


def _open(source: Path | str) -> Program | None:
    """What is run; None for stored logits. Raises CheckpointError."""
    if isinstance(source, str):
        return open_function(source)
    if not source.is_file():
        raise CheckpointError(f"{source} is not found: check the path.")
    return {".npz": lambda _: None, ".onnx": _open_onnx}.get(source.suffix, _open_exported)(source)


def _read_stored(source: Path, dataset: Dataset) -> dict[SplitName, np.ndarray]:
    try:
        with np.load(source, allow_pickle=False) as archive:
            found: dict[SplitName, np.ndarray] = {"train": archive["train"], "test": archive["test"]}
            sha256 = str(archive["sha256"])
    except Exception as error:  # zipfile, zlib and NumPy each raise their own
        raise CheckpointError(f"{source} cannot be read as arrays train, test and sha256 ({error}).") from error
    if sha256 != dataset.fingerprint():
        raise DataError(
            f"{source} has logits of other images than {dataset.label}, or in another order: its sha256 is "
            f"{sha256[:12]}, that of the data {dataset.fingerprint()[:12]}."
        )
    return found


def _predict_split(split: Split, program: Program, normalization: Normalization, title: str) -> np.ndarray:
    """Logits float32 `[N, K]`; the last batch is filled up where the program takes `batch` images only.

    Raises CheckpointError where the program fails, or returns something else.
    """
    predict, batch, side = program
    found, size = [], batch or BATCH
    for start in tqdm(range(0, len(split), size), title, disable=not title, file=sys.stderr, leave=False):
        images = np.array(split.images[start : start + size])
        count = len(images)
        if batch is not None and count < batch:
            images = np.concatenate([images, np.repeat(images[-1:], batch - count, axis=0)])
        inputs = normalize(torch.from_numpy(images), normalization)
        inputs = resize(inputs, side) if side else inputs
        try:
            logits = np.asarray(predict(inputs.contiguous().numpy()), np.float32)
        except Exception as error:  # of somebody's code
            reason = f"{type(error).__name__}: {str(error)[:200]}"
            raise CheckpointError(f"this teacher fails on images float32 {[*inputs.shape]}: {reason}") from error
        if logits.shape != (len(images), len(split.classes)):
            expected = f"logits [{len(images)}, {len(split.classes)}]"
            raise CheckpointError(f"this teacher returns values of shape {[*logits.shape]} instead of {expected}.")
        found.append(logits[:count])
    return np.concatenate(found)


def _open_onnx(source: Path | bytes) -> Program:
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError("ONNX needs onnxruntime: pip install onnxruntime.") from error
    try:
        session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own classes
        raise CheckpointError(f"{str(source)[:200]} is not a readable ONNX file: {str(error)[:200]}") from error
    given = session.get_inputs()[0]
    return _describe_program(lambda images: session.run(None, {given.name: images})[0], given.shape)


def _open_exported(source: Path) -> Program:
    before = os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD")
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"  # else torch unpickles what it cannot read otherwise
    try:
        program = torch.export.load(source)
        module = program.module()
    except Exception as error:  # zip, JSON and torch each have their own
        raise CheckpointError(f"{source} is not a program of torch.export: {str(error)[:200]}") from error
    finally:
        if before is None:
            del os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"]
        else:
            os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = before
    names = set(program.graph_signature.user_inputs)
    shape = next(node.meta["val"].shape for node in program.graph.nodes if node.name in names)

    def predict(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(images)).numpy()

    return _describe_program(predict, shape)


@cache
def open_function(source: str) -> Program:
    """Calls `module:function` of the current folder or an installed package, once; it returns a network.

    That is any function of normalized images float32 `[B, 3, H, W]`, such as a `torch.nn.Module`, to logits `[B, K]` or
    to an object with `logits`, as Transformers' models return. Raises CheckpointError when it is not found, or fails.
    """
    module, _, name = source.partition(":")
    sys.path.insert(0, "")  # the current folder
    try:
        network = getattr(importlib.import_module(module), name)()
    except Exception as error:  # of somebody's code
        raise CheckpointError(f"{source} gives no network: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove("")
    if isinstance(network, torch.nn.Module):
        network.cpu().eval()

    def predict(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found = network(torch.from_numpy(images))
        return getattr(found, "logits", found).float().cpu().numpy()

    return Program(predict)


def _describe_program(predict: Callable[[np.ndarray], np.ndarray], shape: Sequence[object]) -> Program:
    """`shape` is that of its input, with a number where it takes only one size."""
    sizes = [int(size) if isinstance(size, int) else None for size in shape]
    return Program(predict, sizes[0], sizes[2] if len(sizes) == 4 else None)
