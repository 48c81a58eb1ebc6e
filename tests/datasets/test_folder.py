"""A folder of one's own images as a data set: what is read, what is said before training, and what replacing does."""

import os

import numpy as np
import pytest
from PIL import Image

from kdexplorer.analysis.evaluate import evaluate_checkpoint
from kdexplorer.analysis.results import describe_evaluation
from kdexplorer.config import RunConfig
from kdexplorer.datasets import all_datasets, get_dataset
from kdexplorer.datasets.synthetic import draw_shapes
from kdexplorer.errors import ConfigError, DataError
from kdexplorer.runs.checkpoints import run_checkpoints
from kdexplorer.runs.run_folder import list_runs

CLASSES = ("disc", "ring", "square")


def write(folder, count=20, seed=0):
    """`count` pictures of each class."""
    drawn, suffixes = draw_shapes(10 * count, seed), ("png", "jpg", "webp")
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, pixels in enumerate(drawn.images[drawn.labels == label]):
            image = Image.fromarray(pixels.transpose(1, 2, 0)).resize((50, 50 + number))
            image.save(folder / name / f"{seed}-{number}.{suffixes[number % len(suffixes)]}")


def read(folder):
    get_dataset(f"folder:{folder}").prepare()
    return get_dataset(f"folder:{folder}")


def test_a_folder_of_classes_is_divided_by_content(tmp_path):
    write(tmp_path / "shapes")
    found = read(tmp_path / "shapes")
    train, test = found.load("train"), found.load("test")
    assert found.classes == train.classes == CLASSES
    assert found.sizes == {"train": len(train), "test": len(test)}
    assert len(train) + len(test) == 60
    assert (train.images.shape[1:], train.images.dtype) == ((3, 32, 32), np.uint8)
    assert np.bincount(test.labels, minlength=3).min() >= 1
    assert found.normalization.mean == pytest.approx(train.images.mean(axis=(0, 2, 3)) / 255, abs=1e-4)
    assert found.key in [one.key for one in all_datasets()]
    for number, file in enumerate(sorted((tmp_path / "shapes" / "disc").iterdir())):
        file.rename(file.with_name(f"photo {number}"))  # neither names nor endings count
    again = read(tmp_path / "shapes")
    assert again.sha256 == found.sha256
    assert np.array_equal(again.load("test").images, test.images)


def test_arrays_of_replaced_images_are_removed_unless_another_folder_has_the_same(tmp_path):
    for name in ("first", "second"):
        write(tmp_path / name)
    before = read(tmp_path / "first").find()
    assert read(tmp_path / "second").find() == before
    for name, remains in (("first", True), ("second", False)):
        write(tmp_path / name, seed=2)
        assert read(tmp_path / name).find() != before
        assert before.is_dir() == remains


def test_what_cannot_be_read_and_near_copies_are_said(tmp_path, command):
    root = tmp_path / "shapes"
    write(root / "train")
    write(root / "test", 5, seed=1)
    (root / "train/disc/notes.txt").write_text("no image")
    (root / "train/disc/.DS_Store").write_text("hidden")
    (root / "train/disc/more").mkdir()
    Image.open(root / "train/ring/0-0.png").resize((64, 64)).save(root / "test/ring/copy.jpg", quality=95)
    said = command("data", "info", f"folder:{root}").err
    assert "2 of 78 files cannot be read" in said
    assert "train/disc/more (it is not a regular file), train/disc/notes.txt" in said
    assert "1 of 16 test images are nearly copies" in said
    assert "test/ring/copy.jpg of train/ring/0-0.png" in said


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda root: [(root / name).rename(root.parent / name) for name in CLASSES[1:]], r"1 folder of images.*2 to"),
        (lambda root: (root / "empty").mkdir(), r"no image.*empty"),
        (lambda root: (root / "train").mkdir(), r"no folder test"),
        (lambda root: root.rename(root.parent / "moved"), r"is not a folder"),
        (lambda root: (root / os.fsdecode(b"caf\xe9")).mkdir(), r"is not UTF-8: rename it"),
    ],
    ids=["one class", "an empty class", "no test folder", "missing", "a name in Latin-1"],
)
def test_a_folder_that_cannot_be_used_is_refused_before_training(tmp_path, command, break_it, message):
    write(tmp_path / "shapes")
    break_it(tmp_path / "shapes")
    with pytest.raises(DataError, match=message):
        read(tmp_path / "shapes")
    words = ["train", "--dataset", f"folder:{tmp_path / 'shapes'}", "--students", "resnet8:scratch"]
    assert str(tmp_path / "shapes") in command(*words, code=1).err
    assert not list_runs()


def test_what_was_kept_last_is_used_wherever_it_is_kept(data_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "home" / name)
    data_folder.chmod(0o555)  # nothing can be kept beside the data
    write(tmp_path / "shapes", count=4)
    first = read(tmp_path / "shapes")
    count = len(first.load("train"))
    data_folder.chmod(0o755)
    write(tmp_path / "shapes", count=5, seed=1)
    again = read(tmp_path / "shapes")
    assert len(again.load("train")) > count
    assert again.sha256 != first.sha256
    assert [one.sha256 for one in all_datasets() if one.key == again.key] == [again.sha256]


def test_a_folder_without_a_path_is_no_name_of_a_data_set(tmp_path):
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for key in ("folder:~nobody-of-that-name/photos", f"folder:{tmp_path / 'circle'}", os.fsdecode(b"folder:caf\xe9")):
        with pytest.raises(ConfigError, match="names no folder of images"):
            get_dataset(key)
    with pytest.raises(ConfigError, match="folder:PATH"):
        get_dataset("folder:")
    with pytest.raises(ConfigError, match=r"reduced to 32 × 32 pixels.* Leave out @64"):
        get_dataset("folder:photos@64")


def test_a_student_is_distilled_and_replaced_pictures_are_noticed(tmp_path, monkeypatch, command):
    root = tmp_path / "shapes"
    write(root)
    monkeypatch.chdir(tmp_path)
    words = ["train", "--dataset", "folder:shapes", "--epochs", "1", "--batch-size", "16", "--students"]
    command(*words, "resnet8:scratch:name=teacher")
    command(*words, "resnet8:response", "--teacher", f"{list_runs()[0].run_id}/teacher")
    (student,) = run_checkpoints(list_runs()[0])
    assert RunConfig.load(list_runs()[0].path / "config.json").dataset == f"folder:{root}"
    assert student.card.data.sha256 == read(root).sha256 == student.card.evaluation_dataset.sha256
    assert student.card.classes == CLASSES
    images = describe_evaluation(student)
    assert read(root).label in images
    name = f"{list_runs()[0].run_id}/{student.name}"
    assert evaluate_checkpoint(name).matches_card
    write(root, seed=2)
    assert "replaced" in command("evaluate", name, code=1).err
    assert student.card.evaluation_dataset is None
    assert describe_evaluation(student) == images
