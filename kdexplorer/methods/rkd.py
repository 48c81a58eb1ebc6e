"""Relation-based distillation of geometry: distances and angles between images are those of the teacher."""

from __future__ import annotations

from pydantic import Field

from kdexplorer.methods.base import Method, MethodSettings
from kdexplorer.networks.outputs import F, Outputs, Tensor, as_float, nn, torch

MAX_ANGLES = 1 << 22
"""Angles that are computed at once; of more, backward computes them again instead of keeping them."""


class RKD(Method):
    """Park et al., "Relational Knowledge Distillation", CVPR 2019, equations 4 to 8, on the embedding."""

    key, label, family = "rkd", "RKD", "relation"
    reference = "Park et al. 2019, equations 4 to 8"
    formula = r"w_D\,\ell\bigl(\tfrac{d^s}{\mu^s}, \tfrac{d^t}{\mu^t}\bigr) + w_A\,\ell(\cos^s, \cos^t)"
    summary = "The student imitates the distances and angles between the teacher's embeddings of a batch's images."
    needs = frozenset({"embedding"})
    relates_images = True
    marker, dash = "six-star", (10, 3, 2, 3)

    class Settings(MethodSettings):
        """The weights of the two parts."""

        distance: float = Field(25.0, ge=0, le=1e6, description="weight of the distances between two images")
        angle: float = Field(50.0, ge=0, le=1e6, description="weight of the angles between three images")

    def loss(self, student: Outputs, teacher: Outputs, labels: Tensor, adapter: nn.Module | None = None) -> Tensor:
        assert student.embedding is not None
        assert teacher.embedding is not None
        return rkd_loss(student.embedding, teacher.embedding, self.settings.distance, self.settings.angle)

    def relations(self, outputs: Outputs) -> Tensor | None:
        return None if outputs.embedding is None else relative_distances(as_float(outputs.embedding))


def rkd_loss(student: Tensor, teacher: Tensor, distance: float, angle: float) -> Tensor:
    """The weighted sum of the smooth L1 differences of `relative_distances` and of angles (`angle_loss`).

    A scalar, at least float32; 0 for one image. Both are embeddings of the same images, `[B, D]`; D may differ. No
    gradient reaches the teacher's.
    """
    student, teacher = as_float(student), as_float(teacher).detach()
    distances = F.smooth_l1_loss(relative_distances(student), relative_distances(teacher))
    return distance * distances + angle * angle_loss(student, teacher)


def relative_distances(embedding: Tensor) -> Tensor:
    """Distances of all pairs `[B, B]`, divided by the mean of those that are not zero."""
    distances = torch.cdist(embedding, embedding, compute_mode="donot_use_mm_for_euclid_dist")
    mean = distances.sum() / (distances > 0).sum().clamp_min(1)
    return distances / mean.clamp_min(1e-12)


def angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """The smooth L1 difference of the cosines of all angles at an image between two others, `B³` of them."""
    from torch.utils.checkpoint import checkpoint

    count = len(student)
    block = max(1, MAX_ANGLES // count**2)

    def part(student: Tensor, teacher: Tensor, first: int) -> Tensor:
        anchors = slice(first, first + block)
        return F.smooth_l1_loss(cosines(student, anchors), cosines(teacher, anchors), reduction="sum")

    if block >= count:
        return part(student, teacher, 0) / count**3
    total = student.new_zeros(())
    for first in range(0, count, block):
        total = total + checkpoint(part, student, teacher, first, use_reentrant=False)
    return total / count**3


def cosines(embedding: Tensor, anchors: slice) -> Tensor:
    """Cosines `[A, B, B]` of the angles at each of the anchors between all pairs of images; 0 where two coincide."""
    difference = embedding[None] - embedding[anchors, None]
    length = difference.norm(dim=2, keepdim=True)
    direction = difference / length.where(length > 0, 1)
    return direction @ direction.mT
