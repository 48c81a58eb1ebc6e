"""CIFAR-10 from whatever is under the root, in small: the same layouts, fewer images."""

import contextlib
import hashlib
import http.client
import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from kdexplorer.datasets import get_dataset
from kdexplorer.datasets.augmentation import augment
from kdexplorer.datasets.base import sample_class_balanced
from kdexplorer.datasets.cifar10 import content_order
from kdexplorer.errors import DataError
from tests.runs.forgery import Marker

CIFAR10 = get_dataset("cifar10")
IMAGE = np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)
SMALL = {"train": 50, "test": 20}


@pytest.fixture
def small(monkeypatch, tmp_path):
    """CIFAR-10's sizes scaled down, and a cache folder of the test's own."""
    for split, size in SMALL.items():
        monkeypatch.setitem(CIFAR10.sizes, split, size)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    root = tmp_path / "data"
    root.mkdir()
    monkeypatch.setenv("KDEXPLORER_DATA", str(root))
    return root


def draw_images(count, classes):
    """Images and labels as a source has them."""
    generator = np.random.default_rng(count)
    images = generator.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    return images, generator.permutation(np.arange(count) % classes)


def source_images(split):
    return draw_images(SMALL[split], 10)


def small_images(split):
    """Images and labels as they are loaded: training images in the order of their content."""
    images, labels = source_images(split)
    order = content_order(images, labels) if split == "train" else slice(None)
    return images[order], labels[order]


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def write_parquet(root, split, images, labels, files=1):
    folder = root / "plain_text"
    folder.mkdir(exist_ok=True)
    rows = [{"bytes": png(image), "path": None} for image in images]
    for part, indices in enumerate(np.array_split(np.arange(len(rows)), files)):
        table = pyarrow.table({"img": [rows[i] for i in indices], "label": [labels[i] for i in indices]})
        pyarrow.parquet.write_table(table, folder / f"{split}-{part:05d}-of-{files:05d}.parquet")


@pytest.fixture
def parquet(small):
    for split in SMALL:
        write_parquet(small, split, *source_images(split), files=2)
    return small


@pytest.mark.parametrize("split", ["train", "test"])
def test_parquet_is_decoded_once_into_a_memory_mapped_cache(parquet, split):
    calls = []
    loaded = CIFAR10.load(split, lambda *call: calls.append(call))
    images, labels = small_images(split)
    assert np.array_equal(loaded.images, images)
    assert np.array_equal(loaded.labels, labels)
    assert loaded.classes == CIFAR10.classes
    assert calls[-1] == (SMALL[split], SMALL[split])
    assert (parquet / ".kdexplorer-cache").is_dir()

    calls.clear()
    again = CIFAR10.load(split, lambda *call: calls.append(call))
    assert calls == []
    assert isinstance(again.images, np.memmap)
    assert np.array_equal(again.images, images)


def test_other_data_never_use_an_old_cache(parquet):
    CIFAR10.load("test")
    images, labels = small_images("test")
    write_parquet(parquet, "test", 255 - images, labels, files=2)
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
    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CIFAR10.load("test", interrupt)
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
    "bytes instead of a struct": {"img": [ROW["bytes"]], "label": [1]},
    "no image at all": {"img": [{"bytes": b"not a PNG", "path": ""}], "label": [1]},
    "a broken PNG": {"img": [{"bytes": ROW["bytes"][:100], "path": ""}], "label": [1]},
    "one pixel": {"img": [{"bytes": png(IMAGE[:, :1, :1]), "path": ""}], "label": [1]},
    "too many": {"img": [ROW] * 21, "label": [1] * 21},
    "an eleventh class": {"img": [ROW] * 10, "label": [10] * 10},
    "nine classes": {"img": [ROW] * 10, "label": [0] * 10},
}


@pytest.mark.parametrize("columns", OTHER.values(), ids=OTHER)
def test_other_parquet_is_refused_and_its_path_named(parquet, columns):
    if len(columns.get("label", [])) == 10:  # the right count; only the classes are wrong
        labels = np.arange(10) if columns["label"][0] == 10 else np.arange(10) % 9
        images = np.repeat(IMAGE[None], 10, axis=0)
        write_parquet(parquet, "test", np.concatenate([images, images]), np.concatenate([labels, labels]), files=2)
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


# --- The official archive ---------------------------------------------------------------------------------


def write_batches(root, marker=None):
    """The official folder in small; returns the MD5 of each of its files."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    train, test = source_images("train"), source_images("test")
    train = tuple(part[::-1] for part in train)  # another order than the Parquet files'
    parts = {f"data_batch_{k + 1}": (train[0][k * 10 : k * 10 + 10], train[1][k * 10 : k * 10 + 10]) for k in range(5)}
    sums = {}
    for name, (images, labels) in {**parts, "test_batch": test}.items():
        batch = {"data": images.reshape(len(images), -1), "labels": labels.tolist()}
        (folder / name).write_bytes(pickle.dumps(Marker(marker) if marker else batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(CIFAR10.classes)}))
    for file in folder.iterdir():
        sums[file.name] = hashlib.md5(file.read_bytes()).hexdigest()
    return sums


def pack(root):
    archive = root / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(root / "cifar-10-batches-py", "cifar-10-batches-py")
    for file in (root / "cifar-10-batches-py").iterdir():
        file.unlink()
    (root / "cifar-10-batches-py").rmdir()
    return archive


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        pytest.fail("the network was used")

    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", refuse)
    monkeypatch.setattr("torchvision.datasets.utils._get_redirect_url", refuse)


def trust(monkeypatch, sums):
    """Makes torchvision expect the small archive's checksums."""
    from torchvision import datasets

    monkeypatch.setattr(
        datasets.CIFAR10, "train_list", [[f"data_batch_{k}", sums[f"data_batch_{k}"]] for k in range(1, 6)]
    )
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(datasets.CIFAR10, "meta", datasets.CIFAR10.meta | {"md5": sums["batches.meta"]})


