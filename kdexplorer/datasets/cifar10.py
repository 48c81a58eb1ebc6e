"""CIFAR-10 with its bundled part, and CIFAR-100 with five classes in each of twenty superclasses.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, as the official archive or Parquet files.
Images are decoded once and kept beside the data as arrays that are memory-mapped. The two sources have the training
images in different orders, but subsets, batches and held-out images are drawn by position. So they are brought into one
order, which their content decides.

The bundled part is for training and looking without a download. `bundled/cifar10-small.parquet` has the hub's columns
(`img.bytes`, `img.path`, `label`) and two more, `split` and `position`. It contains 5,000 class-balanced training
images (position: in the training split's order by content), the first 2,000 test images, and the labels of all 10,000
test images (rows without an image), so that stored logits match by position. The images are lossless WebP. Made, and
compared pixel by pixel with the complete data, by `python -m benchmarks.make_cifar10_small`.

Human labels are CIFAR-10H's: Peterson, Battleday, Griffiths & Russakovsky, "Human uncertainty makes classification more
robust", ICCV 2019: the labels of about 50 annotators for each of the 10,000 test images, in the order of the test
split. The license (CC BY-NC-SA 4.0) differs from this project's, so nothing of it is bundled: its owner says where the
file is.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

import kdexplorer.datasets.base as base
from kdexplorer.datasets.base import Dataset, Normalization, Order, Progress, Split, SplitName, data_root, find_kept
from kdexplorer.errors import DataError
from kdexplorer.files import read_once
from kdexplorer.images.decode import read_pixels

FILE = Path(__file__).parent / "bundled" / "cifar10-small.parquet"
TRAIN_IMAGES, TEST_IMAGES = 5_000, 2_000
SHA256 = "366b0ae5805d90907085723ce349358eb7f7b099c5590cf7b7747b5c2e083a51"
"""Of the file."""

_LOCK = ".download.lock"


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
    `tests/datasets/test_cifar10.py`."""

    def find(self) -> Path | None:
        return FILE if FILE.is_file() else None

    def load(self, split: SplitName, progress: Progress | None = None, order: Order = "content") -> Split:
        images = read_images(split)
        return Split(images, read_labels(split)[: len(images)], self.classes)


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


