"""What a handout is made from: networks' answers to pictures, and which pictures are worth taking home."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from kdexplorer import comparison, data, drawing, gallery, images, people
from kdexplorer.checkpoints import Checkpoint

Answer = tuple[np.ndarray, dict[int, list[np.ndarray]]]
"""Logits `[classes]`, and attention maps `[H, W]` a stage by power."""

FILTERS = ("Distillation fixed it", "Most uncertain teacher", "All images")
"""The gallery's filters that a choice of pictures takes turns with."""


@dataclass(frozen=True)
class Picture:
    """What the networks are shown: uint8 `[3, 32, 32]`; a test image has an index and a label, a photo a file name."""

    pixels: np.ndarray
    index: int | None = None
    label: int | None = None
    name: str = ""

    def hard_label(self, teacher: Checkpoint) -> int | None:
        """Its label where that is one of this network's classes."""
        return self.label if teacher.classes == data.CLASSES[comparison.dataset_of(teacher)] else None

    def caption(self, teacher: Checkpoint) -> str:
        """What it is: plain text, to be escaped where it is shown."""
        if self.index is None:
            return f"{self.name or 'A photo'} as the networks see it: it has no hard label"
        label = self.hard_label(teacher)
        return f"Test image {self.index}" + (f": {teacher.classes[label]}" if label is not None else "")

    def address(self) -> str:
        """The 32 x 32 pixels as a data address."""
        return drawing.data_url(images.enlarged_png(self.pixels.transpose(1, 2, 0), images.SIZE))


@dataclass(frozen=True)
class Sources:
    """Where answers and images come from; the pages give their cached ones.

    `answer(checkpoint, pixels)`; `stored(checkpoint, dataset)`: the logits `[N, classes]` of the whole test split, or
    None; `gallery(dataset)`: images `[N, 3, 32, 32]`, labels `[N]` and indices `[N]` in the test split; `people`: what
    people answered to CIFAR-10's test split, as `people.load` gives it, where it is at hand.
    """

    answer: Callable[[Checkpoint, np.ndarray], Answer]
    stored: Callable[[Checkpoint, str], np.ndarray | None]
    gallery: Callable[[str], tuple[np.ndarray, np.ndarray, np.ndarray]]
    people: np.ndarray | None = None

    def answer_to(self, checkpoint: Checkpoint, picture: Picture, dataset: str) -> Answer:
        """As `answer`, with the stored logits of a test image where they are at hand. Raises KDError."""
        logits, maps = self.answer(checkpoint, picture.pixels)
        stored = self.stored(checkpoint, dataset) if picture.index is not None else None
        return (logits if stored is None else stored[picture.index]), maps


def from_disk() -> Sources:
    """Sources that read each network once and keep it. Raises DataError where people's answers are a foreign file."""
    from kdexplorer import inference

    networks: dict[Path, Any] = {}

    def answer(checkpoint: Checkpoint, pixels: np.ndarray) -> Answer:
        if checkpoint.path not in networks:
            networks[checkpoint.path] = checkpoint.network()
        normalisation = checkpoint.card["normalisation"]
        logits, maps = inference.predict_with_stages(networks[checkpoint.path], pixels[None], normalisation)
        return logits[0], {power: [stage[0] for stage in stages] for power, stages in maps.items()}

    def stored(checkpoint: Checkpoint, dataset: str) -> np.ndarray | None:
        return comparison.on_whole_split(checkpoint, comparison.stored_logits(checkpoint), dataset)

    def everything(dataset: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if dataset == "cifar10" and data.find_cifar10(data.data_root()) is None:
            return images.sample_images()
        split = data.load_split(dataset, "test")
        return split.images, split.labels, np.arange(len(split))

    answers = people.find()
    return Sources(answer, stored, everything, None if answers is None else people.load(answers))


def test_pictures(indices: Sequence[int], dataset: str, sources: Sources) -> list[Picture]:
    """Images of the test split by index. Raises DataError for one that is not here."""
    pixels, labels, known = sources.gallery(dataset)
    rank = {int(index): place for place, index in enumerate(known)}
    missing = [index for index in indices if index not in rank]
    if missing:
        raise data.DataError(
            f"there is no test image {missing[0]} here: choose from {', '.join(map(str, known[:20]))}"
            f"{', …' if len(known) > 20 else ''}, or get CIFAR-10 with 'python -m kdexplorer data download'."
        )
    return [Picture(np.array(pixels[rank[i]]), int(i), int(labels[rank[i]])) for i in indices]


def choose(
    count: int,
    teacher: Checkpoint,
    students: Sequence[Checkpoint],
    sources: Sources,
    first: Sequence[Picture] = (),
) -> list[Picture]:
    """These pictures first, then up to `count` in all test images that have something to tell: `FILTERS`, in turns.

    Where the networks' stored answers are not at hand, the first of the gallery.
    """
    dataset = comparison.dataset_of(teacher)
    _, labels, indices = sources.gallery(dataset)

    def stored(checkpoint: Checkpoint) -> np.ndarray | None:
        logits = sources.stored(checkpoint, dataset)
        return None if logits is None else logits[indices]

    own = teacher.classes == data.CLASSES[dataset]
    known = gallery.answers(teacher, students, stored, labels) if own else None
    names = [name for name in FILTERS if known and name in gallery.available(known)]
    order = [gallery.positions(name, known) for name in names] or [range(len(labels))]
    turns = (rank for ranks in zip_longest(*(each[:count] for each in order)) for rank in ranks)
    taken = {picture.index for picture in first}
    found = [int(indices[rank]) for rank in dict.fromkeys(turns) if rank is not None]
    more = [index for index in found if index not in taken][: max(0, count - len(first))]
    return [*first, *test_pictures(more, dataset, sources)]
