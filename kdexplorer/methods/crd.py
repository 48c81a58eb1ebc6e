"""Relation-based distillation by contrast: of the batch's images, the student's embedding identifies the teacher's."""

from __future__ import annotations

from pydantic import Field

from kdexplorer.methods.base import Method, MethodSettings
from kdexplorer.networks import Architecture
from kdexplorer.networks.outputs import F, Outputs, Tensor, as_float, nn, torch


class CRD(Method):
    """Tian et al., "Contrastive Representation Distillation", ICLR 2020, in a variant: InfoNCE within the batch.

    The paper compares each image with 16,384 negatives from a memory bank of all training images by noise-contrastive
    estimation. This variant has no memory bank: the negatives are the batch's images of other classes (the reference's
    sampling by default excludes the own class too), and the loss is InfoNCE (van den Oord et al. 2018), in both
    directions. It is not the paper's loss, and its results are not the paper's.
    """

    key, label, family = "crd", "CRD", "relation"
    reference = "after Tian et al. 2020, as InfoNCE within the batch instead of their memory bank"
    formula = (
        r"-\log\frac{e^{u^s_i\cdot u^t_i/T}}{\sum_{j=i\,\vee\,y_j\neq y_i} e^{u^s_i\cdot u^t_j/T}}"
        r" -\log\frac{e^{u^s_i\cdot u^t_i/T}}{\sum_{j=i\,\vee\,y_j\neq y_i} e^{u^s_j\cdot u^t_i/T}}"
    )
    summary = "The student's projected embedding of an image comes near to the teacher's of the same image."
    needs = frozenset({"embedding"})
    relates_images = uses_labels = True
    marker, dash = "arrow", (5, 2, 1, 2)

    class Settings(MethodSettings):
        """The sharpness of the comparison and the width of the projections."""

        weight: float = Field(0.8, gt=0, le=1e6, description="weight of the contrastive loss")
        temperature: float = Field(0.07, ge=0.01, le=10, description="divides the cosine similarities")
        width: int = Field(128, ge=2, le=2048, description="length of the projected embeddings")

    def adapter(self, student: Architecture, teacher: Architecture) -> nn.Module:
        """A linear projection to `width` for each network's embedding; it maps the two `[B, D]` to two `[B, width]`."""

        class Projections(nn.ModuleDict):
            def forward(self, of_student: Tensor, of_teacher: Tensor) -> tuple[Tensor, Tensor]:
                return self["student"](of_student), self["teacher"](of_teacher)

        lengths, width = {"student": student.embedding, "teacher": teacher.embedding}, self.settings.width
        return Projections({name: nn.Linear(length, width) for name, length in lengths.items()})

    def loss(self, student: Outputs, teacher: Outputs, labels: Tensor, adapter: nn.Module | None = None) -> Tensor:
        assert adapter is not None
        of_student, of_teacher = adapter(student.embedding, teacher.embedding)
        return crd_loss(of_student, of_teacher, labels, self.settings.temperature)

    def relations(self, outputs: Outputs) -> Tensor | None:
        """Cosine similarities of the embeddings, before the projections."""
        if outputs.embedding is None:
            return None
        unit = F.normalize(as_float(outputs.embedding), dim=1)
        return unit @ unit.T


def crd_loss(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """InfoNCE from the student's embeddings to the teacher's and back, the sum of both, in nats.

    Both are projected embeddings `[B, D]`, scaled to unit length here. Gradients reach both, since the teacher's
    projection is trained too. Labels are int64 `[B]`; images of the same class are no negatives of each other. The
    temperature is above 0. Returns a scalar, at least float32, the mean over the batch; 0 where an image has no
    negatives.
    """
    s, t = (F.normalize(as_float(one), dim=1) for one in (student, teacher))
    own = torch.arange(len(labels), device=labels.device)
    excluded = (labels[:, None] == labels) & (own[:, None] != own)
    similarity = (s @ t.T / temperature).masked_fill(excluded, -torch.inf)
    return F.cross_entropy(similarity, own) + F.cross_entropy(similarity.T, own)
