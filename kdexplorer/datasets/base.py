"""What a data set is: its description, and how its splits are found and loaded."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from kdexplorer.errors import DataError
from kdexplorer.files import new_folder
from kdexplorer.images.picture import Picture
from kdexplorer.schema import StrictModel

SplitName = Literal["train", "test"]
Order = Literal["content", "source"]
Progress = Callable[[int, int], None]
"""Called with the number of images done and the total."""

_Channel = Annotated[float, Field(gt=-1e3, lt=1e3)]
_Deviation = Annotated[float, Field(gt=0, lt=1e3)]


class Normalization(StrictModel):
    """Mean and standard deviation of the three channels, of pixel values from 0 to 1."""

    mean: tuple[_Channel, _Channel, _Channel]
    std: tuple[_Deviation, _Deviation, _Deviation]


@dataclass(frozen=True)
class Split:
    """Images `[N, 3, 32, 32]` uint8 in RGB, labels `[N]` int64, and the names of the classes."""

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> Split:
        """The images at these positions, in their order."""
        return Split(self.images[indices], self.labels[indices], self.classes)

    def first(self, count: int) -> Split:
        """So many images from the first on, or all where there are fewer."""
        return self.take(np.arange(min(count, len(self))))


class Dataset:
    """A data set of 32-pixel images with a training and a test split; itself, one that is not installed."""

    key: str
    """The name in configurations, on the command line and in cards."""
    label: str
    """The name in the interface."""
    classes: tuple[str, ...] = ()
    sizes: dict[SplitName, int] = {"train": 0, "test": 0}
    normalization: Normalization
    can_download: bool = False
    first_test_images_of: str | None = None
    """The data set whose test split begins with this one's, so that stored logits match by position."""
    examples: Mapping[int, str] = {}
    """Test images that explain well, by their position, with what each shows; the first is where pages begin."""
    substitute: str | None = None
    """The data set that is used by itself where this one is missing."""
    groups: tuple[str, ...] = ()
    """The superclass of each class; empty where there are none."""
    sha256: str = ""
    """Of pixels and labels, where the name does not say what the images are."""
    remarks: tuple[str, ...] = ()
    """What a user should know of the data before training."""

    def find(self) -> Path | None:
        """What `load` will read, or None where the data are missing."""
        return None

    def load(self, split: SplitName, progress: Progress | None = None, order: Order = "content") -> Split:
        """Loads a split; `progress` is called while images are decoded or drawn.

        The order of the training images is decided by their content, the same for every source; or it is the source's,
        for runs of earlier versions. Raises DataError, which names the path and what to do.
        """
        raise DataError(f"the data set '{self.key}' is not installed.")

    def fingerprint(self) -> str:
        """A hash of the pixels, labels and class names of both splits, in their order."""
        return self.sha256 or hash_splits([self.load("train"), self.load("test")])

    def prepare(self, progress: Progress | None = None) -> None:
        """Makes the data ready to load where they may have changed.

        `progress` is called while images are decoded. Raises DataError, which names the path and what to do.
        """

    def is_available(self) -> bool:
        """Whether the data can be loaded without a download."""
        return self.find() is not None

    def download(self) -> Path:
        """Fetches the data and returns where they are. Raises DataError where that is not possible."""
        raise DataError(f"{self.label} cannot be downloaded.")

    def test_labels(self) -> np.ndarray | None:
        """The labels int64 `[N]` of the whole test split, or None where they are missing. Raises DataError."""
        return self.load("test").labels if self.is_available() else None

    def human_labels(self) -> np.ndarray | None:
        """The shares of annotators who chose each class, `[N, K]`, for the whole test split; None where unknown.

        Raises DataError where their file contains something else.
        """
        return None

    def begins_with(self, other: Dataset) -> bool:
        """Whether its test split begins with the other's: the same images, also where their folder was moved."""
        same = bool(self.sha256 and self.sha256 == other.sha256)
        return same or self.key in (other.key, other.first_test_images_of)

    def superclasses(self, classes: tuple[str, ...]) -> tuple[tuple[str, ...], np.ndarray] | None:
        """The names of the groups and the group of each class `[K]`, where these classes are the data set's."""
        if not self.groups or classes != self.classes:
            return None
        names, members = np.unique(self.groups, return_inverse=True)
        return tuple(names.tolist()), members

    def gallery(self) -> Split:
        """The images to choose from: the test split, of missing data the first that are bundled. Raises DataError."""
        if self.is_available():
            return self.load("test")
        return Split(np.empty((0, 3, 32, 32), np.uint8), np.empty(0, np.int64), self.classes)

    def pictures(self, indices: Sequence[int], classes: tuple[str, ...], gallery: Split | None = None) -> list[Picture]:
        """Test images by their positions in the split, with labels where these classes, a network's, are its own.

        `gallery` is what `gallery()` returns, where it is known. Raises DataError for an image that is missing.
        """
        known = self.gallery() if gallery is None else gallery
        if missing := [index for index in indices if not 0 <= index < len(known)]:
            is_part = self.first_test_images_of or not self.is_available()
            get = ", or get CIFAR-10 with 'python -m kdexplorer data download'" * bool(is_part)
            raise DataError(f"test image {missing[0]} is missing: choose one of the first {len(known):,}{get}.")
        labels = known.labels.tolist() if classes == self.classes else [None] * len(known)
        return [Picture(np.array(known.images[k]), int(k), labels[k], dataset=self.key) for k in indices]


