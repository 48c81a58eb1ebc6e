"""A teacher of which only logits are known: stored ones, a program of torch.export, or ONNX."""

import pickle
import zipfile

import numpy as np
import pytest
import torch

from kdexplorer.analysis.evaluate import evaluate_checkpoint
from kdexplorer.analysis.programs import export
from kdexplorer.cli.main import build_parser
from kdexplorer.cli.train import read_config
from kdexplorer.config import RunConfig
from kdexplorer.datasets.augmentation import normalize
from kdexplorer.errors import CheckpointError
from kdexplorer.runs.checkpoints import find_checkpoint, run_checkpoints
from kdexplorer.runs.run_folder import list_runs
from kdexplorer.training import ddp
from kdexplorer.training.objective import estimate_memory
from tests.datasets.test_folder import read, write
from tests.runs.forgery import Marker

SHORT = ["--epochs", "1", "--batch-size", "16", "--students", "resnet8:kd:weight=0.9:ce_weight=0.1"]


@pytest.fixture
def shapes(tmp_path):
    write(tmp_path / "shapes")
    return read(tmp_path / "shapes")


def inputs_of(dataset, split):
    return normalize(torch.from_numpy(np.array(dataset.load(split).images)), dataset.normalization).flatten(1)


def fit(dataset):
    """A linear teacher `[K, D]` that is right on the training images, as the data's normalization gives them."""
    targets = 4 * torch.nn.functional.one_hot(torch.from_numpy(dataset.load("train").labels)).float() - 2
    inputs = inputs_of(dataset, "train").double()
    inner = inputs @ inputs.T + torch.eye(len(inputs), dtype=torch.float64)
    return (inputs.T @ torch.linalg.solve(inner, targets.double())).T.float().contiguous()


def logits_of(dataset, split):
    return (inputs_of(dataset, split) @ fit(dataset).T).numpy()


def save_npz(path, dataset, **changes):
    arrays = {split: logits_of(dataset, split) for split in ("train", "test")}
    np.savez(path, **arrays | {"sha256": dataset.fingerprint()} | changes)


def save_pt2(path, dataset, batch="dynamic"):
    given, layer = torch.zeros(7, 3, 32, 32), torch.nn.Linear(3 * 32 * 32, 3, bias=False)
    layer.weight = torch.nn.Parameter(fit(dataset))
    network = torch.nn.Sequential(torch.nn.Flatten(), layer).eval()
    shapes = ({0: torch.export.Dim("batch")},) if batch == "dynamic" else None
    torch.export.save(torch.export.export(network, (given,), dynamic_shapes=shapes), path)


def save_onnx(path, dataset):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model = onnx.parser.parse_model("""
        <ir_version: 9, opset_import: ["": 17]>
        teacher (float[batch, 3, 32, 32] images) => (float[batch, 3] logits) {
            flat = Flatten (images)
            logits = MatMul (flat, weights)
        }
    """)
    model.graph.initializer.append(onnx.numpy_helper.from_array(fit(dataset).T.contiguous().numpy(), "weights"))
    onnx.save(model, path)


SAVE = {
    "teacher.npz": save_npz,
    "teacher.pt2": save_pt2,
    "fixed.pt2": lambda path, dataset: save_pt2(path, dataset, "fixed"),
    "teacher.onnx": save_onnx,
}


@pytest.mark.parametrize("file", SAVE)
def test_a_student_learns_from_logits_alone(shapes, tmp_path, command, file):
    SAVE[file](tmp_path / file, shapes)
    words = ["train", "--dataset", shapes.key, "--teacher-logits", str(tmp_path / file), *SHORT]
    command(*words)
    (run,) = list_runs()
    teacher = find_checkpoint(run.config().teacher)
    assert run.config().teacher_view == "fixed"
    assert teacher.logits() == pytest.approx(logits_of(shapes, "test"), abs=0.02)
    assert evaluate_checkpoint(str(teacher.path)).matches_card
    (student,) = run_checkpoints(run)
    assert student.card.teacher.sha256 == teacher.sha256
    assert run.teacher(3).accuracy == teacher.card.test_accuracy
    assert "--teacher-view" in command(*words, "--teacher-view", "same", code=2).err
    if file == "teacher.npz":  # the same file is kept once
        command(*words)
        assert list_runs()[0].config().teacher == run.config().teacher


FUNCTION = """
from types import SimpleNamespace

import torch

def load():
    weight = torch.load("weight.pt")
    return lambda images: SimpleNamespace(logits=images.flatten(1) @ weight.T)

def broken():
    return 1 / 0
"""


