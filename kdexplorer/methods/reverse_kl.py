"""Response-based distillation by the reverse KL divergence: the student prefers the teacher's largest modes."""

from __future__ import annotations

from pydantic import Field

from kdexplorer.methods.base import Method, TemperatureSettings
from kdexplorer.networks.outputs import F, Outputs, Tensor, as_float, nn


class ReverseKL(Method):
    """The mode-seeking divergence, as in Gu et al., "MiniLLM", ICLR 2024, and Agarwal et al., ICLR 2024, section 2."""

    key, label, family = "reverse_kl", "Reverse KL", "response"
    reference = "Agarwal et al. 2024, section 2; Gu et al. 2024, equation 1"
    formula = r"T^2\,\mathrm{KL}\bigl(p^s(T)\,\|\,p^t(T)\bigr)"
    summary = "The student avoids classes to which the teacher gives small probabilities."
    needs = frozenset({"logits"})
    marker, dash = "parallelogram", (8, 3)

    class Settings(TemperatureSettings):
        """The temperature of both softmaxes."""

        weight: float = Field(0.7, gt=0, le=1e6, description="weight of the term, by default that of KD")

    def loss(self, student: Outputs, teacher: Outputs, labels: Tensor, adapter: nn.Module | None = None) -> Tensor:
        return reverse_kl_loss(student.logits, teacher.logits, self.settings.temperature)


def reverse_kl_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """`T² · KL(softmax(z_s / T) ‖ softmax(z_t / T))`, the mean over the batch, in nats.

    The factor T² and the mean are those of `kd_loss`; near equality the two divergences agree to second order.

    Logits are `[B, K]`; no gradient reaches the teacher's. The temperature is above 0. Returns a scalar in the logits'
    dtype, at least float32.
    """
    student = F.log_softmax(as_float(student_logits) / temperature, dim=1)
    teacher = F.log_softmax(as_float(teacher_logits).detach() / temperature, dim=1)
    return (student.exp() * (student - teacher)).sum(dim=1).mean() * temperature**2
