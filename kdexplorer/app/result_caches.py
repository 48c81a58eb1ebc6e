"""Cached results: tables, similarities, handouts. What the functions return is shared: never change it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import streamlit as st

from kdexplorer.analysis import human_agreement, metrics, results
from kdexplorer.analysis.human_agreement import AgreementRow, Closeness
from kdexplorer.analysis.results import ResultRow
from kdexplorer.app import caches, network_picker
from kdexplorer.datasets import human_labels
from kdexplorer.datasets.cifar10 import Cifar10
from kdexplorer.handout.request import HandoutRequest
from kdexplorer.handout.sources import Sources
from kdexplorer.networks.cost import measure_latency
from kdexplorer.runs import checkpoints
from kdexplorer.runs.checkpoints import Checkpoint


def evaluation_labels(checkpoint: Checkpoint) -> np.ndarray | None:
    """The labels `[N]` of the images on which a card was computed, or None where they are missing. Raises DataError."""
    dataset = results.evaluation_dataset(checkpoint)
    split = caches.test_split(dataset.key) if dataset else None
    return split.labels if split is not None and len(split) == checkpoint.card.data.evaluation_images else None


def result_rows(
    entries: dict[str, Checkpoint],
    teacher: tuple[str, Checkpoint] | None,
    baseline: str | None,
    with_labels: bool,
    latency: dict[str, float],
    human: np.ndarray | None,
) -> list[ResultRow]:
    """`results.build_rows` of the stored logits; `entries` were all evaluated on the same images."""
    keys = tuple((name, str(c.path), c.sha256) for name, c in entries.items())
    name, network = teacher or (None, None)
    source = "" if human is None else str(human_labels.find_human_labels())
    known = tuple(sorted(latency.items()))
    return _result_rows(keys, name, baseline, with_labels, known, source, entries, network, human)


@st.cache_data(max_entries=32, show_spinner=False)
def _result_rows(
    keys: tuple[tuple[str, str, str], ...],
    teacher: str | None,
    baseline: str | None,
    with_labels: bool,
    latency: tuple[tuple[str, float], ...],
    human_source: str,
    _entries: dict[str, Checkpoint],
    _teacher: Checkpoint | None,
    _human: np.ndarray | None,
) -> list[ResultRow]:
    logits = {name: caches.evaluation_logits(checkpoint) for name, checkpoint in _entries.items()}
    if teacher is not None and _teacher is not None:
        logits.setdefault(teacher, caches.evaluation_logits(_teacher))
    labels = evaluation_labels(next(iter(_entries.values()))) if with_labels else None
    return results.build_rows(_entries, logits, labels, teacher, baseline, dict(latency), _human)


@st.cache_data(max_entries=64, show_spinner=False)
def latency(architecture: str) -> float:
    """Seconds for one image on this machine."""
    return measure_latency(architecture)


def class_similarity(
    checkpoint: Checkpoint, teacher: Checkpoint, dataset: str, temperature: float
) -> tuple[np.ndarray, bool] | None:
    """`metrics.class_similarity` of the stored logits, and whether images were grouped by label.

    Without labels, images are grouped by the class that the teacher predicts. None without stored logits.
    """
    logits, split = caches.stored_logits(checkpoint, dataset), caches.test_split(dataset)
    of_teacher = caches.stored_logits(teacher, dataset)
    if logits is None or (of_teacher is None and split is None):
        return None
    groups = split.labels if split is not None else of_teacher.argmax(axis=1)
    groups = np.ascontiguousarray(groups, dtype=np.int64)
    rows = _class_similarity(str(checkpoint.path), checkpoint.sha256, dataset, temperature, groups.tobytes())
    return rows, split is not None


@st.cache_data(max_entries=64, show_spinner=False)
def _class_similarity(folder: str, sha256: str, dataset: str, temperature: float, groups: bytes) -> np.ndarray:
    checkpoint = checkpoints.open_checkpoint(Path(folder))
    labels = np.frombuffer(groups, np.int64)
    return metrics.class_similarity(checkpoint.logits(), labels, temperature, len(checkpoint.classes))


def closeness(checkpoint: Checkpoint, index: int | None = None) -> Closeness | None:
    """How close a network is to the annotators, for an image or (None) the test split; None without stored logits."""
    logits = caches.stored_logits(checkpoint, Cifar10.key)
    if logits is None or checkpoint.classes != Cifar10.classes:
        return None
    of_image = logits if index is None else logits[index]
    source = str(human_labels.find_human_labels())
    return _closeness(str(checkpoint.path), checkpoint.sha256, source, index, of_image)


@st.cache_data(max_entries=64, show_spinner=False)
def _closeness(folder: str, sha256: str, source: str, index: int | None, _logits: np.ndarray) -> Closeness:
    human = caches.human_labels_of(Cifar10.key)
    return human_agreement.closeness(human if index is None else human[index], _logits)


def agreement_rows(networks: dict[str, Checkpoint], human: np.ndarray) -> list[AgreementRow]:
    """`human_agreement.build_rows` of networks by the name that they are shown under."""
    keys = tuple((name, str(c.path), c.sha256) for name, c in networks.items())
    return _agreement_rows(keys, str(human_labels.find_human_labels()), networks, human)


@st.cache_data(max_entries=32, show_spinner="Comparing with the human labels …")
def _agreement_rows(
    keys: tuple[tuple[str, str, str], ...], source: str, _networks: dict[str, Checkpoint], _human: np.ndarray
) -> list[AgreementRow]:
    return human_agreement.build_rows(network_picker.rename(_networks), _human)


def sources() -> Sources:
    """What a handout is built from, out of these caches. Raises DataError for a file that is not of human labels."""
    return Sources(caches.predict, caches.stored_logits, caches.gallery, caches.human_labels_of(Cifar10.key))


def handout(request: HandoutRequest) -> bytes:
    """`handout.page.build` as a file's bytes. Raises KDError."""
    networks = [[(n, str(c.path), c.sha256) for n, c in each.items()] for each in (request.networks, request.compared)]
    pictures = [(p.index, p.label, p.name, p.pixels.tobytes().hex()) for p in request.pictures]
    source = human_labels.find_human_labels()
    key = repr((networks, pictures, request.temperature, request.alpha, request.live, source))
    return _handout(key, request)


@st.cache_data(max_entries=4, show_spinner=False)
def _handout(key: str, _request: HandoutRequest) -> bytes:
    from kdexplorer.handout import page

    return page.build(_request, sources()).encode()
