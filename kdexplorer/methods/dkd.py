"""Response-based distillation in two parts: the label's class, and the distribution of the other classes."""

from __future__ import annotations

from pydantic import Field

from kdexplorer.methods.base import Method, WarmupSettings
from kdexplorer.networks.outputs import F, Outputs, Tensor, as_float, nn, torch


class DKD(Method):
    """Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022, equation 7."""

    key, label, family = "dkd", "DKD", "response"
    reference = "Zhao et al. 2022, equation 7"
    formula = r"T^2\bigl[\alpha\,\mathrm{KL}(b^t\,\|\,b^s) + \beta\,\mathrm{KL}(\hat{p}^t\,\|\,\hat{p}^s)\bigr]"
    summary = "The student imitates the probability of the label's class (b) and the distribution of the others (p̂)."
    needs = frozenset({"logits"})
    uses_labels = True
    marker, dash = "cross", (3, 5)

    class Settings(WarmupSettings):
        """The weights of the two parts. β is the reference's for ResNet-56 to ResNet-20; others have up to 8."""

        alpha: float = Field(1.0, ge=0, le=1000, description="weight of the target part: the label's class or not")
        beta: float = Field(2.0, ge=0, le=1000, description="weight of the non-target part: the other classes")
        temperature: float = Field(4.0, ge=0.1, le=100, description="divides the logits of teacher and student")

    def loss(self, student: Outputs, teacher: Outputs, labels: Tensor, adapter: nn.Module | None = None) -> Tensor:
        settings = self.settings
        return dkd_loss(student.logits, teacher.logits, labels, settings.alpha, settings.beta, settings.temperature)


def dkd_loss(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, alpha: float, beta: float, temperature: float
) -> Tensor:
    """`T² · (α TCKD + β NCKD)`, the mean over the batch, in nats; see `dkd_parts`."""
    target, others = dkd_parts(student_logits, teacher_logits, labels, temperature)
    return (alpha * target + beta * others).mean() * temperature**2


def dkd_parts(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """The target part (TCKD) and the non-target part (NCKD) of each image, in nats, without T².

    The KL divergence of KD is `TCKD + (1 − p_t[label]) · NCKD` (equation 6). With two classes NCKD is 0: one class is
    left. The non-target classes are selected; the reference subtracts 1000 from the target's logit instead, which
    agrees with it as long as logits differ by much less than 1000 T.

    Logits are `[B, K]`, labels int64 `[B]`; no gradient reaches the teacher's. The temperature is above 0. Returns two
    tensors `[B]` in the logits' dtype, at least float32.
    """
    rest = torch.arange(student_logits.shape[1] - 1, device=labels.device)
    columns = rest + (rest >= labels[:, None])  # the other classes, in order

    def split(logits: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithms of the two-way distribution `[B, 2]` and of the one over the other classes `[B, K - 1]`."""
        log_p = F.log_softmax(as_float(logits) / temperature, dim=1)
        target, others = log_p.gather(1, labels[:, None]), log_p.gather(1, columns)
        together = others.logsumexp(dim=1, keepdim=True)
        return torch.cat([target, together], dim=1), others - together

    def divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
        return (log_p.exp() * (log_p - log_q)).sum(dim=1)

    student, teacher = split(student_logits), split(teacher_logits.detach())
    return divergence(teacher[0], student[0]), divergence(teacher[1], student[1])
