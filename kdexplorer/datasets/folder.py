"""One's own images as a data set, `folder:PATH`: a folder with a folder of images for each class.

Either `train/CLASS/*` and `test/CLASS/*`, or only `CLASS/*`: then about a fifth of each class, which the files' hashes
decide, is the test split. `prepare` decodes the images once; everything else reads what it kept, which a hash of the
pixels, labels and names identifies. So pictures that were replaced make another data set once they are prepared again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import Field, ValidationError

import kdexplorer.datasets.base as base
from kdexplorer.datasets.base import Dataset, Normalization, Order, Progress, Split, SplitName, find_kept
from kdexplorer.errors import ConfigError, DataError, ImageError
from kdexplorer.files import read_bytes, read_json, read_once, write_json
from kdexplorer.images.decode import SIZE, decode_image
from kdexplorer.schema import StrictModel

PREFIX = "folder:"
MAX_CLASSES, MAX_FILE_BYTES = 1000, 1 << 28
TEST_SHARE = 0.2
"""Of the images of each class, where there is no test folder."""
NEAR = 4.0
"""The root mean square of the differences of 8 x 8 pixels, of 0 to 255, below which two images count as near-copies."""
MAX_LISTED = 20
"""Files that a remark names."""

_SPLITS: tuple[SplitName, ...] = ("train", "test")
Files = dict[SplitName, dict[str, list[Path]]]
"""By split and class; of a folder without splits all are under `train`."""


class Facts(StrictModel):
    """What was kept of a folder."""

    path: str
    listing: str
    """A hash of the files' names, sizes and times."""
    sha256: str
    """Of pixels, labels and class names, whatever the files are called."""
    classes: tuple[str, ...] = Field(min_length=2, max_length=MAX_CLASSES)
    sizes: dict[SplitName, int]
    normalization: Normalization
    remarks: tuple[str, ...]


