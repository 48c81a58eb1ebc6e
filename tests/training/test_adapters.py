"""A method that trains a module beside the student, added as a file: trained, killed, resumed, shared by processes.

The package is copied, since its registry is read when it is imported; processes import the copy.
"""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
import safetensors.numpy
import torch

from benchmarks.app import ROOT
from kdexplorer.files import read_json
from kdexplorer.networks import build
from tests.training.configs import SHRINK

METHOD = '''
"""Hints: the student's last stage, through a 1x1 convolution and batch norm, imitates the teacher's."""

from __future__ import annotations

import os
import signal

from kdexplorer.methods.base import Method


class Fitnet(Method):
    """Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, equation 3."""

    key, label, family = "fitnet_like", "Hints", "feature"
    reference = "Romero et al. 2015, equation 3"
    formula = r"\\\\mathrm{MSE}(r(F^s), F^t)"
    summary = "The student's last stage imitates the teacher's."
    needs = frozenset({"stages"})
    calls = 0

    def adapter(self, student, teacher):
        from torch import nn

        before, after = student.stages[-1].channels, teacher.stages[-1].channels
        return nn.Sequential(nn.Conv2d(before, after, 1), nn.BatchNorm2d(after))

    def reduce_teacher(self, teacher):
        return teacher._replace(stages=[teacher.stages[-1]])

    def loss(self, student, teacher, labels, adapter=None):
        import torch.nn.functional as F

        Fitnet.calls += 1
        if str(Fitnet.calls) == os.environ.get("KILL_AT_CALL"):
            os.kill(os.getpid(), signal.SIGKILL)
        return F.mse_loss(adapter(student.stages[-1]).float(), teacher.stages[0].float())
'''

STUDENT = "resnet8:fitnet_like:weight=2:ce=0.5"
NAME = "resnet8-fitnet_like"


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A folder to import from: the package with one method more."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(ROOT / "kdexplorer", folder / "kdexplorer")
    (folder / "kdexplorer" / "methods" / "fitnet_like.py").write_text(METHOD)
    (folder / "sitecustomize.py").write_text(SHRINK)
    return folder


@pytest.fixture(scope="module")
def words(make_checkpoint, tmp_path_factory):
    """A command: a student of a random, wider teacher, two epochs of three steps."""
    teacher = make_checkpoint(tmp_path_factory.mktemp("wide") / "teacher", "wrn_16_2", seed=9)
    return [
        "train", "--dataset", "synthetic", "--train-images", "60", "--holdout", "40", "--epochs", "2",
        "--batch-size", "20", "--learning-rate", "0.05", "--device", "cpu", "--precision", "float32", "--threads", "1",
        "--save-minutes", "1e-6", "--teacher", str(teacher.path), "--students", STUDENT, "--quiet",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def command(package, tmp_path_factory):
    """`command(runs, *words)` runs the copied package's command line and returns the process's exit code."""

    def run(runs, *words, launcher=(), **environment):
        done = subprocess.run(
            [sys.executable, *launcher, "-m", "kdexplorer", *words], capture_output=True, text=True, check=False,
            cwd=package, env=os.environ | environment | {
                "PYTHONPATH": str(package), "KDEXPLORER_RUNS": str(runs), "OMP_NUM_THREADS": "1",
                "KDEXPLORER_CHECKPOINTS": str(ROOT / "checkpoints"),
            },
        )  # fmt: skip
        assert done.returncode in (0, -signal.SIGKILL), done.stderr[-3000:]
        return done.returncode

    return run


def read_run(runs):
    """The one run's folder, and what training and evaluation computed; this process does not know the method."""
    (folder,) = (path for path in runs.iterdir() if (path / "config.json").is_file())
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return folder, [{key: row[key] for key in ("epoch", "train", "test", "probes")} for row in rows]


def read_adapters(folder):
    return torch.load(folder / "state.pt", weights_only=True)["students"][NAME]["adapters"]


@pytest.fixture(scope="module")
def undisturbed(command, words, tmp_path_factory):
    """A run that nothing interrupted."""
    runs = tmp_path_factory.mktemp("undisturbed")
    assert command(runs, *words) == 0
    return runs


def test_the_adapter_is_trained_and_no_part_of_the_exported_network(undisturbed):
    folder, rows = read_run(undisturbed)
    card = read_json(folder / NAME / "card.json")
    assert card["objective"]["terms"] == [{"method": "fitnet_like", "weight": 2.0}]
    assert set(card["test_terms"]) == {"cross_entropy", "fitnet_like"}
    parts = card["test_terms"]
    assert card["test_objective"] == pytest.approx(0.5 * parts["cross_entropy"] + 2 * parts["fitnet_like"])
    assert rows[1]["train"]["fitnet_like"] < rows[0]["train"]["fitnet_like"]

    exported = safetensors.numpy.load_file(folder / NAME / "weights.safetensors")
    expected = {key for key in build("resnet8").state_dict() if not key.endswith("num_batches_tracked")}
    assert exported.keys() == expected
    state = torch.load(folder / "state.pt", weights_only=True)["students"][NAME]
    adapter = state["adapters"]["fitnet_like"]
    assert adapter["0.weight"].shape == (128, 64, 1, 1)
    assert not torch.equal(adapter["1.weight"], torch.ones(128))  # it begins at 1
    assert len(state["optimizer"]["state"]) == len(list(build("resnet8").parameters())) + 4


@pytest.mark.parametrize("call", [pytest.param(2, marks=pytest.mark.slow), 6], ids=["first epoch", "second epoch"])
def test_a_run_that_was_killed_within_a_step_resumes_to_the_same_bits(command, words, undisturbed, tmp_path, call):
    """An epoch calls the loss three times in training, then once in evaluation."""
    assert command(tmp_path, *words, KILL_AT_CALL=str(call)) == -signal.SIGKILL
    folder, rows = read_run(tmp_path)
    assert len(rows) == (call > 4)
    assert not (folder / NAME).exists()
    assert command(tmp_path, "resume", folder.name, "--quiet") == 0
    expected, expected_rows = read_run(undisturbed)
    assert read_run(tmp_path)[1] == expected_rows
    assert (folder / NAME / "weights.safetensors").read_bytes() == (
        expected / NAME / "weights.safetensors"
    ).read_bytes()
    states = [torch.load(path / "state.pt", weights_only=True)["students"][NAME] for path in (folder, expected)]
    torch.testing.assert_close(states[0]["adapters"], states[1]["adapters"], rtol=0, atol=0)


@pytest.mark.slow
def test_two_processes_train_the_adapter_as_one_does(command, words, undisturbed, tmp_path):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    assert command(tmp_path, *words, "--sync-batch-norm", launcher=launcher) == 0
    (folder, two), (expected, one) = read_run(tmp_path), read_run(undisturbed)
    for row, reference in zip(two, one, strict=True):
        for part in ("train", "test"):
            losses = {name: value for name, value in reference[part].items() if name != "accuracy"}
            assert row[part] == pytest.approx(losses | {"accuracy": row[part]["accuracy"]}, rel=1e-4)  # float32
    torch.testing.assert_close(read_adapters(folder), read_adapters(expected), rtol=1e-3, atol=1e-5)
