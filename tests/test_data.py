"""Images and labels: synthetic, augmented, and CIFAR-10 from whatever lies under the root."""

import contextlib
import hashlib
import http.client
import io
import os
import pickle
import tarfile
import time

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kdexplorer import data
from kdexplorer.errors import DataError

# --- Synthetic --------------------------------------------------------------------------------------------


def test_synthetic_images_are_cifar_shaped_balanced_and_follow_from_the_seed():
    first, same, other = data.synthetic(200, seed=1), data.synthetic(200, seed=1), data.synthetic(200, seed=2)
    assert (first.images.shape, first.images.dtype, first.labels.dtype) == ((200, 3, 32, 32), np.uint8, np.int64)
    assert np.bincount(first.labels).tolist() == [20] * 10
    assert len(first.classes) == 10
    assert np.array_equal(first.images, same.images)
    assert np.array_equal(first.labels, same.labels)
    assert not np.array_equal(first.images, other.images)


def test_synthetic_splits_differ_and_load_through_the_same_door(tiny):
    calls = []
    train = data.load_split("synthetic", "train", progress=lambda done, total: calls.append((done, total)))
    test = data.load_split("synthetic", "test")
    assert (len(train), len(test)) == (300, 120)
    assert calls == [(300, 300)]
    seen = {image.tobytes() for image in train.images}
    assert not any(image.tobytes() in seen for image in test.images)


def test_some_synthetic_classes_are_alike():
    """With everything else the same, a shape's frame is among its two nearest neighbours and close."""
    images = [data._draw(np.full(100, label), np.random.default_rng(0)).astype(float) for label in range(10)]
    distance = np.array([[np.abs(a - b).mean() for b in images] for a in images])
    for label in range(10):
        partner, order = label ^ 1, np.argsort(distance[label])
        others = [k for k in range(10) if k not in (label, partner)]
        assert partner in order[1:3]
        assert distance[label, partner] < 0.7 * distance[label, others].mean()
    assert distance[~np.eye(10, dtype=bool)].min() > 1


# --- Batches ----------------------------------------------------------------------------------------------

NOISE = np.random.default_rng(0).integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)


def augment(indices=None, seed=0, epoch=0, step=0, padding=4, flip="random"):
    indices = np.arange(len(NOISE)) if indices is None else np.array(indices)
    return data.augmented(torch.from_numpy(NOISE), indices, seed, epoch, step, padding, flip).numpy()


def windows(image, padding):
    """Every crop of the reflected image, as it is and mirrored: bytes -> (row, column, mirrored)."""
    padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)), mode="reflect")
    found = {}
    for row in range(2 * padding + 1):
        for column in range(2 * padding + 1):
            crop = padded[:, row : row + 32, column : column + 32]
            found[crop.tobytes()] = (row, column, False)
            found[np.ascontiguousarray(crop[:, :, ::-1]).tobytes()] = (row, column, True)
    return found


def test_a_crop_is_a_window_of_the_reflected_image_and_every_shift_occurs():
    places = []
    choices = [windows(image, 2) for image in NOISE]
    for step in range(40):
        batch = augment(step=step, padding=2)
        places += [choices[index][image.tobytes()] for index, image in enumerate(batch)]
    rows, columns, mirrored = (set(values) for values in zip(*places, strict=True))
    assert (rows, columns, mirrored) == (set(range(5)), set(range(5)), {False, True})
    assert len(set(places)) == 50


@pytest.mark.parametrize("padding", [4, 8])
def test_large_crops_are_windows_too(padding):
    for index, image in enumerate(augment(padding=padding)):
        assert image.tobytes() in windows(NOISE[index], padding)


def test_augmentation_follows_from_seed_epoch_and_step_alone():
    batch = augment(seed=1, epoch=2, step=3)
    augment(seed=9)
    assert np.array_equal(augment(seed=1, epoch=2, step=3), batch)
    for change in ({"seed": 2}, {"epoch": 4}, {"step": 4}):
        assert not np.array_equal(augment(**({"seed": 1, "epoch": 2, "step": 3} | change)), batch)


