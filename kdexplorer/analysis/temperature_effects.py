"""What the temperature changes besides the soft labels: the size of the gradient, and the KL divergence."""

from __future__ import annotations

import numpy as np

from kdexplorer.analysis.metrics import kl_by_image, softmax


def push_size(student_logits: np.ndarray, teacher_logits: np.ndarray, temperature: float) -> np.ndarray:
    """The L1 norm over classes of the gradient of `T² KL` on the student's logits, unweighted, float64 `[...]`.

    `T Σ |p_s(T) - p_t(T)|`, from Hinton et al. 2015, equation 2. The factor T² balances the gradient's 1/T² only in the
    limit of large T, where this is `Σ |z_s - z_t| / K` for logits of mean zero (equation 4).

    Args:
        student_logits, teacher_logits: `[..., K]`.
        temperature: above 0.
    """
    difference = softmax(student_logits, temperature) - softmax(teacher_logits, temperature)
    return temperature * np.abs(difference).sum(axis=-1)


def fresh_push(teacher_logits: np.ndarray, temperature: float) -> float:
    """The mean `push_size` over images `[N, K]` at the start of training: an untrained student's logits are zero."""
    return float(push_size(np.zeros_like(teacher_logits), teacher_logits, temperature).mean())


def describe_push(name: str, teacher: np.ndarray, student: np.ndarray, temperature: float) -> str:
    """How the size of the gradient on a student changes from T = 1 to another temperature, over images `[N, K]`."""
    before, after = (float(push_size(student, teacher, t).mean()) for t in (1.0, temperature))
    first, second = f"{before:.3g}", f"{after:.3g}"
    over = f"on {name}, the mean over {len(teacher):,} test images"
    if first == second:
        return f"The gradient of T²·KL {over}, has the same size at T = 1 and at T = {temperature:g}: {first}."
    change = "grows" if after > before else "shrinks"
    return f"The gradient of T²·KL {over}, {change} from {first} at T = 1 to {second} at T = {temperature:g}."


def describe_kl(name: str, teacher: np.ndarray, student: np.ndarray, temperature: float) -> str:
    """On how many images `[N, K]` KL is larger at a temperature than at T = 1, and whether its mean falls or rises."""
    before, after = (kl_by_image(teacher, student, t) for t in (1.0, temperature))
    first, second = f"{before.mean():.3f}", f"{after.mean():.3f}"
    change = "stays at" if first == second else "falls from" if after.mean() < before.mean() else "rises from"
    means = first if first == second else f"{first} to {second}"
    larger = float((after > before).mean())
    return (
        f"From T = 1 to T = {temperature:g}, the KL divergence of {name} from the teacher grows on {larger:.0%} of "
        f"{len(teacher):,} test images; its mean {change} {means}."
    )
