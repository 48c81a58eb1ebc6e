"""Cached results: tables, similarities, handouts. What the functions return is shared: never change it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from kdexplorer.analysis import human_agreement, inference, results
from kdexplorer.analysis.human_agreement import AgreementRow, Closeness
from kdexplorer.analysis.inference import Probe
from kdexplorer.analysis.metrics import scale_logits
from kdexplorer.analysis.results import ResultRow
from kdexplorer.analysis.verdicts import describe_kl, describe_push
from kdexplorer.app.parts import network_picker
from kdexplorer.app.server import turns
from kdexplorer.app.state import caches
from kdexplorer.charts.style import FRESH
from kdexplorer.datasets.cifar10 import Cifar10
from kdexplorer.handout.request import HandoutRequest, Sources
from kdexplorer.methods import Method, get_method
from kdexplorer.networks import Outputs, get_architecture
from kdexplorer.networks.cost import measure_latency
from kdexplorer.runs.checkpoints import Checkpoint
from kdexplorer.vote.questions import Question

if TYPE_CHECKING:
    from kdexplorer.images.picture import Picture

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


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs=caches.KEYS)
def scaled_logits(networks: dict[str, Checkpoint], labels: np.ndarray) -> dict[str, np.ndarray]:
    """The stored logits of the networks that have them for all labels, after temperature scaling; by name."""
    logits = {name: caches.evaluation_logits(checkpoint) for name, checkpoint in networks.items()}
    known = {name: own for name, own in logits.items() if own is not None and len(own) == len(labels)}
    return {name: scale_logits(own, labels)[0] for name, own in known.items()}


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs=caches.KEYS)
def temperature_sentences(
    teacher: Checkpoint, students: dict[str, Checkpoint], dataset: str, temperature: float
) -> list[str]:
    """What a temperature changes over the whole test split, for an untrained student and those with stored logits."""
    of_teacher = caches.stored_logits(teacher, dataset)
    if of_teacher is None:
        return []
    stored = {name: caches.stored_logits(student, dataset) for name, student in students.items()}
    known = {name: logits for name, logits in stored.items() if logits is not None}
    fresh = {FRESH: np.zeros_like(of_teacher)}
    return [
        *(describe_kl(name, of_teacher, logits, temperature) for name, logits in known.items()),
        *(describe_push(name, of_teacher, logits, temperature) for name, logits in (fresh | known).items()),
    ]


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


_HANDOUT_KEYS = caches.KEYS | {
    HandoutRequest: vars,
    Question: Question.model_dump_json,
    Sources: lambda sources: sources.human_labels,
}


def handout(request: HandoutRequest, sources: Sources, visitor: turns.Visitor) -> bytes:
    """`handout.page.build` as a file's bytes, built in this visitor's turn. Raises KDError."""
    with turns.compute(visitor):
        return _handout(request, sources)


@st.cache_data(max_entries=4, show_spinner=False, hash_funcs=_HANDOUT_KEYS)
def _handout(request: HandoutRequest, sources: Sources) -> bytes:
    from kdexplorer.handout import page

    return page.build(request, sources).encode()


@st.cache_resource(max_entries=4, show_spinner="Computing the networks' outputs …", hash_funcs=caches.KEYS)
def _outputs(checkpoint: Checkpoint, images: np.ndarray) -> Outputs:
    return inference.compute_outputs(caches.network(checkpoint), images, checkpoint.card.normalization)


def probe_images(picture: Picture, teacher: Checkpoint) -> tuple[np.ndarray, np.ndarray]:
    """The picture and fifteen test images class by class: uint8 `[16, 3, 32, 32]`, and their labels `[16]`.

    A photo gets the class that the teacher predicts.
    """
    pixels, labels, indices = caches.gallery(picture.dataset)
    rank = np.array([(labels[:position] == label).sum() for position, label in enumerate(labels[:400])])
    order = np.lexsort((np.arange(len(rank)), rank))
    others = order[indices[order] != (-1 if picture.index is None else picture.index)][: inference.PROBED - 1]
    others = others[np.argsort(labels[others], kind="stable")]
    label = picture.label if picture.label is not None else int(caches.predict(teacher, picture.pixels)[0].argmax())
    return np.concatenate([picture.pixels[None], pixels[others]]), np.append(label, labels[others])


def probe_method(method: Method, student: Checkpoint, teacher: Checkpoint, picture: Picture) -> Probe:
    """`inference.probe` of sixteen images, see `probe_images`. Raises CheckpointError for untrusted weights."""
    images, labels = probe_images(picture, teacher)
    return _probe(method.settings.model_dump_json(), student, teacher, images, labels)


@st.cache_data(max_entries=128, show_spinner=False, hash_funcs=caches.KEYS)
def _probe(settings: str, student: Checkpoint, teacher: Checkpoint, images: np.ndarray, labels: np.ndarray) -> Probe:
    values = json.loads(settings)
    return inference.probe(
        get_method(values["method"])(**values),
        _outputs(student, images),
        _outputs(teacher, images),
        labels,
        (get_architecture(student.architecture), get_architecture(teacher.architecture)),
    )
