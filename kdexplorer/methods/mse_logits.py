"""Response-based distillation by regression: the student's logits are the teacher's."""

from __future__ import annotations

from pydantic import Field

from kdexplorer.methods.base import Method, MethodSettings
from kdexplorer.networks.outputs import Outputs, Tensor, as_float, nn


class MSELogits(Method):
    """Ba & Caruana, "Do Deep Nets Really Need to be Deep?", NeurIPS 2014, equation 1."""

    key, label, family = "mse_logits", "Logit MSE", "response"
    reference = "Ba & Caruana 2014, equation 1"
    formula = r"\tfrac{1}{2}\,\lVert z^s - z^t\rVert^2"
    summary = "The student imitates the teacher's logits, without a softmax."
    needs = frozenset({"logits"})
    marker, dash = "hourglass", (4, 1)

    class Settings(MethodSettings):
        """No setting but the weight: 1/K, here for ten classes, makes it the limit of KD at high temperature."""

        weight: float = Field(0.1, gt=0, le=1e6, description="weight of the term; 1/classes: KD at high temperature")

    def loss(self, student: Outputs, teacher: Outputs, labels: Tensor, adapter: nn.Module | None = None) -> Tensor:
        return mse_logits_loss(student.logits, teacher.logits)


def mse_logits_loss(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Half the squared distance of the logits, the mean over the batch and the sum over classes.

    For logits of mean zero, 1/K of it is the limit of `kd_loss` at high temperature (Hinton et al. 2015, equation 4).

    Logits are `[B, K]`; no gradient reaches the teacher's. Returns a scalar in the logits' dtype, at least float32.
    """
    difference = as_float(student_logits) - as_float(teacher_logits).detach()
    return 0.5 * difference.square().sum(dim=1).mean()
