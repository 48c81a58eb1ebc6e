"""Makes the bundled subset from the complete CIFAR-10, and compares every pixel with it.

KDEXPLORER_DATA=... python -m benchmarks.make_cifar10_small          # compare
KDEXPLORER_DATA=... python -m benchmarks.make_cifar10_small --write  # make the file, then compare
"""

from __future__ import annotations

import argparse
import hashlib
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kdexplorer.datasets.base import sample_class_balanced
from kdexplorer.datasets.cifar10 import FILE, TEST_IMAGES, TRAIN_IMAGES, Cifar10, read_images, read_labels
from kdexplorer.errors import DataError


class Subset(NamedTuple):
    """Images uint8 `[N, 3, 32, 32]` and labels int64; `test_labels` are those of the complete test split."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def select(seed: int = 1) -> tuple[Subset, np.ndarray]:
    """The subset out of the complete data, and the training images' positions. Raises DataError."""
    train, test = Cifar10().load("train"), Cifar10().load("test")
    chosen = sample_class_balanced(train.labels, TRAIN_IMAGES, seed)
    return Subset(train.images[chosen], train.labels[chosen], np.array(test.images[:TEST_IMAGES]), test.labels), chosen


def write(file: Path, subset: Subset, positions: np.ndarray) -> None:
    """Encodes the subset as lossless WebP in one Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet
    from PIL import Image

    def image(pixels: np.ndarray, name: str) -> dict[str, Any]:
        buffer, picture = io.BytesIO(), Image.fromarray(pixels.transpose(1, 2, 0))
        picture.save(buffer, "WEBP", lossless=True, quality=100, method=4, exact=True)
        return {"bytes": buffer.getvalue(), "path": name}

    images: list[dict[str, Any] | None] = [
        image(pixels, f"train/{position:05}.webp")
        for pixels, position in zip(subset.train_images, positions.tolist(), strict=True)
    ]
    images += [image(pixels, f"test/{position:05}.webp") for position, pixels in enumerate(subset.test_images)]
    images += [None] * (len(subset.test_labels) - len(subset.test_images))
    count = len(subset.test_labels)
    table = pa.table(
        {
            "img": pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            "label": pa.array(np.concatenate([subset.train_labels, subset.test_labels]), pa.int64()),
            "split": pa.array(["train"] * len(positions) + ["test"] * count),
            "position": pa.array(np.concatenate([positions, np.arange(count)]), pa.int32()),
        }
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table, file, compression="zstd")


def main() -> None:
    """Writes the file where that is asked for, and compares it with the complete data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="make the file first")
    options = parser.parse_args()
    subset, positions = select()
    if options.write:
        write(FILE, subset, positions)
        print(f"{FILE}: {FILE.stat().st_size / 1e6:.2f} MB; SHA256 = {hashlib.sha256(FILE.read_bytes()).hexdigest()}")
    bundled = Subset(read_images("train"), read_labels("train"), read_images("test"), read_labels("test"))
    for name, expected, found in zip(Subset._fields, subset, bundled, strict=True):
        if not np.array_equal(expected, found):
            raise DataError(f"{name} differs from the complete data.")
    print(
        f"{FILE.name}: every pixel and label is that of the complete data ({len(positions):,} training images, "
        f"{TEST_IMAGES:,} test images, {len(subset.test_labels):,} test labels)"
    )


if __name__ == "__main__":
    main()
