"""The bundled subset: its content, what happens when it is damaged, and the chosen examples."""

import numpy as np
import pytest

from benchmarks.make_cifar10_small import select
from kdexplorer.analysis.metrics import kl_by_image
from kdexplorer.datasets import available_dataset, cifar10, get_dataset
from kdexplorer.errors import DataError
from kdexplorer.runs.checkpoints import find_checkpoint


def test_it_is_class_balanced_and_light():
    small = get_dataset("cifar10-small")
    train, test = small.load("train"), small.load("test")
    assert np.bincount(train.labels).tolist() == [500] * 10
    assert test.images.shape == (2000, 3, 32, 32)
    assert cifar10.FILE.stat().st_size < 14e6


def test_it_stands_in_for_the_complete_data_where_they_are_missing(monkeypatch):
    cifar10 = get_dataset("cifar10")
    assert available_dataset("cifar10") == "cifar10-small"
    gallery = cifar10.gallery()
    assert np.array_equal(gallery.images, get_dataset("cifar10-small").load("test").images)
    assert np.array_equal(cifar10.test_labels()[:2000], gallery.labels)
    assert len(cifar10.test_labels()) == 10_000
    monkeypatch.setattr(type(cifar10), "is_available", lambda self: True)
    assert available_dataset("cifar10") == "cifar10"


@pytest.mark.parametrize("read", [cifar10.read_images, cifar10.read_labels])
def test_a_file_with_a_changed_byte_is_refused(tmp_path, read):
    content = bytearray(cifar10.FILE.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "subset.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"damaged \(different SHA-256"):
        read("test", tmp_path / "subset.parquet")


def test_it_is_part_of_the_complete_data(real_root):
    complete, _ = select()
    parts = [read(split) for split in ("train", "test") for read in (cifar10.read_images, cifar10.read_labels)]
    assert all(np.array_equal(one, other) for one, other in zip(complete, parts, strict=True))


@pytest.mark.parametrize(
    ("teacher", "student"), [("resnet56", "resnet20"), ("resnet56", "resnet8"), ("resnet50", "resnet18")]
)
def test_each_example_is_recognized_and_argues_for_distillation(teacher, student):
    dataset = get_dataset("cifar10")
    labels = dataset.gallery().labels
    examples = list(dataset.examples)
    assert set(examples) <= set(range(len(labels)))
    names = teacher, f"{student}-response", f"{student}-scratch"
    soft, near, far = (find_checkpoint(name).logits()[examples] for name in names)
    np.testing.assert_array_equal(soft.argmax(1), labels[examples])
    assert (kl_by_image(soft, near, 4.0) < kl_by_image(soft, far, 4.0)).all()
    for index, said in dataset.examples.items():
        assert dataset.classes[labels[index]] in said
