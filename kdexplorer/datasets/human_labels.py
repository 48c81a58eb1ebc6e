"""Human labels: CIFAR-10H, where it is available.

Peterson, Battleday, Griffiths & Russakovsky, "Human uncertainty makes classification more robust", ICCV 2019:
the labels of about 50 annotators for each of CIFAR-10's 10,000 test images, in the order of the test split. The
license (CC BY-NC-SA 4.0) differs from this project's, so nothing of it is bundled: its owner says where the file is.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np

from kdexplorer.datasets.base import data_root
from kdexplorer.datasets.cifar10 import Cifar10
from kdexplorer.errors import DataError

VARIABLE = "KDEXPLORER_CIFAR10H"
FILES = ("cifar10h-counts.npy", "cifar10h-probs.npy")


def find_human_labels() -> Path | None:
    """The file: `KDEXPLORER_CIFAR10H` (a file or its folder), else beside CIFAR-10, else None."""
    given = os.environ.get(VARIABLE)
    root = data_root()
    places = [Path(given).expanduser()] if given else [root, root / "cifar10h", root.resolve().parent / "cifar10h"]
    paths = (path for place in places for path in (place, *(place / name for name in FILES)))
    return next(filter(Path.is_file, paths), None)


def load_human_labels(path: Path) -> np.ndarray:
    """The shares of annotators who chose each class, float64 `[10000, 10]`, in the order of the test split.

    Raises DataError when the file is not CIFAR-10H, or its rows are not in that order.
    """
    try:
        counts = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as human labels ({error}): download {FILES[0]} again.") from error
    shape = (Cifar10.sizes["test"], len(Cifar10.classes))
    if not isinstance(counts, np.ndarray):
        raise DataError(f"{path} is an archive of several arrays, not human labels: download {FILES[0]}.")
    if counts.shape != shape or counts.dtype.kind not in "iuf":
        raise DataError(f"{path} contains {counts.dtype} of shape {counts.shape}, not human labels {shape}.")
    counts = counts.astype(np.float64)
    totals = counts.sum(axis=1, keepdims=True)
    if not np.isfinite(counts).all() or counts.min() < 0 or totals.min() <= 0:
        raise DataError(f"{path} contains values that are neither counts nor shares: download {FILES[0]} again.")
    labels = Cifar10().test_labels()
    if labels is not None and (counts.argmax(axis=1) == labels).mean() < 0.7:
        raise DataError(f"{path} is not in the order of CIFAR-10's test split: download {FILES[0]} again.")
    return counts / totals
