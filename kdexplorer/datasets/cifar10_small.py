"""A bundled subset of CIFAR-10, for training and looking without a download.

`bundled/cifar10-small.parquet` has the hub's columns (`img.bytes`, `img.path`, `label`) and two more, `split` and
`position`. It contains 5,000 class-balanced training images (position: in the training split's order by content, see
`cifar10.content_order`), the first 2,000 test images, and the labels of all 10,000 test images (rows without an image),
so that stored logits match by position. The images are lossless WebP.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. Made, and compared pixel by pixel
with the complete data, by `python -m benchmarks.make_cifar10_small`.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np

from kdexplorer.datasets.base import Dataset, Normalization, Order, Progress, Split, SplitName
from kdexplorer.errors import DataError
from kdexplorer.images.decode import read_pixels

FILE = Path(__file__).parent / "bundled" / "cifar10-small.parquet"
TRAIN_IMAGES, TEST_IMAGES = 5_000, 2_000
SHA256 = "366b0ae5805d90907085723ce349358eb7f7b099c5590cf7b7747b5c2e083a51"
"""Of the file."""


class Cifar10Small(Dataset):
    """The bundled subset as a data set: 5,000 training and 2,000 test images."""

    key, label = "cifar10-small", "5,000 CIFAR-10 images (included)"
    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    normalization = Normalization(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))
    sizes = {"train": TRAIN_IMAGES, "test": TEST_IMAGES}
    first_test_images_of = "cifar10"
    examples = {
        1066: "a truck that resembles an automobile",
        361: "a dog that resembles a cat",
        1374: "a bird against the sky, as airplanes are",
        802: "a deer with antlers, seen against blue",
        696: "a ship on bright water, as airplanes are in the sky",
        540: "an automobile with the front of a truck",
        316: "a horse that stands like a deer",
        806: "a ship that a student without a teacher takes for an airplane",
        946: "an airplane with the outline of a bird",
        553: "a dog with a cat's ears",
        1861: "a cat that resembles a dog",
        1975: "a frog that resembles a cat",
    }
    """Chosen by eye among the bundled test images that ResNet-56 gets right, and where at T = 4 the soft label of its
    student resnet20-response is nearer than that of resnet20-scratch, as are those of the ResNet-50 and ResNet-8 pairs:
    `tests/datasets/test_cifar10_small.py`."""

    def find(self) -> Path | None:
        """The bundled file."""
        return FILE if FILE.is_file() else None

    def load(self, split: SplitName, progress: Progress | None = None, order: Order = "content") -> Split:
        """See `Dataset.load`."""
        images = read_images(split)
        return Split(images, read_labels(split)[: len(images)], self.classes)


@cache
def read_labels(split: SplitName, file: Path = FILE) -> np.ndarray:
    """The labels int64 of the bundled training images, or of the whole test split. Raises DataError."""
    return _read(file)[split][1]


@cache
def read_images(split: SplitName, file: Path = FILE) -> np.ndarray:
    """The bundled images of a split, uint8 `[N, 3, 32, 32]`. Raises DataError."""
    return np.stack([read_pixels(data) for data in _read(file)[split][0]])


@cache
def _read(file: Path) -> dict[str, tuple[list[bytes], np.ndarray]]:
    """Encoded images and labels by split, in the order of their positions; the file's hash is checked."""
    import pyarrow.parquet

    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}): restore it from the repository.") from error
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise DataError(f"{file} is damaged (different SHA-256): restore it from the repository.")
    table = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
    splits, labels = table["split"].to_numpy(), table["label"].to_numpy().astype(np.int64)
    encoded = table["img"].combine_chunks().field("bytes").to_pylist()
    rows = {split: np.flatnonzero(splits == split) for split in ("train", "test")}
    images = {split: [encoded[row] for row in rows[split] if encoded[row] is not None] for split in rows}
    return {split: (images[split], labels[rows[split]]) for split in rows}
