"""CIFAR-10's two kinds of files: the official archive of pickled batches, and the hub's Parquet files with PNGs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from kdexplorer.datasets.base import Progress, SplitName
from kdexplorer.errors import DataError

DOWNLOAD = "python -m kdexplorer data download"


def read_archive(
    source: Path, split: SplitName, count: int, progress: Progress | None
) -> tuple[np.ndarray, np.ndarray]:
    """Reads the official batches through torchvision, which checks their MD5 before it opens them."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    try:
        if source.is_file():
            if not check_integrity(source, CIFAR10.tgz_md5):  # torchvision would overwrite the user's file
                raise ValueError("its MD5 checksum is wrong")
            with tempfile.TemporaryDirectory() as temporary:
                os.symlink(source.resolve(), Path(temporary) / source.name)
                dataset = CIFAR10(temporary, train=split == "train", download=True)
        else:
            dataset = CIFAR10(source.parent, train=split == "train")
    except Exception as error:  # torchvision lets tarfile's, zlib's and pickle's errors through
        raise DataError(
            f"{source} is damaged or not the official CIFAR-10 ({error}). Remove it and run '{DOWNLOAD}'."
        ) from error
    images = np.ascontiguousarray(dataset.data.transpose(0, 3, 1, 2))
    if progress:
        progress(len(images), len(images))
    return images, np.array(dataset.targets, dtype=np.int64)


def read_parquet(
    source: Path, split: SplitName, count: int, progress: Progress | None
) -> tuple[np.ndarray, np.ndarray]:
    """Decodes the PNGs of the hub's layout (`img.bytes`, `label`)."""
    import io

    import pyarrow.parquet
    from PIL import Image

    files = sorted(source.glob(f"{split}-*.parquet"))
    images = np.empty((count, 3, 32, 32), dtype=np.uint8)
    labels = np.empty(count, dtype=np.int64)
    done = 0
    try:
        for file in files:
            for batch in pyarrow.parquet.ParquetFile(file).iter_batches(1000, columns=["img", "label"]):
                for row, label in zip(batch["img"].field("bytes"), batch["label"], strict=True):
                    with Image.open(io.BytesIO(row.as_py()), formats=["PNG"]) as image:
                        if image.size != (32, 32):
                            raise ValueError(f"image {done} has {image.width} x {image.height} pixels")
                        images[done] = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
                    labels[done] = label.as_py()
                    done += 1
                if progress:
                    progress(done, count)
    except Exception as error:  # Arrow and Pillow each have their own
        raise DataError(
            f"{file} is damaged or not the hub's CIFAR-10 ({type(error).__name__}: {error}). Fetch it again, or "
            f"remove it and run '{DOWNLOAD}'."
        ) from error
    if done != count:
        raise DataError(f"{source} holds {done} {split} images instead of {count}: fetch it again.")
    return images, labels
