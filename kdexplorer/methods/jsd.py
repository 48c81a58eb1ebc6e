"""Response-based distillation by the generalized Jensen-Shannon divergence, between forward and reverse KL."""

from __future__ import annotations

import math

from pydantic import Field

from kdexplorer.methods.base import Method, MethodSettings
from kdexplorer.networks.outputs import F, Outputs, Tensor, as_float, nn, torch


class JSD(Method):
    """Agarwal et al., "On-Policy Distillation of Language Models" (GKD), ICLR 2024, equation 1."""

    key, label, family = "jsd", "JSD", "response"
    reference = "Agarwal et al. 2024, equation 1"
    formula = r"T^2\bigl[\beta\,D(p^t, m) + (1-\beta)\,D(p^s, m)\bigr]"
    summary = "The student approaches the teacher through their mixture m = β pᵗ + (1 − β) pˢ, in KL divergence D."
    needs = frozenset({"logits"})
    marker, dash = "triangle-right", (5, 2, 1, 2)

    class Settings(MethodSettings):
        """The mixture and the temperature."""

        weight: float = Field(2.8, gt=0, le=1e6, description="weight of the term; 4 times KD's for the same strength")
        beta: float = Field(0.5, ge=0.01, le=0.99, description="the teacher's share of the mixture; small: like KD")
        temperature: float = Field(4.0, ge=0.1, le=100, description="divides the logits of teacher and student")

    def loss(self, student: Outputs, teacher: Outputs, labels: Tensor, adapter: nn.Module | None = None) -> Tensor:
        return jsd_loss(student.logits, teacher.logits, self.settings.temperature, self.settings.beta)


def jsd_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float, beta: float) -> Tensor:
    """`T² · (β KL(p_t ‖ m) + (1 − β) KL(p_s ‖ m))` with `m = β p_t + (1 − β) p_s`, the mean over the batch, in nats.

    Near equality it is `β (1 − β)` times the KL divergence. Divided by β it tends to KL(p_t ‖ p_s) as β tends to 0;
    divided by `1 − β` it tends to KL(p_s ‖ p_t) as β tends to 1.

    Logits are `[B, K]`; no gradient reaches the teacher's. The temperature is above 0; β, the teacher's share of the
    mixture, is between 0 and 1 exclusive. Returns a scalar in the logits' dtype, at least float32, at most `T² · ln 2`.
    """
    student = F.log_softmax(as_float(student_logits) / temperature, dim=1)
    teacher = F.log_softmax(as_float(teacher_logits).detach() / temperature, dim=1)
    mixture = torch.logaddexp(teacher + math.log(beta), student + math.log1p(-beta))
    of_teacher = (teacher.exp() * (teacher - mixture)).sum(dim=1)
    of_student = (student.exp() * (student - mixture)).sum(dim=1)
    return (beta * of_teacher + (1 - beta) * of_student).mean() * temperature**2
