"""Synthetic shapes: balanced, reproducible, and difficult where they should be."""

import numpy as np

from kdexplorer.datasets import get_dataset
from kdexplorer.datasets.synthetic import _draw, draw_shapes

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


def test_some_synthetic_classes_are_alike():
    """With everything else the same, a shape's frame is among its two nearest neighbors and close."""
    images = [_draw(np.full(100, label), np.random.default_rng(0)).astype(float) for label in range(10)]
    distance = np.array([[np.abs(a - b).mean() for b in images] for a in images])
    for label in range(10):
        partner, order = label ^ 1, np.argsort(distance[label])
        others = [k for k in range(10) if k not in (label, partner)]
        assert partner in order[1:3]
        assert distance[label, partner] < 0.7 * distance[label, others].mean()
    assert distance[~np.eye(10, dtype=bool)].min() > 1