def test_alternating_flips_show_each_image_either_way_in_turn():
    epochs = [augment(epoch=epoch, step=epoch, padding=0, flip="alternating") for epoch in range(4)]
    assert np.array_equal(epochs[1], epochs[0][..., ::-1])
    assert np.array_equal(epochs[2], epochs[0])
    assert np.array_equal(epochs[3], epochs[1])
    as_it_is = [np.array_equal(image, original) for image, original in zip(epochs[0], NOISE, strict=True)]
    assert 2 <= sum(as_it_is) <= 10
    shuffled = [5, 0, 11]
    alone = augment(shuffled, step=7, padding=0, flip="alternating")
    assert np.array_equal(alone, epochs[0][shuffled])  # an image's turn does not depend on its place in a batch


def test_no_augmentation_gives_the_images_that_were_asked_for():
    assert np.array_equal(augment([3, 3, 1], padding=0, flip="none"), NOISE[[3, 3, 1]])


def test_half_the_size_is_an_antialiased_tent_and_the_same_before_or_after_normalising():
    """At half the size a pixel is the tent filter's (1, 3, 3, 1) / 8 of the four that it covers, in each direction."""
    image = torch.from_numpy(NOISE[:2]).contiguous(memory_format=torch.channels_last)
    tent, expected = np.array([1, 3, 3, 1]) / 8, np.empty((2, 3, 14, 14))  # away from the rim
    for row in range(14):
        for column in range(14):
            window = NOISE[:2, :, 2 * row + 1 : 2 * row + 5, 2 * column + 1 : 2 * column + 5]
            expected[:, :, row, column] = np.einsum("bcij,i,j->bc", window, tent, tent)
    small = data.scaled(image.float(), 16)
    np.testing.assert_allclose(small[:, :, 1:-1, 1:-1], expected, rtol=1e-5)
    normalisation = data.NORMALISATION["cifar10"]
    after = data.scaled(data.normalise(image, normalisation), 16)
    mean, std = (torch.tensor(normalisation[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    torch.testing.assert_close(after, (small / 255 - mean) / std, rtol=1e-4, atol=1e-5)
    assert after.is_contiguous(memory_format=torch.channels_last)


def test_images_of_the_size_that_is_asked_for_are_left_alone():
    image = torch.from_numpy(NOISE).float()
    assert data.scaled(image, 32) is image


@pytest.mark.parametrize("side", [8, 20, 28])
def test_an_even_image_stays_even_at_every_size(side):
    image = torch.full((2, 3, 32, 32), 0.3)
    torch.testing.assert_close(data.scaled(image, side), torch.full((2, 3, side, side), 0.3))


@given(st.integers(1, 300), st.integers(0, 2**31 - 1), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_an_epochs_order_is_a_permutation(count, seed, epoch):
    order = data.epoch_order(count, seed, epoch)
    assert np.array_equal(np.sort(order), np.arange(count))
    assert np.array_equal(order, data.epoch_order(count, seed, epoch))


def test_each_epoch_and_seed_has_an_order_of_its_own():
    orders = [data.epoch_order(50, seed, epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


def test_a_balanced_part_has_as_many_of_each_class():
    labels = np.repeat(np.arange(10), 30)
    indices = data.class_balanced(labels, 100, seed=0)
    assert np.bincount(labels[indices]).tolist() == [10] * 10
    assert len(set(indices.tolist())) == 100
    assert np.array_equal(indices, data.class_balanced(labels, 100, seed=0))
    assert not np.array_equal(indices, data.class_balanced(labels, 100, seed=1))
    counts = np.bincount(labels[data.class_balanced(labels, 45, seed=0)])
    assert set(counts.tolist()) == {4, 5}


def test_normalise_scales_to_the_networks_mean_and_spread():
    normalisation = {"mean": [0.5, 0.25, 0.0], "std": [0.5, 0.25, 1.0]}
    images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 2, 2)
    result = data.normalise(images, normalisation)
    torch.testing.assert_close(result[:, :, 0, 0], torch.tensor([[-1.0, -1.0, 0.0], [1.0, 3.0, 1.0]]))
    assert result.is_contiguous(memory_format=torch.channels_last)


# --- CIFAR-10 in small: the same layouts, fewer images ----------------------------------------------------

SMALL = {"train": 50, "test": 20}


@pytest.fixture
def small(monkeypatch, tmp_path):
    """CIFAR-10's sizes scaled down, and a cache folder of the test's own."""
    for split, size in SMALL.items():
        monkeypatch.setitem(data.SIZES, split, size)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    root = tmp_path / "data"
    root.mkdir()
    return root


def small_images(split):
    generator = np.random.default_rng(SMALL[split])
    images = generator.integers(0, 256, (SMALL[split], 3, 32, 32), dtype=np.uint8)
    return images, generator.permutation(np.arange(SMALL[split]) % 10)


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
        write_parquet(small, split, *small_images(split), files=2)
    return small


@pytest.mark.parametrize("split", ["train", "test"])
def test_parquet_is_decoded_once_into_a_memory_mapped_cache(parquet, split):
    calls = []
    loaded = data.load_split("cifar10", split, parquet, lambda *call: calls.append(call))
    images, labels = small_images(split)
    assert np.array_equal(loaded.images, images)
    assert np.array_equal(loaded.labels, labels)
    assert loaded.classes == data.CIFAR10_CLASSES
    assert calls[-1] == (SMALL[split], SMALL[split])
    assert (parquet / ".kdexplorer-cache").is_dir()

    calls.clear()
    again = data.load_split("cifar10", split, parquet, lambda *call: calls.append(call))
    assert calls == []
    assert isinstance(again.images, np.memmap)
    assert np.array_equal(again.images, images)


def test_other_data_never_meet_an_old_cache(parquet):
    data.load_split("cifar10", "test", parquet)
    images, labels = small_images("test")
    write_parquet(parquet, "test", 255 - images, labels, files=2)
    assert np.array_equal(data.load_split("cifar10", "test", parquet).images, 255 - images)
    calls = []
    os.utime(parquet / "plain_text" / "test-00000-of-00002.parquet", (1, 1))  # same size, another time
    data.load_split("cifar10", "test", parquet, lambda *call: calls.append(call))
    assert calls


def test_a_read_only_root_stays_untouched_and_the_users_cache_is_used(parquet, tmp_path):
    before = sorted(parquet.rglob("*"))
    parquet.chmod(0o555)
    try:
        data.load_split("cifar10", "test", parquet)
    finally:
        parquet.chmod(0o755)
    assert sorted(parquet.rglob("*")) == before
    assert len(list((tmp_path / "user-cache" / "kdexplorer").glob("*/test/images.npy"))) == 1


def test_an_interrupted_decoding_leaves_nothing_that_looks_complete(parquet):
    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        data.load_split("cifar10", "test", parquet, interrupt)
    assert list(parquet.rglob("*.npy")) == []
    assert np.array_equal(data.load_split("cifar10", "test", parquet).images, small_images("test")[0])


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"garbage"])
def test_a_damaged_cache_says_which_folder_to_delete(parquet, damage):
    data.load_split("cifar10", "test", parquet)
    (images,) = parquet.glob(".kdexplorer-cache/*/test/images.npy")
    images.write_bytes(damage)
    with pytest.raises(DataError, match=r"kdexplorer-cache.*delete that folder"):
        data.load_split("cifar10", "test", parquet)


def test_missing_data_names_the_path_and_what_to_do(small, monkeypatch):
    monkeypatch.setenv("KDEXPLORER_DATA", str(small))
    with pytest.raises(DataError, match=rf"{small}.*data download.*KDEXPLORER_DATA"):
        data.load_split("cifar10", "test")
    write_parquet(small, "train", *small_images("train"))
    assert data.find_cifar10(small) is None  # one split alone is not the data set


def _foreign(root, columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), root / "plain_text" / "test-00000-of-00002.parquet")


IMAGE = {"bytes": png(NOISE[0]), "path": "x.png"}
FOREIGN = {
    "other columns": {"text": ["a"], "sentiment": [1]},
    "bytes instead of a struct": {"img": [IMAGE["bytes"]], "label": [1]},
    "no image at all": {"img": [{"bytes": b"not a PNG", "path": ""}], "label": [1]},
    "null": {"img": [{"bytes": None, "path": ""}, IMAGE], "label": [1, 1]},
    "a broken PNG": {"img": [{"bytes": IMAGE["bytes"][:100], "path": ""}], "label": [1]},
    "one pixel": {"img": [{"bytes": png(NOISE[0][:, :1, :1]), "path": ""}], "label": [1]},
    "labels in words": {"img": [IMAGE], "label": ["cat"]},
    "too many": {"img": [IMAGE] * 21, "label": [1] * 21},
    "too few": {"img": [IMAGE], "label": [1]},
    "an eleventh class": {"img": [IMAGE] * 10, "label": [10] * 10},
    "nine classes": {"img": [IMAGE] * 10, "label": [0] * 10},
}


@pytest.mark.parametrize("columns", FOREIGN.values(), ids=FOREIGN)
def test_foreign_parquet_names_the_path(parquet, columns):
    if len(columns.get("label", [])) == 10:  # the right count, of which half is foreign
        labels = np.arange(10) if columns["label"][0] == 10 else np.arange(10) % 9
        images = np.repeat(NOISE[:1], 10, axis=0)
        write_parquet(parquet, "test", np.concatenate([images, images]), np.concatenate([labels, labels]), files=2)
    _foreign(parquet, columns)
    with pytest.raises(DataError, match=rf"{parquet}/plain_text"):
        data.load_split("cifar10", "test", parquet)
    assert list(parquet.rglob("*.npy")) == []


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_truncated_parquet_names_the_file(parquet, share):
    file = parquet / "plain_text" / "test-00001-of-00002.parquet"
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(DataError, match=r"test-00001-of-00002\.parquet is damaged.*Fetch it again"):
        data.load_split("cifar10", "test", parquet)


# --- The official archive ---------------------------------------------------------------------------------


class Marker:
    """Unpickled, it would leave a file: what is not verified must not be unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def write_batches(root, marker=None):
    """The official folder in small; returns the MD5 of each of its files."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    train, test = small_images("train"), small_images("test")
    parts = {f"data_batch_{k + 1}": (train[0][k * 10 : k * 10 + 10], train[1][k * 10 : k * 10 + 10]) for k in range(5)}
    sums = {}
    for name, (images, labels) in {**parts, "test_batch": test}.items():
        batch = {"data": images.reshape(len(images), -1), "labels": labels.tolist()}
        (folder / name).write_bytes(pickle.dumps(Marker(marker) if marker else batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(data.CIFAR10_CLASSES)}))
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
        pytest.fail("the network was asked")

    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", refuse)
    monkeypatch.setattr("torchvision.datasets.utils._get_redirect_url", refuse)


@pytest.mark.parametrize("packed", [False, True])
def test_the_official_layout_is_read_when_its_checksums_agree(small, monkeypatch, no_network, packed):
    from torchvision.datasets import CIFAR10

    sums = write_batches(small)
    monkeypatch.setattr(CIFAR10, "train_list", [[f"data_batch_{k}", sums[f"data_batch_{k}"]] for k in range(1, 6)])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": sums["batches.meta"]})
    if packed:
        monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(pack(small).read_bytes()).hexdigest())
    for split in SMALL:
        loaded = data.load_split("cifar10", split, small)
        assert np.array_equal(loaded.images, small_images(split)[0])
        assert np.array_equal(loaded.labels, small_images(split)[1])
    assert not (packed and (small / "cifar-10-batches-py").exists())


