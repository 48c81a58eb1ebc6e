"""The example of docs/adding-a-method.md in a copy of the package: trained, shown on every page, removed."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.configs import SHRINK

ROOT = Path(__file__).resolve().parents[1]
SIZES = ["--dataset", "synthetic", "--train-images", "200", "--batch-size", "50", "--threads", "1", "--device", "cpu"]

TRAIN_AND_SHOW = """
import sys
from pathlib import Path
from streamlit.testing.v1 import AppTest
from kdexplorer.cli.main import main

def train(name, *words):
    assert main(["train", "--quiet", *sys.argv[1:], "--epochs", "1", "--name", name, "--students", *words]) == 0
    (run,) = Path("runs").glob(f"*-{name}-*")
    return run.name

teacher = f"{train('t', 'resnet8:scratch:name=t')}/t"
run = train("s", "resnet8:scratch", "resnet8:cosine:weight=2:power=1.5", "--teacher", teacher)
student = f"{run}/resnet8-cosine"
assert main(["runs", "table", run]) == 0
assert main(["handout", "--networks", teacher, student, "--images", "2", "-o", "handout.html"]) == 0
for page in ("overview", "soft_labels", "attention", "live", "launch", "compare"):
    at = AppTest.from_file("kdexplorer/app/main.py", default_timeout=120)
    at.switch_page(f"../../pages/{page}.py")
    at.query_params["teacher"], at.query_params["students"] = teacher, student
    at.query_params["networks"] = f"{teacher},{student}"
    if page == "launch":
        at.query_params["run"] = run
    at.run()
    assert not at.exception, (page, at.exception)
    assert not at.error, (page, [error.value for error in at.error])
"""
"""Trains a teacher and its student; then the table, the handout and every page show it."""

AFTER_REMOVAL = """
import sys
from kdexplorer.cli.main import main

run = sys.argv[1]
assert main(["runs", "table", run]) == 0
sys.exit(main(["evaluate", f"{run}/resnet8-cosine"]))
"""


def example():
    """The code block of the document that is a method."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "adding-a-method.md").read_text(), re.DOTALL)
    return next(block for block in blocks if "(Method)" in block)


@pytest.fixture
def copy(tmp_path):
    """Runs Python in a copy of the package with the example in it."""
    for name in ("kdexplorer", "pages"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "kdexplorer" / "methods" / "cosine.py").write_text(example())
    (tmp_path / "sitecustomize.py").write_text(SHRINK)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("KDEXPLORER_")} | {
        "PYTHONPATH": str(tmp_path),
        "KDEXPLORER_RUNS": str(tmp_path / "runs"),
        "KDEXPLORER_DATA": str(tmp_path / "data"),
        "KDEXPLORER_CHECKPOINTS": str(ROOT / "checkpoints"),
    }

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-c", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_the_example_is_short():
    assert len(example().splitlines()) < 40


def test_the_example_trains_and_appears_everywhere(copy, tmp_path):
    """That every method resumes to the same bits is tested with those of the package."""
    shown = copy(TRAIN_AND_SHOW, *SIZES)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "Cosine" in shown.stdout
    assert "Cosine" in (tmp_path / "handout.html").read_text()
    (run,) = (tmp_path / "runs").glob("*-s-*")
    card = json.loads((run / "resnet8-cosine" / "card.json").read_text())
    assert card["objective"]["terms"] == [{"method": "cosine", "weight": 2.0, "power": 1.5}]
    assert card["test_terms"]["cosine"] > 0

    (tmp_path / "kdexplorer" / "methods" / "cosine.py").unlink()
    gone = copy(AFTER_REMOVAL, run.name)
    assert gone.returncode == 1
    assert "cosine" not in gone.stdout.lower()
    assert "cosine" in gone.stderr
