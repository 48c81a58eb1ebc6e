"""Cached results: tables, similarities, handouts. What the functions return is shared: never change it."""

from __future__ import annotations

import numpy as np
import streamlit as st

from kdexplorer.analysis import human_agreement, results
from kdexplorer.analysis.human_agreement import AgreementRow, Closeness
from kdexplorer.analysis.tables import ResultRow
from kdexplorer.app import caches, network_picker
from kdexplorer.app.jobs import queue
from kdexplorer.app.shares import Share
from kdexplorer.datasets.cifar10 import Cifar10
from kdexplorer.handout.request import HandoutRequest
from kdexplorer.handout.sources import Sources
from kdexplorer.networks.cost import measure_latency
from kdexplorer.runs.checkpoints import Checkpoint

latency = st.cache_data(max_entries=64, show_spinner=False)(measure_latency)
_closeness = st.cache_data(max_entries=64, show_spinner=False)(human_agreement.closeness)


def evaluation_labels(checkpoint: Checkpoint) -> np.ndarray | None:
    """The labels `[N]` of the images on which a card was computed, or None where they are missing. Raises DataError."""
    labels = results.evaluation_labels(checkpoint)
    return labels if labels is not None and len(labels) == checkpoint.card.data.evaluation_images else None


@st.cache_data(max_entries=32, show_spinner=False, hash_funcs=caches.KEYS)
def result_rows(
    entries: dict[str, Checkpoint],
    labels: np.ndarray | None = None,
    teacher: tuple[str, Checkpoint] | None = None,
    baseline: str | None = None,
    latency: dict[str, float] | None = None,
    human: np.ndarray | None = None,
) -> list[ResultRow]:
    """`results.build_rows` of the stored logits; `entries` were all evaluated on the same images."""
    networks = dict([teacher] if teacher else []) | entries
    logits = {name: caches.evaluation_logits(checkpoint) for name, checkpoint in networks.items()}
    evaluated = results.evaluation_dataset(next(iter(entries.values())))
    if teacher and teacher[0] not in entries and evaluated is not None:  # perhaps evaluated on more images
        logits[teacher[0]] = caches.stored_logits(teacher[1], evaluated.key)
    return results.build_rows(entries, logits, labels, teacher[0] if teacher else None, baseline, latency, human)


def closeness(checkpoint: Checkpoint, human: np.ndarray, index: int | None = None) -> Closeness | None:
    """How close a network is to the annotators' shares `[N, K]`, for one image or (None) for all.

    None without stored logits of CIFAR-10's whole test split.
    """
    logits = caches.stored_logits(checkpoint, Cifar10.key)
    if logits is None:
        return None
    return _closeness(human, logits) if index is None else _closeness(human[index], logits[index])


@st.cache_data(max_entries=32, show_spinner="Comparing with the human labels …", hash_funcs=caches.KEYS)
def agreement_rows(networks: dict[str, Checkpoint], human: np.ndarray) -> list[AgreementRow]:
    """`human_agreement.build_rows` of networks by the name that they are shown under."""
    return human_agreement.build_rows(network_picker.rename(networks), human)


def sources() -> Sources:
    """What a handout is built from, out of these caches. Raises DataError for a file that is not of human labels."""
    return Sources(caches.predict, caches.stored_logits, caches.gallery, caches.human_labels_of(Cifar10.key))


_HANDOUT_KEYS = caches.KEYS | {HandoutRequest: vars, Sources: lambda sources: sources.human_labels}


@st.cache_data(max_entries=4, show_spinner=False, hash_funcs=_HANDOUT_KEYS)
def handout(request: HandoutRequest, sources: Sources, _guest: Share | None = None) -> bytes:
    """`handout.page.build` as a file's bytes, built as a job of this guest. Raises KDError."""
    from kdexplorer.handout import page

    with queue.job(_guest):
        return page.build(request, sources).encode()
