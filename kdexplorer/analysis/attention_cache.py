"""Similarities of attention maps over many images, kept in the user's cache.

There is a file for each pair of networks and part of the images, so after an interruption only the rest is computed.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdexplorer.errors import KDError
from kdexplorer.files import write_bytes
from kdexplorer.runs.checkpoints import Checkpoint

PART = 1_000
"""Images of a file."""

MAPS = "absolute values"
"""What power 1 is the mean of: files of another definition are not read."""

MEASURES = ("cosine", "mse", "correlation", "chance")
"""What is stored of each image and stage: two maps' cosine similarity and the mean squared difference of the normalized
maps, which the loss uses; their centered correlation; and the correlation with the teacher's map of another image."""

_NAMES = [[f"{measure}_{power}" for measure in MEASURES] for power in (1, 2)]
"""The arrays of a file, each `[N, stages]`, in the order of a similarity's first two axes."""


def cache_folder() -> Path:
    """Where the files are."""
    import platformdirs

    return platformdirs.user_cache_path("kdexplorer") / "attention"


def split_images(images: np.ndarray) -> Iterator[tuple[np.ndarray, str]]:
    """`PART` images at a time, each part with its hash."""
    for begin in range(0, len(images), PART):
        part = images[begin : begin + PART]
        yield part, hashlib.sha256(part.tobytes()).hexdigest()


def identify(checkpoint: Checkpoint) -> tuple[str, str]:
    """What determines a network's maps: its weights and the normalization of its input."""
    return checkpoint.sha256, str(checkpoint.card.normalization)


def result_file(teacher: Checkpoint, student: Checkpoint, images: str) -> Path:
    """The file of two networks and a part's hash."""
    facts = repr((MAPS, identify(teacher), identify(student), images))
    return cache_folder() / f"{hashlib.sha256(facts.encode()).hexdigest()[:24]}.npz"


def read_result(path: Path) -> np.ndarray | None:
    """A file's content, see `load_stored`; None where it is missing, damaged, or of an earlier version."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return np.stack([[archive[name] for name in names] for names in _NAMES])
    except Exception:  # zipfile, zlib and NumPy each raise their own; it is computed again
        return None


def write_result(path: Path, similarity: np.ndarray) -> None:
    """Writes a file completely or not at all. Raises KDError."""
    arrays: dict[str, Any] = {name: similarity[i, k] for i, names in enumerate(_NAMES) for k, name in enumerate(names)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, buffer.getvalue())
    except OSError as error:
        reason = f"{path.parent} cannot be written ({error.strerror})"
        raise KDError(f"{reason}: free some space or check its permissions.") from error


def load_stored(
    teacher: Checkpoint, students: Sequence[Checkpoint], images: np.ndarray
) -> dict[Path, np.ndarray | None]:
    """Earlier results for exactly these images by the student's folder; None where one is missing or damaged.

    Each is float32 `[2, 4, N, stages]`: for power 1 and 2, what `MEASURES` lists.
    """
    hashes = [part_hash for _, part_hash in split_images(images)]
    found: dict[Path, np.ndarray | None] = {}
    for student in students:
        parts = [read_result(result_file(teacher, student, part_hash)) for part_hash in hashes]
        known = [part for part in parts if part is not None]
        found[student.path] = np.concatenate(known, axis=2) if known and len(known) == len(parts) else None
    return found
