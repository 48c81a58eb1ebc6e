"""Cached networks, images and predictions. What the functions return is shared between visitors: never change it.

Every `st.cache_*` wrapper is here or in `result_caches`, and each is bounded. The keys are what determines the result:
`KEYS` says how Streamlit shall identify a checkpoint.
"""

from __future__ import annotations

import contextlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from kdexplorer.analysis import image_filters, results
from kdexplorer.datasets import Split, data_root, get_dataset, human_labels, sampling
from kdexplorer.datasets.cifar10 import Cifar10
from kdexplorer.errors import CheckpointError
from kdexplorer.images.picture import Prediction
from kdexplorer.runs import checkpoints, run_folder
from kdexplorer.runs.checkpoints import Checkpoint
from kdexplorer.runs.records import BatchMetrics, EpochMetrics, LineReader
from kdexplorer.runs.run_folder import Run
from kdexplorer.web.export import export_network

if TYPE_CHECKING:
    from kdexplorer.networks.base import StagedNetwork


def _identify(checkpoint: Checkpoint) -> tuple[str, str, int]:
    """Its folder, the hash of its weights, and when its logits were written."""
    logits = checkpoint.path / checkpoints.LOGITS
    return str(checkpoint.path), checkpoint.sha256, logits.stat().st_mtime_ns if logits.exists() else 0


KEYS: dict[str | type, Any] = {Checkpoint: _identify}

exported = st.cache_data(max_entries=16, show_spinner=False, hash_funcs=KEYS)(export_network)


def all_checkpoints() -> dict[str, Checkpoint]:
    """Bundled networks by name, imported ones as `imported/NAME`, finished students as `RUN/STUDENT`, newest first."""
    found: dict[str, Checkpoint] = {}
    for root, prefix in _roots().items():
        found |= {f"{prefix}{checkpoint.path.name}": checkpoint for checkpoint in checkpoints.list_checkpoints(root)}
    return found | {name: one for name, one in _students().items() if isinstance(one, Checkpoint)}


def unusable_checkpoints() -> dict[str, str]:
    """Why a checkpoint is none of `all_checkpoints`, by the name that it would have."""
    tried = _students()
    for root, prefix in _roots().items():
        tried |= {f"{prefix}{name}": one for name, one in checkpoints.scan_checkpoints(root).items()}
    found = {name: str(one) for name, one in tried.items() if isinstance(one, CheckpointError)}
    for root in (*_roots(), run_folder.runs_root()):  # where the server has its files is not shown
        found = {name: reason.replace(f"{root}/", "") for name, reason in found.items()}
    return found


def _roots() -> dict[Path, str]:
    return {checkpoints.bundled_root(): "", run_folder.imported_root(): "imported/"}


def _students() -> dict[str, Checkpoint | CheckpointError]:
    found = {}
    for run in run_folder.list_runs():
        with contextlib.suppress(FileNotFoundError):  # it may be deleted meanwhile
            for path in _student_folders(str(run.path), run.path.stat().st_mtime_ns):
                found[f"{run.run_id}/{path.name}"] = checkpoints.try_checkpoint(path)
    return found


@lru_cache(maxsize=2048)
def _student_folders(path: str, changed: int) -> list[Path]:
    """The folders of a run's finished students, looked for again when anything in its folder was replaced."""
    return run_folder.finished_students(Run(Path(path)))


@st.cache_resource(max_entries=16, show_spinner="Loading the network …", hash_funcs=KEYS)
def network(checkpoint: Checkpoint) -> StagedNetwork:
    """The network itself. Raises CheckpointError."""
    return checkpoint.network()


def test_split(dataset: str) -> Split | None:
    """The test split, or None while the data are missing. Raises DataError when they are damaged."""
    root = data_root()
    source = get_dataset(dataset).find(root)
    return None if source is None else _split(dataset, str(root), str(source))


@st.cache_resource(max_entries=4, show_spinner="Decoding the images …")
def _split(dataset: str, root: str, source: str) -> Split:
    return get_dataset(dataset).load("test", Path(root))


