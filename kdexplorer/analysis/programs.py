"""A network to take away: as a program of PyTorch or ONNX that runs without this package, or its weights in float32."""

from __future__ import annotations

import importlib.util
import io
import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from kdexplorer.analysis.results import dataset_of, describe_evaluation
from kdexplorer.datasets import get_dataset
from kdexplorer.errors import CheckpointError, ConfigError, unknown_name
from kdexplorer.networks import build
from kdexplorer.runs.checkpoints import Checkpoint, find_checkpoint

if TYPE_CHECKING:
    from torch import Tensor, nn

Format = Literal["pt2", "onnx", "safetensors"]
FORMATS: tuple[Format, ...] = get_args(Format)
CHECKED = 200
"""Images on which a program is compared with the network, and by how much the logits may differ."""
TOLERANCE = 1e-3
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
    import torch

    program = _with_normalization(checkpoint.network(), checkpoint)
    images = torch.from_numpy(_images(checkpoint).astype(np.float32) / 255)
    with _EXPORTING, torch.no_grad():
        if format == "safetensors":
            data, run = _pack_weights(checkpoint)
        else:
            shapes = ({0: torch.export.Dim("images")},)
            exported = torch.export.export(program, (torch.zeros(2, *images.shape[1:]),), dynamic_shapes=shapes)
            _forget_places(exported.graph_module)
            data, run = _pack_onnx(exported) if format == "onnx" else _pack_torch(exported)
        difference = float((run(images) - program(images)).abs().max())
    if not difference < TOLERANCE:
        raise CheckpointError(f"{checkpoint.name}: as {format} its logits differ by up to {difference:.2g}.")
    return data


def _pack_weights(checkpoint: Checkpoint) -> tuple[bytes, Callable[[Tensor], Tensor]]:
    """The file's content, and what computes from it."""
    import safetensors.torch

    state = {name: tensor.contiguous() for name, tensor in checkpoint.network().state_dict().items()}
    facts = {"architecture", "classes", "normalization", "test_accuracy"}
    card = checkpoint.card.model_dump(mode="json", include=facts) | {"evaluated_on": describe_evaluation(checkpoint)}
    data = safetensors.torch.save(state, {name: json.dumps(value) for name, value in card.items()})
    restored = build(checkpoint.architecture, len(checkpoint.classes))
    restored.load_state_dict(safetensors.torch.load(data))
    return data, _with_normalization(restored, checkpoint)


def _forget_places(program: Any) -> None:
    """Removes from each step where the code that made it stands: the file would name this machine's folders."""
    for module in program.modules():
        for node in module.graph.nodes if hasattr(module, "graph") else ():
            node.meta.pop("stack_trace", None)


def _with_normalization(network: Any, checkpoint: Checkpoint) -> nn.Module:
    import torch
    from torch import nn

    class Program(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network.to(memory_format=torch.contiguous_format)
            mean, std = (torch.tensor(v).view(3, 1, 1) for v in checkpoint.card.normalization.model_dump().values())
            self.mean, self.std = nn.Buffer(mean), nn.Buffer(std)

        def forward(self, pixels: Tensor) -> Tensor:
            return self.network((pixels - self.mean) / self.std)

    return Program().eval()


def _images(checkpoint: Checkpoint) -> np.ndarray:
    """Test images uint8 of the data that fit the network, and noise where there are fewer."""
    images = get_dataset(dataset_of(checkpoint)).gallery().images[:CHECKED]
    noise = np.random.default_rng(0).integers(0, 256, (CHECKED - len(images), *images.shape[1:]), np.uint8)
    return np.concatenate([images, noise])


def _pack_torch(exported: Any) -> tuple[bytes, Callable[[Tensor], Tensor]]:
    import torch

    file = io.BytesIO()
    torch.export.save(exported, file)
    return file.getvalue(), torch.export.load(io.BytesIO(file.getvalue())).module()


def _pack_onnx(exported: Any) -> tuple[bytes, Callable[[Tensor], Tensor]]:
    import onnxruntime
    import torch

    program = torch.onnx.export(exported, dynamo=True, verbose=False, input_names=["pixels"], output_names=["logits"])
    assert program is not None
    data = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return data, lambda images: torch.from_numpy(session.run(None, {"pixels": images.numpy()})[0])


def has_onnx() -> bool:
    """Whether the libraries for ONNX are installed."""
    return all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))
