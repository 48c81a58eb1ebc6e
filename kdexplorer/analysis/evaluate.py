"""Evaluates networks from their weights: again, once after a choice on held-out images, or imported from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kdexplorer.analysis import metrics
from kdexplorer.analysis.difference import LEVEL, over_images, wilson_interval
from kdexplorer.analysis.inference import predict_batches
from kdexplorer.analysis.results import on_part
from kdexplorer.datasets import Normalization, Split, available_dataset, get_dataset
from kdexplorer.datasets.cifar10 import Cifar10
from kdexplorer.datasets.folder import label_folder
from kdexplorer.errors import CheckpointError, ConfigError, DataError
from kdexplorer.files import write_json
from kdexplorer.networks import build_empty, count_multiply_adds, count_parameters
from kdexplorer.networks.outputs import torch
from kdexplorer.runs import checkpoints
from kdexplorer.runs.card import AfterChoice, Card, DataFacts
from kdexplorer.runs.checkpoints import CARD, Checkpoint, find_checkpoint, network_from_state, save_checkpoint
from kdexplorer.schema import is_name

if TYPE_CHECKING:
    from kdexplorer.networks.base import StagedNetwork

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


@dataclass(frozen=True)
class EvaluationReport:
    """A network's measures on the test split beside those of its card; shares are 0 to 1, cross-entropies in nats."""

    name: str
    images: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float  # Wilson's 95 % interval
    cross_entropy: float
    calibration_error: float
    per_class_accuracy: list[float]
    card_accuracy: float
    card_cross_entropy: float
    matches_card: bool
    """Whether as many images are classified correctly, and the cross-entropies differ by less than 1e-4."""


def evaluate_checkpoint(name: str, show: bool = False) -> EvaluationReport:
    """Evaluates a network (see `find_checkpoint`) on the test split that its card names, in float32.

    Where that is missing, on the images of it that come with the package, whose stored logits stand for the card. Its
    logits are rounded to float16 as they are stored, so that the measures are those that the application computes from
    the stored logits. `show` draws a progress bar on stderr. Raises KDError when the checkpoint or the data cannot be
    used.
    """
    checkpoint = find_checkpoint(name)
    _prepare(checkpoint)
    card, dataset = checkpoint.card, checkpoint.card.evaluation_dataset
    if dataset is None:
        held = card.data.evaluation_split == "holdout"
        instead = f": once its settings are chosen, use --after-choice {name}" if held else ""
        known = "the test split of a known data set"
        raise DataError(f"{name} was not evaluated on {known}, so there is nothing to compare{instead}.")
    part = get_dataset(available_dataset(dataset.key))
    if part.first_test_images_of == dataset.key:
        card = on_part(checkpoint, part).card
        dataset = get_dataset(card.data.dataset)
    split = dataset.load("test")
    logits = predict_split(checkpoint.network(), split, card.normalization, card.name, show)
    accuracy, cross_entropy = metrics.accuracy(logits, split.labels), metrics.cross_entropy(logits, split.labels)
    low, high = wilson_interval(accuracy, len(split))
    return EvaluationReport(
        name=card.name, images=len(split), accuracy=accuracy, accuracy_low=low, accuracy_high=high,
        cross_entropy=cross_entropy,
        calibration_error=metrics.expected_calibration_error(logits, split.labels),
        per_class_accuracy=metrics.per_class_accuracy(logits, split.labels),
        card_accuracy=card.test_accuracy, card_cross_entropy=card.test_cross_entropy,
        matches_card=accuracy == card.test_accuracy and abs(cross_entropy - card.test_cross_entropy) < 1e-4,
    )  # fmt: skip


def _prepare(checkpoint: Checkpoint) -> None:
    """Prepares the data set that the card names. Raises DataError where its images were replaced."""
    card = checkpoint.card.data
    if card.sha256:
        now = get_dataset(card.dataset)
        now.prepare()
        if now.sha256 != card.sha256:
            was = label_folder(card.dataset, card.sha256)
            raise DataError(f"{checkpoint.name} was evaluated on {was}, whose images were replaced since: {now.label}.")


