"""Images, labels and training records, read once for all visitors: never change what these functions return."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import streamlit as st

from kdexplorer.datasets import Split, data_root, get_dataset, human_labels, sampling
from kdexplorer.datasets.cifar10 import Cifar10
from kdexplorer.runs.lines import LineReader
from kdexplorer.runs.records import BatchMetrics, EpochMetrics
from kdexplorer.runs.run_folder import Run


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