class ImageFolder(Dataset):
    """A folder of one's own images; without classes until it was prepared."""

    normalization = Normalization(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))

    def __init__(self, key: str) -> None:
        try:
            self.path = Path(key.removeprefix(PREFIX)).expanduser().resolve()
            self.key = f"{PREFIX}{self.path}"
            self._name = f"folders/{hashlib.sha256(self.key.encode()).hexdigest()[:16]}.json"
        except (OSError, RuntimeError, ValueError) as error:  # links in a circle, no such user, not UTF-8
            raise ConfigError(f"'{key[:60]}' names no folder of images ({error}).") from error
        if not key.removeprefix(PREFIX) or len(self.key) > 300:
            raise ConfigError(f"'{key[:60]}' names no folder of images: write {PREFIX}PATH, at most 300 characters.")
        if re.search(r"@\d+$", key) and not self.path.exists():
            raise ConfigError(
                f"'{key[:60]}': images are reduced to {SIZE} × {SIZE} pixels, the size that the networks, the pages "
                f"and Live take. Leave out {key[key.rindex('@') :]}."
            )
        file = find_kept(self._name)
        self._describe(read_once(_read_facts, file) if file.is_file() else None)

    def _describe(self, facts: Facts | None) -> None:
        self.facts = facts
        if facts is not None:
            self.sha256, self.classes, self.sizes = facts.sha256, facts.classes, facts.sizes
            self.remarks, self.normalization = facts.remarks, facts.normalization
        self.label = label_folder(self.key, self.sha256)

    def find(self) -> Path | None:
        """The arrays that were kept of its images, or None before it was prepared."""
        arrays = find_kept(self.sha256[:16])
        return arrays if self.sha256 and arrays.is_dir() else None

    def load(self, split: SplitName, progress: Progress | None = None, order: Order = "content") -> Split:
        """See `Dataset.load`: the images as they were when the folder was prepared, in one order."""
        found = self.find()
        if found is None:
            raise DataError(f"{self.path} was not read yet: run python -m kdexplorer data info {shlex.quote(self.key)}")
        try:
            images = np.load(found / f"{split}-images.npy", mmap_mode="r")
            labels = np.load(found / f"{split}-labels.npy")
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"the decoded images in {found} are damaged ({error}): delete that folder.") from error
        return Split(images, labels, self.classes)

    def prepare(self, progress: Progress | None = None) -> None:
        """Reads the images where the folder has changed. See `Dataset.prepare`."""
        try:
            files = _find_files(self.path)
        except OSError as error:
            raise DataError(f"{self.path} cannot be read ({error}).") from error
        listing = _hash_listing(files)
        if self.facts is None or self.facts.listing != listing or self.find() is None:
            self._describe(self._read(files, listing, progress))

    def _read(self, files: Files, listing: str, progress: Progress | None) -> Facts:
        rows = [(split, name, path) for split, classes in files.items() for name in classes for path in classes[name]]
        found: list[_Image | str] = []
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for one in pool.map(lambda row: _read_image(self.path, *row), rows):
                found.append(one)
                if progress:
                    progress(len(found), len(rows))
        images = [one for one in found if isinstance(one, _Image)]
        unread = [one for one in found if isinstance(one, str)]
        remarks = [_name_some(f"{len(unread):,} of {len(rows):,} files cannot be read and are left out: ", unread)]
        classes = tuple(sorted({name for names in files.values() for name in names}))
        splits, paths = dict[SplitName, Split](), dict[SplitName, list[Path]]()
        for split in _SPLITS:
            chosen = [one for one in images if one.split == split] if "test" in files else _divide(images, split)
            if missing := sorted(set(classes) - {one.name for one in chosen}):
                few = "" if "test" in files else " (a class needs two at least)"
                text = _name_some("", missing)
                raise DataError(f"{self.path}: no image to {split} on of {text}{few}: add some, or remove that folder.")
            splits[split], paths[split] = _stack(chosen, classes)
        remarks.append(_find_near_copies(splits, paths, self.path))
        return self._keep(splits, listing, tuple(filter(None, remarks)))

    def _keep(self, splits: dict[SplitName, Split], listing: str, remarks: tuple[str, ...]) -> Facts:
        digest, pixels = base.hash_splits(list(splits.values())), splits["train"].images
        mean = pixels.mean(axis=(0, 2, 3), dtype=np.float64) / 255
        std = pixels.std(axis=(0, 2, 3), dtype=np.float64) / 255
        facts = Facts.model_validate({
            "path": str(self.path), "listing": listing, "sha256": digest, "classes": splits["train"].classes,
            "sizes": {split: len(one) for split, one in splits.items()}, "remarks": remarks,
            "normalization": {"mean": tuple(mean.round(4)), "std": tuple(std.round(4).clip(0.01))},
        })  # fmt: skip
        with base.new_cache(facts.sha256[:16]) as folder:
            for split, one in splits.items():
                np.save(folder / f"{split}-images.npy", one.images)
                np.save(folder / f"{split}-labels.npy", one.labels)
        file = base.cache_root() / self._name
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, facts.model_dump(mode="json"))
        before = self.find()
        if before is not None and self.sha256 not in {one.sha256 for one in prepared_folders()}:
            shutil.rmtree(before, ignore_errors=True)  # its images were replaced
        return facts


def without_place(key: str) -> str:
    """A data set's key, of a folder with its name alone: where it is on this machine is not for others."""
    return PREFIX + Path(key.removeprefix(PREFIX)).name if key.startswith(PREFIX) else key


def prepared_folders() -> list[ImageFolder]:
    """The folders that were prepared on this machine and are still there, by name."""
    names = {file.name for root in base.cache_roots() for file in (root / "folders").glob("*.json")}
    known = [facts for name in names if (facts := read_once(_read_facts, find_kept(f"folders/{name}"))) is not None]
    found = [ImageFolder(PREFIX + facts.path) for facts in known if os.access(facts.path, os.R_OK)]
    return sorted(found, key=lambda one: (one.label, one.key))


def label_folder(key: str, sha256: str) -> str:
    """The folder's name, with the beginning of the hash, so that other pictures have another label."""
    name = Path(key.removeprefix(PREFIX)).name or key
    return f"{name} ({sha256[:6]})" if sha256 else name


class _Image(NamedTuple):
    split: SplitName
    name: str  # of its class
    path: Path
    digest: bytes
    pixels: np.ndarray  # uint8 `[3, 32, 32]`


def _read_facts(file: Path) -> Facts | None:
    try:
        return Facts.model_validate(read_json(file))
    except ValidationError:
        return None