@pytest.mark.parametrize("packed", [False, True])
def test_a_wrong_checksum_is_refused_before_anything_is_unpickled(small, no_network, tmp_path, packed):
    write_batches(small, tmp_path / "fired")
    archive = pack(small) if packed else small / "cifar-10-batches-py"
    before = archive.read_bytes() if packed else None
    with pytest.raises(DataError, match=rf"{archive} is damaged or not the official CIFAR-10.*data download"):
        data.load_split("cifar10", "test", small)
    assert not (tmp_path / "fired").exists()
    assert not packed or archive.read_bytes() == before  # the user's file is theirs


@pytest.mark.parametrize("content", [b"", b"<html>404</html>"])
def test_a_file_that_is_no_archive_is_refused(small, no_network, content):
    (small / "cifar-10-python.tar.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz is damaged"):
        data.load_split("cifar10", "train", small)


class FakeDownload:
    """In torchvision's place: writes half of what it should, then ends as it is told."""

    error: BaseException | None = None

    def __init__(self, root, download):
        assert download
        with contextlib.suppress(FileExistsError):
            folder = data.Path(root) / "cifar-10-batches-py"
            folder.mkdir()
        (data.Path(root) / "cifar-10-python.tar.gz").write_bytes(b"half")
        (folder / "data_batch_1").write_bytes(b"half")
        if self.error:
            raise self.error


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("File not found or corrupted."),
        OSError("connection reset"),
        EOFError("compressed file ended"),
        http.client.IncompleteRead(b""),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_interrupted_download_leaves_nothing_that_looks_complete(small, monkeypatch, error):
    monkeypatch.setattr("torchvision.datasets.CIFAR10", type("Failing", (FakeDownload,), {"error": error}))
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else DataError
    with pytest.raises(expected):
        data.download_cifar10(small)
    assert data.find_cifar10(small) is None
    assert list(small.iterdir()) == []


