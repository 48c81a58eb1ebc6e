"""The example of docs/adding-a-method.md as a plugin: trained, shown on every page, removed."""

import json
import os
import re
import subprocess
import sys

from benchmarks.app import ROOT

PLUGIN = """
import numpy as np

from kdexplorer.datasets.base import Dataset, Normalization, Split
from kdexplorer.networks import Architecture, Stage

def build(classes):
    from kdexplorer.networks.resnet import CifarResNet
    return CifarResNet(depth=8, classes=classes)

tiny = Architecture("tiny", "Tiny", build, tuple(Stage(16 * 2**k, 2**k) for k in range(3)), 64)
double = Architecture("resnet8", "another ResNet-8", build, tiny.stages, 64)

class Noise(Dataset):
    key, label, classes, sizes = "noise", "Noise", ("dark", "light"), {"train": 40, "test": 20}
    normalization = Normalization(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))

    def find(self):
        return __file__

    def load(self, split, progress=None, order="content"):
        labels = np.arange(self.sizes[split]) % 2
        return Split(np.broadcast_to((100 * labels[:, None, None, None]).astype(np.uint8), (len(labels), 3, 32, 32)),
                     labels, self.classes)
"""

SHRINK = """
from kdexplorer.datasets import synthetic
synthetic.SyntheticShapes.sizes = {"train": 300, "test": 120}
"""
"""Makes the drawn data set small in every process; the file is its sitecustomize."""

SHOW_PAGES = """
import sys
from pathlib import Path
import kdexplorer
from streamlit.testing.v1 import AppTest
from kdexplorer.__main__ import main

PAGES = "overview", "soft_labels", "attention", "live", "launch", "compare", "methods"

def show_pages(teacher, student, pages=PAGES):
    run = student.partition("/")[0]
    for page in pages:
        at = AppTest.from_file(Path(kdexplorer.__file__).parent / "app/main.py", default_timeout=120)
        at.switch_page(str(Path(kdexplorer.__file__).parents[1] / f"pages/{page}.py"))
        at.query_params["teacher"], at.query_params["students"] = teacher, student
        at.query_params["networks"] = f"{teacher},{student}"
        if page == "launch":
            at.query_params["run"] = run
        at.run()
        assert not at.exception, (page, at.exception)
        assert not at.error, (page, [error.value for error in at.error])
"""

TRAIN_AND_SHOW = """
def train(name, *words):
    sizes = ["--epochs", "1", "--batch-size", "20", "--threads", "1", "--device", "cpu", "--quiet"]
    assert main([*sys.argv[1:], "train", *sizes, "--name", name, "--students", *words]) == 0
    (run,) = Path("runs").glob(f"*-{name}-*")
    return run.name

train("n", "tiny:scratch", "--dataset", "noise")
data = ["--dataset", "synthetic", "--train-images", "200"]
teacher = f"{train('t', 'resnet8:scratch:name=t', *data)}/t"
run = train("s", "resnet8:scratch", "resnet8:cosine:weight=2:power=1.5", "--teacher", teacher, *data)
assert main(["runs", "table", run]) == 0
assert main(["handout", "--networks", teacher, f"{run}/resnet8-cosine", "--images", "2", "-o", "handout.html"]) == 0
show_pages(teacher, f"{run}/resnet8-cosine")
"""
"""Trains a network on a plugin's data, a teacher and its student; then the table, the handout and every page."""

AFTER_REMOVAL = """
run, teacher, other = sys.argv[1:]
assert main(["runs", "list"]) == 0
for one in (run, other):
    assert main(["runs", "table", one]) == main(["runs", "show", one]) == 0
show_pages(teacher, f"{run}/resnet8-cosine", ("overview", "soft_labels", "launch", "compare"))
show_pages(f"{other}/tiny-scratch", f"{other}/tiny-scratch", ("launch", "compare"))
assert main(["evaluate", f"{run}/resnet8-cosine"]) == 0
status = Path("runs", run, "status.json")
status.write_text(status.read_text().replace("finished", "stopped"))
sys.exit(main(["resume", run]))
"""
"""The same runs with a plugin that is faulty: everything is shown, nothing is trained."""


def example():
    """The code block of the document that is a method."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "adding-a-method.md").read_text(), re.DOTALL)
    return next(block for block in blocks if "(Method)" in block)


def run(folder, *arguments, **environment):
    """Runs Python in a folder with its runs and the bundled networks."""
    paths = {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "KDEXPLORER_RUNS": str(folder / "runs")}
    own = os.environ | paths | {"KDEXPLORER_CHECKPOINTS": str(ROOT / "checkpoints")} | environment
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=own, capture_output=True, text=True)


def test_the_example_and_a_plugins_networks_and_data_train_and_appear_everywhere(tmp_path):
    """Both plugins have the same file name. Resuming to the same bits is tested with the package's own methods."""
    assert len(example().splitlines()) < 40
    (tmp_path / "sitecustomize.py").write_text(SHRINK)
    files = [tmp_path / folder / "own.py" for folder in ("method", "data")]
    for file, content in zip(files, (example(), PLUGIN), strict=True):
        file.parent.mkdir()
        file.write_text(content)
    shown = run(tmp_path, "-c", SHOW_PAGES + TRAIN_AND_SHOW, "--plugin", files[0], "--plugin", files[1])
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "architecture resnet8 in" in shown.stderr  # the package's own stays
    assert "Cosine" in shown.stdout
    assert "Cosine" in (tmp_path / "handout.html").read_text()
    trained, teacher, other = (next((tmp_path / "runs").glob(f"*-{name}-*")) for name in "stn")
    card = json.loads((trained / "resnet8-cosine" / "card.json").read_text())
    assert card["objective"]["terms"] == [{"method": "cosine", "weight": 2.0, "power": 1.5}]
    assert card["test_terms"]["cosine"] > 0
    files[0].write_text("clas Cosine:")
    names = trained.name, f"{teacher.name}/t", other.name
    gone = run(tmp_path, "-c", SHOW_PAGES + AFTER_REMOVAL, *names, KDEXPLORER_PLUGINS=str(files[0]))
    assert gone.returncode == 1, gone.stderr
    assert "damaged" not in gone.stdout
    assert "| resnet8-cosine " in gone.stdout
    assert "| tiny-scratch " in gone.stdout
    assert "own.py is left out: SyntaxError" in gone.stderr
    assert gone.stderr.endswith("the method 'cosine' is not installed: install it, or name its --plugin.\n")
    for option in ("--plugin", "--plug"):
        assert run(tmp_path, "-m", "kdexplorer", option, tmp_path / "gone.py", "runs", "list").returncode == 2
