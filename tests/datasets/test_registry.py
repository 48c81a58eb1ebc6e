"""The registry of data sets: what every entry says, and what it gives a page."""

import numpy as np
import pytest

from kdexplorer.datasets import all_datasets, data_root, get_dataset
from kdexplorer.errors import ConfigError, DataError

DATASETS = [one for one in all_datasets() if not one.key.startswith("folder:")]  # none of the user's own
each_dataset = pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.key)


def test_keys_and_labels_are_unique_and_an_unknown_key_lists_the_choices():
    assert [get_dataset(dataset.key) for dataset in DATASETS] == DATASETS
    assert len({dataset.label for dataset in DATASETS}) == len(DATASETS)
    with pytest.raises(ConfigError, match=r"'mnist'.*cifar10.*synthetic"):
        get_dataset("mnist")


def check_gallery(dataset, images, labels, positions):
    count = len(labels)
    assert (images.shape, images.dtype) == ((count, 3, 32, 32), np.uint8)
    assert positions.shape == (count,)
    assert labels.dtype.kind == positions.dtype.kind == "i"
    assert set(labels.tolist()) <= set(range(len(dataset.classes)))
    assert set(positions.tolist()) <= set(range(dataset.sizes["test"]))


@each_dataset
def test_the_gallery_is_the_test_split_or_its_samples(dataset, tiny):
    images, labels, positions = dataset.gallery()
    check_gallery(dataset, images, labels, positions)
    check_gallery(dataset, *dataset.samples())
    if dataset.is_available():
        split = dataset.load("test")
        assert np.array_equal(images, split.images)
        assert np.array_equal(labels, split.labels)
        assert positions.tolist() == list(range(dataset.sizes["test"]))
    else:
        assert all(np.array_equal(a, b) for a, b in zip((images, labels, positions), dataset.samples(), strict=True))


def test_the_environment_names_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("KDEXPLORER_DATA", str(tmp_path))
    assert data_root() == tmp_path
    for unset in (lambda: monkeypatch.setenv("KDEXPLORER_DATA", ""), lambda: monkeypatch.delenv("KDEXPLORER_DATA")):
        unset()
        assert str(data_root()) == "data"


@pytest.mark.parametrize(
    ("key", "train", "test", "mean", "std"),
    [
        ("cifar10", 50_000, 10_000, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        ("synthetic", 10_000, 2_000, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
    ],
)
def test_sizes_classes_and_normalization(key, train, test, mean, std):
    dataset = get_dataset(key)
    assert dataset.sizes == {"train": train, "test": test}
    assert len(set(dataset.classes)) == 10
    assert dataset.normalization.model_dump() == {"mean": mean, "std": std}


def test_what_is_drawn_is_available_anywhere_and_cannot_be_downloaded():
    synthetic = get_dataset("synthetic")
    assert synthetic.is_available()
    assert not synthetic.can_download
    with pytest.raises(DataError, match=synthetic.label):
        synthetic.download()
