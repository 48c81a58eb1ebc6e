"""People's answers: where they are found, what is refused, and at which temperature a network is closest to them."""

import numpy as np
import pytest

from kdexplorer import data, images, people
from kdexplorer.errors import DataError
from kdexplorer.inference import entropy, soften


def counts():
    """Fifty answers an image, most of them the class that a random order gives; samples have their own label."""
    generator = np.random.default_rng(0)
    first = generator.integers(0, 10, 10_000)
    _, labels, indices = images.sample_images()
    first[indices] = labels
    found = generator.multinomial(10, np.full(10, 0.1), 10_000)
    found[np.arange(10_000), first] += 40
    return found


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("KDEXPLORER_DATA", str(tmp_path / "cifar10"))
    monkeypatch.delenv(people.VARIABLE, raising=False)
    (tmp_path / "cifar10").mkdir()
    return tmp_path


@pytest.mark.parametrize("place", ["cifar10", "cifar10h", "cifar10/cifar10h"])
def test_found_beside_the_data(folder, place):
    assert people.find() is None
    (folder / place).mkdir(exist_ok=True)
    np.save(folder / place / "cifar10h-counts.npy", counts())
    assert people.find() == folder / place / "cifar10h-counts.npy"


def test_the_variable_names_a_file_or_its_folder_and_nothing_else_is_taken(folder, monkeypatch):
    np.save(folder / "cifar10" / "cifar10h-counts.npy", counts())
    np.save(folder / "mine.npy", counts())
    for given, expected in (
        (folder / "mine.npy", folder / "mine.npy"),
        (folder / "cifar10", folder / "cifar10" / "cifar10h-counts.npy"),
        (folder / "nowhere", None),
    ):
        monkeypatch.setenv(people.VARIABLE, str(given))
        assert people.find() == expected


def test_counts_become_shares(folder):
    np.save(folder / "a.npy", counts())
    found = people.load(folder / "a.npy")
    np.testing.assert_allclose(found, counts() / 50)


def wrong_order():
    return np.roll(counts(), 1, axis=1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: counts()[:100], "shape"),
        (lambda: counts().astype(str), "not people's answers"),
        (lambda: -counts(), "no counts"),
        (lambda: counts() * np.nan, "no counts"),
        (lambda: counts() * 0, "no counts"),
        (wrong_order, "not in the order"),
    ],
)
def test_a_foreign_file_is_refused(folder, content, words):
    np.save(folder / "a.npy", content())
    with pytest.raises(DataError, match=words):
        people.load(folder / "a.npy")


def test_an_archive_is_refused(folder):
    np.savez(folder / "a.npz", counts=counts())
    with pytest.raises(DataError, match="archive of several arrays"):
        people.load(folder / "a.npz")


def test_no_pickle_is_opened(folder):
    np.save(folder / "a.npy", np.array([{"evil": 1}], dtype=object), allow_pickle=True)
    (folder / "b.npy").write_bytes(b"nothing")
    for name in ("a.npy", "b.npy"):
        with pytest.raises(DataError, match="cannot be read"):
            people.load(folder / name)


def test_cross_entropy_by_hand():
    found = people.cross_entropy(np.array([0.75, 0.25]), np.log(np.array([0.5, 0.5])))
    assert found == pytest.approx(np.log(2))
    p = np.array([[0.7, 0.3]])
    assert people.cross_entropy(p, np.log(p))[0] == pytest.approx(entropy(p)[0])


def test_people_who_answer_like_the_teacher_at_some_temperature_are_closest_there():
    logits = np.random.default_rng(1).normal(0, 4, (500, 10))
    for temperature in (0.7, 2.5, 8.0):
        assert people.closest_temperature(soften(logits, temperature), logits) == pytest.approx(temperature, rel=1e-3)
        assert people.closest_temperature(soften(logits[0], temperature), logits[0]) == pytest.approx(
            temperature, rel=1e-3
        )


def test_no_temperature_is_closest_where_people_agree_or_the_network_is_wrong():
    logits = np.array([5.0, 1.0, 0.0])
    assert people.closest_temperature(np.array([1.0, 0, 0]), logits) is None
    assert people.closest_temperature(np.array([0, 0, 1.0]), logits) is None


def test_the_real_file_agrees_with_the_labels(real_root):
    path = people.find()
    if path is None:
        pytest.skip("needs CIFAR-10H: set KDEXPLORER_CIFAR10H")
    agree = people.load(path).argmax(axis=1) == data.load_split("cifar10", "test", real_root).labels
    assert 0.98 < agree.mean() < 1
