"""What a student is told: cross-entropy, the teacher's soft labels, the teacher's attention.

Response-based: Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2.
Feature-based: Zagoruyko & Komodakis, ICLR 2017, equation 2, with the mean squared error of the lab.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kdexplorer.attention import attention_map, normalised, same_size, wide
from kdexplorer.config import StudentConfig


def response_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """`T^2 * KL(softmax(z_t / T) || softmax(z_s / T))`, the mean over the batch, in nats.

    `T^2` keeps the gradient's size as T grows (Hinton et al. 2015, section 2.1). `batchmean` divides by
    the batch alone; `mean` would divide by the number of classes as well.

    Args:
        student_logits, teacher_logits: `[B, classes]`; no gradient reaches the teacher's.
        temperature: above 0.

    Returns:
        A scalar in the logits' dtype (at least float32).
    """
    student = F.log_softmax(wide(student_logits) / temperature, dim=1)
    teacher = F.log_softmax(wide(teacher_logits).detach() / temperature, dim=1)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2


def attention_loss(student_features: Sequence[Tensor], teacher_features: Sequence[Tensor], power: int = 1) -> Tensor:
    """The sum over stages of the MSE between L2-normalised flattened attention maps.

    Args:
        student_features, teacher_features: a `[B, C, H, W]` tensor a stage. Channels may differ; maps of
            different size are average-pooled to the smaller. No gradient reaches the teacher.
        power: see `attention.attention_map`.

    Returns:
        A scalar in float32 (float64 stays). An image weighs `1 / (B H W)`, so a stage of 4x4 counts 64 times one
        of 32x32.

    Raises:
        ValueError: when the number of stages differs.
    """
    student_maps = [attention_map(stage, power) for stage in student_features]
    teacher_maps = [attention_map(stage.detach(), power) for stage in teacher_features]
    return torch.stack(stage_losses(student_maps, teacher_maps)).sum()


def stage_losses(student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> list[Tensor]:
    """`attention_loss` stage by stage, from maps `[B, H, W]`: a list of scalars."""
    if len(student_maps) != len(teacher_maps):
        raise ValueError(
            f"the student has {len(student_maps)} stages and the teacher {len(teacher_maps)}: attention "
            "transfer needs the same number; choose networks of one family, or set attention_weight to 0"
        )
    losses = []
    for student, teacher in zip(student_maps, teacher_maps, strict=True):
        student, teacher = same_size(student, teacher)
        losses.append(F.mse_loss(normalised(student), normalised(teacher.detach())))
    return losses


def objective(
    student: StudentConfig,
    logits: Tensor,
    labels: Tensor,
    stages: Sequence[Tensor] = (),
    teacher_logits: Tensor | None = None,
    teacher_maps: Sequence[Tensor] = (),
) -> dict[str, Tensor]:
    """What a student minimises on one batch, and each of its terms unweighted.

    Args:
        student: the weights.
        logits: `[B, classes]`, the student's.
        labels: `[B]` int64.
        stages: the student's stage outputs; used when `attention_weight` is above 0.
        teacher_logits: `[B, classes]`; used when `response_weight` is above 0.
        teacher_maps: the teacher's attention maps `[B, H, W]` at the student's `attention_power`.

    Returns:
        Scalars: `objective`; `cross_entropy` (plain, comparable between students whatever they minimise);
        `response` (with T^2) and `attention` with `attention_1`, `attention_2`, … where they take part.
    """
    logits = wide(logits)
    terms = {"cross_entropy": F.cross_entropy(logits, labels)}
    hard = terms["cross_entropy"]
    if student.label_smoothing:
        hard = F.cross_entropy(logits, labels, label_smoothing=student.label_smoothing)
    total = student.ce_weight * hard
    if student.response_weight:
        terms["response"] = response_loss(logits, teacher_logits, student.temperature)
        total = total + student.response_weight * terms["response"]
    if student.attention_weight:
        maps = [attention_map(stage, student.attention_power) for stage in stages]
        by_stage = stage_losses(maps, teacher_maps)
        terms["attention"] = torch.stack(by_stage).sum()
        terms |= {f"attention_{number}": loss.detach() for number, loss in enumerate(by_stage, start=1)}
        total = total + student.attention_weight * terms["attention"]
    return {"objective": total, **terms}
