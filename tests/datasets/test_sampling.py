"""Parts of a training split, and the images on which a run is watched."""

import numpy as np
import pytest

from kdexplorer.config import RunConfig
from kdexplorer.datasets import get_dataset
from kdexplorer.datasets.base import Split, hold_out, load_probes, sample_class_balanced
from kdexplorer.studies.collect import load_labels


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


def test_held_out_images_are_those_of_the_order_that_is_trained_in(monkeypatch):
    cifar10 = get_dataset("cifar10-small")
    images, labels = np.zeros((40, 3, 32, 32), np.uint8), np.arange(40) % 10
    asked = []

    def load(self, split, progress=None, order="content"):
        asked.append((split, order))
        return Split(images, labels if order == "content" else labels[::-1], self.classes)

    monkeypatch.setattr(type(cifar10), "load", load)
    monkeypatch.setattr(type(cifar10), "is_available", lambda self: True)
    held = labels[::-1][hold_out(labels[::-1], 20)]
    assert np.array_equal(load_probes(cifar10, 20, "source")[1], held)
    config = RunConfig(
        dataset="cifar10-small", students=[{"name": "s", "architecture": "resnet8"}], holdout=20, image_order="source"
    )
    assert np.array_equal(load_labels(config), held)
    assert asked == [("train", "source")] * 2


@pytest.mark.parametrize(("indices", "holdout", "count"), [([0, 1, 2], 0, 3), ([0, 1, 2], 30, 0), ([0, 2, 3], 0, 0)])
def test_without_data_samples_stand_in_where_they_are_the_same_images(monkeypatch, indices, holdout, count):
    cifar10 = get_dataset("cifar10")
    images = np.arange(3 * 3 * 32 * 32).astype(np.uint8).reshape(3, 3, 32, 32)
    monkeypatch.setattr(type(cifar10), "samples", lambda self: (images, np.array([3, 8, 8]), np.array(indices)))
    found, labels = load_probes(cifar10, holdout)
    assert np.array_equal(found, images[:count])
    assert labels.tolist() == [3, 8, 8][:count]
