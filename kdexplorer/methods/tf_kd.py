"""Response-based distillation without a teacher: the soft labels are designed by hand."""

from __future__ import annotations

from pydantic import Field

from kdexplorer.methods.base import Method, MethodSettings
from kdexplorer.networks.outputs import F, Outputs, Tensor, as_float, nn, torch


class TfKD(Method):
    """Yuan et al., "Revisiting Knowledge Distillation via Label Smoothing Regularization", CVPR 2020, Tf-KD_reg.

    With cross-entropy it has the gradient of label smoothing, see `docs/methods.md`.
    """

    key, label, family = "tf_kd", "Tf-KD", "response"
    reference = "Yuan et al. 2020, section 5, as its reference implementation computes it"
    formula = r"\mathrm{KL}\bigl(\mathrm{softmax}(p^d/T)\,\|\,p^s(1)\bigr)"
    summary = "The student imitates soft labels that are designed from the label alone (pᵈ); there is no teacher."
    needs = frozenset()
    uses_labels = True
    marker, dash = "bowtie", (12, 2, 4, 2)

    class Settings(MethodSettings):
        """The virtual teacher. The defaults are those of the reference for ResNet-18 on CIFAR-100."""

        weight: float = Field(0.1, gt=0, le=1e6, description="weight of the KL divergence")
        temperature: float = Field(20.0, ge=0.01, le=1000, description="divides the virtual teacher's probabilities")
        correct: float = Field(0.99, ge=0.5, le=1, description="the virtual teacher's probability of the label, a")

    def loss(self, student: Outputs, teacher: Outputs, labels: Tensor, adapter: nn.Module | None = None) -> Tensor:
        return tf_kd_loss(student.logits, labels, self.settings.temperature, self.settings.correct)


def tf_kd_loss(student_logits: Tensor, labels: Tensor, temperature: float, correct: float) -> Tensor:
    """`KL(u ‖ softmax(z_s))` with the virtual teacher's soft labels u, the mean over the batch, in nats.

    As in the reference implementation, the temperature divides the virtual teacher's probabilities, and the student's
    logits have none. That implementation averages over classes too and multiplies by 100, the number of classes of
    CIFAR-100; the mean over the batch alone needs no such factor.

    Logits are `[B, K]`, labels int64 `[B]`. The temperature is above 0; before it the label has the probability
    `correct`. Returns a scalar in the logits' dtype, at least float32.
    """
    student = F.log_softmax(as_float(student_logits), dim=1)
    soft = virtual_teacher(labels, student.shape[1], temperature, correct).to(student)
    return (torch.xlogy(soft, soft) - soft * student).sum(dim=1).mean()


def virtual_teacher(labels: Tensor, classes: int, temperature: float, correct: float) -> Tensor:
    """The soft labels `[B, classes]` float64 of labels `[B]`: `softmax(p / T)` of `correct` and an equal rest."""
    is_label = F.one_hot(labels, classes).double()
    designed = is_label * correct + (1 - is_label) * (1 - correct) / (classes - 1)
    return F.softmax(designed / temperature, dim=1)
