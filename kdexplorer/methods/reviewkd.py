"""Feature-based distillation by review: deep stages of the student help its shallow ones to equal the teacher's."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from kdexplorer.methods.base import Method, WarmupSettings
from kdexplorer.networks import Architecture
from kdexplorer.networks.outputs import F, Outputs, Tensor, as_float, match_stages, nn, torch


class ReviewKD(Method):
    """Chen et al., "Distilling Knowledge via Knowledge Review", CVPR 2021, section 3.

    The levels are the stages (where their numbers differ, those that `match_stages` pairs) and, as the deepest, the
    embedding. The reference implementation compares with the teacher's stages before their last ReLU; this one with the
    stages as the networks return them.
    """

    key, label, family = "reviewkd", "ReviewKD", "feature"
    reference = "Chen et al. 2021, section 3"
    formula = r"\sum_{k}\mathrm{HCL}\bigl(\mathrm{ABF}(F^s_k, F^s_{k+1}, \dots),\, F^t_k\bigr)"
    summary = "Each stage of the student, fused with its deeper ones by a trained module, imitates the teacher's."
    needs = frozenset({"stages", "embedding"})
    marker, dash = "pentagon", (8, 3)

    class Settings(WarmupSettings):
        """The weight, by default the reference's for ResNet-56 to ResNet-20 (others have up to 8), and how it rises."""

        weight: float = Field(0.6, gt=0, le=1e6, description="weight of the sum over levels")

    def adapter(self, student: Architecture, teacher: Architecture) -> nn.Module:
        """The fusion modules (ABF) of all levels; see `make_fusion`."""
        pairs = match_stages(*([1 / stage.reduction for stage in network.stages] for network in (student, teacher)))
        channels = [(student.stages[one].channels, teacher.stages[other].channels) for one, other in pairs]
        return make_fusion(*zip(*channels, (student.embedding, teacher.embedding), strict=True))

    def loss(self, student: Outputs, teacher: Outputs, labels: Tensor, adapter: nn.Module | None = None) -> Tensor:
        assert adapter is not None
        pairs = match_stages(*([stage.shape[-1] for stage in side.stages] for side in (student, teacher)))
        given = levels(student, [one for one, _ in pairs])
        targets = levels(teacher, [other for _, other in pairs])
        return reviewkd_loss(adapter(given, [tuple(target.shape[2:]) for target in targets]), targets)


def reviewkd_loss(fused: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """The sum over levels `[B, C, H, W]` of `hcl_loss`."""
    return torch.stack([hcl_loss(*pair) for pair in zip(fused, teacher, strict=True)]).sum()


def levels(outputs: Outputs, chosen: Sequence[int]) -> list[Tensor]:
    """The chosen stages `[B, C, H, W]`, and the embedding as a last one of one place `[B, D, 1, 1]`."""
    assert outputs.embedding is not None
    return [*(outputs.stages[number] for number in chosen), outputs.embedding[:, :, None, None]]


def hcl_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """The hierarchical context loss of one level: mean squared errors at full size and averaged to 4, 2 and 1 places.

    They weigh 1, 1/2, 1/4 and 1/8, divided by the sum of the weights; sizes that are not smaller than the level's are
    left out, and the weights of the others move up. Both levels are `[B, C, H, W]`; no gradient reaches the teacher's.
    Returns a scalar, at least float32.
    """
    student, teacher = as_float(student), as_float(teacher).detach()
    total, weight, weights = F.mse_loss(student, teacher), 1.0, 1.0
    for side in (4, 2, 1):
        if side < student.shape[2]:
            weight /= 2
            pooled = F.adaptive_avg_pool2d(student, side), F.adaptive_avg_pool2d(teacher, side)
            total, weights = total + weight * F.mse_loss(pooled[0], pooled[1]), weights + weight
    return total / weights


def make_fusion(student_channels: Sequence[int], teacher_channels: Sequence[int]) -> nn.Module:
    """The attention-based fusion (ABF) of all levels, from the deepest to the shallowest.

    Its forward pass takes the student's levels `[B, C, H, W]` and the teacher's sizes `(H, W)`, the shallowest first,
    and returns a tensor of the teacher's shape for each.
    """
    middle = min(512, student_channels[-1])

    class Fusion(nn.Module):
        """For each level: 1x1 to the middle width, fusion with the deeper levels, 3x3 to the teacher's channels."""

        def __init__(self) -> None:
            super().__init__()
            self.enter, self.leave, self.attend = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
            for number, (before, after) in enumerate(zip(student_channels, teacher_channels, strict=True)):
                enter = nn.Conv2d(before, middle, 1, bias=False)
                leave = nn.Conv2d(middle, after, 3, padding=1, bias=False)
                for convolution in (enter, leave):
                    nn.init.kaiming_uniform_(convolution.weight, a=1)
                self.enter.append(nn.Sequential(enter, nn.BatchNorm2d(middle)))
                self.leave.append(nn.Sequential(leave, nn.BatchNorm2d(after)))
                if number < len(student_channels) - 1:
                    self.attend.append(nn.Sequential(nn.Conv2d(2 * middle, 2, 1), nn.Sigmoid()))

        def forward(self, features: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
            found: list[Tensor] = []
            deeper = None
            for number in reversed(range(len(features))):
                x = self.enter[number](features[number])
                if deeper is not None:
                    deeper = F.interpolate(deeper, tuple(x.shape[2:]), mode="nearest")
                    share = self.attend[number](torch.cat([x, deeper], dim=1))
                    x = x * share[:, :1] + deeper * share[:, 1:]
                if tuple(x.shape[2:]) != tuple(sizes[number]):
                    x = F.interpolate(x, tuple(sizes[number]), mode="nearest")
                found.insert(0, self.leave[number](x))
                deeper = x
            return found

    return Fusion()
