"""Response-based distillation with altered soft labels: controls that show which part of a soft label teaches.

They are not meant to train better students. Each removes a part of the teacher's probabilities and keeps the
temperature, the weight and the mean confidence, so a difference to KD is due to what was removed.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from kdexplorer.methods.base import Method, TemperatureSettings
from kdexplorer.networks.outputs import F, Outputs, Tensor, as_float, nn, torch

Kept = Literal["top", "permuted", "class-mean", "smoothing"]
"""What is kept of the teacher's probabilities, see `alter`."""


class AlteredKD(Method):
    """Controls after Furlanello et al. 2018, section 3.2; Müller et al. 2019; Yuan et al. 2020."""

    key, label, family = "altered_kd", "Altered KD", "response"
    reference = "Furlanello et al., “Born-Again Neural Networks”, ICML 2018, section 3.2; label smoothing"
    formula = r"T^2\,\mathrm{KL}\bigl(\tilde p^t(T)\,\|\,p^s(T)\bigr)"
    summary = "A control: the student imitates the teacher's softened probabilities after they were altered."
    needs = frozenset({"logits"})
    relates_images = uses_labels = True
    marker, dash = "house", (10, 6)

    class Settings(TemperatureSettings):
        """The temperature of both softmaxes, and what is kept."""

        weight: float = Field(0.7, gt=0, le=1e6, description="weight of T²·KL")
        keep: Kept = Field(
            "permuted",
            description="what is left: the largest probability with a uniform rest, all with those below the largest "
            "permuted, the mean of the class's other images, or the mean confidence in the label with a uniform rest",
        )

    def loss(self, student: Outputs, teacher: Outputs, labels: Tensor, adapter: nn.Module | None = None) -> Tensor:
        settings = self.settings
        return altered_kd_loss(student.logits, teacher.logits, labels, settings.temperature, settings.keep)


def altered_kd_loss(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float, keep: Kept
) -> Tensor:
    """`T² · KL(alter(softmax(z_t / T)) ‖ softmax(z_s / T))`, the mean over the batch, in nats.

    Logits are `[B, K]`, labels int64 `[B]`; no gradient reaches the teacher's. The temperature is above 0. Returns a
    scalar, at least float32.
    """
    student = F.log_softmax(as_float(student_logits) / temperature, dim=1)
    soft = alter(as_float(teacher_logits).detach(), labels, temperature, keep)
    return (torch.xlogy(soft, soft) - soft * student).sum(dim=1).mean() * temperature**2


def alter(teacher_logits: Tensor, labels: Tensor, temperature: float, keep: Kept) -> Tensor:
    """Soft labels `[B, K]` at a temperature from a teacher's logits `[B, K]` and labels `[B]`, of which is kept:

    - `top`: the largest probability; the others share the rest evenly.
    - `permuted`: all probabilities, those of the other classes in an order that is drawn for each image.
    - `class-mean`: the mean of the batch's other images with the same label (of the image itself where it is alone).
      KL's gradient is linear in the soft label, so over many steps this is the mean of the class.
    - `smoothing`: the batch's mean probability of the label; the others share the rest evenly. That is label smoothing
      as confident as the teacher.
    """
    soft = F.softmax(teacher_logits / temperature, dim=1)
    is_label = F.one_hot(labels, soft.shape[1]).to(soft)
    if keep == "permuted":
        return _permute(soft, teacher_logits)
    if keep == "class-mean":
        same = is_label @ is_label.T
        others = same - torch.eye(len(soft), device=soft.device)
        others = torch.where(others.sum(dim=1, keepdim=True) > 0, others, same)
        return others @ soft / others.sum(dim=1, keepdim=True)
    if keep == "smoothing":
        return _even_rest((soft * is_label).sum(dim=1).mean().expand(len(soft)), is_label)
    top, where = soft.max(dim=1)
    return _even_rest(top, F.one_hot(where, soft.shape[1]).to(soft))


def _even_rest(confidence: Tensor, chosen: Tensor) -> Tensor:
    """`[B, K]` with a probability `[B]` at the chosen class (as one-hot rows) and a uniform rest."""
    rest = (1 - confidence) / (chosen.shape[1] - 1)
    return chosen * confidence[:, None] + (1 - chosen) * rest[:, None]


def _permute(soft: Tensor, logits: Tensor) -> Tensor:
    """The largest probability stays, the others are sorted by a number that is drawn from the logits' own last bits.

    So the order depends on the image alone, and a run that is resumed draws it again.
    """
    bits = logits.float().contiguous().view(torch.int32).long()
    drawn = (bits * 2654435761 + torch.arange(soft.shape[1], device=soft.device) * 40503) % 2**32
    drawn = (drawn ^ (drawn >> 15)) * 2246822519 % 2**32
    top = soft.argmax(dim=1, keepdim=True)
    order = drawn.scatter(1, top, -1).argsort(dim=1)  # the largest class first, then the others as drawn
    others = torch.arange(soft.shape[1], device=soft.device).expand_as(soft)
    places = torch.where(others == top, -1, others).argsort(dim=1)  # the largest class first, then the others
    return torch.zeros_like(soft).scatter(1, order, soft.gather(1, places))
