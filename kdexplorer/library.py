"""What `import kdexplorer` offers to scripts and notebooks; docs/library.md shows it at work."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from kdexplorer.analysis import inference, metrics
from kdexplorer.analysis import results as tables
from kdexplorer.analysis.programs import export
from kdexplorer.config import RunConfig
from kdexplorer.datasets import get_dataset
from kdexplorer.errors import ConfigError
from kdexplorer.methods import all_methods
from kdexplorer.methods.at import attention_map
from kdexplorer.notation import parse_student
from kdexplorer.runs.checkpoints import bundled_checkpoints, find_checkpoint
from kdexplorer.runs.launch import create_run
from kdexplorer.runs.run_folder import Run

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from kdexplorer.networks.base import StagedNetwork

__all__ = [
    "RunConfig", "attention_map", "export", "get_dataset", "load", "losses", "networks_by_name", "parse_student",
    "predict", "results", "soft_labels", "train",
]  # fmt: skip

losses = SimpleNamespace(
    **{
        method.key: function
        for method in all_methods()
        if (function := getattr(sys.modules[method.__module__], f"{method.key}_loss", None)) is not None
    }
)
"""Each method's arithmetic by its key, a pure function of tensors: `losses.kd(student_logits, teacher_logits, 4.0)`."""


def networks_by_name() -> list[str]:
    """The names of the bundled networks, for `load`."""
    return [checkpoint.name for checkpoint in bundled_checkpoints()]


def load(name: str) -> StagedNetwork:
    """A trained network in eval mode, float32, without gradients; its `card` says classes, normalization and figures.

    It takes normalized images `[B, 3, H, W]` (see `predict` for others) and returns logits `[B, K]`, or with
    `all_outputs=True` also its stages `[B, C, H, W]` and the embedding `[B, D]`.

    Args:
        name: a bundled network's, RUN/STUDENT, or a checkpoint folder.

    Raises:
        ConfigError: when there is none.
        CheckpointError: when its weights or its card cannot be trusted.
    """
    checkpoint = find_checkpoint(name)
    network = checkpoint.network()
    network.card = checkpoint.card
    return network


def predict(network: StagedNetwork, images: np.ndarray | Tensor) -> np.ndarray:
    """Logits float32 `[B, K]` of a loaded network for images uint8 `[B, 3, H, W]`, 500 at a time.

    The images get the normalization of the network's card. Raises ConfigError for a network that was not loaded.
    """
    if network.card is None:
        raise ConfigError("predict needs the normalization of a card: use a network that `load` returned.")
    if not len(images):
        return np.empty((0, len(network.card.classes)), np.float32)
    return inference.predict_batches(network, np.asarray(images), network.card.normalization)


def soft_labels(logits: np.ndarray | Tensor, temperature: float = 4.0) -> np.ndarray:
    """`softmax(logits / temperature)` along the last axis, float64."""
    return metrics.softmax(np.asarray(logits), temperature)


def train(config: RunConfig, progress: Callable[[int, int], object] | None = None) -> Run:
    """Trains a run in this process and returns its folder; Ctrl-C stops it, and `kdexplorer resume` continues it.

    Args:
        config: `RunConfig(students=[parse_student("resnet8:kd")], teacher="resnet56", …)`.
        progress: called with the steps done and their total, after every step.

    Raises:
        KDError: when it cannot start, or training fails.
    """
    from kdexplorer.training.checks import require_startable
    from kdexplorer.training.train import execute

    require_startable(config)
    run = create_run(config, config.name)
    execute(run, report=progress)
    return run


def results(*names: str | Run) -> pd.DataFrame:
    """A row for each network with the numbers of `runs table --csv`; without names those of the bundled networks.

    Args:
        names: runs, their ids, RUN/STUDENT, or names of checkpoints.

    Raises:
        KDError: when there is none of a name, or two were evaluated on different images.
    """
    import pandas as pd

    texts = [str(name.path) if isinstance(name, Run) else name for name in names]
    return pd.DataFrame(tables.to_records(tables.read_rows(tables.find_entries(texts))))
