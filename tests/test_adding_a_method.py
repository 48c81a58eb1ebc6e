"""The example of docs/adding-a-method.md in a copy of the package: trained, resumed, shown on every page, removed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.training.configs import SHRINK

ROOT = Path(__file__).resolve().parents[1]
SIZES = ["--dataset", "synthetic", "--train-images", "200", "--batch-size", "50", "--threads", "1", "--device", "cpu"]

SHOW = """
import sys
from streamlit.testing.v1 import AppTest
from kdexplorer.cli.main import main

teacher, student, run = sys.argv[1:]
assert main(["runs", "table", run]) == 0
handout = ["--networks", teacher, student, "--images", "2", "-o", "handout.html"]
assert main(["handout", *handout]) == 0
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
"""What shows the trained student: the table, the handout, every page."""

AFTER_REMOVAL = """
import sys
from kdexplorer.cli.main import main

student, run = sys.argv[1:]
assert main(["runs", "table", run]) == 0
sys.exit(main(["evaluate", student]))
"""


def example():
    """The code block of the document that is a method."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "adding-a-method.md").read_text(), re.DOTALL)
    return next(block for block in blocks if "(Method)" in block)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the package with the example in it, and its environment."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("kdexplorer", "pages"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "kdexplorer" / "methods" / "cosine.py").write_text(example())
    (folder / "sitecustomize.py").write_text(SHRINK)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("KDEXPLORER_")}
    return folder, environment | {
        "PYTHONPATH": str(folder),
        "KDEXPLORER_RUNS": str(folder / "runs"),
        "KDEXPLORER_DATA": str(folder / "data"),
        "KDEXPLORER_CHECKPOINTS": str(ROOT / "checkpoints"),
    }


def run(copy, *arguments):
    """Python in the copy."""
    folder, environment = copy
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_example_is_short():
    assert len(example().splitlines()) < 40


def test_the_example_trains_resumes_and_appears_everywhere(copy):
    folder, environment = copy
    command = ["-m", "kdexplorer", "train", "--quiet", *SIZES]
    made = run(copy, *command, "--epochs", "1", "--name", "t", "--students", "resnet8:scratch:name=t")
    assert made.returncode == 0, made.stderr
    teacher = f"{next((folder / 'runs').glob('*-t-*')).name}/t"

    students = ["resnet8:scratch", "resnet8:cosine:weight=2:power=1.5"]
    command = [sys.executable, *command, "--epochs", "3", "--name", "s", "--teacher", teacher, "--students", *students]
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while (
        not list((folder / "runs").glob("*-s-*/metrics.jsonl"))
        or not next((folder / "runs").glob("*-s-*/metrics.jsonl")).stat().st_size
    ):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "no epoch was finished"
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    started = next((folder / "runs").glob("*-s-*"))
    resumed = run(copy, "-m", "kdexplorer", "resume", started.name, "--quiet")
    assert resumed.returncode == 0, resumed.stderr

    card = json.loads((started / "resnet8-cosine" / "card.json").read_text())
    assert card["objective"]["terms"] == [{"method": "cosine", "weight": 2.0, "power": 1.5}]
    assert card["test_terms"]["cosine"] > 0
    rows = [json.loads(line) for line in (started / "metrics.jsonl").read_text().splitlines()]
    assert {row["epoch"] for row in rows if row["student"] == "resnet8-cosine"} == set(range(3))

    student = f"{started.name}/resnet8-cosine"
    shown = run(copy, "-c", SHOW, teacher, student, started.name)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "Cosine" in shown.stdout
    assert "Cosine" in (folder / "handout.html").read_text()

    (folder / "kdexplorer" / "methods" / "cosine.py").unlink()
    gone = run(copy, "-c", AFTER_REMOVAL, student, started.name)
    assert gone.returncode == 1
    assert "cosine" not in gone.stdout.lower()
    assert "cosine" in gone.stderr
