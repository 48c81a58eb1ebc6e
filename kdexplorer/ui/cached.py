"""The only `st.cache_*` wrappers, each bounded. What they return is shared: never change it.

Keys are what decides the result (a checkpoint's folder and hash, an image's bytes), never an object.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from kdexplorer import checkpoints, comparison, data, images, inference, metrics, people, runs, table
from kdexplorer.checkpoints import Checkpoint
from kdexplorer.errors import CheckpointError
from kdexplorer.gallery import Answers, answers
from kdexplorer.handout.order import Order
from kdexplorer.handout.sources import Sources
from kdexplorer.ui import charts_people
from kdexplorer.web import export


def all_checkpoints() -> dict[str, Checkpoint]:
    """Bundled networks by name, imported ones as `imported/NAME`, finished students as `RUN/STUDENT`, newest first."""
    found = {}
    for root, prefix in ((checkpoints.bundled_root(), ""), (runs.imported_root(), "imported/")):
        found |= {f"{prefix}{checkpoint.path.name}": checkpoint for checkpoint in _opened(str(root), _stamp(root))}
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


def class_names(dataset: str) -> tuple[str, ...]:
    """The names of a data set's classes."""
    return data.CLASSES[dataset]


dataset_of = comparison.dataset_of


def gallery(dataset: str = "cifar10") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The images to choose from: uint8 `[N, 3, 32, 32]`, labels `[N]`, indices `[N]` in the test split.

    The whole test split where it is at hand, else the 20 sample images that a package carries.
    """
    split = test_split(dataset)
    if split is None:
        return images.sample_images()
    return split.images, split.labels, np.arange(len(split))


def stored_logits(checkpoint: Checkpoint, dataset: str = "cifar10") -> np.ndarray | None:
    """`test_logits` where they are this data set's whole test split in its order, else None."""
    return comparison.on_whole_split(checkpoint, logits_or_none(checkpoint), dataset)


def gallery_answers(
    teacher: Checkpoint, students: list[Checkpoint], dataset: str, indices: np.ndarray, labels: np.ndarray
) -> Answers | None:
    """Stored answers to test images, for the gallery's filters; None where the teacher's are not at hand."""
    if teacher.classes != data.CLASSES[dataset]:
        return None

    def stored(checkpoint: Checkpoint) -> np.ndarray | None:
        logits = stored_logits(checkpoint, dataset)
        return None if logits is None else logits[indices]

    return answers(teacher, students, stored, labels)


def image_logits(checkpoint: Checkpoint, pixels: np.ndarray, index: int | None, dataset: str) -> np.ndarray:
    """A network's logits for uint8 `[3, 32, 32]`: the stored ones of a test image, else computed. Raises KDError."""
    if index is not None:
        logits = stored_logits(checkpoint, dataset)
        if logits is not None:
            return logits[index]
    return answer(checkpoint, pixels)[0]


@st.cache_data(max_entries=64, show_spinner=False)
def _similarity(folder: str, sha256: str, by: str, temperature: float, groups: bytes) -> np.ndarray:
    checkpoint = checkpoints.open_checkpoint(Path(folder))
    classes = len(checkpoint.classes)
    return metrics.class_similarity(checkpoint.logits(), np.frombuffer(groups, np.int64), temperature, classes)


def class_similarity(checkpoint: Checkpoint, teacher: Checkpoint, dataset: str, temperature: float) -> Any:
    """`metrics.class_similarity` of the stored logits, and whether images were grouped by label.

    Without labels at hand, images are grouped by the teacher's own answer. None without stored logits.
    """
    logits, teachers, split = stored_logits(checkpoint, dataset), stored_logits(teacher, dataset), test_split(dataset)
    if logits is None or (teachers is None and split is None):
        return None
    groups = split.labels if split is not None else teachers.argmax(axis=1)
    groups = np.ascontiguousarray(groups, dtype=np.int64)
    rows = _similarity(str(checkpoint.path), checkpoint.sha256, dataset, temperature, groups.tobytes())
    return rows, split is not None


@st.cache_data(max_entries=64, show_spinner=False)
def latency(architecture: str) -> float:
    """Seconds for one image, on this machine."""
    return metrics.latency(architecture, 1)


def labels_of(checkpoint: Checkpoint) -> np.ndarray | None:
    """The labels of the images a network was measured on; None where they are not at hand. Raises DataError."""
    dataset = table.measured_dataset(checkpoint)
    split = test_split(dataset) if dataset else None
    measured = (checkpoint.card.get("data") or {}).get("measured_images")
    return None if split is None or measured not in (None, len(split)) else split.labels


