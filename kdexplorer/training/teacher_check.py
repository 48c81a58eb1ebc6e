"""What the teacher loses on the small images that a run starts with: on those it also teaches its errors.

The teacher sees the pixels that its students see, as attention maps of another size could not be compared and a larger
image would cost the time that small ones save. So its accuracy at that size is measured when a run starts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from kdexplorer.analysis import metrics
from kdexplorer.analysis.inference import to_inputs
from kdexplorer.datasets import Normalization
from kdexplorer.datasets.augmentation import resize
from kdexplorer.training.schedule import FULL_RESOLUTION, resolution
from kdexplorer.training.teacher import EvaluationTeacher
from kdexplorer.training.trainer import Trainer

IMAGES, BATCH = 500, 100
"""How many images of the evaluation split are looked at, the first ones, and how many at once."""
MOST = 0.05
"""The accuracy that a teacher may lose without a warning."""


@dataclass(frozen=True)
class TeacherAtStart:
    """The teacher's accuracy on the same images at the size that training starts with and at full size, 0 to 1."""

    name: str
    side: int  # pixels
    images: int
    accuracy: float
    full: float
    confidence: float  # its mean largest probability at the small size

    @property
    def warning(self) -> str:
        """What is wrong and what to do; empty where the teacher loses no more than `MOST`."""
        if round((self.full - self.accuracy) * self.images) <= MOST * self.images:
            return ""
        return (
            f"At {self.side} pixels the teacher {self.name} classifies {100 * self.accuracy:.1f} % of {self.images} "
            f"evaluation images correctly, at {FULL_RESOLUTION} pixels {100 * self.full:.1f} %; its mean confidence at "
            f"{self.side} is {100 * self.confidence:.0f} %. In the first epochs it teaches these errors: choose a "
            "larger start_resolution"
        )


@torch.no_grad()
def predict_at(network: nn.Module, images: np.ndarray, normalization: Normalization, side: int) -> np.ndarray:
    """Logits float32 `[N, K]` of uint8 images `[N, 3, H, W]` that are resized to `side` pixels."""
    found = []
    for start in range(0, len(images), BATCH):
        inputs = resize(to_inputs(network, images[start : start + BATCH], normalization), side)
        found.append(network(inputs).float().cpu().numpy())
    return np.concatenate(found)


def check_teacher(trainer: Trainer, teacher: EvaluationTeacher | None, epoch: int = 0) -> TeacherAtStart | None:
    """Measures the teacher at the resolution of an epoch; None where that is the full size or there is no teacher.

    Args:
        trainer: whose evaluation split is used.
        teacher: its logits at full size.
        epoch: the next one, from 0.
    """
    side = resolution(trainer.config, min(epoch, trainer.config.epochs - 1))
    if teacher is None or trainer.teacher is None or side == FULL_RESOLUTION:
        return None
    network, normalization = trainer.teacher.network, trainer.teacher.normalization
    evaluation = trainer.evaluation.take(np.arange(min(IMAGES, len(trainer.evaluation))))
    logits = predict_at(network, evaluation.images, normalization, side)
    return TeacherAtStart(
        name="+".join(checkpoint.name for checkpoint in trainer.teacher_checkpoints),
        side=side,
        images=len(logits),
        accuracy=metrics.accuracy(logits, evaluation.labels),
        full=metrics.accuracy(teacher.logits[: len(logits)], evaluation.labels),
        confidence=float(metrics.softmax(logits).max(axis=1).mean()),
    )