def format_report(report: EvaluationReport) -> str:
    """The report as a sentence."""
    differs = f"DIFFERS FROM ITS CARD: {100 * report.card_accuracy:.2f} % and {report.card_cross_entropy:.4f}"
    return (
        f"{report.name}: accuracy {100 * report.accuracy:.2f} % "
        f"({100 * report.accuracy_low:.2f} – {100 * report.accuracy_high:.2f}, Wilson 95 %, {report.images:,} images), "
        f"cross-entropy {report.cross_entropy:.4f}, calibration error {report.calibration_error:.4f}; "
        + ("agrees with its card" if report.matches_card else differs)
    )


def measure_after_choice(checkpoint: Checkpoint, show: bool = False) -> AfterChoice:
    """Measures a network that was evaluated on held-out images on the test split, and records that in its card.

    The measures are an estimate without selection only if the choice is final, so they are measured once: a card that
    has them is not measured again. Raises KDError when the network was evaluated on the test split, or it or the data
    cannot be used.
    """
    _prepare(checkpoint)
    card, dataset = checkpoint.card, checkpoint.card.known_dataset
    if card.after_choice is not None:
        return card.after_choice
    if dataset is None or card.data.evaluation_split != "holdout":
        raise DataError(
            f"{card.name} was not evaluated on held-out training images of a known data set, so nothing was chosen on "
            "them: leave out --after-choice."
        )
    split = dataset.load("test")
    logits = predict_split(checkpoint.network(), split, card.normalization, card.name, show)
    accuracy, cross_entropy = metrics.accuracy(logits, split.labels), metrics.cross_entropy(logits, split.labels)
    found = AfterChoice(dataset=dataset.key, images=len(split), accuracy=accuracy, cross_entropy=cross_entropy)
    write_json(checkpoint.path / CARD, card.model_copy(update={"after_choice": found}).model_dump(mode="json"))
    return found


def format_after_choice(name: str, found: AfterChoice) -> str:
    """The fresh measurement as a sentence."""
    low, high = wilson_interval(found.accuracy, found.images)
    return (
        f"{name}: measured once after the choice, on {found.images:,} test images: accuracy {100 * found.accuracy:.2f} "
        f"% ({100 * low:.2f} – {100 * high:.2f}, Wilson 95 %), cross-entropy {found.cross_entropy:.4f}"
    )


def predict_split(
    network: StagedNetwork, split: Split, normalization: Normalization, name: str, show: bool
) -> np.ndarray:
    """Logits `[N, classes]` float16, as they are stored. `show` draws a progress bar on stderr."""
    return predict_batches(network, split.images, normalization, title=name if show else "").astype(np.float16)


def import_checkpoint(
    source: Path,
    architecture: str,
    name: str,
    output: Path,
    normalization: Normalization | None = None,
    show: bool = False,
    dataset: str = Cifar10.key,
    classes: Sequence[str] = (),
) -> Checkpoint:
    """Makes the checkpoint folder `output / name` from weights and evaluates it on the test split.

    `source` is a PyTorch file (read with `weights_only=True`) or safetensors with a state dict; names that differ from
    this package's are recognized by shape (`rename_by_shape`). `normalization` is that of the channels, as the network
    was trained (default: the data set's). Where `dataset` is missing, its substitute takes its place. `classes` is the
    network's order of the data set's classes, if it is another one.

    Raises:
        CheckpointError: when the weights do not fit, or the name is taken.
        ConfigError: when the classes are not those of the data set.
        DataError: when the data set is missing and has no substitute.
    """
    if not is_name(name):
        raise CheckpointError(f"'{name[:60]}' is not a name: use letters, digits and . _ - = +, at most 64.")
    if (output / name).exists():
        raise CheckpointError(f"the name {name} is taken: choose another, or delete {output / name}.")
    data = get_dataset(available_dataset(dataset))
    count, normalization = len(data.classes), normalization or data.normalization
    if classes and sorted(classes) != sorted(data.classes):
        raise ConfigError(f"--classes: these are not the {count} classes of {data.label}: {', '.join(data.classes)}.")
    state = rename_by_shape(architecture, checkpoints.read_weights(source), count)
    own, other = (build_empty(architecture, number).state_dict() for number in (count, count + 1))
    head = {key: one.shape for key, one in own.items() if one.shape != other[key].shape}  # has a row for each class
    widths = {shape[1] for shape in head.values() if len(shape) == 2}  # of another number of classes, too
    for tensor in state.values():
        if tensor.dim() == 2 and tensor.shape[1] in widths and tensor.shape[0] != count:
            found = f"{tensor.shape[0]:,} classes, the data have {count:,}"
            raise CheckpointError(f"{source} has {found}: name its data set by --dataset.")
    for key in head if classes else ():
        if key in state:
            state[key] = state[key][[list(classes).index(one) for one in data.classes]]
    half = checkpoints.to_half_precision(network_from_state(architecture, state, count, where=str(source)))
    network = network_from_state(architecture, half, count, where=f"{source} as float16")
    split = data.load("test")
    logits = predict_split(network, split, normalization, name, show)
    card = Card(
        name=name, architecture=architecture, classes=data.classes, normalization=normalization,
        parameters=count_parameters(network), multiply_adds=count_multiply_adds(architecture, count),
        data=DataFacts(dataset=data.key, sha256=data.sha256, evaluation_images=len(split)),
        test_accuracy=metrics.accuracy(logits, split.labels),
        test_cross_entropy=metrics.cross_entropy(logits, split.labels),
    )  # fmt: skip
    return save_checkpoint(output / name, half, card, logits)


