"""CIFAR-10 and CIFAR-100 from whatever is under the root, in small: the same layouts, fewer images."""

import hashlib
import http.client
import os
import pickle
import shutil
import tarfile
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image
from torchvision import datasets

from kdexplorer.config import RunConfig
from kdexplorer.datasets import get_dataset
from kdexplorer.datasets.base import content_order, hold_out, load_probes
from kdexplorer.errors import DataError
from kdexplorer.studies.collect import load_labels
from tests.images.image_files import encode
from tests.runs.forgery import Marker

CIFAR10, CIFAR100 = get_dataset("cifar10"), get_dataset("cifar100")
IMAGE = np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)
SMALL = {CIFAR10: {"train": 50, "test": 20}, CIFAR100: {"train": 200, "test": 100}}
each_dataset = pytest.mark.parametrize("dataset", SMALL, ids=lambda dataset: dataset.key)


@pytest.fixture
def small(data_folder, monkeypatch, tmp_path):
    """The sizes scaled down, and a cache folder of the test's own."""
    for dataset, sizes in SMALL.items():
        monkeypatch.setattr(dataset, "sizes", sizes)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    return data_folder


def source_images(split, dataset=CIFAR10):
    """Images and labels as a source has them."""
    count = SMALL[dataset][split]
    generator = np.random.default_rng(count)
    images = generator.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    return images, generator.permutation(np.arange(count) % len(dataset.classes))


def small_images(split, dataset=CIFAR10):
    """Images and labels as they are loaded: training images in the order of their content."""
    images, labels = source_images(split, dataset)
    order = content_order(images, labels) if split == "train" else slice(None)
    return images[order], labels[order]


def png(image):
    return encode(Image.fromarray(image.transpose(1, 2, 0)))


def write_parquet(root, split, images, labels, dataset=CIFAR10):
    folder = root / dataset.parquet
    folder.mkdir(exist_ok=True)
    for part, indices in enumerate(np.array_split(np.arange(len(images)), 2)):
        rows = [{"bytes": png(image), "path": None} for image in images[indices]]
        columns = {"img": rows, dataset.label_column: labels[indices], "coarse_label": labels[indices] // 5}
        pyarrow.parquet.write_table(pyarrow.table(columns), folder / f"{split}-{part:05d}-of-00002.parquet")


@pytest.fixture
def parquet(small):
    for split in ("train", "test"):
        write_parquet(small, split, *source_images(split))
    return small


@each_dataset
@pytest.mark.parametrize("split", ["train", "test"])
def test_parquet_is_decoded_once_into_a_memory_mapped_cache(small, split, dataset):
    for part in ("train", "test"):
        write_parquet(small, part, *source_images(part, dataset), dataset)
    calls = []
    loaded = dataset.load(split, lambda *call: calls.append(call))
    images, labels = small_images(split, dataset)
    assert np.array_equal(loaded.images, images)
    assert np.array_equal(loaded.labels, labels)
    assert loaded.classes == dataset.classes
    assert calls[-1] == (len(images), len(images))
    calls.clear()
    again = dataset.load(split, lambda *call: calls.append(call))
    assert calls == []
    assert isinstance(again.images, np.memmap)
    assert np.array_equal(again.images, images)


def test_other_data_never_use_an_old_cache(parquet):
    CIFAR10.load("test")
    images, labels = small_images("test")
    write_parquet(parquet, "test", 255 - images, labels)
    assert np.array_equal(CIFAR10.load("test").images, 255 - images)
    calls = []
    os.utime(parquet / "plain_text" / "test-00000-of-00002.parquet", (1, 1))  # same size, another time
    CIFAR10.load("test", lambda *call: calls.append(call))
    assert calls


def test_a_read_only_root_stays_untouched_and_the_users_cache_is_used(parquet, tmp_path):
    before = sorted(parquet.rglob("*"))
    parquet.chmod(0o555)
    try:
        CIFAR10.load("test")
    finally:
        parquet.chmod(0o755)
    assert sorted(parquet.rglob("*")) == before
    assert len(list((tmp_path / "user-cache" / "kdexplorer").glob("*/test/images.npy"))) == 1


def test_an_interrupted_decoding_leaves_nothing_that_looks_complete(parquet):
    with pytest.raises(KeyboardInterrupt):
        CIFAR10.load("test", Mock(side_effect=KeyboardInterrupt))
    assert list(parquet.rglob("*.npy")) == []
    assert np.array_equal(CIFAR10.load("test").images, small_images("test")[0])


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"garbage"])
def test_a_damaged_cache_says_which_folder_to_delete(parquet, damage):
    CIFAR10.load("test")
    (images,) = parquet.glob(".kdexplorer-cache/*/test/images.npy")
    images.write_bytes(damage)
    with pytest.raises(DataError, match=r"kdexplorer-cache.*delete that folder"):
        CIFAR10.load("test")


