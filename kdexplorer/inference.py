"""A network's answer to an image, and what temperature makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kdexplorer.metrics import log_softmax

if TYPE_CHECKING:
    from kdexplorer.models import StagedNetwork


def predict(network: StagedNetwork, images: np.ndarray, normalisation: dict[str, list[float]]) -> np.ndarray:
    """Logits `[B, classes]` float32 of uint8 images `[B, 3, 32, 32]`, computed in float32."""
    return _forward(network, images, normalisation, False)


def predict_with_stages(
    network: StagedNetwork, images: np.ndarray, normalisation: dict[str, list[float]]
) -> tuple[np.ndarray, dict[int, list[np.ndarray]]]:
    """Logits as `predict`, and attention maps `[B, H, W]` float32 a stage, by power (1 and 2)."""
    return _forward(network, images, normalisation, True)


def _forward(network: StagedNetwork, images: np.ndarray, normalisation: dict, with_maps: bool) -> np.ndarray | tuple:
    import torch

    from kdexplorer.attention import attention_map
    from kdexplorer.data import normalise

    device = next(network.parameters()).device
    with torch.inference_mode():
        inputs = normalise(torch.from_numpy(np.array(images)).to(device), normalisation)
        if not with_maps:
            return network(inputs).float().cpu().numpy()
        logits, stages = network(inputs, return_stages=True)
        maps = {power: [attention_map(stage, power).cpu().numpy() for stage in stages] for power in (1, 2)}
        return logits.float().cpu().numpy(), maps


def soften(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Soft labels: `softmax(logits / temperature)` along the last axis, float64 (Hinton et al. 2015, equation 1)."""
    return np.exp(log_softmax(logits, temperature))


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """Shannon entropy along the last axis in nats; `exp` of it is the number of effective classes."""
    safe = np.maximum(probabilities, 1e-300)
    return -(probabilities * np.log(safe)).sum(axis=-1)


def gradient_on_logits(
    student_logits: np.ndarray, teacher_logits: np.ndarray, label: int | None, temperature: float, alpha: float
) -> dict[str, np.ndarray]:
    """What one image tells the student: the gradient of the response-based loss on the student's logits.

    `dL/dz = alpha * T * (p_s(T) - p_t(T)) + (1 - alpha) * (p_s - y)`, from Hinton et al. 2015, equation 2, with the
    factor T^2 of the loss. The student moves *against* the gradient.

    Args:
        student_logits, teacher_logits: `[classes]`.
        label: the hard label, or None where there is none (an upload): the hard part is then zero.
        temperature: above 0.
        alpha: weight of the teacher's term, 0 to 1.

    Returns:
        `teacher`, `label` and their sum `total`, each `[classes]` float64.
    """
    teacher = alpha * temperature * (soften(student_logits, temperature) - soften(teacher_logits, temperature))
    hard = np.zeros_like(teacher)
    if label is not None:
        hard = (1 - alpha) * (soften(student_logits) - np.eye(len(teacher))[label])
    return {"teacher": teacher, "label": hard, "total": teacher + hard}
