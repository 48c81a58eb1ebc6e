"""Similarities of attention maps over many images, kept in the user's cache.

There is a file for each pair of networks and part of the images, so after an interruption only the rest is computed.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from kdexplorer.errors import KDError
from kdexplorer.files import write_bytes
from kdexplorer.runs.checkpoints import Checkpoint

PART = 1_000
"""Images of a file."""

Similarity = dict[int, tuple[np.ndarray, np.ndarray]]
"""By power (1, 2): cosine similarity and mean squared difference, each `[N, stages]` float32."""


def cache_folder() -> Path:
    """Where the files are."""
    import platformdirs

    return platformdirs.user_cache_path("kdexplorer") / "attention"


def split_images(images: np.ndarray) -> Iterator[tuple[np.ndarray, str]]:
    """`PART` images at a time, each part with its hash."""
    for begin in range(0, len(images), PART):
        part = np.ascontiguousarray(images[begin : begin + PART])
        yield part, hashlib.sha256(part).hexdigest()


def identify(checkpoint: Checkpoint) -> tuple[str, str]:
    """What determines a network's maps: its weights and the normalization of its input."""
    return checkpoint.sha256, str(checkpoint.card.normalization)


def result_file(teacher: Checkpoint, student: Checkpoint, images: str) -> Path:
    """The file of two networks and a part's hash."""
    facts = repr((identify(teacher), identify(student), images))
    return cache_folder() / f"{hashlib.sha256(facts.encode()).hexdigest()[:24]}.npz"


def read_result(path: Path) -> Similarity | None:
    """A file's content; None where it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {power: (archive[f"cosine_{power}"], archive[f"mse_{power}"]) for power in (1, 2)}
    except Exception:  # zipfile, zlib and NumPy each raise their own; it is computed again
        return None


def write_result(path: Path, similarity: Similarity) -> None:
    """Writes a file completely or not at all. Raises KDError."""
    buffer = io.BytesIO()
    arrays = {f"cosine_{power}": cosine for power, (cosine, _) in similarity.items()}
    np.savez_compressed(buffer, **arrays, **{f"mse_{power}": mse for power, (_, mse) in similarity.items()})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, buffer.getvalue())
    except OSError as error:
        raise KDError(
            f"{path.parent} cannot be written ({error.strerror}): free some space or check its permissions."
        ) from error


def load_stored(
    teacher: Checkpoint, students: Sequence[Checkpoint], images: np.ndarray
) -> dict[Path, Similarity | None]:
    """Earlier results for exactly these images by the student's folder; None where one is missing or damaged."""
    hashes = [part_hash for _, part_hash in split_images(images)]
    return {
        student.path: join_parts([read_result(result_file(teacher, student, part_hash)) for part_hash in hashes])
        for student in students
    }


def join_parts(parts: Sequence[Similarity | None]) -> Similarity | None:
    """The parts of many images in one; None where there is none or one is missing."""
    if not parts or any(part is None for part in parts):
        return None
    return {power: tuple(np.concatenate([part[power][k] for part in parts]) for k in (0, 1)) for power in (1, 2)}
