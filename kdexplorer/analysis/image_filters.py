"""Filters and orders of test images that follow from stored logits alone, so they are instant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kdexplorer.analysis import metrics
from kdexplorer.analysis.metrics import entropy, kl_by_image, softmax
from kdexplorer.runs import lineage
from kdexplorer.runs.checkpoints import Checkpoint


@dataclass(frozen=True)
class Predictions:
    """Labels `[N]` and logits `[N, classes]` of N images; a student's are None where it is not chosen."""

    labels: np.ndarray
    teacher: np.ndarray
    scratch: np.ndarray | None = None
    distilled: np.ndarray | None = None

    def is_right(self, network: str) -> np.ndarray:
        """Whether `teacher`, `scratch` or `distilled` predicts the label, bool `[N]`."""
        return getattr(self, network).argmax(axis=1) == self.labels


@dataclass(frozen=True)
class ImageFilter:
    """Which images are shown and in which order."""

    select: Callable[[Predictions], np.ndarray]  # positions of the images that it keeps, in its order
    description: str
    needs: tuple[str, ...] = ()  # the students that it needs


FILTERS = {
    "All images": ImageFilter(lambda found: np.arange(len(found.labels)), "in the order of the test split"),
    "Teacher right": ImageFilter(
        lambda found: np.flatnonzero(found.is_right("teacher")), "the teacher predicts the label"),
    "Teacher wrong": ImageFilter(
        lambda found: np.flatnonzero(~found.is_right("teacher")), "the teacher predicts another class than the label"),
    "Only the distilled student is right": ImageFilter(
        lambda found: np.flatnonzero(~found.is_right("scratch") & found.is_right("distilled")),
        "the distilled student predicts the label, its scratch baseline does not", ("scratch", "distilled")),
    "Only the scratch baseline is right": ImageFilter(
        lambda found: np.flatnonzero(found.is_right("scratch") & ~found.is_right("distilled")),
        "the scratch baseline predicts the label, the distilled student does not", ("scratch", "distilled")),
    "Most uncertain teacher": ImageFilter(
        lambda found: np.argsort(-entropy(softmax(found.teacher)), kind="stable"),
        "by the entropy of the teacher's prediction at T = 1, largest first"),
    "Largest disagreement": ImageFilter(
        lambda found: np.argsort(-kl_by_image(found.teacher, np.asarray(found.distilled)), kind="stable"),
        "by KL from the teacher to the distilled student at T = 1, largest first", ("distilled",)),
}  # fmt: skip
"""Every filter by its name in the interface."""


def gather_predictions(
    teacher: Checkpoint, students: Sequence[Checkpoint], dataset: str, labels: np.ndarray
) -> Predictions | None:
    """Stored logits of the teacher and of the first distilled student, one with a scratch baseline if there is any.

    `labels` `[N]` are those of the first images in the test split of a data set, given by its key. None where the
    teacher's stored logits of these are missing.
    """

    def stored(network: Checkpoint) -> np.ndarray | None:
        logits = network.card.split_logits(network.logits_or_none(), dataset)
        return None if logits is None else logits[: len(labels)]

    if (logits := stored(teacher)) is None:
        return None
    pairs = [(one, lineage.scratch_baseline_of(one, students)) for one in students if lineage.is_distilled(one)]
    distilled, scratch = next((pair for pair in pairs if pair[1]), pairs[0] if pairs else (None, None))
    return Predictions(labels, logits, *(stored(one) if one else None for one in (scratch, distilled)))


def most_instructive(predictions: Predictions, temperature: float, alpha: float) -> int:
    """The position of the image that shows best what soft labels add.

    The teacher is right, and the distilled student's gradient at this temperature and weight raises the hard label's
    class, as a reader expects. Preferred are images that the distilled student alone gets right, then those whose soft
    label has the largest entropy.
    """
    wanted = [predictions.is_right("teacher")]
    if predictions.distilled is not None:
        logits = zip(predictions.distilled, predictions.teacher, predictions.labels.tolist(), strict=True)
        totals = [metrics.gradient_on_logits(*one, temperature, alpha)["total"][one[2]] for one in logits]
        wanted.append(np.array(totals) < 0)
        if predictions.scratch is not None:
            wanted.append(~predictions.is_right("scratch") & predictions.is_right("distilled"))
    kept = np.ones(len(predictions.labels), bool)
    for condition in wanted:
        kept = kept & condition if (kept & condition).any() else kept
    return int(np.where(kept, -entropy(softmax(predictions.teacher, temperature)), np.inf).argmin())


def available_filters(predictions: Predictions) -> list[str]:
    """The names of the filters whose students are available."""
    known = {network for network, logits in vars(predictions).items() if logits is not None}
    return [name for name, one in FILTERS.items() if known.issuperset(one.needs)]


def filter_images(name: str, predictions: Predictions, label: int | None = None) -> np.ndarray:
    """The positions (0 to N - 1) that a filter keeps, in its order; only of one class where `label` is given."""
    positions = FILTERS[name].select(predictions)
    return positions if label is None else positions[predictions.labels[positions] == label]
