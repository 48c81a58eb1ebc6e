"""Images and labels: CIFAR-10 from an official archive or the hub's Parquet, and a synthetic set.

A split is uint8 images `[N, 3, 32, 32]` and int64 labels `[N]`, held as NumPy arrays (memory-mapped where
that is possible). Augmentation works on whole batches and derives from (seed, epoch, step) alone, so a run
can start again in the middle of an epoch without replaying what came before.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kdexplorer.errors import DataError
from kdexplorer.files import new_folder

if TYPE_CHECKING:
    import torch

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SYNTHETIC_CLASSES = (
    "disc",
    "ring",
    "square",
    "square frame",
    "triangle",
    "triangle frame",
    "star",
    "star frame",
    "cross",
    "cross frame",
)
NAMES = {"cifar10": "CIFAR-10", "synthetic": "Synthetic shapes"}
CLASSES = {"cifar10": CIFAR10_CLASSES, "synthetic": SYNTHETIC_CLASSES}
NORMALISATION = {
    "cifar10": {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2470, 0.2435, 0.2616]},
    "synthetic": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
}
SIZES = {"train": 50_000, "test": 10_000}
SYNTHETIC_SIZES = {"train": 10_000, "test": 2_000}

Progress = Callable[[int, int], None]
"""Called with what is done and the total."""


@dataclass(frozen=True)
class Split:
    """Images `[N, 3, 32, 32]` uint8 in RGB, labels `[N]` int64, and the names of the classes."""

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> Split:
        return Split(self.images[indices], self.labels[indices], self.classes)


def data_root() -> Path:
    """The folder that holds CIFAR-10: `KDEXPLORER_DATA`, else `./data`."""
    return Path(os.environ.get("KDEXPLORER_DATA") or "data").expanduser()


def load_split(
    dataset: str, split: str, root: Path | None = None, progress: Progress | None = None, seed: int = 0
) -> Split:
    """Loads a split, `train` or `test`.

    Args:
        dataset: `cifar10` or `synthetic`.
        root: where CIFAR-10 lies; `data_root()` if not given.
        progress: called while images are decoded or drawn.
        seed: of the synthetic set.

    Raises:
        DataError: when the data are missing, truncated or foreign; it names the path and what to do.
    """
    if dataset == "synthetic":
        return synthetic(SYNTHETIC_SIZES[split], seed=2 * seed + (split == "test"), progress=progress)
    root = root or data_root()
    source = find_cifar10(root)
    if source is None:
        raise DataError(
            f"CIFAR-10 is not in {root}. Get it with 'python -m kdexplorer data download', or set "
            "KDEXPLORER_DATA to the folder that holds cifar-10-python.tar.gz, cifar-10-batches-py or plain_text."
        )
    files = [source] if source.is_file() else sorted(source.iterdir())
    if source.name == "plain_text":
        files = [file for file in files if file.name.startswith(f"{split}-") and file.suffix == ".parquet"]
    cache = _cache_folder(root, files) / split
    if not (cache / "labels.npy").exists():
        images, labels = (_from_parquet if source.name == "plain_text" else _from_archive)(source, split, progress)
        if images.shape != (SIZES[split], 3, 32, 32) or sorted(set(labels.tolist())) != list(range(10)):
            raise DataError(
                f"{source} is not CIFAR-10: its {split} split has images of shape {images.shape} and "
                f"{len(set(labels.tolist()))} classes. Remove it and run 'python -m kdexplorer data download'."
            )
        with new_folder(cache) as folder:
            np.save(folder / "images.npy", images)
            np.save(folder / "labels.npy", labels)
    try:
        images = np.load(cache / "images.npy", mmap_mode="r")
        labels = np.load(cache / "labels.npy")
        if images.shape != (SIZES[split], 3, 32, 32) or labels.shape != (SIZES[split],):
            raise ValueError(f"unexpected shape {images.shape}")
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"the decoded images in {cache} are damaged ({error}): delete that folder.") from error
    return Split(images, labels, CIFAR10_CLASSES)


def find_cifar10(root: Path) -> Path | None:
    """What of CIFAR-10 lies under root: the folder or archive that will be read, or None."""
    parquet = root / "plain_text"
    if all(any(parquet.glob(f"{split}-*.parquet")) for split in SIZES):
        return parquet
    for name in ("cifar-10-batches-py", "cifar-10-python.tar.gz"):
        if (root / name).exists():
            return root / name
    return None


def download_cifar10(root: Path | None = None) -> Path:
    """Fetches the official archive with a progress bar and puts the verified folder under root.

    Everything happens in a scrap folder: interrupted, nothing stays that looks complete.

    Raises:
        DataError: when the network or the disk does not allow it, or the checksum is wrong.
    """
    import http.client

    from torchvision.datasets import CIFAR10

    root = root or data_root()
    target = root / "cifar-10-batches-py"
    if find_cifar10(root) is not None:
        return find_cifar10(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as scrap:
            CIFAR10(scrap, download=True)
            os.replace(Path(scrap) / target.name, target)
    except (OSError, RuntimeError, EOFError, http.client.HTTPException) as error:
        raise DataError(
            f"CIFAR-10 could not be fetched into {root}: {error}. Check the network and the disk and try again, "
            "or put cifar-10-python.tar.gz there by hand."
        ) from error
    return target


def _from_archive(source: Path, split: str, progress: Progress | None) -> tuple[np.ndarray, np.ndarray]:
    """Reads the official batches through torchvision, which checks their MD5 before it opens them."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    try:
        if source.is_file():
            if not check_integrity(source, CIFAR10.tgz_md5):  # torchvision would fetch it anew, over the user's file
                raise ValueError("its MD5 checksum is wrong")
            with tempfile.TemporaryDirectory() as scrap:
                os.symlink(source.resolve(), Path(scrap) / source.name)
                dataset = CIFAR10(scrap, train=split == "train", download=True)
        else:
            dataset = CIFAR10(source.parent, train=split == "train")
    except Exception as error:  # torchvision lets tarfile's, zlib's and pickle's errors through
        raise DataError(
            f"{source} is damaged or not the official CIFAR-10 ({error}). Remove it and run "
            "'python -m kdexplorer data download'."
        ) from error
    images = np.ascontiguousarray(dataset.data.transpose(0, 3, 1, 2))
    if progress:
        progress(len(images), len(images))
    return images, np.array(dataset.targets, dtype=np.int64)


