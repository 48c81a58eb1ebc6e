"""Response-based distillation of relations: predictions correlate with the teacher's, over classes and over images."""

from __future__ import annotations

from pydantic import Field

from kdexplorer.methods.base import Method, MethodSettings
from kdexplorer.networks.outputs import F, Outputs, Tensor, as_float, nn


class DIST(Method):
    """Huang et al., "Knowledge Distillation from A Stronger Teacher", NeurIPS 2022, equations 8 to 10."""

    key, label, family = "dist", "DIST", "response"
    reference = "Huang et al. 2022, equations 8 to 10"
    formula = r"T^2\bigl[\beta\,(1-\rho_K) + \gamma\,(1-\rho_B)\bigr]"
    summary = "The student's probabilities correlate (ρ) with the teacher's, over classes (K) and over the batch (B)."
    needs = frozenset({"logits"})
    relates_images = True
    marker, dash = "triangle-left", (14, 3)

    class Settings(MethodSettings):
        """The weights of the two correlations."""

        beta: float = Field(1.0, ge=0, le=1000, description="weight of the relation between classes, image by image")
        gamma: float = Field(1.0, ge=0, le=1000, description="weight of the relation between images, class by class")
        temperature: float = Field(4.0, ge=0.1, le=100, description="divides the logits of teacher and student")

    def loss(self, student: Outputs, teacher: Outputs, labels: Tensor, adapter: nn.Module | None = None) -> Tensor:
        settings = self.settings
        return dist_loss(student.logits, teacher.logits, settings.temperature, settings.beta, settings.gamma)


def dist_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float, beta: float, gamma: float) -> Tensor:
    """`T² · (β · inter + γ · intra)`: one minus Pearson's correlation over classes, and over the images of the batch.

    Logits are `[B, K]`; no gradient reaches the teacher's. The temperature is above 0. Returns a scalar in the logits'
    dtype, at least float32. What is constant correlates with nothing: with one image the relation between images is 1
    and has no gradient. Of two classes, that between classes is 1 or -1 and has none either.
    """
    student = F.softmax(as_float(student_logits) / temperature, dim=1)
    teacher = F.softmax(as_float(teacher_logits).detach() / temperature, dim=1)
    inter = 1 - correlation(student, teacher).mean()
    intra = 1 - correlation(student.T, teacher.T).mean()
    return (beta * inter + gamma * intra) * temperature**2


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Pearson's correlation of each row: `[N, M]` twice to `[N]`, -1 to 1; 0 where a row is constant."""
    a, b = (rows - rows.mean(dim=1, keepdim=True) for rows in (first, second))
    return (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1)).clamp_min(1e-8)
