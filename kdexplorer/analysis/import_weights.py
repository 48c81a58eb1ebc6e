"""Makes a checkpoint from weights that were trained elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdexplorer.analysis import metrics
from kdexplorer.analysis.evaluate import predict_split
from kdexplorer.datasets import Normalization
from kdexplorer.datasets.cifar10 import Cifar10
from kdexplorer.errors import CheckpointError
from kdexplorer.networks.cost import count_multiply_adds, count_parameters
from kdexplorer.runs.card import Card, DataFacts
from kdexplorer.runs.checkpoints import Checkpoint, save_checkpoint
from kdexplorer.runs.weights import network_from_state, read_weights, rename_by_shape, to_half_precision
from kdexplorer.schema import is_name

COMMON_NORMALIZATIONS = {
    "CIFAR-10": Cifar10.normalization,
    "CIFAR-10, deviations averaged over images": Normalization(
        mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010)
    ),
    "ImageNet": Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "the range from -1 to 1": Normalization(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
}
"""What public training scripts for CIFAR-10 use, by what its mean and standard deviation are those of."""
TRIED = 2_000
"""The first test images, on which other normalizations are tried."""


def import_checkpoint(
    source: Path, architecture: str, name: str, output: Path, normalization: Normalization, show: bool = False
) -> Checkpoint:
    """Makes the checkpoint folder `output / name` from CIFAR-10 weights and evaluates it on the test split.

    `source` is a PyTorch file (read with `weights_only=True`) or safetensors with a state dict; names that differ from
    this package's are recognized by shape (`rename_by_shape`). `normalization` is that of the channels, as the network
    was trained.

    Raises:
        CheckpointError: when the weights do not fit, or the name is taken.
        DataError: when CIFAR-10 is missing.
    """
    if not is_name(name):
        raise CheckpointError(f"'{name[:60]}' is not a name: use letters, digits and . _ - = +, at most 64.")
    if (output / name).exists():
        raise CheckpointError(f"the name {name} is taken: choose another, or delete {output / name}.")
    dataset, classes = Cifar10(), Cifar10.classes
    state = rename_by_shape(architecture, read_weights(source), len(classes))
    half = to_half_precision(network_from_state(architecture, state, len(classes), where=str(source)))
    network = network_from_state(architecture, half, len(classes), where=f"{source} as float16")
    split = dataset.load("test")
    logits = predict_split(network, split, normalization, name, show)
    card = Card(
        name=name, architecture=architecture, classes=classes, normalization=normalization,
        parameters=count_parameters(network), multiply_adds=count_multiply_adds(architecture, len(classes)),
        data=DataFacts(dataset=dataset.key, evaluation_images=len(split)),
        test_accuracy=metrics.accuracy(logits, split.labels),
        test_cross_entropy=metrics.cross_entropy(logits, split.labels),
    )  # fmt: skip
    return save_checkpoint(output / name, half, card, logits)


@dataclass(frozen=True)
class BetterNormalization:
    """A common normalization with which a network scores higher than with its card's; accuracies on `images` images."""

    name: str
    normalization: Normalization
    images: int
    accuracy: float
    own_accuracy: float


def find_better_normalization(checkpoint: Checkpoint, show: bool = False) -> BetterNormalization | None:
    """The common normalization with the highest accuracy on the first `TRIED` test images; None if it is the card's.

    Weights do not tell how their inputs were normalized. `show` draws a progress bar on stderr.

    Raises:
        KDError: when the weights or CIFAR-10 cannot be read.
    """
    split, network = Cifar10().load("test"), checkpoint.network()
    split, own = split.take(np.arange(min(TRIED, len(split)))), checkpoint.card.normalization
    own_accuracy = metrics.accuracy(checkpoint.logits()[: len(split)], split.labels)
    found = None
    for name, normalization in COMMON_NORMALIZATIONS.items():
        if normalization != own:
            accuracy = metrics.accuracy(predict_split(network, split, normalization, name, show), split.labels)
            if accuracy > (found.accuracy if found else own_accuracy):
                found = BetterNormalization(name, normalization, len(split), accuracy, own_accuracy)
    return found
