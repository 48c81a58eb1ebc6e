"""The registry of data sets: what an entry says and gives a page, and on what a run is watched; synthetic shapes."""

import numpy as np
import pytest

from kdexplorer.datasets import all_datasets, get_dataset
from kdexplorer.datasets.base import hold_out, load_probes
from kdexplorer.datasets.synthetic import draw_shapes
from kdexplorer.errors import ConfigError

DATASETS = [one for one in all_datasets() if not one.key.startswith("folder:")]  # none of the user's own


def test_keys_and_labels_are_unique_two_can_be_downloaded_and_an_unknown_key_lists_the_choices():
    assert [get_dataset(dataset.key) for dataset in DATASETS] == DATASETS
    assert len({dataset.label for dataset in DATASETS}) == len(DATASETS)
    assert [dataset.key for dataset in DATASETS if dataset.can_download] == ["cifar10", "cifar100"]
    with pytest.raises(ConfigError, match=r"'mnist'.*cifar10.*synthetic"):
        get_dataset("mnist")


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.key)
def test_the_gallery_is_the_test_split_or_a_part_of_it(dataset, tiny):
    gallery = dataset.gallery()
    assert (gallery.images.shape, gallery.images.dtype) == ((len(gallery), 3, 32, 32), np.uint8)
    assert gallery.labels.dtype.kind == "i"
    assert set(gallery.labels.tolist()) <= set(range(len(dataset.classes)))
    assert len(gallery) <= dataset.sizes["test"]
    if dataset.is_available():
        assert np.array_equal(gallery.images, dataset.load("test").images)
        assert np.array_equal(gallery.labels, dataset.load("test").labels)


def test_probes_are_the_first_images_of_the_evaluation_split_or_of_the_gallery(tiny):
    synthetic, missing = get_dataset("synthetic"), get_dataset("cifar10")
    train, test = synthetic.load("train"), synthetic.load("test")
    held = train.take(hold_out(train.labels, 30))
    for dataset, holdout, split in ((synthetic, 0, test), (synthetic, 30, held), (missing, 0, missing.gallery())):
        images, labels = load_probes(dataset, holdout)
        assert np.array_equal(images, split.images[:20])
        assert np.array_equal(labels, split.labels[:20])
    assert [len(part) for part in load_probes(missing, holdout=30)] == [0, 0]


def test_shapes_are_cifar_shaped_balanced_and_follow_from_the_seed_which_differs_between_splits(tiny):
    first, same, other = (draw_shapes(200, seed) for seed in (1, 1, 2))
    assert (first.images.shape, first.images.dtype, first.labels.dtype) == ((200, 3, 32, 32), np.uint8, np.int64)
    assert np.bincount(first.labels).tolist() == [20] * 10
    assert np.array_equal(first.images, same.images)
    assert np.array_equal(first.labels, same.labels)
    assert not np.array_equal(first.images, other.images)
    train, test = (get_dataset("synthetic").load(split) for split in ("train", "test"))
    assert (len(train), len(test)) == (120, 60)
    seen = {image.tobytes() for image in train.images}
    assert not any(image.tobytes() in seen for image in test.images)
