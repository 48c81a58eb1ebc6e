"""CIFAR-10, from the official archive or the hub's Parquet files.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. Images are decoded once and kept beside the
data as arrays that are memory-mapped. The two sources have the training images in different orders, but subsets,
batches and held-out images are drawn by position. So they are brought into one order, which their content decides.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from kdexplorer.datasets.base import Dataset, Order, Progress, Split, SplitName, cache_root, content_order, data_root
from kdexplorer.datasets.cifar10_small import (
    CLASSES,
    NORMALIZATION,
    TEST_IMAGES,
    Cifar10Small,
    read_images,
    read_labels,
)
from kdexplorer.errors import DataError
from kdexplorer.files import new_folder

_FOLDER, _ARCHIVE, _PARQUET = "cifar-10-batches-py", "cifar-10-python.tar.gz", "plain_text"
_LOCK = ".download.lock"
_DOWNLOAD = "python -m kdexplorer data download"


class Cifar10(Dataset):
    """60,000 photographs of ten kinds of things."""

    key, label = "cifar10", "CIFAR-10"
    classes, normalization = CLASSES, NORMALIZATION
    sizes = {"train": 50_000, "test": 10_000}
    can_download = True
    substitute = Cifar10Small.key
    examples = Cifar10Small.examples

    def find(self) -> Path | None:
        """The folder or archive under root that will be read, or None."""
        root = data_root()
        parquet = root / _PARQUET
        if all(any(parquet.glob(f"{split}-*.parquet")) for split in self.sizes):
            return parquet
        return next((root / name for name in (_FOLDER, _ARCHIVE) if (root / name).exists()), None)

    def load(self, split: SplitName, progress: Progress | None = None, order: Order = "content") -> Split:
        """See `Dataset.load`."""
        root, source = data_root(), self.find()
        if source is None:
            raise DataError(
                f"CIFAR-10 is missing from {root}. Get it with '{_DOWNLOAD}', or set KDEXPLORER_DATA to the folder "
                f"that holds {_ARCHIVE}, {_FOLDER} or {_PARQUET}."
            )
        files = [source] if source.is_file() else sorted(source.iterdir())
        if source.name == _PARQUET:
            files = [file for file in files if file.name.startswith(f"{split}-") and file.suffix == ".parquet"]
        cache = _cache_folder(files) / split
        if not (cache / "labels.npy").exists():
            self._decode(source, split, cache, progress)
        try:
            images = np.load(cache / "images.npy", mmap_mode="r")
            labels = np.load(cache / "labels.npy")
            if images.shape != (self.sizes[split], 3, 32, 32) or labels.shape != (self.sizes[split],):
                raise ValueError(f"unexpected shape {images.shape}")
            if split == "train" and order == "source":
                source_order = np.load(cache / "source_order.npy")
                images, labels = images[source_order], labels[source_order]
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"the decoded images in {cache} are damaged ({error}): delete that folder.") from error
        return Split(images, labels, self.classes)

    def _decode(self, source: Path, split: SplitName, cache: Path, progress: Progress | None) -> None:
        """Decodes a split once and writes it to the cache folder."""
        read = _read_parquet if source.name == _PARQUET else _read_archive
        images, labels = read(source, split, self.sizes[split], progress)
        if images.shape != (self.sizes[split], 3, 32, 32) or set(labels.tolist()) != set(range(len(self.classes))):
            raise DataError(
                f"{source} is not CIFAR-10: its {split} split has images of shape {images.shape} and "
                f"{len(set(labels.tolist()))} classes. Remove it and run '{_DOWNLOAD}'."
            )
        with new_folder(cache) as folder:
            if split == "train":
                order = content_order(images, labels)
                images, labels = images[order], labels[order]
                np.save(folder / "source_order.npy", np.argsort(order))
            np.save(folder / "images.npy", images)
            np.save(folder / "labels.npy", labels)

    def download(self) -> Path:
        """Fetches the official archive with a progress bar and puts the verified folder under root.

        Everything happens in a temporary folder: after an interruption nothing remains that looks complete.

        Raises:
            DataError: when the network or the disk does not allow it, or the checksum is wrong.
        """
        import http.client

        from torchvision.datasets import CIFAR10

        root, found = data_root(), self.find()
        if found is not None:
            return found
        try:
            root.mkdir(parents=True, exist_ok=True)
            remove_scraps(root)
            with (
                FileLock(root / _LOCK, timeout=0),
                tempfile.TemporaryDirectory(dir=root, prefix=download_prefix(os.getpid())) as temporary,
                _time_limit(),
            ):
                CIFAR10(temporary, download=True)
                os.replace(Path(temporary) / _FOLDER, root / _FOLDER)
        except Timeout as error:
            raise DataError(f"another process is already downloading CIFAR-10 to {root}: wait for it.") from error
        except (OSError, RuntimeError, EOFError, http.client.HTTPException) as error:
            raise DataError(
                f"CIFAR-10 could not be downloaded to {root}: {error}. Check the network and the disk and try again, "
                f"or put {_ARCHIVE} there by hand."
            ) from error
        return root / _FOLDER

    def samples(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The bundled test images, which are the first of the test split."""
        return read_images("test"), read_labels("test")[:TEST_IMAGES], np.arange(TEST_IMAGES)

    def test_labels(self) -> np.ndarray | None:
        """The labels of the test split; the bundled ones where the images are missing."""
        return super().test_labels() if self.is_available() else read_labels("test")


def download_prefix(pid: int) -> str:
    """How the temporary folder of a downloading process begins."""
    return f".download-{pid}-"


def remove_scraps(root: Path) -> None:
    """Removes what a killed download has left, unless a process downloads now."""
    scraps = list(root.glob(".download-*/"))
    with contextlib.suppress(OSError):  # filelock's Timeout is one
        if scraps:
            with FileLock(root / _LOCK, timeout=0):
                for folder in scraps:
                    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    """A connection on which nothing arrives for a minute is an OSError."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(60)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _cache_folder(files: list[Path]) -> Path:
    """Where decoded images go; the name has the source's sizes and times, so that other data use no old cache."""
    facts = ["content order", *((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files)]
    return cache_root() / hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


# --- The two kinds of files: the official archive of pickled batches, and the hub's Parquet files with PNGs ---


def _read_archive(
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
            f"{source} is damaged or not the official CIFAR-10 ({error}). Remove it and run '{_DOWNLOAD}'."
        ) from error
    images = np.ascontiguousarray(dataset.data.transpose(0, 3, 1, 2))
    if progress:
        progress(len(images), len(images))
    return images, np.array(dataset.targets, dtype=np.int64)


def _read_parquet(
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
            f"remove it and run '{_DOWNLOAD}'."
        ) from error
    if done != count:
        raise DataError(f"{source} holds {done} {split} images instead of {count}: fetch it again.")
    return images, labels
