"""Relation-based distillation by similarity: images that are similar for the teacher are similar for the student."""

from __future__ import annotations

from pydantic import Field

from kdexplorer.methods.base import Method, MethodSettings
from kdexplorer.networks.outputs import F, Outputs, Tensor, as_float, nn


class SP(Method):
    """Tung & Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019, equations 1 to 4, on the last stage."""

    key, label, family = "sp", "SP", "relation"
    reference = "Tung & Mori 2019, equations 1 to 4"
    formula = r"\tfrac{1}{B^2}\,\lVert \tilde{G}^s - \tilde{G}^t\rVert_F^2,\; G = F F^\top"
    summary = "The student finds any two images of the batch as similar as the teacher finds them."
    needs = frozenset({"stages"})
    relates_images = True
    marker, dash = "hexagon", (2, 2)

    class Settings(MethodSettings):
        """No setting but the weight."""

        weight: float = Field(3000.0, gt=0, le=1e6, description="weight of the mean squared difference of similarities")

    def reduce_teacher(self, teacher: Outputs) -> Outputs:
        """The last stage alone."""
        return Outputs(teacher.logits, [teacher.stages[-1]])

    def loss(self, student: Outputs, teacher: Outputs, labels: Tensor, adapter: nn.Module | None = None) -> Tensor:
        return sp_loss(student.stages[-1], teacher.stages[-1])

    def relations(self, outputs: Outputs) -> Tensor:
        return similarities(outputs.stages[-1])


def sp_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean squared difference between the similarity matrices `[B, B]` of two networks: a scalar, at least float32.

    Both are features of the same images, `[B, ...]`, of any shapes. No gradient reaches the teacher's.
    """
    return (similarities(student) - similarities(teacher.detach())).square().mean()


def similarities(features: Tensor) -> Tensor:
    """Inner products of the images' flattened features `[B, ...]`, each row scaled to unit length: `[B, B]`."""
    flat = as_float(features).flatten(1)
    return F.normalize(flat @ flat.T, dim=1)