class Cifar(Dataset):
    """60,000 photographs, as an archive of pickled batches whose MD5 is known, or as Parquet files."""

    can_download = True
    sizes = {"train": 50_000, "test": 10_000}
    archive: str
    """The official archive's file."""
    archive_bytes: int
    folder: str
    """What the archive unpacks to."""
    parquet: str
    """The hub's folder of Parquet files."""
    label_column: str
    """Their column of labels."""
    torchvision: str
    """The class of torchvision that downloads and verifies."""

    @property
    def _download(self) -> str:
        return "python -m kdexplorer data download" + ("" if self.key == Cifar10.key else f" {self.key}")

    def find(self) -> Path | None:
        """The folder or archive under root that will be read, or None."""
        root = data_root()
        parquet = root / self.parquet
        if all(any(parquet.glob(f"{split}-*.parquet")) for split in self.sizes):
            return parquet
        return next((root / name for name in (self.folder, self.archive) if (root / name).exists()), None)

    def load(self, split: SplitName, progress: Progress | None = None, order: Order = "content") -> Split:
        root, source = data_root(), self.find()
        if source is None:
            raise DataError(
                f"{self.label} is missing from {root}. Get it with '{self._download}', or set KDEXPLORER_DATA to the "
                f"folder that holds {self.archive}, {self.folder} or {self.parquet}."
            )
        files = [source] if source.is_file() else sorted(source.iterdir())
        if source.name == self.parquet:
            files = [file for file in files if file.name.startswith(f"{split}-") and file.suffix == ".parquet"]
        facts = ["content order", *((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files)]
        name = f"{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}/{split}"  # other data use no old cache
        if not (find_kept(name) / "labels.npy").exists():
            self._decode(source, split, name, progress)
        cache = find_kept(name)
        try:
            images = np.load(cache / "images.npy", mmap_mode="r")
            labels = np.load(cache / "labels.npy")
            if split == "train" and order == "source":
                source_order = np.load(cache / "source_order.npy")
                images, labels = images[source_order], labels[source_order]
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"the decoded images in {cache} are damaged ({error}): delete that folder.") from error
        return Split(images, labels, self.classes)

    def _decode(self, source: Path, split: SplitName, name: str, progress: Progress | None) -> None:
        read = self._read_parquet if source.name == self.parquet else self._read_archive
        images, labels = read(source, split, progress)
        if images.shape != (self.sizes[split], 3, 32, 32) or set(labels.tolist()) != set(range(len(self.classes))):
            raise DataError(
                f"{source} is not {self.label}: its {split} split has images of shape {images.shape} and "
                f"{len(set(labels.tolist()))} classes. Remove it and run '{self._download}'."
            )
        with base.new_cache(name) as folder:
            if split == "train":
                order = base.content_order(images, labels)
                images, labels = images[order], labels[order]
                np.save(folder / "source_order.npy", np.argsort(order))
            np.save(folder / "images.npy", images)
            np.save(folder / "labels.npy", labels)

    def download(self) -> Path:
        """Fetches the official archive with a progress bar and puts the verified folder under root.

        Everything happens in a temporary folder: after an interruption nothing remains that looks complete. Raises
        DataError when the network or the disk does not allow it, or the checksum is wrong.
        """
        import http.client

        import torchvision.datasets

        root, found = data_root(), self.find()
        if found is not None:
            self.load("test")  # which says what is damaged
            return found
        try:
            root.mkdir(parents=True, exist_ok=True)
            remove_scraps(root)
            with (
                FileLock(root / _LOCK, timeout=0),
                tempfile.TemporaryDirectory(dir=root, prefix=".download-") as temporary,
                contextlib.ExitStack() as afterwards,
            ):
                afterwards.callback(socket.setdefaulttimeout, socket.getdefaulttimeout())
                socket.setdefaulttimeout(60)  # a connection on which nothing arrives for a minute is an OSError
                getattr(torchvision.datasets, self.torchvision)(temporary, download=True)
                os.replace(Path(temporary) / self.folder, root / self.folder)
        except Timeout as error:
            raise DataError(f"another process is already downloading to {root}: wait for it.") from error
        except (OSError, RuntimeError, EOFError, http.client.HTTPException) as error:
            raise DataError(
                f"{self.label} could not be downloaded to {root}: {error}. Check the network and the disk and try "
                f"again, or put {self.archive} there by hand."
            ) from error
        return root / self.folder

    def _read_archive(self, source: Path, split: SplitName, progress: Progress | None) -> tuple[np.ndarray, np.ndarray]:
        """Reads the official batches through torchvision, which checks their MD5 before it opens them."""
        import torchvision.datasets
        from torchvision.datasets.utils import check_integrity

        official = getattr(torchvision.datasets, self.torchvision)
        try:
            if source.is_file():
                if not check_integrity(source, official.tgz_md5):
                    raise ValueError("its MD5 checksum is wrong")
                with tempfile.TemporaryDirectory() as temporary:
                    shutil.unpack_archive(source, temporary)  # its content is known by the checksum
                    dataset = official(temporary, train=split == "train")
            else:
                dataset = official(source.parent, train=split == "train")
        except Exception as error:  # torchvision lets tarfile's, zlib's and pickle's errors through
            raise DataError(
                f"{source} is damaged or not the official {self.label} ({error}). Remove it and run '{self._download}'."
            ) from error
        images = np.ascontiguousarray(dataset.data.transpose(0, 3, 1, 2))
        if progress:
            progress(len(images), len(images))
        return images, np.array(dataset.targets, dtype=np.int64)

    def _read_parquet(self, source: Path, split: SplitName, progress: Progress | None) -> tuple[np.ndarray, np.ndarray]:
        """Decodes the PNGs of the hub's layout (`img.bytes`, and a column of labels)."""
        import pyarrow.parquet

        images, labels = list[np.ndarray](), list[int]()
        try:
            for file in sorted(source.glob(f"{split}-*.parquet")):
                for batch in pyarrow.parquet.ParquetFile(file).iter_batches(1000, columns=["img", self.label_column]):
                    images.append(np.stack([read_pixels(data) for data in batch["img"].field("bytes").to_pylist()]))
                    labels += batch[self.label_column].to_pylist()
                    if progress:
                        progress(len(labels), self.sizes[split])
            return np.concatenate(images), np.array(labels, np.int64)
        except Exception as error:  # Arrow and Pillow each have their own
            raise DataError(
                f"{file} is damaged or not the hub's {self.label} ({type(error).__name__}: {error}). Fetch it again, "
                f"or remove it and run '{self._download}'."
            ) from error


