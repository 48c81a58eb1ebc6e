"""Response-based distillation of standardized logits: the student need not match the size of the teacher's logits."""

from __future__ import annotations

from pydantic import Field

from kdexplorer.methods.base import Method, MethodSettings
from kdexplorer.methods.kd import kd_loss
from kdexplorer.networks.outputs import Outputs, Tensor, as_float, nn


class LogitStd(Method):
    """Sun et al., "Logit Standardization in Knowledge Distillation", CVPR 2024, algorithm 1."""

    key, label, family = "logit_std", "LogitStd", "response"
    reference = "Sun et al. 2024, algorithm 1"
    formula = r"T^2\,\mathrm{KL}\bigl(p^t(\sigma^t T)\,\|\,p^s(\sigma^s T)\bigr)"
    summary = "The student imitates softened probabilities; both logits are divided by their standard deviation σ."
    needs = frozenset({"logits"})
    min_classes = 3  # of two, the standardized logits are always 1 and -1
    marker, dash = "star", (8, 2, 2, 2, 2, 2)

    class Settings(MethodSettings):
        """The base temperature; the logits' own spread is part of the temperature."""

        weight: float = Field(9.0, gt=0, le=1e6, description="weight of T²·KL of the standardized logits")
        temperature: float = Field(2.0, ge=0.1, le=100, description="divides the standardized logits")

    def loss(self, student: Outputs, teacher: Outputs, labels: Tensor, adapter: nn.Module | None = None) -> Tensor:
        return logit_std_loss(student.logits, teacher.logits, self.settings.temperature)


def logit_std_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """`kd_loss` of the standardized logits of both networks `[B, K]`: a scalar, at least float32."""
    return kd_loss(standardize(student_logits), standardize(teacher_logits), temperature)


def standardize(logits: Tensor) -> Tensor:
    """The z-scores of each image's logits: `[B, K]`, at least float32, mean 0 and standard deviation 1.

    The standard deviation divides by K, as in the paper; the reference implementation divides by K - 1, which is the
    same as a temperature that is larger by sqrt(K / (K - 1)): 5 % with ten classes. Equal logits become zeros.
    """
    centered = as_float(logits)
    centered = centered - centered.mean(dim=1, keepdim=True)
    deviation = centered.norm(dim=1, keepdim=True) / centered.shape[1] ** 0.5
    return centered / deviation.clamp_min(1e-7)
