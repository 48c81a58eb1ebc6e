"""The wheel, built from what is in a clone and installed elsewhere, has everything that the commands and pages need."""

import os
import shutil
import subprocess
import sys
import urllib.request
import zipfile

from benchmarks.app import ROOT, running

FILES = ("kdexplorer", "pages", "studies", ".streamlit", "pyproject.toml", "setup.py", "requirements.txt",
         "streamlit_app.py", "README.md", "LICENSE")  # fmt: skip

COMMANDS = """
from kdexplorer.cli.main import main
TRAIN = "train --dataset cifar10-small --teacher resnet20-combined --students air_16:response --train-images 100"
LINES = "study --list", TRAIN + " --batch-size 50 --epochs 1", "evaluate resnet8-scratch", "runs table", "experiment"
for words in map(str.split, LINES):
    assert main(words) == 0, words
assert main(["evaluate", "resnet50"]) == 2
import kdexplorer
from streamlit.testing.v1 import AppTest
at = AppTest.from_file(f"{kdexplorer.__path__[0]}/app/main.py", default_timeout=120).run()
assert not at.exception and not at.error and at.title[0].value
"""


def test_the_commands_the_pages_and_the_application_find_networks_studies_and_images(tmp_path):
    clone, site = tmp_path / "clone", tmp_path / "site"
    shutil.copytree(ROOT / "checkpoints", clone / "checkpoints", ignore=shutil.ignore_patterns("resnet18*"))
    for name in FILES:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        copy(source, clone / name)
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(site), str(clone)]
    subprocess.run([sys.executable, "-m", "pip", *build], check=True)
    (wheel,) = site.glob("*.whl")
    assert wheel.stat().st_size < 60e6
    zipfile.ZipFile(wheel).extractall(site)
    shutil.rmtree(clone)

    own = {key: value for key, value in os.environ.items() if not key.startswith("KDEXPLORER_")}
    process = subprocess.run(
        [sys.executable, "-c", COMMANDS],
        cwd=tmp_path, env=own | {"PYTHONPATH": str(site)}, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    assert "league-resnet8.toml: " in process.stdout
    assert "2,000 images" in process.stdout
    assert "agrees with its card" in process.stdout
    assert "KDEXPLORER_CHECKPOINTS" in process.stderr
    with running(tmp_path, command=("kdexplorer", "app", "--"), cwd=tmp_path, PYTHONPATH=str(site)) as url:
        assert urllib.request.urlopen(url).status == 200
    assert "Traceback" not in (tmp_path / "log.txt").read_text()
