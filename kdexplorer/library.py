"""What `import kdexplorer` offers to scripts and notebooks; docs/library.md shows it at work."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from kdexplorer.analysis import inference, metrics
from kdexplorer.analysis import results as tables
from kdexplorer.analysis.programs import export as export
from kdexplorer.config import RunConfig
from kdexplorer.datasets import get_dataset as get_dataset
from kdexplorer.errors import ConfigError
from kdexplorer.methods import all_methods
from kdexplorer.methods.at import attention_map as attention_map
from kdexplorer.notation import parse_student as parse_student
from kdexplorer.runs.checkpoints import bundled_checkpoints, find_checkpoint
from kdexplorer.runs.launch import create_run
from kdexplorer.runs.run_folder import Run

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from kdexplorer.networks.base import StagedNetwork

_found = {one.key: getattr(sys.modules[one.__module__], f"{one.key}_loss", None) for one in all_methods()}
losses = SimpleNamespace(**{key: function for key, function in _found.items() if function is not None})
"""Each method's arithmetic by its key, a pure function of tensors: `losses.kd(student_logits, teacher_logits, 4.0)`."""


def networks_by_name() -> list[str]:
    """The names of the bundled networks, for `load`."""
    return [checkpoint.name for checkpoint in bundled_checkpoints()]


def load(name: str | Path) -> StagedNetwork:
    """A trained network in eval mode, float32, without gradients; its `card` says classes, normalization and measures.

    It takes normalized images `[B, 3, H, W]` (see `predict` for others) and returns logits `[B, K]`, or with
    `all_outputs=True` also its stages `[B, C, H, W]` and the embedding `[B, D]`.

    Args:
        name: a bundled network's, RUN/STUDENT, or a checkpoint folder, also as a path.

    Raises:
        ConfigError: when there is none.
        CheckpointError: when its weights or its card cannot be trusted.
    """
    checkpoint = find_checkpoint(str(name))
    network = checkpoint.network()
    network.card = checkpoint.card
    return network


def predict(network: StagedNetwork, images: np.ndarray | Tensor) -> np.ndarray:
    """Logits float32 `[B, K]` of a loaded network for images uint8 `[B, 3, H, W]`, 500 at a time.

    The images get the normalization of the network's card. Raises ConfigError for other images, and for a network that
    was not loaded, or is in training mode.
    """
    if network.card is None:
        raise ConfigError("predict needs the normalization of a card: use a network that `load` returned.")
    pixels = np.asarray(images)
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1] != 3:
        shape = list(pixels.shape)
        raise ConfigError(f"predict takes images uint8 [B, 3, H, W] from 0 to 255, not {pixels.dtype} {shape}.")
    if network.training:
        raise ConfigError("predict needs a network in eval mode: call network.eval() before.")
    if not len(pixels):
        return np.empty((0, len(network.card.classes)), np.float32)
    return inference.predict_batches(network, pixels, network.card.normalization)


def soft_labels(logits: np.ndarray | Tensor, temperature: float = 4.0) -> np.ndarray:
    """`softmax(logits / temperature)` along the last axis, float64. Raises ConfigError unless `temperature` > 0."""
    if not temperature > 0:
        raise ConfigError(f"the temperature should be above 0, not {temperature}.")
    return metrics.softmax(np.asarray(logits), temperature)


def train(config: RunConfig, progress: Callable[[int, int], object] | None = None) -> Run:
    """Trains a run in this process and returns its folder.

    Ctrl-C stops it with a KeyboardInterrupt, which names the command that continues it.

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
    if execute(run, report=progress) == "stopped":
        raise KeyboardInterrupt(f"continue with: python -m kdexplorer resume {run.run_id}")
    return run


def results(*names: str | Path | Run) -> pd.DataFrame:
    """A row for each network with the numbers of `runs table --csv`; without names those of the bundled networks.

    Args:
        names: runs, their ids or folders, RUN/STUDENT, or checkpoints' names or folders.

    Raises:
        KDError: when there is none of a name, or two were evaluated on different images.
    """
    import pandas as pd

    texts = [str(name.path if isinstance(name, Run) else name) for name in names]
    return pd.DataFrame(tables.to_records(tables.read_rows(tables.find_entries(texts))))
