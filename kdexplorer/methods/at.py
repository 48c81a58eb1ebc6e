"""Feature-based distillation: the student imitates the teacher's spatial attention, stage by stage.

The pages draw maps by the same functions, so what is shown is what is trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from kdexplorer.methods.base import Method, MethodSettings
from kdexplorer.networks.outputs import F, Outputs, Tensor, as_float, match_stages, nn, pool_to_same_size, torch


class AT(Method):
    """Zagoruyko & Komodakis, "Paying More Attention to Attention", ICLR 2017, section 3.1.

    The powers of absolute values are the paper's; the channel mean (power 1) and the mean squared error are the lab's.
    """

    key, label, family = "at", "AT", "feature"
    reference = "Zagoruyko & Komodakis 2017, equation 2, as the lab computes it"
    formula = r"\sum_{k}\mathrm{MSE}\bigl(\hat{A}^s_k,\, \hat{A}^t_k\bigr)"
    summary = "The student imitates the teacher's spatial attention maps, stage by stage."
    needs = frozenset({"stages"})
    short_keys = {"beta": "weight"}
    marker, dash = "diamond", (10, 3, 2, 3)

    class Settings(MethodSettings):
        """How channels become a map."""

        weight: float = Field(1000.0, gt=0, le=1e6, description="weight of the attention term, β in the lab's formula")
        power: Literal[1, 2] = Field(
            1, description="1: mean of absolute values over channels (the lab's mean); 2: mean of squares (the paper)"
        )

    def reduce_teacher(self, teacher: Outputs) -> Outputs:
        """The attention maps `[B, H, W]` in the place of the stages."""
        return Outputs(teacher.logits, [attention_map(stage, self.settings.power) for stage in teacher.stages])

    def loss(self, student: Outputs, teacher: Outputs, labels: Tensor, adapter: nn.Module | None = None) -> Tensor:
        """See `at_loss`; the teacher's stages are maps already."""
        return at_loss([attention_map(stage, self.settings.power) for stage in student.stages], teacher.stages)


def at_loss(student_maps: Sequence[Tensor], teacher_maps: Sequence[Tensor]) -> Tensor:
    """The sum over stages of the mean squared difference between L2-normalized flattened attention maps.

    Maps are `[B, H, W]` for each stage; where their numbers differ, `match_stages` says which are compared. Maps of
    different size are average-pooled to the smaller one. No gradient reaches the teacher's. Returns a scalar, at least
    float32. One image's place weighs `1 / (B H W)`, so a stage of 4x4 counts 64 times one of 32x32. Raises ValueError
    for anything else than lists of maps.
    """
    both = student_maps, teacher_maps
    if any(isinstance(side, torch.Tensor) or any(maps.ndim != 3 for maps in side) for side in both):
        raise ValueError("at_loss takes lists of maps [B, H, W], one for each stage, as attention_map returns them")
    losses = []
    for one, other in match_stages(*([maps.shape[-1] for maps in side] for side in (student_maps, teacher_maps))):
        student, teacher = pool_to_same_size(student_maps[one], teacher_maps[other])
        losses.append(F.mse_loss(normalize_maps(student), normalize_maps(teacher.detach())))
    return torch.stack(losses).sum()


def attention_map(features: Tensor, power: int = 1) -> Tensor:
    """Reduces the channels of a stage's output `[B, C, H, W]` to maps `[B, H, W]`, at least float32, not normalized.

    `power` is that of the absolute values whose mean is taken: the paper's `F_sum^p` up to a constant, which the
    normalization removes. 1 is the lab's mean over channels where a stage ends in ReLU, as in the ResNets; elsewhere
    (Wide ResNets, MobileNetV2) values of opposite sign do not cancel.
    """
    features = as_float(features)
    return (features.abs() if power == 1 else features.pow(power)).mean(dim=1)


def normalize_maps(maps: Tensor) -> Tensor:
    """Flattens maps `[B, H, W]` and scales each image's to unit L2 norm: `[B, H*W]`, at least float32."""
    return F.normalize(as_float(maps).flatten(1), dim=1)