def _find_files(path: Path) -> Files:
    """The files of each class, in order. Raises DataError."""
    if not path.is_dir():
        raise DataError(f"{path} is not a folder: write {PREFIX}PATH of one with a folder of images for each class.")
    roots = {split: path / split for split in _SPLITS} if (path / "train").is_dir() else {_SPLITS[0]: path}
    if not all(root.is_dir() for root in roots.values()):
        raise DataError(
            f"{path} has a folder train, but no folder test: add it, put the classes into {path.name}, or give a "
            "class of this name another one."
        )
    files: Files = {split: {one.name: _list(one) for one in _list(roots[split]) if one.is_dir()} for split in roots}
    classes = {name for names in files.values() for name in names}
    if undecoded := [name for name in classes if re.search(r"[\ud800-\udfff]", name)]:
        raise DataError(f"{path}: the name of the folder {undecoded[0]!r} is not UTF-8: rename it.")
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise DataError(
            f"{path} has {len(classes):,} folder{'s' if len(classes) != 1 else ''} of images: it needs one for each of "
            f"2 to {MAX_CLASSES:,} classes."
        )
    return files


def _list(folder: Path) -> list[Path]:
    """What is in a folder, sorted, without hidden ones; a folder within a class is one that cannot be read."""
    return sorted(one for one in folder.iterdir() if not one.name.startswith("."))


def _hash_listing(files: Files) -> str:
    digest = hashlib.sha256()
    for path in (path for classes in files.values() for paths in classes.values() for path in paths):
        with contextlib.suppress(OSError):  # a link to nowhere cannot be read, which is said then
            found = path.stat()
            digest.update(repr((str(path), found.st_size, found.st_mtime_ns)).encode())
    return digest.hexdigest()


def _read_image(root: Path, split: SplitName, name: str, path: Path) -> _Image | str:
    """The file, or what it is called in the folder and why it cannot be used."""
    try:
        data = read_bytes(path, MAX_FILE_BYTES, follow_links=True)
        pixels = decode_image(data, limit=MAX_FILE_BYTES).transpose(2, 0, 1)
        return _Image(split, name, path, hashlib.sha256(data).digest(), pixels)
    except (OSError, ImageError) as error:
        why = getattr(error, "strerror", None) or str(error).split(". ")[0].removesuffix(".")
        return f"{path.relative_to(root)} ({why})"


def _divide(images: Sequence[_Image], split: str) -> list[_Image]:
    """The part of the images that belongs to a split: by the hash of each file, and of every class at least one."""
    chosen = []
    for name in {one.name for one in images}:
        own = sorted((one for one in images if one.name == name), key=lambda one: one.digest)
        shares = [int.from_bytes(one.digest[:4], "big") / 2**32 for one in own]
        count = min(max(1, sum(share < TEST_SHARE for share in shares)), len(own) - 1)
        chosen += own[:count] if split == "test" else own[count:]
    return chosen


def _stack(chosen: Sequence[_Image], classes: tuple[str, ...]) -> tuple[Split, list[Path]]:
    """The images of a split and their files, in the order of their content."""
    images = np.stack([one.pixels for one in chosen])
    labels = np.array([classes.index(one.name) for one in chosen], np.int64)
    order = base.content_order(images, labels)
    return Split(images[order], labels[order], classes), [chosen[position].path for position in order]


def _find_near_copies(splits: dict[SplitName, Split], paths: dict[SplitName, list[Path]], root: Path) -> str:
    """A remark on test images that are nearly training images, by the mean of each 4 x 4 pixels; empty without any."""

    def reduce(images: np.ndarray) -> np.ndarray:
        side = SIZE // 8
        small = images.reshape(len(images), 3, 8, side, 8, side).mean(axis=(3, 5), dtype=np.float32)
        return small.reshape(len(images), -1)

    known, test = reduce(splits["train"].images), splits["test"]
    squares, found = (known**2).sum(axis=1), []
    for start in range(0, len(test), 256):
        some = reduce(test.images[start : start + 256])
        distances = (some**2).sum(axis=1)[:, None] + squares - 2 * some @ known.T
        nearest = distances.argmin(axis=1)
        near = np.flatnonzero(distances[np.arange(len(some)), nearest] < NEAR**2 * known.shape[1])
        pairs = ((paths["test"][start + one], paths["train"][nearest[one]]) for one in near)
        found += [f"{one.relative_to(root)} of {other.relative_to(root)}" for one, other in pairs]
    count = f"{len(found):,} of {len(test):,} test images are nearly copies of training images, so the accuracy "
    return _name_some(count + "says too much: ", sorted(found))


def _name_some(text: str, names: Sequence[str]) -> str:
    """The text with the first names; empty without names."""
    more = f", and {len(names) - MAX_LISTED:,} more" if len(names) > MAX_LISTED else ""
    return text + ", ".join(names[:MAX_LISTED]) + more if names else ""
