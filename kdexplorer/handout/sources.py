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
from kdexplorer.images import color_maps, decode, render
from kdexplorer.runs.checkpoints import Checkpoint

Prediction = tuple[np.ndarray, dict[int, list[np.ndarray]]]
"""Logits `[classes]`, and attention maps `[H, W]` of each stage by power."""

FILTERS = (
    "Only the distilled student is right", "Only the scratch baseline is right", "Most uncertain teacher", "All images",
)  # fmt: skip
"""The filters of `image_filters` that take turns when images are chosen: those that favor distillation and those that
do not."""


@dataclass(frozen=True)
class Picture:
    """A network's input: uint8 `[3, 32, 32]`. A test image has an index and a label, a photo a file name."""

    pixels: np.ndarray
    index: int | None = None
    label: int | None = None
    name: str = ""

    def hard_label(self, teacher: Checkpoint) -> int | None:
        """Its label where that is one of this network's classes."""
        return self.label if teacher.classes == get_dataset(dataset_of(teacher)).classes else None

    def caption(self, teacher: Checkpoint) -> str:
        """What it shows, as plain text; escape it for HTML."""
        if self.index is None:
            return f"{self.name or 'A photo'}, reduced to 32 × 32 pixels; it has no hard label"
        label = self.hard_label(teacher)
        return f"Test image {self.index}" + (f": {teacher.classes[label]}" if label is not None else "")

    def data_url(self) -> str:
        """The 32 x 32 pixels as a data URL."""
        return color_maps.data_url(render.enlarge_png(self.pixels.transpose(1, 2, 0), decode.SIZE))


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
        return logits[0], {power: [stage[0] for stage in stages] for power, stages in maps.items()}

    def stored_logits(checkpoint: Checkpoint, dataset: str) -> np.ndarray | None:
        key = checkpoint.path, dataset
        if key not in stored:
            stored[key] = whole_split_logits(checkpoint, checkpoint.logits_or_none(), dataset)
        return stored[key]

    path = find_human_labels()
    human_labels = None if path is None else load_human_labels(path)
    return Sources(predict, stored_logits, lambda dataset: get_dataset(dataset).gallery(), human_labels)


def test_pictures(indices: Sequence[int], dataset: str, sources: Sources) -> list[Picture]:
    """Images of the test split by index. Raises DataError for one that is missing."""
    pixels, labels, known = sources.gallery(dataset)
    rank = {int(index): place for place, index in enumerate(known)}
    missing = [index for index in indices if index not in rank]
    if missing:
        raise DataError(
            f"test image {missing[0]} is missing: choose from {', '.join(map(str, known[:20]))}"
            f"{', …' if len(known) > 20 else ''}, or get CIFAR-10 with 'python -m kdexplorer data download'."
        )
    return [Picture(np.array(pixels[rank[i]]), int(i), int(labels[rank[i]])) for i in indices]


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
    return [*first, *test_pictures(more, dataset, sources)]
