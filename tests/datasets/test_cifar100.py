"""CIFAR-100 in its two official formats, in small: the archive of pickled batches and the hub's Parquet files."""

import hashlib
import pickle
import tarfile

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from torchvision import datasets

from kdexplorer.datasets import get_dataset
from kdexplorer.datasets.base import content_order
from tests.datasets.test_cifar10 import draw_images, png

CIFAR100 = get_dataset("cifar100")
SMALL = {"train": 200, "test": 100}


@pytest.fixture
def root(monkeypatch, tmp_path):
    for split, size in SMALL.items():
        monkeypatch.setitem(CIFAR100.sizes, split, size)
    monkeypatch.setenv("KDEXPLORER_DATA", str(tmp_path))
    return tmp_path


def images(split):
    return draw_images(SMALL[split], 100)


def write_parquet(root):
    (root / "cifar100").mkdir()
    for split in SMALL:
        pixels, labels = images(split)
        rows = [{"bytes": png(one), "path": None} for one in pixels]
        table = pyarrow.table({"img": rows, "fine_label": labels, "coarse_label": labels // 5})
        pyarrow.parquet.write_table(table, root / "cifar100" / f"{split}-00000-of-00001.parquet")


def write_archive(root, monkeypatch):
    folder = root / "cifar-100-python"
    folder.mkdir()
    for split in SMALL:
        pixels, labels = images(split)
        batch = {"data": pixels.reshape(len(pixels), -1), "fine_labels": labels.tolist()}
        (folder / split).write_bytes(pickle.dumps(batch | {"coarse_labels": (labels // 5).tolist()}))
    names = {"fine_label_names": [name.replace(" ", "_") for name in CIFAR100.classes]}
    (folder / "meta").write_bytes(pickle.dumps(names))
    sums = {file.name: hashlib.md5(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    for split in SMALL:
        monkeypatch.setattr(datasets.CIFAR100, f"{split}_list", [[split, sums[split]]])
    monkeypatch.setattr(datasets.CIFAR100, "meta", datasets.CIFAR100.meta | {"md5": sums["meta"]})
    archive = root / "cifar-100-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    monkeypatch.setattr(datasets.CIFAR100, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())


@pytest.mark.parametrize("packed", [False, True], ids=["Parquet", "archive"])
def test_both_formats_give_the_same_images_with_the_fine_labels(root, monkeypatch, packed):
    if packed:
        write_archive(root, monkeypatch)
    else:
        write_parquet(root)
    for split in SMALL:
        pixels, labels = images(split)
        order = content_order(pixels, labels) if split == "train" else slice(None)
        loaded = CIFAR100.load(split)
        assert np.array_equal(loaded.images, pixels[order])
        assert np.array_equal(loaded.labels, labels[order])


def test_the_archive_is_verified_against_the_published_md5():
    assert datasets.CIFAR100.tgz_md5 == "eb9058c3a382ffc7106e4002c42a8d85"
    assert datasets.CIFAR100.filename == CIFAR100.archive


def test_a_hundred_classes_are_in_twenty_groups_of_five():
    assert len(set(CIFAR100.classes)) == 100
    groups = np.unique(CIFAR100.groups, return_counts=True)
    assert set(groups[1]) == {5}
    assert len(groups[0]) == 20
    assert dict(zip(CIFAR100.classes, CIFAR100.groups, strict=True))["pickup truck"] == "vehicles 1"
