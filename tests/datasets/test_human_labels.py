"""Human labels: where they are found, and what is refused."""

import numpy as np
import pytest

from kdexplorer.datasets import get_dataset
from kdexplorer.datasets.cifar10 import HUMAN_VARIABLE, find_human_labels, load_human_labels
from kdexplorer.errors import DataError


def counts():
    """Fifty annotators for each image, most of whom choose its label."""
    generator = np.random.default_rng(0)
    first = get_dataset("cifar10").test_labels()
    found = generator.multinomial(10, np.full(10, 0.1), 10_000)
    found[np.arange(10_000), first] += 40
    return found


@pytest.mark.parametrize("place", ["data", "cifar10h", "data/cifar10h"])
def test_found_beside_the_data(data_folder, place):
    assert find_human_labels() is None
    folder = data_folder.parent / place
    folder.mkdir(exist_ok=True)
    np.save(folder / "cifar10h-counts.npy", counts())
    assert find_human_labels() == folder / "cifar10h-counts.npy"


def test_the_variable_names_a_file_or_its_folder_and_replaces_the_search(data_folder, tmp_path, monkeypatch):
    np.save(data_folder / "cifar10h-counts.npy", counts())
    np.save(tmp_path / "mine.npy", counts())
    for given, expected in (
        (tmp_path / "mine.npy", tmp_path / "mine.npy"),
        (data_folder, data_folder / "cifar10h-counts.npy"),
        (tmp_path / "nowhere", None),
    ):
        monkeypatch.setenv(HUMAN_VARIABLE, str(given))
        assert find_human_labels() == expected


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda file: np.save(file, counts()[:100]), "shape"),
        (lambda file: np.save(file, counts().astype(str)), "not human labels"),
        (lambda file: np.save(file, -counts()), "neither counts nor shares"),
        (lambda file: np.save(file, counts() * np.nan), "neither counts nor shares"),
        (lambda file: np.save(file, counts() * 0), "neither counts nor shares"),
        (lambda file: np.save(file, np.roll(counts(), 1, axis=1)), "not in the order"),
        (lambda file: np.savez(file, counts=counts()), "archive of several arrays"),
        (lambda file: np.save(file, np.array([{"evil": 1}], dtype=object), allow_pickle=True), "cannot be read"),
    ],
)
def test_other_files_are_refused(tmp_path, write, words):
    with open(tmp_path / "a.npy", "wb") as file:
        write(file)
    with pytest.raises(DataError, match=words):
        load_human_labels(tmp_path / "a.npy")


def test_the_real_file_agrees_with_the_labels(real_root):
    path = find_human_labels()
    if path is None:
        pytest.skip("needs CIFAR-10H: set KDEXPLORER_CIFAR10H")
    agree = load_human_labels(path).argmax(axis=1) == get_dataset("cifar10").load("test").labels
    assert 0.98 < agree.mean() < 1
