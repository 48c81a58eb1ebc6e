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
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from kdexplorer.datasets.base import Dataset, Order, Progress, Split, SplitName, data_root
from kdexplorer.datasets.cifar10_files import DOWNLOAD, read_archive, read_parquet
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

DOWNLOAD_SECONDS = 3600.0
"""After so long a download is given up; 170 MB take that long at 50 kB/s."""


class Cifar10(Dataset):
    """60,000 photographs of ten kinds of things."""

    key, label = "cifar10", "CIFAR-10"
    classes, normalization = CLASSES, NORMALIZATION
    sizes = {"train": 50_000, "test": 10_000}
    can_download = True
    substitute = Cifar10Small.key

    def find(self, root: Path | None = None) -> Path | None:
        """The folder or archive under root that will be read, or None."""
        root = root or data_root()
        parquet = root / _PARQUET
        if all(any(parquet.glob(f"{split}-*.parquet")) for split in self.sizes):
            return parquet
        return next((root / name for name in (_FOLDER, _ARCHIVE) if (root / name).exists()), None)

    def load(
        self, split: SplitName, root: Path | None = None, progress: Progress | None = None, order: Order = "content"
    ) -> Split:
        """See `Dataset.load`."""
        root = root or data_root()
        source = self.find(root)
        if source is None:
            raise DataError(
                f"CIFAR-10 is missing from {root}. Get it with '{DOWNLOAD}', or set KDEXPLORER_DATA to the folder "
                f"that holds {_ARCHIVE}, {_FOLDER} or {_PARQUET}."
            )
        files = [source] if source.is_file() else sorted(source.iterdir())
        if source.name == _PARQUET:
            files = [file for file in files if file.name.startswith(f"{split}-") and file.suffix == ".parquet"]
        cache = _cache_folder(root, files) / split
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
        read = read_parquet if source.name == _PARQUET else read_archive
        images, labels = read(source, split, self.sizes[split], progress)
        if images.shape != (self.sizes[split], 3, 32, 32) or set(labels.tolist()) != set(range(len(self.classes))):
            raise DataError(
                f"{source} is not CIFAR-10: its {split} split has images of shape {images.shape} and "
                f"{len(set(labels.tolist()))} classes. Remove it and run '{DOWNLOAD}'."
            )
        with new_folder(cache) as folder:
            if split == "train":
                order = content_order(images, labels)
                images, labels = images[order], labels[order]
                np.save(folder / "source_order.npy", np.argsort(order))
            np.save(folder / "images.npy", images)
            np.save(folder / "labels.npy", labels)

    def download(self, root: Path | None = None) -> Path:
        """Fetches the official archive with a progress bar and puts the verified folder under root.

        Everything happens in a temporary folder: after an interruption nothing remains that looks complete.

        Raises:
            DataError: when the network or the disk does not allow it, or the checksum is wrong.
        """
        import http.client

        from torchvision.datasets import CIFAR10

        root = root or data_root()
        found = self.find(root)
        if found is not None:
            return found
        try:
            root.mkdir(parents=True, exist_ok=True)
            remove_scraps(root)
            with (
                FileLock(root / _LOCK, timeout=0),
                tempfile.TemporaryDirectory(dir=root, prefix=download_prefix(os.getpid())) as temporary,
                _time_limit(DOWNLOAD_SECONDS),
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

    def test_labels(self, root: Path | None = None) -> np.ndarray | None:
        """The labels of the test split; the bundled ones where the images are missing."""
        return super().test_labels(root) if self.is_available(root) else read_labels("test")


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
def _time_limit(seconds: float) -> Iterator[None]:
    """Ends the block with an OSError after so long, and a connection on which nothing arrives for a minute.

    Where there are no alarm signals (Windows, other threads than the main one) only the second holds.
    """

    def stop(*_: object) -> None:
        raise OSError(f"it took longer than {seconds / 60:.0f} minutes")

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(60)
    has_alarm = hasattr(signal, "SIGALRM") and threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGALRM, stop) if has_alarm else None
    if has_alarm:
        signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
        if has_alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)


def content_order(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The positions of the images in the order of their content: sorted by the SHA-256 of the pixels, then by label.

    It needs nothing but the images, so every source of the same images leads to the same order.
    """
    keys = [hashlib.sha256(image.tobytes()).digest() for image in images]
    return np.array(sorted(range(len(keys)), key=lambda position: (keys[position], labels[position])), dtype=np.int64)


def _cache_folder(root: Path, files: list[Path]) -> Path:
    """Where decoded images go: beside the data, or in the user's cache folder when that is read-only.

    The name carries the source's sizes and times, so that other data never use an old cache.
    """
    facts = ["content order", *((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files)]
    key = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    beside = root / ".kdexplorer-cache" / key
    # The mode says what the owner wants; root may write anywhere and should not.
    if beside.exists() or (os.access(root, os.W_OK) and root.stat().st_mode & 0o222):
        return beside
    import platformdirs

    return platformdirs.user_cache_path("kdexplorer") / key
