"""The example of docs/adding-a-method.md in a copy of the package: trained, shown on every page, removed."""

import json
import os
import re
import shutil
import subprocess
import sys

from benchmarks.app import ROOT
from kdexplorer import plugins
from tests.training.configs import SHRINK

SIZES = ["--dataset", "synthetic", "--train-images", "200", "--batch-size", "50", "--threads", "1", "--device", "cpu"]

SHOW_PAGES = """
import sys
from pathlib import Path
import kdexplorer
from streamlit.testing.v1 import AppTest
from kdexplorer.cli.main import main

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
    assert main(["train", "--quiet", *sys.argv[1:], "--epochs", "1", "--name", name, "--students", *words]) == 0
    (run,) = Path("runs").glob(f"*-{name}-*")
    return run.name

teacher = f"{train('t', 'resnet8:scratch:name=t')}/t"
run = train("s", "resnet8:scratch", "resnet8:cosine:weight=2:power=1.5", "--teacher", teacher)
assert main(["runs", "table", run]) == 0
assert main(["handout", "--networks", teacher, f"{run}/resnet8-cosine", "--images", "2", "-o", "handout.html"]) == 0
show_pages(teacher, f"{run}/resnet8-cosine")
"""
"""Trains a teacher and its student; then the table, the handout and every page show it."""

AFTER_REMOVAL = """
run, teacher = sys.argv[1:]
assert main(["runs", "list"]) == main(["runs", "table", run]) == main(["runs", "show", run]) == 0
show_pages(teacher, f"{run}/resnet8-cosine", ("overview", "soft_labels", "launch", "compare"))
assert main(["evaluate", f"{run}/resnet8-cosine"]) == 0
status = Path("runs", run, "status.json")
status.write_text(status.read_text().replace("finished", "stopped"))
sys.exit(main(["resume", run]))
"""
"""The same run without the method, and with another that is faulty: everything is shown, nothing is trained."""


def example():
    """The code block of the document that is a method."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "adding-a-method.md").read_text(), re.DOTALL)
    return next(block for block in blocks if "(Method)" in block)


def run(folder, package, *arguments):
    """Runs Python in a folder with this package, its runs and the bundled networks."""
    paths = {"PYTHONPATH": package, "KDEXPLORER_RUNS": folder / "runs", "KDEXPLORER_CHECKPOINTS": ROOT / "checkpoints"}
    own = os.environ | {name: str(path) for name, path in paths.items()}
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=own, capture_output=True, text=True)


def test_the_example_trains_and_appears_everywhere(tmp_path):
    """That every method resumes to the same bits is tested with those of the package."""
    for name in ("kdexplorer", "pages"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "kdexplorer" / "methods" / "cosine.py").write_text(example())
    (tmp_path / "sitecustomize.py").write_text(SHRINK)
    shown = run(tmp_path, tmp_path, "-c", SHOW_PAGES + TRAIN_AND_SHOW, *SIZES)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "Cosine" in shown.stdout
    assert "Cosine" in (tmp_path / "handout.html").read_text()
    (trained,) = (tmp_path / "runs").glob("*-s-*")
    card = json.loads((trained / "resnet8-cosine" / "card.json").read_text())
    assert card["objective"]["terms"] == [{"method": "cosine", "weight": 2.0, "power": 1.5}]
    assert card["test_terms"]["cosine"] > 0
    (teacher,) = (tmp_path / "runs").glob("*-t-*")
    (tmp_path / "kdexplorer" / "methods" / "cosine.py").write_text("clas Cosine:")
    gone = run(tmp_path, tmp_path, "-c", SHOW_PAGES + AFTER_REMOVAL, trained.name, f"{teacher.name}/t")
    assert gone.returncode == 1, gone.stderr
    assert "damaged" not in gone.stdout
    assert "| resnet8-cosine " in gone.stdout
    assert "kdexplorer.methods.cosine is left out: SyntaxError" in gone.stderr
    assert gone.stderr.endswith("the method 'cosine' is not installed: install it, or name its --plugin.\n")


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

TRAIN_WITH_PLUGIN = """
import sys
from pathlib import Path
from kdexplorer.__main__ import main

words = ["--dataset", "noise", "--batch-size", "20", "--epochs", "1", "--threads", "1", "--device", "cpu"]
for name, student in (("t", "tiny:scratch"), ("s", "tiny:cosine")):
    teacher = ["--teacher", f"{run.name}/tiny-scratch"] if name == "s" else []
    assert main(["--plugin", sys.argv[1], "train", "--name", name, "--students", student, *words, *teacher]) == 0
    (run,) = Path("runs").glob(f"*-{name}-*")
"""

WITHOUT_PLUGIN = """
run, teacher = sys.argv[1:]
assert main(["runs", "list"]) == main(["runs", "table", run]) == main(["runs", "show", run]) == 0
show_pages(teacher, f"{run}/tiny-cosine", ("launch", "compare"))
"""


def test_a_plugin_adds_methods_networks_and_data_sets(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(example() + PLUGIN)
    trained = run(tmp_path, ROOT, "-c", TRAIN_WITH_PLUGIN, file)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert "| tiny-cosine " in trained.stdout
    assert "architecture resnet8 in" in trained.stderr  # the package's own stays
    runs = sorted((path.name for path in (tmp_path / "runs").glob("*-*")), key=lambda name: name.split("-")[2])
    shown = run(tmp_path, ROOT, "-c", SHOW_PAGES + WITHOUT_PLUGIN, runs[0], f"{runs[1]}/tiny-scratch")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "damaged" not in shown.stdout
    for option in ("--plugin", "--plug"):
        assert run(tmp_path, ROOT, "-m", "kdexplorer", option, tmp_path / "gone.py", "runs", "list").returncode == 2


def test_plugins_with_the_same_file_name_are_two_modules(tmp_path, monkeypatch):
    files = [tmp_path / folder / "own.py" for folder in ("first", "second")]
    for number, file in enumerate(files):
        file.parent.mkdir()
        file.write_text(f"number = {number}")
    monkeypatch.setenv(plugins.VARIABLE, os.pathsep.join(map(str, files)))
    found = plugins.plugins.__wrapped__()
    assert [module.number for module in found] == [0, 1]
    assert [sys.modules.pop(module.__name__) for module in found] == [*found]


def test_the_example_is_short():
    assert len(example().splitlines()) < 40