def _from_parquet(source: Path, split: str, progress: Progress | None) -> tuple[np.ndarray, np.ndarray]:
    """Decodes the PNGs of the hub's layout (`img.bytes`, `label`)."""
    import io

    import pyarrow.parquet
    from PIL import Image

    files = sorted(source.glob(f"{split}-*.parquet"))
    images = np.empty((SIZES[split], 3, 32, 32), dtype=np.uint8)
    labels = np.empty(SIZES[split], dtype=np.int64)
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
                    progress(done, SIZES[split])
    except Exception as error:  # Arrow and Pillow each have their own
        raise DataError(
            f"{file} is damaged or not the hub's CIFAR-10 ({type(error).__name__}: {error}). Fetch it again, or "
            "remove it and run 'python -m kdexplorer data download'."
        ) from error
    if done != SIZES[split]:
        raise DataError(f"{source} holds {done} {split} images instead of {SIZES[split]}: fetch it again.")
    return images, labels


def _cache_folder(root: Path, files: list[Path]) -> Path:
    """Where decoded images go: beside the data, or in the user's cache folder when that is read-only.

    The name carries the source's sizes and times, so that other data never meet an old cache.
    """
    facts = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    key = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    beside = root / ".kdexplorer-cache" / key
    # The mode says what the owner wants; root may write anywhere and should not.
    if beside.exists() or (os.access(root, os.W_OK) and root.stat().st_mode & 0o222):
        return beside
    import platformdirs

    return platformdirs.user_cache_path("kdexplorer") / key


