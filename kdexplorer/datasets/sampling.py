"""Parts of a training split: class-balanced, held out, and the images that a run is watched on."""

from __future__ import annotations

import numpy as np

from kdexplorer.datasets.base import Dataset


def sample_class_balanced(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Indices of `count` items, the same number of each class as far as that divides, in random order."""
    generator = np.random.default_rng([seed, 0xBA1A])
    by_class = [generator.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    rank = np.concatenate([np.arange(len(indices)) for indices in by_class])
    indices = np.concatenate(by_class)[np.argsort(rank, kind="stable")][:count]
    return generator.permutation(indices)


def hold_out(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices, ascending, of the training images that are never trained on while tuning: the same for every seed."""
    return np.sort(sample_class_balanced(labels, count, seed=0))


def load_probes(dataset: Dataset, holdout: int = 0, count: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """The first images of a run's evaluation split, whose logits it stores after every epoch, and their labels.

    Returns:
        Images uint8 `[N, 3, 32, 32]` and labels `[N]`. Where the data are missing, samples stand in for the test
        split's first images if they are those; otherwise N is 0.
    """
    if not dataset.is_available():
        images, labels, indices = dataset.samples()
        first = not holdout and np.array_equal(indices[:count], np.arange(min(count, len(indices))))
        return (images[:count], labels[:count]) if first else (images[:0], labels[:0])
    split = dataset.load("train" if holdout else "test")
    chosen = hold_out(split.labels, holdout)[:count] if holdout else np.arange(min(count, len(split)))
    return np.array(split.images[chosen]), split.labels[chosen]