def test_a_complete_download_is_moved_in_whole(small, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.CIFAR10", FakeDownload)
    root = small / "new"
    assert data.download_cifar10(root) == root / "cifar-10-batches-py"
    assert [path.name for path in root.iterdir()] == ["cifar-10-batches-py"]


# --- The real one -----------------------------------------------------------------------------------------


def test_cifar10_is_what_was_published_and_loads_at_once(real_root):
    train, test = (data.load_split("cifar10", split, real_root) for split in ("train", "test"))
    assert np.bincount(train.labels).tolist() == [5000] * 10
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert [test.classes[label] for label in test.labels[:5]] == ["cat", "ship", "ship", "airplane", "frog"]
    pixels = np.asarray(train.images[::5]) / np.float32(255)
    np.testing.assert_allclose(pixels.mean(axis=(0, 2, 3)), data.NORMALISATION["cifar10"]["mean"], atol=5e-3)
    np.testing.assert_allclose(pixels.std(axis=(0, 2, 3)), data.NORMALISATION["cifar10"]["std"], atol=5e-3)
    begin = time.process_time()
    data.load_split("cifar10", "train", real_root)
    assert time.process_time() - begin < 0.5


@pytest.mark.parametrize("flip", ["alternating", "random", "none"])
def test_a_part_of_a_batch_is_what_the_whole_batch_has_there(flip):
    images = torch.from_numpy(data.synthetic(60).images)
    indices = data.epoch_order(60, seed=1, epoch=2)[:12]
    whole = data.augmented(images, indices, 1, 2, 3, 4, flip)
    parts = [data.augmented(images, indices, 1, 2, 3, 4, flip, slice(start, start + 4)) for start in (0, 4, 8)]
    assert torch.equal(torch.cat(parts), whole)