def rename_by_shape(architecture: str, state: dict[str, torch.Tensor], classes: int) -> dict[str, torch.Tensor]:
    """The state dict under the names of this package, as far as shapes decide them.

    A name that the architecture does not have stands for the one that is missing where, among both, only these two have
    that shape and that last part: `linear.weight` is `fc.weight`, `layer2.0.shortcut.0.weight` is
    `layer2.0.downsample.0.weight`. All others stay as they are, and `network_from_state` reports them.
    """
    expected = {key: tuple(tensor.shape) for key, tensor in build_empty(architecture, classes).state_dict().items()}
    given = {key: tuple(tensor.shape) for key, tensor in state.items()}
    groups: dict[tuple[str, tuple[int, ...]], tuple[list[str], list[str]]] = {}  # unknown and missing names
    for side, (own, other) in enumerate(((given, expected), (expected, given))):
        for key in own.keys() - other.keys():
            groups.setdefault((key.rpartition(".")[2], own[key]), ([], []))[side].append(key)
    names = {unknown[0]: missing[0] for unknown, missing in groups.values() if len(unknown) == len(missing) == 1}
    return {names.get(key, key): tensor for key, tensor in state.items()}


def find_better_normalization(checkpoint: Checkpoint, show: bool = False) -> str | None:
    """A sentence on the common normalization that scores highest on the first `TRIED` test images; None for its own.

    Weights do not tell how their inputs were normalized. One that is better only by chance (McNemar's p times the
    number of normalizations that were tried is not below 0.05) is not named. `show` draws a progress bar on stderr.
    Raises KDError when the weights or the data cannot be read.
    """
    network, card, dataset = checkpoint.network(), checkpoint.card, checkpoint.card.evaluation_dataset
    if dataset is None:
        return None
    split = dataset.load("test")
    split = split.first(TRIED)
    logits = {card.normalization: checkpoint.logits()[: len(split)]}
    for one in COMMON_NORMALIZATIONS.values():
        if one not in logits:
            logits[one] = predict_split(network, split, one, card.name, show)
    accuracies = {one: metrics.accuracy(found, split.labels) for one, found in logits.items()}
    best = max(accuracies, key=accuracies.__getitem__)
    right = [logits[one].argmax(axis=1) == split.labels for one in (best, card.normalization)]
    gain = over_images(*right)
    if best == card.normalization or (gain.p or 0) * (len(logits) - 1) >= LEVEL:
        return None
    name = next(name for name, one in COMMON_NORMALIZATIONS.items() if one == best)
    mean, std = (" ".join(map(str, values)) for values in best.model_dump().values())
    return (
        f"With the mean and std of {name} it scores higher: {100 * accuracies[best]:.2f} instead of "
        f"{100 * accuracies[card.normalization]:.2f} % of the first {len(split):,} test images. If it was trained with "
        f"that, delete {checkpoint.path} and import it again with --mean {mean} --std {std}"
    )
