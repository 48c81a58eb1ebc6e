"""What `import kdexplorer` offers, and the notebook that uses it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import kdexplorer as kd
from kdexplorer.analysis import programs
from kdexplorer.analysis.results import find_entries, read_rows
from kdexplorer.analysis.verdicts import compare_with_teacher_and_baseline
from kdexplorer.errors import ConfigError, KDError
from kdexplorer.methods import all_methods
from kdexplorer.runs.checkpoints import bundled_root

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_every_name_is_there_and_documented():
    text = (DOCS / "library.md").read_text()
    for name in kd.__all__:
        assert getattr(kd, name).__doc__
        assert f"`{name}" in text
    assert {method.key for method in all_methods()} == vars(kd.losses).keys()
    with pytest.raises(AttributeError, match="magic"):
        kd.magic


def test_a_loaded_network_predicts_what_is_stored(bundled):
    network, images = kd.load("resnet8-scratch"), kd.get_dataset("cifar10-small").load("test").images[:30]
    logits = kd.predict(network, images)
    assert np.allclose(logits, bundled.logits["resnet8-scratch"][:30], atol=0.02)
    assert np.allclose(kd.predict(network, torch.from_numpy(images)), logits)
    assert kd.predict(network, images[:0]).shape == (0, 10)
    assert np.allclose(kd.soft_labels(logits, 4), torch.from_numpy(logits / 4).double().softmax(1))
    with pytest.raises(ConfigError, match="load"):
        kd.predict(type(network)(depth=8), images)
    for wrong in (images / 255, images[0], images.transpose(0, 2, 3, 1)):
        with pytest.raises(ConfigError, match="uint8"):
            kd.predict(network, wrong)
    with pytest.raises(ConfigError, match="eval"):
        kd.predict(network.train(), images)
    with pytest.raises(ConfigError, match="above 0"):
        kd.soft_labels(logits, 0)


def test_training_reports_every_step_and_leaves_results(tiny):
    steps, students = [], [kd.parse_student("resnet8:scratch"), kd.parse_student("resnet8:tf_kd")]
    shared = {"dataset": "synthetic", "train_images": 40, "batch_size": 10, "epochs": 1, "device": "cpu"}
    run = kd.train(kd.RunConfig(students=students, **shared), progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    table = kd.results(run)
    assert list(table["name"]) == ["resnet8-scratch", "resnet8-tf_kd"]
    assert table.equals(kd.results(run.run_id))
    assert table.equals(kd.results(run.path))
    assert kd.load(run.path / "resnet8-scratch").card.name == "resnet8-scratch"
    assert kd.results(f"{run.run_id}/{table['name'][0]}")["accuracy"][0] == table["accuracy"][0]
    with pytest.raises(KDError, match="different images"):
        kd.results(run, "resnet56")


def test_the_notebook_runs():
    cells = [cell for cell in json.loads((DOCS / "distill.ipynb").read_text())["cells"] if cell["cell_type"] == "code"]
    sources = ["".join(cell["source"]) for cell in cells]
    assert len(next(source for source in sources if "kd.losses" in source).splitlines()) < 30
    values = {}
    for source in sources:
        exec(re.sub(r"EPOCHS, IMAGES = .*", "EPOCHS, IMAGES = 1, 200", source), values)
    assert 0.05 < values["accuracies"]["labels alone"] < 0.6


@pytest.mark.parametrize("format", ["pt2", "onnx", "safetensors"])
def test_an_exported_network_computes_the_same_elsewhere(format, bundled, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    if format == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    file = tmp_path / f"resnet8-scratch.{format}"
    (tmp_path / "net").symlink_to(bundled_root() / "resnet8-scratch")
    assert file.name in command("export", "./net", "--format", format).out
    assert str(Path(kd.__file__).parent).encode() not in file.read_bytes()
    pixels = kd.get_dataset("cifar10-small").load("test").images[:5].astype(np.float32) / 255
    if format == "onnx":
        import onnxruntime

        logits = onnxruntime.InferenceSession(file).run(None, {"pixels": pixels})[0]
    elif format == "pt2":
        logits = torch.export.load(file).module()(torch.from_numpy(pixels)).detach().numpy()
        assert file.stat().st_size < 700_000  # the weights, but no images
    else:
        network = kd.load("resnet8-scratch")
        state = safetensors.torch.load_file(file)
        assert all(torch.equal(state[name], tensor) for name, tensor in network.state_dict().items())
        logits = kd.predict(network, (255 * pixels).round().astype(np.uint8))
    assert np.allclose(logits, bundled.logits["resnet8-scratch"][:5], atol=0.02)
    monkeypatch.setattr(programs, "TOLERANCE", 0.0)
    assert f"as {format} its logits differ" in command("export", "resnet8-scratch", "--format", format, code=1).err


def test_ones_own_student_is_compared_with_its_bundled_teacher(runs_root, make_checkpoint, bundled, command):
    """It was evaluated on the bundled images, the first of the teacher's, and the table has one row or both."""
    teacher = bundled.entries["resnet56"]
    reference = {"name": "any name", "sha256": teacher.sha256}
    data = {"dataset": "cifar10-small", "evaluation_images": 2000}
    logits = bundled.logits["resnet8-scratch"][:2000]
    make_checkpoint(
        runs_root / "imported" / "own", logits=logits, teacher=reference, data=data,
        objective={"terms": [{"method": "kd"}]},
        classes=teacher.classes, test_accuracy=float((logits.argmax(1) == bundled.labels[:2000]).mean()),
    )  # fmt: skip
    assert kd.results("imported/own")["teacher"][0] == "resnet56"
    rows = read_rows(find_entries(["imported/own"]))
    assert "below its teacher resnet56: " in compare_with_teacher_and_baseline(rows)
    both = kd.results("imported/own", "resnet56").set_index("name")
    expected = (bundled.logits["resnet56"][:2000].argmax(1) == bundled.labels[:2000]).mean()
    assert both.loc["resnet56", "accuracy"] == pytest.approx(expected)
    assert set(both["images"]) == {2000}
    command("handout", "--networks", "resnet56", "imported/own", "--images", "1", "-o", str(runs_root / "x.html"))
    shown = re.sub(r"<script.*?</script>", "", (runs_root / "x.html").read_text(), flags=re.DOTALL)
    assert "2,000 test images" in shown
    assert "10,000 test images" not in shown