def test_missing_data_names_the_path_and_what_to_do(small):
    with pytest.raises(DataError, match=rf"{small}.*data download.*KDEXPLORER_DATA"):
        CIFAR10.load("test")
    write_parquet(small, "train", *small_images("train"))
    assert CIFAR10.find() is None  # one split alone is not the data set


ROW = {"bytes": png(IMAGE), "path": "x.png"}
OTHER = {
    "other columns": {"text": ["a"], "sentiment": [1]},
    "no image at all": {"img": [{"bytes": b"not a PNG", "path": ""}], "label": [1]},
    "one pixel": {"img": [{"bytes": png(IMAGE[:, :1, :1]), "path": ""}], "label": [1]},
    "too many": {"img": [ROW] * 21, "label": [1] * 21},
    "an eleventh class": {"img": [ROW] * 20, "label": np.arange(20) % 11},
    "nine classes": {"img": [ROW] * 20, "label": np.arange(20) % 9},
}


@pytest.mark.parametrize("columns", OTHER.values(), ids=OTHER)
def test_other_parquet_is_refused_and_its_path_named(parquet, columns):
    (parquet / "plain_text" / "test-00001-of-00002.parquet").unlink()
    pyarrow.parquet.write_table(pyarrow.table(columns), parquet / "plain_text" / "test-00000-of-00002.parquet")
    with pytest.raises(DataError, match=rf"{parquet}/plain_text"):
        CIFAR10.load("test")
    assert list(parquet.rglob("*.npy")) == []


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_truncated_parquet_names_the_file(parquet, share):
    file = parquet / "plain_text" / "test-00001-of-00002.parquet"
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(DataError, match=r"test-00001-of-00002\.parquet is damaged.*Fetch it again"):
        CIFAR10.load("test")


