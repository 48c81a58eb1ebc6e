"""CIFAR-10 and CIFAR-100 from whatever is under the root, in small; the bundled part; the labels of annotators."""

import hashlib
import http.client
import os
import pickle
import shutil
import tarfile
from pathlib import Path
from unittest.mock import Mock, call

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image
from torchvision import datasets

from benchmarks.make_cifar10_small import select
from kdexplorer.analysis.metrics import kl_by_image
from kdexplorer.config import RunConfig
from kdexplorer.datasets import available_dataset, cifar10, get_dataset
from kdexplorer.datasets.base import content_order, hold_out, load_probes
from kdexplorer.datasets.cifar10 import HUMAN_VARIABLE, find_human_labels, load_human_labels
from kdexplorer.errors import DataError
from kdexplorer.runs.checkpoints import find_checkpoint
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


def has(loaded, images, labels):
    return np.array_equal(loaded.images, images) and np.array_equal(loaded.labels, labels)


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
def test_parquet_is_decoded_once_into_a_memory_mapped_cache(small, dataset):
    for split in dataset.sizes:
        write_parquet(small, split, *source_images(split, dataset), dataset)
    for split, count in dataset.sizes.items():
        progress = Mock()
        first, again = (dataset.load(split, progress) for _ in range(2))
        assert progress.call_args_list == [call(count // 2, count), call(count, count)]
        assert has(first, *small_images(split, dataset))
        assert has(again, *small_images(split, dataset))
        assert isinstance(again.images, np.memmap)
        assert first.classes == dataset.classes


def test_other_data_never_use_an_old_cache(parquet):
    CIFAR10.load("test")
    images, labels = small_images("test")
    write_parquet(parquet, "test", 255 - images, labels)
    assert np.array_equal(CIFAR10.load("test").images, 255 - images)
    os.utime(parquet / "plain_text" / "test-00000-of-00002.parquet", (1, 1))  # same size, another time
    CIFAR10.load("test", progress := Mock())
    assert progress.called


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
DAMAGED = r"/test-00000-of-00002\.parquet is damaged .*Fetch it again"
OTHER = {
    "other columns": ({"text": ["a"], "sentiment": [1]}, DAMAGED),
    "no image at all": ({"img": [{"bytes": b"not a PNG", "path": ""}], "label": [1]}, DAMAGED),
    "too many": ({"img": [ROW] * 21, "label": [1] * 21}, " is not CIFAR-10"),
    "nine classes": ({"img": [ROW] * 20, "label": np.arange(20) % 9}, " is not CIFAR-10"),
}


@pytest.mark.parametrize(("columns", "words"), OTHER.values(), ids=OTHER)
def test_other_parquet_is_refused_and_its_path_named(parquet, columns, words):
    (parquet / "plain_text" / "test-00001-of-00002.parquet").unlink()
    pyarrow.parquet.write_table(pyarrow.table(columns), parquet / "plain_text" / "test-00000-of-00002.parquet")
    with pytest.raises(DataError, match=rf"{parquet}/plain_text{words}"):
        CIFAR10.load("test")
    assert list(parquet.rglob("*.npy")) == []


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


def trust(monkeypatch, root, dataset):
    """Makes torchvision expect the small files' checksums."""
    folder, official = root / dataset.folder, getattr(datasets, dataset.torchvision)
    for files in ("train_list", "test_list"):
        monkeypatch.setattr(official, files, [[name, md5(folder / name)] for name, _ in getattr(official, files)])
    monkeypatch.setattr(official, "meta", official.meta | {"md5": md5(folder / official.meta["filename"])})


@each_dataset
@pytest.mark.parametrize("packed", [False, True])
def test_the_official_layout_is_read_when_its_checksums_agree(small, monkeypatch, packed, dataset):
    write_batches(small, dataset)
    trust(monkeypatch, small, dataset)
    if packed:
        monkeypatch.setattr(getattr(datasets, dataset.torchvision), "tgz_md5", md5(pack(small, dataset)))
    for split in ("train", "test"):
        assert has(dataset.load(split), *small_images(split, dataset))
    assert not (packed and (small / dataset.folder).exists())


def test_runs_of_earlier_versions_keep_the_order_of_their_source_and_hold_images_out_of_it(parquet):
    images, labels = source_images("train")
    assert has(CIFAR10.load("train", order="source"), images, labels)
    held = hold_out(labels, 20)
    assert np.array_equal(load_probes(CIFAR10, 20, "source")[0], images[held])
    student = {"name": "s", "architecture": "resnet8"}
    config = RunConfig(dataset="cifar10", students=[student], holdout=20, image_order="source")
    assert np.array_equal(load_labels(config), labels[held])


@pytest.mark.parametrize("packed", [False, True])
def test_a_wrong_checksum_is_refused_before_anything_is_unpickled(small, tmp_path, packed):
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


def test_the_bundled_part_is_class_balanced_light_and_replaces_missing_data(monkeypatch):
    small = get_dataset("cifar10-small")
    assert np.bincount(small.load("train").labels).tolist() == [500] * 10
    assert cifar10.FILE.stat().st_size < 14e6
    assert available_dataset("cifar10") == "cifar10-small"
    gallery, labels = CIFAR10.gallery(), CIFAR10.test_labels()
    assert gallery.images.shape == (2000, 3, 32, 32)
    assert np.array_equal(gallery.images, small.load("test").images)
    assert np.array_equal(gallery.labels, labels[:2000])
    assert len(labels) == 10_000
    monkeypatch.setattr(type(CIFAR10), "is_available", lambda self: True)
    assert available_dataset("cifar10") == "cifar10"


@pytest.mark.parametrize("read", [cifar10.read_images, cifar10.read_labels])
def test_a_bundled_file_with_a_changed_byte_is_refused(tmp_path, read):
    content = bytearray(cifar10.FILE.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "subset.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"damaged \(different SHA-256"):
        read("test", tmp_path / "subset.parquet")


def test_the_bundled_part_is_one_of_the_complete_data(real_root):
    complete, _ = select()
    parts = [read(split) for split in ("train", "test") for read in (cifar10.read_images, cifar10.read_labels)]
    assert all(np.array_equal(one, other) for one, other in zip(complete, parts, strict=True))


@pytest.mark.parametrize(
    ("teacher", "student"), [("resnet56", "resnet20"), ("resnet56", "resnet8"), ("resnet50", "resnet18")]
)
def test_each_example_is_recognized_and_argues_for_distillation(teacher, student):
    labels, examples = CIFAR10.gallery().labels, list(CIFAR10.examples)
    names = teacher, f"{student}-response", f"{student}-scratch"
    soft, near, far = (find_checkpoint(name).logits()[examples] for name in names)
    np.testing.assert_array_equal(soft.argmax(1), labels[examples])
    assert (kl_by_image(soft, near, 4.0) < kl_by_image(soft, far, 4.0)).all()
    for index, said in CIFAR10.examples.items():
        assert CIFAR10.classes[labels[index]] in said


def counts():
    """Fifty annotators for each image, most of whom choose its label."""
    found = np.random.default_rng(0).multinomial(10, np.full(10, 0.1), 10_000)
    found[np.arange(10_000), CIFAR10.test_labels()] += 40
    return found


@pytest.mark.parametrize("place", ["data", "cifar10h", "data/cifar10h"])
def test_human_labels_are_beside_the_data_or_where_the_variable_says(data_folder, place, tmp_path, monkeypatch):
    assert find_human_labels() is None
    file, mine = data_folder.parent / place / "cifar10h-counts.npy", tmp_path / "mine.npy"
    file.parent.mkdir(exist_ok=True)
    for one in (file, mine):
        one.touch()
    assert find_human_labels() == file
    for given, expected in ((mine, mine), (file.parent, file)):
        monkeypatch.setenv(HUMAN_VARIABLE, str(given))
        assert find_human_labels() == expected
    monkeypatch.setenv(HUMAN_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"nowhere, but cifar10h-counts\.npy is not there"):
        CIFAR10.human_labels()


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
def test_what_are_no_human_labels_is_refused(tmp_path, write, words):
    with open(tmp_path / "a.npy", "wb") as file:
        write(file)
    with pytest.raises(DataError, match=words):
        load_human_labels(tmp_path / "a.npy")


def test_the_real_human_labels_agree_with_the_labels(real_root):
    path = find_human_labels()
    if path is None:
        pytest.skip("needs CIFAR-10H: set KDEXPLORER_CIFAR10H")
    agree = load_human_labels(path).argmax(axis=1) == CIFAR10.load("test").labels
    assert 0.98 < agree.mean() < 1