def hash_splits(splits: Sequence[Split]) -> str:
    """The SHA-256 of class names, pixels and labels."""
    digest = hashlib.sha256(repr(tuple(splits[0].classes)).encode())
    for split in splits:
        digest.update(split.images.tobytes())
        digest.update(split.labels.tobytes())
    return digest.hexdigest()


def data_root() -> Path:
    """The folder that holds the data: `KDEXPLORER_DATA`, else `./data`."""
    return Path(os.environ.get("KDEXPLORER_DATA") or "data").expanduser()


def cache_roots() -> tuple[Path, Path]:
    """Where decoded images may be kept: beside the data, and in the user's cache folder."""
    import platformdirs

    return data_root() / ".kdexplorer-cache", platformdirs.user_cache_path("kdexplorer")


def cache_root() -> Path:
    """Where decoded images are written: beside the data, or in the user's cache folder when that is read-only."""
    beside, own = cache_roots()
    place = beside if beside.exists() else beside.parent
    # The mode says what the owner wants; root may write anywhere and should not.
    return beside if os.access(place, os.W_OK) and place.stat().st_mode & 0o222 else own


def find_kept(name: str) -> Path:
    """What is kept under that name, the newest first, or else where it is to be written."""
    kept = [path for root in cache_roots() if (path := root / name).exists()]
    return max(kept, key=lambda path: path.stat().st_mtime_ns, default=cache_root() / name)


@contextlib.contextmanager
def new_cache(name: str) -> Iterator[Path]:
    """A new folder of that name, complete or not there at all. Raises DataError where the disk does not allow it."""
    place = cache_root() / name
    try:
        with new_folder(place) as folder:
            yield folder
    except OSError as error:
        raise DataError(
            f"the decoded images cannot be kept in {place} ({error.strerror}): make a folder above it writable."
        ) from error


def content_order(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The positions of the images in the order of their content: sorted by the SHA-256 of the pixels, then by label.

    It needs nothing but the images, so every source of the same images leads to the same order.
    """
    keys = [hashlib.sha256(image.tobytes()).digest() for image in images]
    return np.array(sorted(range(len(keys)), key=lambda position: (keys[position], labels[position])), dtype=np.int64)


# --- Parts of a training split: class-balanced, held out, and the images that a run is watched on ---


def sample_class_balanced(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Indices of `count` items, the same number of each class as far as that divides, in random order."""
    generator = np.random.default_rng([seed, 0xBA1A])
    by_class = [generator.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    rank = np.concatenate([np.arange(len(indices)) for indices in by_class])
    indices = np.concatenate(by_class)[np.argsort(rank, kind="stable")][:count]
    return generator.permutation(indices)


def hold_out(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices, ascending, of the training images that are never trained on while tuning: the same for every seed."""
    return np.sort(sample_class_balanced(labels, count, seed=0))


def load_evaluation(dataset: Dataset, holdout: int = 0, order: Order = "content") -> Split:
    """What a run's students are evaluated on: the test split, or the training images that it holds out of this order.

    Raises DataError.
    """
    if not holdout:
        return dataset.load("test")
    train = dataset.load("train", order=order)
    return train.take(hold_out(train.labels, holdout))


PROBES = 20
"""Images of the evaluation split whose logits are stored after every epoch, so that one can watch a student learn."""


def load_probes(dataset: Dataset, holdout: int = 0, order: Order = "content") -> tuple[np.ndarray, np.ndarray]:
    """The first images of a run's evaluation split, uint8 `[N, 3, 32, 32]`, and their labels `[N]`.

    Where the data are missing, those of the gallery; of held-out images none.
    """
    is_available = dataset.is_available()
    split = load_evaluation(dataset, holdout, order) if is_available else dataset.gallery()
    count = PROBES if is_available or not holdout else 0
    return np.array(split.images[:count]), split.labels[:count]