def logits_or_none(checkpoint: Checkpoint) -> np.ndarray | None:
    """`test_logits`, or None where they cannot be read."""
    try:
        return test_logits(checkpoint)
    except CheckpointError:
        return None


@st.cache_data(max_entries=32, show_spinner=False)
def _comparison(
    names: tuple[tuple[str, str, str], ...],
    teacher: str | None,
    baseline: str | None,
    with_labels: bool,
    latency: tuple[tuple[str, float], ...],
    with_people: str,
    _entries: dict[str, Checkpoint],
    _teacher: Checkpoint | None,
    _people: np.ndarray | None,
) -> list[dict[str, Any]]:
    logits = {name: logits_or_none(checkpoint) for name, checkpoint in _entries.items()}
    if teacher is not None and _teacher is not None:
        logits.setdefault(teacher, logits_or_none(_teacher))
    labels = labels_of(next(iter(_entries.values()))) if with_labels else None
    return comparison.rows(_entries, logits, labels, teacher, baseline, dict(latency), _people)


def comparison_rows(
    entries: dict[str, Checkpoint],
    teacher: tuple[str, Checkpoint] | None,
    baseline: str | None,
    with_labels: bool,
    latency: dict[str, float] | None = None,
    answers: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """`comparison.rows` of stored logits; `entries` must have been measured on the same images."""
    keys = tuple((name, str(c.path), c.sha256) for name, c in entries.items())
    name, network = teacher or (None, None)
    known = tuple(sorted((latency or {}).items()))
    source = "" if answers is None else str(people.find())
    return _comparison(keys, name, baseline, with_labels, known, source, entries, network, answers)


@st.cache_data(max_entries=8, show_spinner="Fetching the images that are watched …")
def _probes(dataset: str, holdout: int, source: str) -> tuple[np.ndarray, np.ndarray]:
    return data.probes(dataset, holdout)


def probes(dataset: str, holdout: int) -> tuple[np.ndarray, np.ndarray]:
    """The first measured images of a run and their labels, as many as are at hand; see `data.probes`."""
    return _probes(dataset, holdout, str(data.find_cifar10(data.data_root())))


@st.cache_data(max_entries=16, show_spinner=False)
def _exported(folder: str, sha256: str) -> export.Exported:
    return export.exported(checkpoints.open_checkpoint(Path(folder)))


def exported(checkpoint: Checkpoint) -> export.Exported:
    """A network as the page runs it. Raises CheckpointError, for large architectures too."""
    return _exported(str(checkpoint.path), checkpoint.sha256)


@st.cache_data(max_entries=2, show_spinner=False)
def _people(path: str, stamp: int) -> np.ndarray:
    return people.load(Path(path))


def peoples_answers() -> np.ndarray | None:
    """What people answered, as `people.load`; None where the file is not here. Raises DataError where it is foreign."""
    path = people.find()
    return None if path is None else _people(str(path), path.stat().st_mtime_ns)


@st.cache_data(max_entries=64, show_spinner=False)
def _closeness(folder: str, sha256: str, path: str, index: int | None, _logits: np.ndarray) -> charts_people.Closeness:
    answers = peoples_answers()
    return charts_people.closeness(answers if index is None else answers[index], _logits)


def closeness(checkpoint: Checkpoint, index: int | None = None) -> charts_people.Closeness | None:
    """How close a network is to people, on a test image or (None) the split; None where answers are not stored."""
    logits = stored_logits(checkpoint)
    if logits is None or checkpoint.classes != data.CIFAR10_CLASSES:
        return None
    of = logits if index is None else logits[index]
    return _closeness(str(checkpoint.path), checkpoint.sha256, str(people.find()), index, of)


def sources() -> Sources:
    """What a handout is made from, out of these caches. Raises DataError where people's answers are a foreign file."""
    return Sources(answer, stored_logits, gallery, peoples_answers())


@st.cache_data(max_entries=4, show_spinner=False)
def _handout(key: str, _order: Order) -> bytes:
    from kdexplorer.handout import page

    return page.build(_order, sources()).encode()


def handout(order: Order) -> bytes:
    """`handout.page.build` as a file's bytes. Raises KDError."""
    networks = [[(n, str(c.path), c.sha256) for n, c in each.items()] for each in (order.networks, order.compared)]
    pictures = [(p.index, p.label, p.name, p.pixels.tobytes().hex()) for p in order.pictures]
    return _handout(repr((networks, pictures, order.temperature, order.alpha, order.live, people.find())), order)


def network(checkpoint: Checkpoint) -> Any:
    """The network itself, shared by everyone: never change it. Raises CheckpointError."""
    return _network(str(checkpoint.path), checkpoint.sha256)
