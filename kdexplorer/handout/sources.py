"""Where a handout's predictions and images come from, and which images are worth showing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from kdexplorer.analysis import image_filters
from kdexplorer.analysis.results import dataset_of, whole_split_logits
from kdexplorer.datasets import get_dataset
from kdexplorer.datasets.human_labels import find_human_labels, load_human_labels
from kdexplorer.errors import DataError
from kdexplorer.images.picture import Picture, Prediction
from kdexplorer.runs.checkpoints import Checkpoint

FILTERS = (
    "Only the distilled student is right", "Only the scratch baseline is right", "Most uncertain teacher", "All images",
)  # fmt: skip
"""The filters of `image_filters` that take turns when images are chosen: those that favor distillation and those that
do not."""


@dataclass(frozen=True)
class Sources:
    """Functions that provide predictions and images; the application passes cached ones.

    Attributes:
        predict: `predict(checkpoint, pixels)` of one image uint8 `[3, 32, 32]`.
        stored_logits: `stored_logits(checkpoint, dataset)`: `[N, classes]` of the whole test split, or None.
        gallery: `gallery(dataset)`: images `[N, 3, 32, 32]`, labels `[N]` and positions `[N]` in the test split.
        human_labels: of CIFAR-10's test split, as `load_human_labels` returns them, where they are available.
    """

    predict: Callable[[Checkpoint, np.ndarray], Prediction]
    stored_logits: Callable[[Checkpoint, str], np.ndarray | None]
    gallery: Callable[[str], tuple[np.ndarray, np.ndarray, np.ndarray]]
    human_labels: np.ndarray | None = None


def open_sources() -> Sources:
    """Sources that read each network once and keep it. Raises DataError where the human labels are another file."""
    from kdexplorer.analysis.inference import predict_with_attention

    networks: dict[Path, Any] = {}
    stored: dict[tuple[Path, str], np.ndarray | None] = {}

    def predict(checkpoint: Checkpoint, pixels: np.ndarray) -> Prediction:
        if checkpoint.path not in networks:
            networks[checkpoint.path] = checkpoint.network()
        network = networks[checkpoint.path]
        logits, maps = predict_with_attention(network, pixels[None], checkpoint.card.normalization)
        return Prediction(logits[0], {power: [stage[0] for stage in stages] for power, stages in maps.items()})

    def stored_logits(checkpoint: Checkpoint, dataset: str) -> np.ndarray | None:
        key = checkpoint.path, dataset
        if key not in stored:
            stored[key] = whole_split_logits(checkpoint, checkpoint.logits_or_none(), dataset)
        return stored[key]

    path = find_human_labels()
    human_labels = None if path is None else load_human_labels(path)
    return Sources(predict, stored_logits, lambda dataset: get_dataset(dataset).gallery(), human_labels)


def test_pictures(indices: Sequence[int], teacher: Checkpoint, sources: Sources) -> list[Picture]:
    """Images of a network's test split by index. Raises DataError for one that is missing."""
    dataset = get_dataset(dataset_of(teacher))
    pixels, labels, known = sources.gallery(dataset.key)
    rank = {int(index): place for place, index in enumerate(known)}
    missing = [index for index in indices if index not in rank]
    if missing:
        raise DataError(
            f"test image {missing[0]} is missing: choose from {', '.join(map(str, known[:20]))}"
            f"{', …' if len(known) > 20 else ''}, or get CIFAR-10 with 'python -m kdexplorer data download'."
        )
    return [
        Picture(
            np.array(pixels[rank[i]]), int(i), dataset.label_in(teacher.classes, labels[rank[i]]), dataset=dataset.key
        )
        for i in indices
    ]


def choose_pictures(
    count: int, teacher: Checkpoint, students: Sequence[Checkpoint], sources: Sources, first: Sequence[Picture] = ()
) -> list[Picture]:
    """These pictures first, then up to `count` in all test images that `FILTERS` find, in turns.

    Where the networks' logits are not stored, the first images of the gallery.
    """
    dataset = dataset_of(teacher)
    _, labels, indices = sources.gallery(dataset)

    def stored(checkpoint: Checkpoint) -> np.ndarray | None:
        logits = sources.stored_logits(checkpoint, dataset)
        return None if logits is None else logits[indices]

    same_classes = teacher.classes == get_dataset(dataset).classes
    known = image_filters.gather_predictions(teacher, students, stored, labels) if same_classes else None
    orders = [np.arange(len(labels))]
    if known is not None:
        available = image_filters.available_filters(known)
        orders = [image_filters.filter_images(name, known) for name in FILTERS if name in available]
    turns = (rank for ranks in zip_longest(*(order[:count] for order in orders)) for rank in ranks)
    taken = {picture.index for picture in first}
    found = [int(indices[rank]) for rank in dict.fromkeys(turns) if rank is not None]
    more = [index for index in found if index not in taken][: max(0, count - len(first))]
    return [*first, *test_pictures(more, teacher, sources)]
