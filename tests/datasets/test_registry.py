"""The registry of data sets: what every entry says, what it gives a page, and the images on which a run is watched."""

import numpy as np
import pytest

from kdexplorer.datasets import all_datasets, data_root, get_dataset
from kdexplorer.datasets.base import hold_out, load_probes
from kdexplorer.errors import ConfigError, DataError

DATASETS = [one for one in all_datasets() if not one.key.startswith("folder:")]  # none of the user's own
each_dataset = pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.key)


def test_keys_and_labels_are_unique_and_an_unknown_key_lists_the_choices():
    assert [get_dataset(dataset.key) for dataset in DATASETS] == DATASETS
    assert len({dataset.label for dataset in DATASETS}) == len(DATASETS)
    with pytest.raises(ConfigError, match=r"'mnist'.*cifar10.*synthetic"):
        get_dataset("mnist")


@each_dataset
def test_the_gallery_is_the_test_split_or_a_part_of_it(dataset, tiny):
    gallery = dataset.gallery()
    assert (gallery.images.shape, gallery.images.dtype) == ((len(gallery), 3, 32, 32), np.uint8)
    assert gallery.labels.dtype.kind == "i"
    assert set(gallery.labels.tolist()) <= set(range(len(dataset.classes)))
    assert len(gallery) <= dataset.sizes["test"]
    if dataset.is_available():
        assert np.array_equal(gallery.images, dataset.load("test").images)
        assert np.array_equal(gallery.labels, dataset.load("test").labels)
        assert len(gallery) == dataset.sizes["test"]


def test_the_environment_names_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("KDEXPLORER_DATA", str(tmp_path))
    assert data_root() == tmp_path
    for unset in (lambda: monkeypatch.setenv("KDEXPLORER_DATA", ""), lambda: monkeypatch.delenv("KDEXPLORER_DATA")):
        unset()
        assert str(data_root()) == "data"


def test_what_is_drawn_is_available_anywhere_and_cannot_be_downloaded():
    synthetic = get_dataset("synthetic")
    assert synthetic.is_available()
    assert not synthetic.can_download
    with pytest.raises(DataError, match=synthetic.label):
        synthetic.download()


def test_probes_are_the_first_images_of_the_evaluation_split_or_of_the_gallery(tiny):
    synthetic = get_dataset("synthetic")
    train, test = synthetic.load("train"), synthetic.load("test")
    images, labels = load_probes(synthetic)
    assert np.array_equal(images, test.images[:20])
    assert np.array_equal(labels, test.labels[:20])
    held = hold_out(train.labels, 30)
    images, labels = load_probes(synthetic, holdout=30)
    assert np.array_equal(images, train.images[held[:20]])
    assert np.array_equal(labels, train.labels[held[:20]])
    missing = get_dataset("cifar10")
    images, labels = load_probes(missing)
    assert np.array_equal(images, missing.gallery().images[:20])
    assert np.array_equal(labels, missing.gallery().labels[:20])
    assert [len(part) for part in load_probes(missing, holdout=30)] == [0, 0]
