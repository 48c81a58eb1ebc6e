"""The images of a run: what is trained on, what is evaluated on, and the batches of an evaluation."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from kdexplorer.config import RunConfig
from kdexplorer.datasets import Normalization, Split, get_dataset
from kdexplorer.datasets.augmentation import normalize
from kdexplorer.datasets.base import hold_out, sample_class_balanced
from kdexplorer.runs.launch import Stopped
from kdexplorer.training.checks import require_enough

EVALUATION_BATCH = 500


def load_run_data(config: RunConfig) -> tuple[Split, Split]:
    """The training images and the evaluation split: the test split, or training images held out while tuning.

    Raises DataError when data are missing, ConfigError for too many images.
    """
    dataset = get_dataset(config.dataset)
    train = dataset.load("train", order=config.image_order)
    if config.holdout:
        held = hold_out(train.labels, config.holdout)
        kept = np.setdiff1d(np.arange(len(train)), held)
        train, evaluation = train.take(kept), train.take(held)
    else:
        evaluation = dataset.load("test")
    if config.without_class is not None:
        train = train.take(np.flatnonzero(train.labels != config.without_class))
    require_enough(config, len(train))
    if config.train_images is not None:
        train = train.take(sample_class_balanced(train.labels, config.train_images, seed=1))  # the same for every seed
    return train, evaluation


def evaluation_batches(
    evaluation: Split, normalization: Normalization, device: torch.device, stopping: threading.Event | None = None
) -> Iterator[tuple[int, int, Tensor]]:
    """Start, end and normalized images `[B, 3, 32, 32]` of each batch of the evaluation split.

    Raises Stopped before a batch once `stopping` is set.
    """
    for start in range(0, len(evaluation), EVALUATION_BATCH):
        if stopping is not None and stopping.is_set():
            raise Stopped
        stop = min(start + EVALUATION_BATCH, len(evaluation))
        yield start, stop, evaluation_inputs(evaluation, start, stop, normalization, device)


def evaluation_inputs(
    evaluation: Split, start: int, stop: int, normalization: Normalization, device: torch.device
) -> Tensor:
    """Normalized images `[B, 3, 32, 32]` of a part of the evaluation split."""
    return normalize(torch.from_numpy(np.array(evaluation.images[start:stop])).to(device), normalization)
