"""Feature-based distillation by hints: a stage of the student, through a regressor, equals the teacher's."""

from __future__ import annotations

from pydantic import Field

from kdexplorer.methods.base import Method, MethodSettings
from kdexplorer.networks import Architecture
from kdexplorer.networks.outputs import F, Outputs, Tensor, as_float, nn, pool_to_same_size


class FitNets(Method):
    """Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, equation 3, trained together with the labels.

    The paper trains the hint first and distills after it; the reference implementations and this one train both at
    once. Their regressor ends in a ReLU; this one does not, since not every architecture's stages do.
    """

    key, label, family = "fitnets", "FitNets", "feature"
    reference = "Romero et al. 2015, equation 3, trained at once with the labels as in RepDistiller"
    formula = r"\mathrm{MSE}\bigl(r(F^s_k),\, F^t_k\bigr)"
    summary = "A stage of the student, through a trained 1×1 convolution r, imitates the teacher's."
    needs = frozenset({"stages"})
    marker, dash = "saltire", (3, 5)

    class Settings(MethodSettings):
        """The stage that is the hint."""

        weight: float = Field(100.0, gt=0, le=1e6, description="weight of the mean squared error")
        stage: int = Field(2, ge=1, le=4, description="which stage's output is the hint, from 1")

    def check(self, student: Architecture, teacher: Architecture) -> str | None:
        """Both networks need the chosen stage."""
        for network in (student, teacher):
            if self.settings.stage > (count := len(network.stages)):
                wanted = f"no stage {self.settings.stage}: choose a lower stage"
                return f"FitNets: {network.key} has {count} stages, {wanted}"
        return None

    def adapter(self, student: Architecture, teacher: Architecture) -> nn.Module:
        """The regressor: a 1x1 convolution from the student's channels to the teacher's, and batch norm."""
        number = self.settings.stage - 1
        before, after = student.stages[number].channels, teacher.stages[number].channels
        return nn.Sequential(nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after))

    def reduce_teacher(self, teacher: Outputs) -> Outputs:
        """The chosen stage alone."""
        return Outputs(teacher.logits, [teacher.stages[self.settings.stage - 1]])

    def loss(self, student: Outputs, teacher: Outputs, labels: Tensor, adapter: nn.Module | None = None) -> Tensor:
        """See `fitnets_loss`; the regressor sees the student's stage at the smaller size."""
        assert adapter is not None
        (target,) = teacher.stages
        feature, _ = pool_to_same_size(student.stages[self.settings.stage - 1], target)
        return fitnets_loss(adapter(feature), target)


def fitnets_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean squared difference of two outputs `[B, C, H, W]`, over everything: a scalar, at least float32.

    Outputs of different size are average-pooled to the smaller one. No gradient reaches the teacher's.
    """
    student, teacher = pool_to_same_size(student, teacher)
    return F.mse_loss(as_float(student), as_float(teacher.detach()))
