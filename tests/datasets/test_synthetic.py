"""Synthetic shapes: balanced, reproducible, and difficult where they should be."""

import numpy as np

from kdexplorer.datasets import get_dataset
from kdexplorer.datasets.synthetic import draw_shapes

SYNTHETIC = get_dataset("synthetic")


def test_synthetic_images_are_cifar_shaped_balanced_and_follow_from_the_seed():
    first, same, other = draw_shapes(200, seed=1), draw_shapes(200, seed=1), draw_shapes(200, seed=2)
    assert (first.images.shape, first.images.dtype, first.labels.dtype) == ((200, 3, 32, 32), np.uint8, np.int64)
    assert np.bincount(first.labels).tolist() == [20] * 10
    assert len(first.classes) == 10
    assert np.array_equal(first.images, same.images)
    assert np.array_equal(first.labels, same.labels)
    assert not np.array_equal(first.images, other.images)


def test_synthetic_splits_differ_and_load_with_progress(tiny):
    calls = []
    train = SYNTHETIC.load("train", progress=lambda done, total: calls.append((done, total)))
    test = SYNTHETIC.load("test")
    assert (len(train), len(test)) == (120, 60)
    assert calls == [(120, 120)]
    seen = {image.tobytes() for image in train.images}
    assert not any(image.tobytes() in seen for image in test.images)