def test_a_function_of_whoever_starts_it_gives_a_teacher(shapes, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_teacher.py").write_text(FUNCTION)
    (tmp_path / "shapes" / "disc" / "notes.txt").write_text("no image")
    torch.save(fit(shapes), tmp_path / "weight.pt")
    words = ["train", "--dataset", shapes.key, *SHORT, "--teacher"]
    assert command(*words, "own_teacher:load").err.count("notes.txt") == 1
    config = list_runs()[0].config()
    assert find_checkpoint(config.teacher).logits() == pytest.approx(logits_of(shapes, "test"), abs=0.02)
    command(*words, "own_teacher:load", "--quiet")  # computed once
    assert list_runs()[0].config().teacher == config.teacher
    said = command(*words, "own_teacher:broken", code=1).err
    assert "own_teacher:broken gives no network: ZeroDivisionError" in said
    with monkeypatch.context() as patch:  # in a team, what its leader found; no other process classifies the images
        patch.setattr(ddp.Team, "lead", lambda team, compute: find_checkpoint(config.teacher))
        assert read_config(build_parser().parse_args([*words, "own_teacher:broken"])) == config
    (tmp_path / "run.json").write_text(config.model_copy(update={"teacher": "own_teacher:load"}).model_dump_json())
    said = command("train", "--config", str(tmp_path / "run.json"), code=2).err  # a file names no code
    assert "no checkpoint 'own_teacher:load'" in said


def test_a_program_that_normalizes_itself_is_recognized(shapes, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    command("train", "--dataset", shapes.key, *SHORT[:4], "--students", "resnet8:scratch:name=own", "--quiet")
    (own,) = run_checkpoints(list_runs()[0])
    (tmp_path / "own.pt2").write_bytes(export(own))
    said = command("import", "own.pt2", "--name", "mine", "--dataset", "folder:shapes").err
    assert "mean and std 0" in said
    assert "is missing" not in said
    assert find_checkpoint("imported/mine").logits() == pytest.approx(own.logits(), abs=0.05)


def test_what_needs_more_than_logits_or_another_view_is_refused(shapes, tmp_path, command):
    save_npz(tmp_path / "teacher.npz", shapes)
    command("import", str(tmp_path / "teacher.npz"), "--name", "mine", "--dataset", shapes.key)
    train = ["train", "--dataset", shapes.key, "--teacher", "imported/mine", "--epochs", "1", "--batch-size", "16"]
    ordered = ["import", "teacher.npz", "--name", "b", "--dataset", shapes.key, "--classes", *shapes.classes]
    assert "--classes is for weights" in command(*ordered, code=2).err
    assert "teacher_view to fixed" in command(*train, "--students", "resnet8:kd", code=2).err
    students = [{"name": "s", "architecture": "resnet8"}]
    config = RunConfig(dataset=shapes.key, teacher="imported/mine", teacher_view="fixed", students=students)
    alone = config.model_copy(update={"teacher": None})
    assert estimate_memory(config) == estimate_memory(alone)  # a study asks how many students fit
    assert "more than logits" in command(*train, "--teacher-view", "fixed", "--students", "resnet8:at", code=2).err
    network = find_checkpoint("imported/mine").network()
    with pytest.raises(CheckpointError, match="cannot classify others"):
        network(torch.rand(1, 3, 32, 32))


def test_logits_of_other_images_are_refused(shapes, tmp_path, command):
    for change, words in (({"sha256": "0" * 64}, "other images"), ({"test": np.zeros((4, 3))}, "shape (4, 3)")):
        save_npz(tmp_path / "teacher.npz", shapes, **change)
        path = str(tmp_path / "teacher.npz")
        assert words in command("import", path, "--name", "mine", "--dataset", shapes.key, code=1).err


@pytest.mark.parametrize("file", ["evil.npz", "evil.pt2"])
def test_nothing_is_unpickled(shapes, tmp_path, command, file):
    evil, path = pickle.dumps(Marker(tmp_path / "fired")), tmp_path / file
    if file == "evil.npz":
        np.savez(path, train=np.array([Marker(tmp_path / "fired")], object), test=np.zeros(3), sha256="x")
    else:
        save_pt2(path, shapes)
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in parts.items():
                is_data = any(word in name for word in ("weights", "constants", "sample_inputs"))
                archive.writestr(name, evil if is_data and not name.endswith(".json") else content)
    (tmp_path / "fired").unlink(missing_ok=True)
    assert str(path) in command("import", str(path), "--name", "mine", "--dataset", shapes.key, code=1).err
    assert not (tmp_path / "fired").exists()