def class_balanced(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Indices of `count` items, the same number of each class as far as that divides, in random order."""
    generator = np.random.default_rng([seed, 0xBA1A])
    by_class = [generator.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    rank = np.concatenate([np.arange(len(indices)) for indices in by_class])
    indices = np.concatenate(by_class)[np.argsort(rank, kind="stable")][:count]
    return generator.permutation(indices)


def held_out(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices, ascending, of the training images that are never trained on while tuning: the same for every seed."""
    return np.sort(class_balanced(labels, count, seed=0))


def probes(dataset: str, holdout: int = 0, count: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """The first images on which a run is measured, whose logits it keeps after every epoch, and their labels.

    Returns:
        Images uint8 `[N, 3, 32, 32]` and labels `[N]`; without CIFAR-10 the samples that a package carries stand in
        for the test split's first images, and N is 0 where there is nothing.
    """
    from kdexplorer.images import sample_images

    if dataset == "cifar10" and find_cifar10(data_root()) is None:
        images, labels, indices = sample_images()
        first = not holdout and np.array_equal(indices[:count], np.arange(min(count, len(indices))))
        return (images[:count], labels[:count]) if first else (images[:0], labels[:0])
    if not holdout:
        split = load_split(dataset, "test")
        return np.array(split.images[:count]), split.labels[:count]
    split = load_split(dataset, "train")
    held = held_out(split.labels, holdout)[:count]
    return np.array(split.images[held]), split.labels[held]


# --- Synthetic: ten drawn shapes in five pairs, a solid one and its frame ---------------------------------


def synthetic(count: int, seed: int = 0, progress: Progress | None = None) -> Split:
    """Draws `count` images of ten classes, deterministic from the seed, the same number of each class.

    A class is a shape (disc, square, triangle, star, cross), solid or as a frame: a frame's hole may be small,
    so a shape and its frame are alike, and discs, squares and stars grow alike with noise. Colour, place, size,
    rotation, contrast, a second shape in the background and pixel noise say nothing about the class.
    """
    parts = []
    generator = np.random.default_rng([seed, 0x5EED])
    labels = generator.permutation(np.arange(count) % 10)
    for start in range(0, count, 1000):
        parts.append(_draw(labels[start : start + 1000], generator))
        if progress:
            progress(min(start + 1000, count), count)
    images = np.concatenate(parts) if parts else np.empty((0, 3, 32, 32), np.uint8)
    return Split(images, labels.astype(np.int64), SYNTHETIC_CLASSES)


def _draw(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    count = len(labels)

    def uniform(low: float, high: float, *shape: int) -> np.ndarray:
        return generator.uniform(low, high, (count, *(shape or (1, 1)))).astype(np.float32)

    ys, xs = np.mgrid[-1:1:32j, -1:1:32j].astype(np.float32)

    def mask(shapes: np.ndarray, holes: np.ndarray, reach: float, small: float, large: float) -> np.ndarray:
        dx, dy = xs - uniform(-reach, reach), ys - uniform(-reach, reach)
        radius = np.hypot(dx, dy) / uniform(small, large)
        angle = np.arctan2(dy, dx) + uniform(-np.pi, np.pi)
        edge = np.select([(shapes == k)[:, None, None] for k in range(5)], [outline(angle) for outline in _OUTLINES])
        solid = 1 / (1 + np.exp(np.clip((radius - edge) * 14, -30, 30)))
        hole = 1 / (1 + np.exp(np.clip((radius - holes * edge) * 14, -30, 30)))
        return solid - np.where(holes > 0, hole, 0)

    holes = np.where((labels % 2 == 1)[:, None, None], uniform(0.35, 0.65), 0)
    shape = mask(labels // 2, holes, 0.3, 0.4, 0.8)[:, None]
    clutter = mask(generator.integers(0, 5, count), uniform(-0.6, 0.6).clip(0), 1.0, 0.15, 0.4)[:, None]
    ground = uniform(0.2, 0.8, 3, 1, 1)
    slope = uniform(-0.2, 0.2) * xs + uniform(-0.2, 0.2) * ys
    colour = ground + generator.choice([-1.0, 1.0], (count, 1, 1, 1)) * uniform(0.08, 0.45, 3, 1, 1)
    image = ground + slope[:, None] + clutter * (uniform(0, 1, 3, 1, 1) - ground) * 0.6
    image = image * (1 - shape) + colour * shape
    image += generator.standard_normal(image.shape, dtype=np.float32) * uniform(0.02, 0.16, 1, 1, 1)
    return (image.clip(0, 1) * 255).round().astype(np.uint8)


def _polygon(corners: int) -> Callable[[np.ndarray], np.ndarray]:
    half = np.pi / corners
    return lambda angle: np.cos(half) / np.cos(np.mod(angle, 2 * half) - half)


_OUTLINES: list[Callable[[np.ndarray], np.ndarray]] = [
    lambda angle: np.full_like(angle, 0.8),
    _polygon(4),
    _polygon(3),
    lambda angle: 0.72 + 0.28 * np.cos(5 * angle),
    lambda angle: np.minimum(1, 0.32 / np.maximum(np.minimum(np.abs(np.cos(angle)), np.abs(np.sin(angle))), 1e-3)),
]
"""Radius as a function of the angle: disc, square, triangle, star, cross."""


# --- Batches ----------------------------------------------------------------------------------------------


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order in which an epoch visits the images: a permutation of `range(count)`."""
    return np.random.default_rng([seed, epoch, 0x0D]).permutation(count)


def augmented(
    images: torch.Tensor,
    indices: np.ndarray,
    seed: int,
    epoch: int,
    step: int,
    padding: int,
    flip: str,
    part: slice = slice(None),
) -> torch.Tensor:
    """A batch after random crop with reflection, and mirroring.

    Args:
        images: `[N, 3, H, W]` uint8, all training images.
        indices: `[B]`, the batch.
        padding: pixels by which the image is reflected on each side before the crop.
        flip: `alternating` (each image either way in turn, the first by lot: Jordan, "94 % on CIFAR-10 in 3.29
            seconds", 2024, section 3.6), `random` or `none`.
        part: which of the batch are wanted; what is drawn for them does not depend on it.

    Returns:
        `[B, 3, H, W]` uint8.
    """
    import torch

    generator = np.random.default_rng([seed, epoch, step, 0xA6])
    batch, height, width = len(indices), images.shape[2], images.shape[3]
    rows = np.tile(np.arange(height), (batch, 1)) + generator.integers(-padding, padding + 1, (batch, 1))
    columns = np.tile(np.arange(width), (batch, 1)) + generator.integers(-padding, padding + 1, (batch, 1))
    rows, columns = _reflect(rows, height), _reflect(columns, width)
    if flip == "alternating":
        first = np.random.default_rng([seed, 0xF1]).integers(0, 2, len(images))
        mirrored = (first[indices] + epoch) % 2 == 1
    else:
        mirrored = generator.integers(0, 2, batch) == 1 if flip == "random" else np.zeros(batch, dtype=bool)
    columns[mirrored] = columns[mirrored, ::-1]
    where = [moved(array[part], images.device) for array in (indices, rows, columns)]
    channels = torch.arange(3, device=images.device)[None, :, None, None]
    return images[where[0][:, None, None, None], channels, where[1][:, None, :, None], where[2][:, None, None, :]]


def scaled(images: torch.Tensor, side: int) -> torch.Tensor:
    """Float images `[B, 3, H, W]` in channels_last to `[B, 3, side, side]`: bilinear, antialiased.

    It is linear and its weights add up to 1, so it may come after `normalise`. At their own size they stay as they are.
    """
    import torch.nn.functional as F

    if images.shape[-1] == side:
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)


def moved(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """An array as a tensor on a device; a copy to a GPU does not wait."""
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _reflect(positions: np.ndarray, size: int) -> np.ndarray:
    positions = np.abs(positions)
    return np.where(positions >= size, 2 * (size - 1) - positions, positions)


def normalise(images: torch.Tensor, normalisation: dict[str, list[float]]) -> torch.Tensor:
    """uint8 `[B, 3, H, W]` to float32 in channels_last: scaled to 0..1, then `(x - mean) / std`."""
    import torch

    mean = torch.tensor(normalisation["mean"], device=images.device).view(1, 3, 1, 1) * 255
    std = torch.tensor(normalisation["std"], device=images.device).view(1, 3, 1, 1) * 255
    return images.contiguous(memory_format=torch.channels_last).float().sub_(mean).div_(std)