@pytest.mark.parametrize("packed", [False, True])
def test_the_official_layout_is_read_when_its_checksums_agree(small, monkeypatch, no_network, packed):
    from torchvision import datasets

    trust(monkeypatch, write_batches(small))
    if packed:
        monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", hashlib.md5(pack(small).read_bytes()).hexdigest())
    for split in SMALL:
        loaded = CIFAR10.load(split)
        assert np.array_equal(loaded.images, small_images(split)[0])
        assert np.array_equal(loaded.labels, small_images(split)[1])
    assert not (packed and (small / "cifar-10-batches-py").exists())


def test_every_source_gives_the_same_pixels_for_the_same_step(parquet, monkeypatch, tmp_path, no_network):
    """The archive has the training images in another order than the Parquet files, the subset is drawn from either."""
    import torch

    archive = tmp_path / "archive"
    archive.mkdir()
    trust(monkeypatch, write_batches(archive))
    loaded = [CIFAR10.load("train")]
    monkeypatch.setenv("KDEXPLORER_DATA", str(archive))
    loaded.append(CIFAR10.load("train"))
    assert np.array_equal(loaded[0].images, loaded[1].images)
    assert np.array_equal(loaded[0].labels, loaded[1].labels)
    subsets = [split.take(sample_class_balanced(split.labels, 20, seed=1)) for split in loaded]
    batches = [
        augment(torch.from_numpy(subset.images), np.arange(8), seed=3, epoch=1, step=2, padding=4, flip="random")
        for subset in subsets
    ]
    assert torch.equal(*batches)


def test_runs_of_earlier_versions_keep_the_order_of_their_source(parquet, monkeypatch, tmp_path, no_network):
    images, labels = source_images("train")
    kept = CIFAR10.load("train", order="source")
    assert np.array_equal(kept.images, images)
    assert np.array_equal(kept.labels, labels)


@pytest.mark.parametrize("packed", [False, True])
def test_a_wrong_checksum_is_refused_before_anything_is_unpickled(small, no_network, tmp_path, packed):
    write_batches(small, tmp_path / "fired")
    archive = pack(small) if packed else small / "cifar-10-batches-py"
    before = archive.read_bytes() if packed else None
    with pytest.raises(DataError, match=rf"{archive} is damaged or not the official CIFAR-10.*data download"):
        CIFAR10.load("test")
    assert not (tmp_path / "fired").exists()
    assert not packed or archive.read_bytes() == before  # the user's file is theirs


@pytest.mark.parametrize("content", [b"", b"<html>404</html>"])
def test_a_file_that_is_no_archive_is_refused(small, no_network, content):
    (small / "cifar-10-python.tar.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz is damaged"):
        CIFAR10.load("train")


class FakeDownload:
    """In torchvision's place: writes half of what it should, then ends with `error`."""

    error: BaseException | None = None

    def __init__(self, root, download):
        assert download
        with contextlib.suppress(FileExistsError):
            folder = Path(root) / "cifar-10-batches-py"
            folder.mkdir()
        (Path(root) / "cifar-10-python.tar.gz").write_bytes(b"half")
        (folder / "data_batch_1").write_bytes(b"half")
        if self.error:
            raise self.error


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("File not found or corrupted."),
        http.client.IncompleteRead(b""),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_interrupted_download_leaves_nothing_that_looks_complete(small, monkeypatch, error):
    monkeypatch.setattr("torchvision.datasets.CIFAR10", type("Failing", (FakeDownload,), {"error": error}))
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else DataError
    with pytest.raises(expected):
        CIFAR10.download()
    assert CIFAR10.find() is None
    assert [path.name for path in small.iterdir()] == [".download.lock"]


def test_a_complete_download_is_moved_in_whole(small, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.CIFAR10", FakeDownload)
    root = small / "new"
    monkeypatch.setenv("KDEXPLORER_DATA", str(root))
    assert CIFAR10.download() == root / "cifar-10-batches-py"
    assert {path.name for path in root.iterdir()} == {"cifar-10-batches-py", ".download.lock"}


# --- The real one -----------------------------------------------------------------------------------------


def test_cifar10_is_what_was_published(real_root):
    train, test = (CIFAR10.load(split) for split in ("train", "test"))
    assert np.bincount(train.labels).tolist() == [5000] * 10
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert [test.classes[label] for label in test.labels[:5]] == ["cat", "ship", "ship", "airplane", "frog"]
    pixels = np.asarray(train.images[::5]) / np.float32(255)
    np.testing.assert_allclose(pixels.mean(axis=(0, 2, 3)), CIFAR10.normalization.mean, atol=5e-3)
    np.testing.assert_allclose(pixels.std(axis=(0, 2, 3)), CIFAR10.normalization.std, atol=5e-3)
