"""What is computed or read once for all visitors: networks and what they answer, images, training records.

A result is computed once for all visitors: never change what it contains. Each cache is bounded, and its keys are what
determines the result: `KEYS` says how Streamlit shall identify a network.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from kdexplorer.analysis import inference, results
from kdexplorer.analysis.results import ResultRow
from kdexplorer.config import RunConfig
from kdexplorer.datasets import Split, base, get_dataset
from kdexplorer.datasets.base import Order
from kdexplorer.errors import CheckpointError
from kdexplorer.files import LineReader
from kdexplorer.images.picture import Picture, Prediction
from kdexplorer.networks import Outputs, measure_latency
from kdexplorer.runs import checkpoints, lineage, run_folder
from kdexplorer.runs.checkpoints import Checkpoint
from kdexplorer.runs.run_folder import BatchMetrics, EpochMetrics, Run
from kdexplorer.web import ExportedNetwork, export_network

if TYPE_CHECKING:
    from kdexplorer.networks.base import StagedNetwork


def _identify(network: "Network") -> tuple[str, str, int, int]:
    """With the number of images of its card: a table may be of a part of them."""
    logits, images = network.path / checkpoints.LOGITS, network.card.data.evaluation_images
    return str(network.path), network.sha256, images, logits.stat().st_mtime_ns if logits.exists() else 0


KEYS: dict[str | type, Any] = {f"{__name__}.Network": _identify}


@dataclass(frozen=True)
class Network(Checkpoint):
    """A checkpoint with its names on the pages, and its answers.

    Attributes:
        key: its name in links: `NAME`, `imported/NAME`, or `RUN/STUDENT`.
        label: its name in charts and texts, unique among those that are shown together.
    """

    key: str
    label: str

    @property
    def name(self) -> str:
        return self.label

    @property
    def dataset(self) -> str:
        """The key of the data set whose images are shown with it."""
        return self.card.dataset

    @st.cache_resource(max_entries=16, show_spinner="Loading the network …", hash_funcs=KEYS)
    def network(self) -> "StagedNetwork":
        """The network itself, which nobody may change. Raises CheckpointError."""
        return super().network()

    @st.cache_data(max_entries=64, show_spinner=False, hash_funcs=KEYS)
    def logits_or_none(self) -> np.ndarray | None:
        """The stored logits `[N, K]` of the images on which the card was computed, or None where there are none."""
        return super().logits_or_none()

    def split_logits(self, dataset: str) -> np.ndarray | None:
        """The stored logits `[N, K]` where they are those of this data set's whole test split in its order."""
        return self.card.split_logits(self.logits_or_none(), dataset)

    @st.cache_data(max_entries=512, show_spinner=False, hash_funcs=KEYS)
    def predict(self, pixels: np.ndarray) -> Prediction:
        """Logits and attention maps for uint8 `[3, 32, 32]`. Raises CheckpointError for untrusted weights."""
        return inference.predict_picture(self.network(), pixels, self.card.normalization)

    def logits_of(self, picture: Picture) -> np.ndarray:
        """Logits `[K]`: the stored ones of a test image, else computed. Raises KDError."""
        stored = self.split_logits(picture.dataset) if picture.index is not None else None
        return self.predict(picture.pixels).logits if stored is None else stored[picture.index]

    @st.cache_resource(max_entries=4, show_spinner="Computing the networks' outputs …", hash_funcs=KEYS)
    def outputs_of(self, images: np.ndarray) -> Outputs:
        """All outputs for uint8 `[B, 3, 32, 32]`. Raises CheckpointError for untrusted weights."""
        return inference.compute_outputs(self.network(), images, self.card.normalization)

    @st.cache_data(max_entries=16, show_spinner=False, hash_funcs=KEYS)
    def export(self) -> ExportedNetwork:
        """What a browser runs. Raises CheckpointError for untrusted weights, or a network that is too large."""
        return export_network(self)

    def test_images(self, indices: Sequence[int]) -> list[Picture]:
        """Those of the images that are shown with it, by their positions in the test split. Raises DataError."""
        return get_dataset(self.dataset).pictures(indices, self.classes, gallery(self.dataset))


latency = st.cache_data(max_entries=64, show_spinner=False)(measure_latency)


