"""The registry of data sets: what every entry says, what it gives a page, and the images on which a run is watched."""

import numpy as np
import pytest

from kdexplorer.datasets import all_datasets, data_root, get_dataset
from kdexplorer.datasets.base import hold_out, load_probes
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


def test_without_the_variable_or_with_an_empty_one_the_folder_is_data(monkeypatch):
    monkeypatch.setenv("KDEXPLORER_DATA", "")
    assert str(data_root()) == "data"
    monkeypatch.delenv("KDEXPLORER_DATA")
    assert str(data_root()) == "data"


def test_probes_are_the_first_images_of_the_evaluation_split_or_of_the_gallery(tiny):
    synthetic, missing = get_dataset("synthetic"), get_dataset("cifar10")
    train, test = synthetic.load("train"), synthetic.load("test")
    held = train.take(hold_out(train.labels, 30))
    for dataset, holdout, split in ((synthetic, 0, test), (synthetic, 30, held), (missing, 0, missing.gallery())):
        images, labels = load_probes(dataset, holdout)
        assert np.array_equal(images, split.images[:20])
        assert np.array_equal(labels, split.labels[:20])
    assert [len(part) for part in load_probes(missing, holdout=30)] == [0, 0]