class Cifar10(Cifar):
    """Photographs of ten kinds of things."""

    key, label = "cifar10", "CIFAR-10"
    classes, normalization = Cifar10Small.classes, Cifar10Small.normalization
    archive, archive_bytes, folder = "cifar-10-python.tar.gz", 170_498_071, "cifar-10-batches-py"
    parquet, label_column, torchvision = "plain_text", "label", "CIFAR10"
    substitute = Cifar10Small.key
    examples = Cifar10Small.examples

    def gallery(self) -> Split:
        """The test split, or the bundled images, which are its first."""
        return super().gallery() if self.is_available() else Cifar10Small().load("test")

    def test_labels(self) -> np.ndarray | None:
        """The labels of the test split; the bundled ones where the images are missing."""
        return super().test_labels() if self.is_available() else read_labels("test")

    def human_labels(self) -> np.ndarray | None:
        """See `Dataset.human_labels`."""
        path = find_human_labels()
        return None if path is None else read_once(load_human_labels, path.resolve())


HUMAN_VARIABLE = "KDEXPLORER_CIFAR10H"
HUMAN_FILES = ("cifar10h-counts.npy", "cifar10h-probs.npy")


def find_human_labels() -> Path | None:
    """The file: `KDEXPLORER_CIFAR10H` (a file or its folder, else DataError), or beside CIFAR-10, or None."""
    given, root = os.environ.get(HUMAN_VARIABLE), data_root()
    places = [Path(given).expanduser()] if given else [root, root / "cifar10h", root.resolve().parent / "cifar10h"]
    paths = (path for place in places for path in (place, *(place / name for name in HUMAN_FILES)))
    found = next(filter(Path.is_file, paths), None)
    if given and found is None:
        raise DataError(f"{HUMAN_VARIABLE} is {given}, but {HUMAN_FILES[0]} is not there: correct it.")
    return found


def load_human_labels(path: Path) -> np.ndarray:
    """The shares of annotators who chose each class, float64 `[10000, 10]`, in the order of the test split.

    Raises DataError when the file is not CIFAR-10H, or its rows are not in that order.
    """
    try:
        counts = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as human labels ({error}): download {HUMAN_FILES[0]} again.") from error
    shape = (Cifar10.sizes["test"], len(Cifar10.classes))
    if not isinstance(counts, np.ndarray):
        raise DataError(f"{path} is an archive of several arrays, not human labels: download {HUMAN_FILES[0]}.")
    if counts.shape != shape or counts.dtype.kind not in "iuf":
        raise DataError(f"{path} contains {counts.dtype} of shape {counts.shape}, not human labels {shape}.")
    counts = counts.astype(np.float64)
    totals = counts.sum(axis=1, keepdims=True)
    if not np.isfinite(counts).all() or counts.min() < 0 or totals.min() <= 0:
        raise DataError(f"{path} contains values that are neither counts nor shares: download {HUMAN_FILES[0]} again.")
    labels = Cifar10().test_labels()
    if labels is not None and (counts.argmax(axis=1) == labels).mean() < 0.7:
        raise DataError(f"{path} is not in the order of CIFAR-10's test split: download {HUMAN_FILES[0]} again.")
    shares = counts / totals
    shares.setflags(write=False)  # it is read once for everybody
    return shares


_SUPERCLASSES = {
    "aquatic mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food containers": "bottle bowl can cup plate",
    "fruit and vegetables": "apple mushroom orange pear sweet_pepper",
    "household electrical devices": "clock keyboard lamp telephone television",
    "household furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large carnivores": "bear leopard lion tiger wolf",
    "large man-made outdoor things": "bridge castle house road skyscraper",
    "large natural outdoor scenes": "cloud forest mountain plain sea",
    "large omnivores and herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium mammals": "fox porcupine possum raccoon skunk",
    "non-insect invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles 1": "bicycle bus motorcycle pickup_truck train",
    "vehicles 2": "lawn_mower rocket streetcar tank tractor",
}
_GROUP_OF = {name: group for group, names in _SUPERCLASSES.items() for name in names.split()}


class Cifar100(Cifar):
    """Photographs of a hundred kinds of things, 500 for training and 100 for the test of each."""

    key, label = "cifar100", "CIFAR-100"
    classes = tuple(name.replace("_", " ") for name in sorted(_GROUP_OF))
    groups = tuple(_GROUP_OF[name] for name in sorted(_GROUP_OF))
    normalization = Normalization(mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762))
    archive, archive_bytes, folder = "cifar-100-python.tar.gz", 169_001_437, "cifar-100-python"
    parquet, label_column, torchvision = "cifar100", "fine_label", "CIFAR100"


def remove_scraps(root: Path) -> None:
    """Removes what a killed download has left, unless a process downloads now."""
    with contextlib.suppress(OSError), FileLock(root / _LOCK, timeout=0):  # filelock's Timeout is an OSError
        for folder in root.glob(".download-*/"):
            shutil.rmtree(folder, ignore_errors=True)