def all_networks() -> dict[str, Network]:
    """Bundled networks by their name in links, imported ones, and finished students, the newest first."""
    found = {f"{prefix}{one.path.name}": one for root, prefix in _roots() for one in checkpoints.list_checkpoints(root)}
    found |= {key: one for key, one in _students().items() if isinstance(one, Checkpoint)}
    return {key: Network(one.path, one.card, key, key.rpartition("/")[2]) for key, one in found.items()}


def label_together(chosen: Sequence[Network]) -> dict[str, Network]:
    """These networks by labels that are unique among them: with the end of a run's id where two have the same."""
    labels = lineage.short_names([one.key for one in chosen])
    return {labels[one.key]: replace(one, label=labels[one.key]) for one in chosen}


def unusable_networks() -> dict[str, str]:
    """Why a checkpoint is none of `all_networks`, by the name that it would have."""
    tried = _students()
    for root, prefix in _roots():
        tried |= {f"{prefix}{name}": one for name, one in checkpoints.scan_checkpoints(root).items()}
    return {name: str(one) for name, one in tried.items() if isinstance(one, CheckpointError)}


def _roots() -> list[tuple[Path, str]]:
    return [(checkpoints.bundled_root(), ""), (run_folder.imported_root(), "imported/")]


def _students() -> dict[str, Checkpoint | CheckpointError]:
    found = {}
    for run in run_folder.list_runs():
        with contextlib.suppress(FileNotFoundError):  # it may be deleted meanwhile
            for path in _student_folders(run, run.path.stat().st_mtime_ns):
                found[f"{run.run_id}/{path.name}"] = checkpoints.try_checkpoint(path)
    return found


@lru_cache(maxsize=2048)
def _student_folders(run: Run, changed: int) -> list[Path]:
    """The folders of a run's finished students, looked for again when anything in its folder was replaced."""
    return run_folder.finished_students(run)


@st.cache_data(max_entries=32, show_spinner=False, hash_funcs=KEYS)
def result_rows(
    entries: Mapping[str, Network],
    labels: np.ndarray | None = None,
    teacher: Network | None = None,
    baseline: str | None = None,
    latency: dict[str, float] | None = None,
    human: np.ndarray | None = None,
) -> list[ResultRow]:
    """`results.build_rows` of the stored logits; `entries` were all evaluated on the same images."""
    logits = {name: one.logits_or_none() for name, one in entries.items()}
    evaluated = next(iter(entries.values())).card.evaluation_dataset
    if teacher and teacher.name not in entries:  # perhaps evaluated on more images
        logits[teacher.name] = teacher.logits_or_none() if evaluated is None else teacher.split_logits(evaluated.key)
    return results.build_rows(entries, logits, labels, teacher.name if teacher else None, baseline, latency, human)


def gallery(dataset: str) -> Split:
    """The images to choose from: the whole test split, or the bundled part of it while the data are missing.

    Raises DataError when the data are damaged.
    """
    source = get_dataset(dataset).find()
    return _gallery(dataset, "" if source is None else str(source.resolve()))


@st.cache_resource(max_entries=4, show_spinner="Decoding the images …")
def _gallery(dataset: str, source: str) -> Split:
    return get_dataset(dataset).gallery()


def probes(config: RunConfig) -> tuple[np.ndarray, np.ndarray]:
    """The first images of a run's evaluation split and their labels, see `datasets.base.load_probes`."""
    return _probes(config.dataset, config.holdout, config.image_order, str(get_dataset(config.dataset).find()))


@st.cache_data(max_entries=8, show_spinner="Loading the images …")
def _probes(dataset: str, holdout: int, order: Order, source: str) -> tuple[np.ndarray, np.ndarray]:
    return base.load_probes(get_dataset(dataset), holdout, order)


def run_metrics(run: Run) -> tuple[list[EpochMetrics], list[BatchMetrics]]:
    """A run's lines by epoch and within epochs; each line is parsed once for all visitors."""
    by_epoch, within = _line_readers(run)
    return by_epoch.read(), within.read()


@st.cache_resource(max_entries=16, show_spinner=False)
def _line_readers(run: Run) -> tuple[LineReader[EpochMetrics], LineReader[BatchMetrics]]:
    return run.readers()
