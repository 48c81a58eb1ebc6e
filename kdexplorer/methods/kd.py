"""Response-based distillation: the student imitates the teacher's soft labels."""

from __future__ import annotations

from pydantic import Field

from kdexplorer.methods.base import Method, TemperatureSettings
from kdexplorer.networks.outputs import F, Outputs, Tensor, as_float, nn


class KD(Method):
    """Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2."""

    key, label, family = "kd", "KD", "response"
    reference = "Hinton et al. 2015, section 2"
    formula = r"T^2\,\mathrm{KL}\bigl(p^t(T)\,\|\,p^s(T)\bigr)"
    summary = "The student imitates the teacher's softened probabilities."
    needs = frozenset({"logits"})
    short_keys = {"alpha": "weight"}
    marker, dash = "triangle-up", (2, 2)

    class Settings(TemperatureSettings):
        """The temperature of both softmaxes."""

        weight: float = Field(0.7, gt=0, le=1e6, description="weight of T²·KL, α in the lab's formula")

    def loss(self, student: Outputs, teacher: Outputs, labels: Tensor, adapter: nn.Module | None = None) -> Tensor:
        return kd_loss(student.logits, teacher.logits, self.settings.temperature)


def kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """`T² · KL(softmax(z_t / T) ‖ softmax(z_s / T))`, the mean over the batch, in nats.

    The factor T² balances the gradient's 1/T² in the limit of large T only (Hinton et al. 2015, section 2.1); below it
    the gradient's size depends on T, see `analysis.metrics.push_size`. `batchmean` divides by the batch size; `mean`
    would divide by the number of classes as well.

    Logits are `[B, K]`; no gradient reaches the teacher's. The temperature is above 0. Returns a scalar in the logits'
    dtype, at least float32.
    """
    student = F.log_softmax(as_float(student_logits) / temperature, dim=1)
    teacher = F.log_softmax(as_float(teacher_logits).detach() / temperature, dim=1)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2
