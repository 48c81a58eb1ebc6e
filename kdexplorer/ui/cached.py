"""The only `st.cache_*` wrappers, each bounded. What they return is shared: never change it.

Keys are what decides the result (a checkpoint's folder and hash, an image's bytes), never an object.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from kdexplorer import checkpoints, data, images, inference, metrics, runs, table
from kdexplorer.checkpoints import Checkpoint
from kdexplorer.errors import CheckpointError


def all_checkpoints() -> dict[str, Checkpoint]:
    """Bundled networks by name, then finished students of runs as `RUN/STUDENT`, the newest run first."""
    found = {
        checkpoint.path.name: checkpoint
        for checkpoint in _opened(str(checkpoints.bundled_root()), _stamp(checkpoints.bundled_root()))
    }
    for run in runs.list_runs():
        for path in runs.students(run):
            checkpoint = _open(str(path), (path / checkpoints.CARD).stat().st_mtime_ns)
            if checkpoint is not None:
                found[f"{run.run_id}/{checkpoint.name}"] = checkpoint
    return found


def _stamp(folder: Path) -> int:
    return folder.stat().st_mtime_ns if folder.is_dir() else 0


@st.cache_data(max_entries=4, show_spinner=False)
def _opened(folder: str, stamp: int) -> list[Checkpoint]:
    return checkpoints.listed(Path(folder))


@st.cache_data(max_entries=512, show_spinner=False)
def _open(folder: str, stamp: int) -> Checkpoint | None:
    try:
        return checkpoints.open_checkpoint(Path(folder))
    except CheckpointError:
        return None


@st.cache_resource(max_entries=16, show_spinner="Loading the network …")
def _network(folder: str, sha256: str) -> Any:
    return checkpoints.open_checkpoint(Path(folder)).network()


@st.cache_data(max_entries=512, show_spinner=False)
def _answer(folder: str, sha256: str, pixels: bytes) -> tuple[np.ndarray, dict[int, list[np.ndarray]]]:
    image = np.frombuffer(pixels, dtype=np.uint8).reshape(1, 3, 32, 32)
    card = checkpoints.open_checkpoint(Path(folder)).card
    logits, maps = inference.predict_with_stages(_network(folder, sha256), image, card["normalisation"])
    return logits[0], {power: [stage[0] for stage in stages] for power, stages in maps.items()}


def answer(checkpoint: Checkpoint, image: np.ndarray) -> tuple[np.ndarray, dict[int, list[np.ndarray]]]:
    """A network's logits `[classes]` and attention maps `[H, W]` a stage by power, for uint8 `[3, 32, 32]`.

    Raises CheckpointError when the weights cannot be trusted.
    """
    return _answer(str(checkpoint.path), checkpoint.sha256, np.ascontiguousarray(image).tobytes())


@st.cache_data(max_entries=64, show_spinner=False)
def _test_logits(folder: str, sha256: str, stamp: int) -> np.ndarray:
    return checkpoints.open_checkpoint(Path(folder)).logits()


def test_logits(checkpoint: Checkpoint) -> np.ndarray:
    """The stored logits `[N, classes]` float32 of the split on which the card was measured. Raises CheckpointError."""
    path = checkpoint.path / checkpoints.LOGITS
    stamp = path.stat().st_mtime_ns if path.exists() else 0
    return _test_logits(str(checkpoint.path), checkpoint.sha256, stamp)


@st.cache_resource(max_entries=4, show_spinner="Decoding the images, once …")
def _split(dataset: str, split: str, root: str, source: str) -> data.Split:
    return data.load_split(dataset, split, Path(root))


def test_split(dataset: str = "cifar10") -> data.Split | None:
    """The test split, or None while CIFAR-10 is not there. Raises DataError when it is damaged."""
    root = data.data_root()
    source = data.find_cifar10(root) if dataset == "cifar10" else "drawn"
    return None if source is None else _split(dataset, "test", str(root), str(source))


def gallery() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The images to choose from: uint8 `[N, 3, 32, 32]`, labels `[N]`, indices `[N]` in the test split.

    The whole test split where CIFAR-10 is, else the 20 sample images that a package carries.
    """
    split = test_split()
    if split is None:
        return images.sample_images()
    return split.images, split.labels, np.arange(len(split))


@st.cache_data(max_entries=64, show_spinner=False)
def _summary(
    folder: str, sha256: str, teacher_folder: str | None, teacher_sha256: str | None, root: str
) -> dict[str, Any] | None:
    checkpoint = checkpoints.open_checkpoint(Path(folder))
    labels = table.measured_labels(checkpoint)
    logits = checkpoint.logits()
    if labels is None or len(labels) != len(logits):
        return None
    teacher = checkpoints.open_checkpoint(Path(teacher_folder)).logits() if teacher_folder else None
    return metrics.summary(logits, labels, teacher if teacher is not None and len(teacher) == len(logits) else None)


def summary(checkpoint: Checkpoint, teacher: Checkpoint | None = None) -> dict[str, Any] | None:
    """`metrics.summary` of the stored logits; None where the labels are not at hand. Raises CheckpointError."""
    pair = (str(teacher.path), teacher.sha256) if teacher else (None, None)
    return _summary(
        str(checkpoint.path), checkpoint.sha256, *pair, f"{data.data_root()} {data.find_cifar10(data.data_root())}"
    )


@st.cache_data(max_entries=64, show_spinner=False)
def cost(architecture: str) -> dict[str, float]:
    """Multiply-adds of one image, and seconds for one image and for a batch of 100, on this machine."""
    return {
        "multiply_adds": metrics.multiply_adds(architecture),
        "latency": metrics.latency(architecture, 1),
        "latency_100": metrics.latency(architecture, 100, repetitions=10),
    }
