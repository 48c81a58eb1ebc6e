"""Parts of a training split, and the images on which a run is watched."""

import numpy as np
import pytest

from kdexplorer.datasets import get_dataset
from kdexplorer.datasets.base import hold_out, load_probes, sample_class_balanced


def test_a_balanced_part_has_as_many_of_each_class():
    labels = np.repeat(np.arange(10), 30)
    indices = sample_class_balanced(labels, 100, seed=0)
    assert np.bincount(labels[indices]).tolist() == [10] * 10
    assert len(set(indices.tolist())) == 100
    assert np.array_equal(indices, sample_class_balanced(labels, 100, seed=0))
    assert not np.array_equal(indices, sample_class_balanced(labels, 100, seed=1))
    counts = np.bincount(labels[sample_class_balanced(labels, 45, seed=0)])
    assert set(counts.tolist()) == {4, 5}


def test_probes_are_the_first_images_of_the_evaluation_split(tiny):
    synthetic = get_dataset("synthetic")
    train, test = synthetic.load("train"), synthetic.load("test")
    images, labels = load_probes(synthetic)
    assert np.array_equal(images, test.images[:20])
    assert np.array_equal(labels, test.labels[:20])
    held = hold_out(train.labels, 30)
    images, labels = load_probes(synthetic, holdout=30)
    assert np.array_equal(images, train.images[held[:20]])
    assert np.array_equal(labels, train.labels[held[:20]])


@pytest.mark.parametrize(("indices", "holdout", "count"), [([0, 1, 2], 0, 3), ([0, 1, 2], 30, 0), ([0, 2, 3], 0, 0)])
def test_without_data_samples_stand_in_where_they_are_the_same_images(monkeypatch, indices, holdout, count):
    cifar10 = get_dataset("cifar10")
    images = np.arange(3 * 3 * 32 * 32).astype(np.uint8).reshape(3, 3, 32, 32)
    monkeypatch.setattr(type(cifar10), "samples", lambda self: (images, np.array([3, 8, 8]), np.array(indices)))
    found, labels = load_probes(cifar10, holdout)
    assert np.array_equal(found, images[:count])
    assert labels.tolist() == [3, 8, 8][:count]
