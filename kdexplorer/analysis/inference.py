"""What a network predicts for images, with its attention maps, and the gradient that a soft label gives a student."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kdexplorer.analysis.metrics import softmax
from kdexplorer.config import Objective
from kdexplorer.datasets import Normalization
from kdexplorer.methods.kd import KD

if TYPE_CHECKING:
    import torch
    from torch import nn

    from kdexplorer.networks.base import StagedNetwork


def predict(network: StagedNetwork, images: np.ndarray, normalization: Normalization) -> np.ndarray:
    """Logits `[B, classes]` float32 of uint8 images `[B, 3, 32, 32]`, computed in float32."""
    import torch

    with torch.inference_mode():
        return network(to_inputs(network, images, normalization)).float().cpu().numpy()


def predict_with_attention(
    network: StagedNetwork, images: np.ndarray, normalization: Normalization
) -> tuple[np.ndarray, dict[int, list[np.ndarray]]]:
    """Logits as `predict`, and attention maps `[B, H, W]` float32 for each stage, by power (1 and 2)."""
    import torch

    from kdexplorer.methods.at import attention_map

    with torch.inference_mode():
        logits, stages, _ = network(to_inputs(network, images, normalization), all_outputs=True)
        maps = {power: [attention_map(stage, power).cpu().numpy() for stage in stages] for power in (1, 2)}
        return logits.float().cpu().numpy(), maps


def to_inputs(network: nn.Module, images: np.ndarray, normalization: Normalization) -> torch.Tensor:
    """uint8 images `[B, 3, H, W]`, normalized and on the network's device."""
    import torch

    from kdexplorer.datasets.augmentation import normalize

    device = next(network.parameters()).device
    return normalize(torch.from_numpy(np.array(images)).to(device), normalization)


def trained_alpha(objective: Objective | None) -> float:
    """α of the lab's formula in an objective: KD's share of the weights of KD and cross-entropy, 0 to 1.

    KD's default weight, the lab's α, where the objective has no such term.
    """
    weight = objective.weights_by_method().get(KD.key) if objective else None
    if objective is None or weight is None:
        return float(KD.Settings().weight)
    return weight / (weight + objective.ce_weight)


def gradient_on_logits(
    student_logits: np.ndarray, teacher_logits: np.ndarray, label: int | None, temperature: float, alpha: float
) -> dict[str, np.ndarray]:
    """The gradient of the lab's response-based loss on the student's logits, for one image.

    `dL/dz = alpha * T * (p_s(T) - p_t(T)) + (1 - alpha) * (p_s - y)`, from Hinton et al. 2015, equation 2, with the
    factor T^2 of the loss. A step of training moves the logits *against* the gradient.

    Returns:
        `teacher`, `label` (zero without one, as for an upload) and their sum `total`, each `[classes]` float64.
    """
    teacher = alpha * temperature * (softmax(student_logits, temperature) - softmax(teacher_logits, temperature))
    hard = np.zeros_like(teacher)
    if label is not None:
        hard = (1 - alpha) * (softmax(student_logits) - np.eye(len(teacher))[label])
    return {"teacher": teacher, "label": hard, "total": teacher + hard}