def write_batches(root, dataset=CIFAR10, marker=None):
    """The official folder in small."""
    folder, official = root / dataset.folder, getattr(datasets, dataset.torchvision)
    folder.mkdir()
    for split in ("train", "test"):
        images, labels = source_images(split, dataset)
        order = np.arange(len(images))[:: -1 if split == "train" else 1]  # another one than the Parquet files'
        names = [name for name, _ in getattr(official, f"{split}_list")]
        for name, part in zip(names, np.array_split(order, len(names)), strict=True):
            own, groups = labels[part].tolist(), (labels[part] // 5).tolist()
            batch = {"labels": own} if dataset is CIFAR10 else {"fine_labels": own, "coarse_labels": groups}
            batch["data"] = images[part].reshape(len(part), -1)
            (folder / name).write_bytes(pickle.dumps(Marker(marker) if marker else batch))
    (folder / official.meta["filename"]).write_bytes(pickle.dumps({official.meta["key"]: list(dataset.classes)}))


def pack(root, dataset=CIFAR10):
    archive = root / dataset.archive
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(root / dataset.folder, dataset.folder)
    shutil.rmtree(root / dataset.folder)
    return archive


def md5(file):
    return hashlib.md5(file.read_bytes()).hexdigest()


@pytest.fixture
def no_network(monkeypatch):
    for name in ("_urlretrieve", "_get_redirect_url"):
        monkeypatch.setattr(f"torchvision.datasets.utils.{name}", lambda *_, **__: pytest.fail("the network was used"))


def trust(monkeypatch, root, dataset):
    """Makes torchvision expect the small files' checksums."""
    folder, official = root / dataset.folder, getattr(datasets, dataset.torchvision)
    for files in ("train_list", "test_list"):
        monkeypatch.setattr(official, files, [[name, md5(folder / name)] for name, _ in getattr(official, files)])
    monkeypatch.setattr(official, "meta", official.meta | {"md5": md5(folder / official.meta["filename"])})


@each_dataset
@pytest.mark.parametrize("packed", [False, True])
def test_the_official_layout_is_read_when_its_checksums_agree(small, monkeypatch, no_network, packed, dataset):
    write_batches(small, dataset)
    trust(monkeypatch, small, dataset)
    if packed:
        monkeypatch.setattr(getattr(datasets, dataset.torchvision), "tgz_md5", md5(pack(small, dataset)))
    for split in ("train", "test"):
        loaded = dataset.load(split)
        assert np.array_equal(loaded.images, small_images(split, dataset)[0])
        assert np.array_equal(loaded.labels, small_images(split, dataset)[1])
    assert not (packed and (small / dataset.folder).exists())


def test_runs_of_earlier_versions_keep_the_order_of_their_source_and_hold_images_out_of_it(parquet):
    images, labels = source_images("train")
    kept = CIFAR10.load("train", order="source")
    assert np.array_equal(kept.images, images)
    assert np.array_equal(kept.labels, labels)
    held = hold_out(labels, 20)
    assert np.array_equal(load_probes(CIFAR10, 20, "source")[0], images[held])
    student = {"name": "s", "architecture": "resnet8"}
    config = RunConfig(dataset="cifar10", students=[student], holdout=20, image_order="source")
    assert np.array_equal(load_labels(config), labels[held])


@pytest.mark.parametrize("packed", [False, True])
def test_a_wrong_checksum_is_refused_before_anything_is_unpickled(small, no_network, tmp_path, packed):
    write_batches(small, marker=tmp_path / "fired")
    archive = pack(small) if packed else small / "cifar-10-batches-py"
    before = archive.read_bytes() if packed else None
    with pytest.raises(DataError, match=rf"{archive} is damaged or not the official CIFAR-10.*data download"):
        CIFAR10.load("test")
    assert not (tmp_path / "fired").exists()
    assert not packed or archive.read_bytes() == before  # the user's file is theirs


class FakeDownload:
    """In torchvision's place: writes half of what it should, then ends with `error`."""

    error: BaseException | None = None

    def __init__(self, root, download):
        assert download
        folder = Path(root) / "cifar-10-batches-py"
        folder.mkdir()
        (Path(root) / "cifar-10-python.tar.gz").write_bytes(b"half")
        (folder / "data_batch_1").write_bytes(b"half")
        if self.error:
            raise self.error


@pytest.mark.parametrize(
    "error",
    [RuntimeError("File not found or corrupted."), http.client.IncompleteRead(b""), KeyboardInterrupt()],
    ids=lambda error: type(error).__name__,
)
def test_an_interrupted_download_leaves_nothing_that_looks_complete(small, monkeypatch, error):
    monkeypatch.setattr("torchvision.datasets.CIFAR10", type("Failing", (FakeDownload,), {"error": error}))
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else DataError):
        CIFAR10.download()
    assert CIFAR10.find() is None
    assert [path.name for path in small.iterdir()] == [".download.lock"]


def test_a_complete_download_is_moved_in_whole(small, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.CIFAR10", FakeDownload)
    root = small / "new"
    monkeypatch.setenv("KDEXPLORER_DATA", str(root))
    assert CIFAR10.download() == root / "cifar-10-batches-py"
    assert {path.name for path in root.iterdir()} == {"cifar-10-batches-py", ".download.lock"}


def test_a_hundred_classes_are_in_twenty_groups_of_five():
    groups = np.unique(CIFAR100.groups, return_counts=True)
    assert set(groups[1]) == {5}
    assert len(groups[0]) == 20
    assert dict(zip(CIFAR100.classes, CIFAR100.groups, strict=True))["pickup truck"] == "vehicles 1"


def test_cifar10_is_what_was_published(real_root):
    train, test = (CIFAR10.load(split) for split in ("train", "test"))
    assert np.bincount(train.labels).tolist() == [5000] * 10
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert [test.classes[label] for label in test.labels[:5]] == ["cat", "ship", "ship", "airplane", "frog"]
    pixels = np.asarray(train.images[::5]) / np.float32(255)
    np.testing.assert_allclose(pixels.mean(axis=(0, 2, 3)), CIFAR10.normalization.mean, atol=5e-3)
    np.testing.assert_allclose(pixels.std(axis=(0, 2, 3)), CIFAR10.normalization.std, atol=5e-3)
