"""The CIFAR-10 images that are available without a download."""

from __future__ import annotations

from kdexplorer.datasets import get_dataset
from kdexplorer.datasets.samples import sample_images


def test_sample_images_are_the_first_test_images():
    images, labels, indices = sample_images()
    assert images.shape == (20, 3, 32, 32)
    assert indices.tolist() == list(range(20))
    assert labels[:5].tolist() == [3, 8, 8, 0, 6]  # cat, ship, ship, airplane, frog


def test_sample_images_match_the_test_split(real_root):
    split = get_dataset("cifar10").load("test", root=real_root)
    images, labels, indices = sample_images()
    assert (split.images[indices] == images).all()
    assert (split.labels[indices] == labels).all()