def gallery(dataset: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The images to choose from: uint8 `[N, 3, 32, 32]`, labels `[N]`, positions in the test split `[N]`.

    The whole test split, or the bundled part of it while the data are missing.
    """
    split = test_split(dataset)
    return get_dataset(dataset).samples() if split is None else (split.images, split.labels, np.arange(len(split)))


def probes(dataset: str, holdout: int) -> tuple[np.ndarray, np.ndarray]:
    """The first images of a run's evaluation split and their labels, see `sampling.load_probes`."""
    return _probes(dataset, holdout, str(get_dataset(dataset).find()))


@st.cache_data(max_entries=8, show_spinner="Loading the images …")
def _probes(dataset: str, holdout: int, source: str) -> tuple[np.ndarray, np.ndarray]:
    return sampling.load_probes(get_dataset(dataset), holdout)


def run_metrics(run: Run) -> tuple[list[EpochMetrics], list[BatchMetrics]]:
    """A run's lines by epoch and within epochs; each line is parsed once for all visitors."""
    by_epoch, within = _line_readers(str(run.path))
    return by_epoch.read(), within.read()


@st.cache_resource(max_entries=16, show_spinner=False)
def _line_readers(path: str) -> tuple[LineReader[EpochMetrics], LineReader[BatchMetrics]]:
    run = Run(Path(path))
    return run.metrics_reader(), run.batches_reader()


def human_labels_of(dataset: str) -> np.ndarray | None:
    """The shares of annotators `[N, K]` for each test image, or None where they are missing.

    Raises DataError when the file contains something else.
    """
    path = human_labels.find_human_labels() if dataset == Cifar10.key else None
    return None if path is None else _human_labels(str(path), path.stat().st_mtime_ns)


@st.cache_data(max_entries=2, show_spinner=False)
def _human_labels(path: str, stamp: int) -> np.ndarray:
    return human_labels.load_human_labels(Path(path))


@st.cache_data(max_entries=512, show_spinner=False, hash_funcs=KEYS)
def predict(checkpoint: Checkpoint, image: np.ndarray) -> Prediction:
    """A network's logits and attention maps for uint8 `[3, 32, 32]`. Raises CheckpointError for untrusted weights."""
    from kdexplorer.analysis import inference

    images, normalization = np.ascontiguousarray(image)[None], checkpoint.card.normalization
    logits, maps = inference.predict_with_attention(network(checkpoint), images, normalization)
    return Prediction(logits[0], {power: [stage[0] for stage in stages] for power, stages in maps.items()})


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs=KEYS)
def evaluation_logits(checkpoint: Checkpoint) -> np.ndarray | None:
    """The stored logits `[N, K]` of the images on which the card was computed, or None where they cannot be read."""
    return checkpoint.logits_or_none()


def stored_logits(checkpoint: Checkpoint, dataset: str) -> np.ndarray | None:
    """The stored logits `[N, K]` where they are those of this data set's whole test split in its order, else None."""
    return results.whole_split_logits(checkpoint, evaluation_logits(checkpoint), dataset)


def image_logits(checkpoint: Checkpoint, pixels: np.ndarray, index: int | None, dataset: str) -> np.ndarray:
    """A network's logits `[K]` for uint8 `[3, 32, 32]`: the stored ones of a test image, else computed.

    Raises KDError.
    """
    logits = stored_logits(checkpoint, dataset) if index is not None else None
    return predict(checkpoint, pixels)[0] if logits is None else logits[index]


def gallery_predictions(
    teacher: Checkpoint, students: list[Checkpoint], dataset: str, indices: np.ndarray, labels: np.ndarray
) -> image_filters.Predictions | None:
    """Stored predictions for test images, for the gallery's filters; None where the teacher's are missing."""

    def stored(checkpoint: Checkpoint) -> np.ndarray | None:
        logits = stored_logits(checkpoint, dataset)
        return None if logits is None else logits[indices]

    known = teacher.classes == get_dataset(dataset).classes
    return image_filters.gather_predictions(teacher, students, stored, labels) if known else None
