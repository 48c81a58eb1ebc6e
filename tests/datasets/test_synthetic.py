"""Synthetic shapes: balanced, reproducible, and difficult where they should be."""

import numpy as np

from kdexplorer.datasets import get_dataset
from kdexplorer.datasets.synthetic import draw_shapes


def test_images_are_cifar_shaped_balanced_and_follow_from_the_seed_which_differs_between_splits(tiny):
    calls = []
    first = draw_shapes(200, seed=1, progress=lambda *call: calls.append(call))
    same, other = draw_shapes(200, seed=1), draw_shapes(200, seed=2)
    assert calls == [(200, 200)]
    assert (first.images.shape, first.images.dtype, first.labels.dtype) == ((200, 3, 32, 32), np.uint8, np.int64)
    assert np.bincount(first.labels).tolist() == [20] * 10
    assert np.array_equal(first.images, same.images)
    assert np.array_equal(first.labels, same.labels)
    assert not np.array_equal(first.images, other.images)
    train, test = (get_dataset("synthetic").load(split) for split in ("train", "test"))
    assert (len(train), len(test)) == (120, 60)
    seen = {image.tobytes() for image in train.images}
    assert not any(image.tobytes() in seen for image in test.images)
