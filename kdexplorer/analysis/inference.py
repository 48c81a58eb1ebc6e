"""What a network computes for images: logits, attention maps, and what a soft label or a method asks of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from kdexplorer.datasets import Normalization
from kdexplorer.datasets.augmentation import normalize, resize
from kdexplorer.images.picture import Prediction
from kdexplorer.methods import Method
from kdexplorer.methods.at import attention_map
from kdexplorer.networks import Architecture, Outputs
from kdexplorer.networks.outputs import nn, torch

if TYPE_CHECKING:
    from kdexplorer.networks.base import StagedNetwork

PROBED = 16
"""Images of a probe: the one that is examined first, then others that a relation needs."""


def predict_batches(
    network: nn.Module, images: np.ndarray, normalization: Normalization, size: int = 500, title: str = "",
    side: int | None = None,
) -> np.ndarray:  # fmt: skip
    """Logits `[N, classes]` float32 of uint8 images `[N, 3, 32, 32]`, resized to `side` pixels, computed in float32.

    So many images at once; with a title a progress bar is drawn on stderr.
    """
    found = []
    with torch.inference_mode():
        for start in tqdm(range(0, len(images), size), title, disable=not title, file=sys.stderr, leave=False):
            inputs = to_inputs(network, images[start : start + size], normalization)
            found.append(network(resize(inputs, side or inputs.shape[-1])).float().cpu().numpy())
    return np.concatenate(found)


def compute_outputs(network: StagedNetwork, images: np.ndarray, normalization: Normalization) -> Outputs:
    """Logits, stages and embedding for uint8 images `[B, 3, 32, 32]` in float32, without gradient."""
    with torch.no_grad():
        logits, stages, embedding = network(to_inputs(network, images, normalization), all_outputs=True)
    return Outputs(logits.float(), [stage.float() for stage in stages], embedding.float())


def predict_with_attention(
    network: StagedNetwork, images: np.ndarray, normalization: Normalization
) -> tuple[np.ndarray, dict[int, list[np.ndarray]]]:
    """Logits float32 `[B, classes]`, and attention maps `[B, H, W]` float32 for each stage, by power (1 and 2)."""
    outputs = compute_outputs(network, images, normalization)
    maps = {power: [attention_map(stage, power).cpu().numpy() for stage in outputs.stages] for power in (1, 2)}
    return outputs.logits.cpu().numpy(), maps


def predict_picture(network: StagedNetwork, pixels: np.ndarray, normalization: Normalization) -> Prediction:
    """What a network computes for one picture, uint8 `[3, 32, 32]`."""
    logits, maps = predict_with_attention(network, pixels[None], normalization)
    return Prediction(logits[0], {power: [stage[0] for stage in stages] for power, stages in maps.items()})


def to_inputs(network: nn.Module, images: np.ndarray, normalization: Normalization) -> torch.Tensor:
    """uint8 images `[B, 3, H, W]`, normalized and on the network's device."""
    device = next(network.parameters()).device
    return normalize(torch.from_numpy(np.array(images)).to(device), normalization)


@dataclass(frozen=True)
class Probe:
    """What a method's loss says about one student, its teacher and a batch of images."""

    loss: float  # unweighted, the mean over the batch
    push: np.ndarray | None
    """`-dL/dz` on the first image's logits `[K]`, times the batch size; None where the loss does not use logits."""
    changes: list[np.ndarray | None]
    """By stage the size of `-dL/dF` on the first image `[H, W]`, its L2 norm over channels, times the batch size; None
    for stages that the loss does not use."""
    relations: tuple[np.ndarray, np.ndarray] | None  # the teacher's and the student's of all pairs of images `[B, B]`


def probe(
    method: Method, student: Outputs, teacher: Outputs, labels: np.ndarray, architectures: Sequence[Architecture]
) -> Probe:
    """The method's loss on a batch, its gradient on the student's outputs for the first image, and its relations.

    The gradient is taken on the outputs themselves, by automatic differentiation of the loss that trains. What a method
    trains beside the student has fresh weights here. Outputs are of the same images, their stages and embeddings may be
    missing where the loss needs none; labels are int64 `[B]`, the architectures the student's and the teacher's.
    """
    leaf = student.map(lambda tensor: tensor.detach().requires_grad_())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        adapter = method.adapter(*architectures)
    target = method.reduce_teacher(teacher) if method.needs else Outputs(student.logits)
    given = method.reduce_teacher(leaf) if method.relates_images else leaf
    loss = method.loss(given, target, torch.from_numpy(np.asarray(labels)), adapter)
    leaves = [leaf.logits, *leaf.stages]
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True) if loss.requires_grad else [None] * len(leaves)
    count, (push, *stages) = len(labels), gradients
    own, other = method.relations(student), method.relations(teacher)
    return Probe(
        loss=float(loss.detach()),
        push=None if push is None else -count * push[0].double().numpy(),
        changes=[None if one is None else count * one[0].norm(dim=0).double().numpy() for one in stages],
        relations=None if own is None or other is None else (other.numpy(), own.numpy()),
    )
