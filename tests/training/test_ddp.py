"""Several processes: the same figures as one process, and a run that outlives one of them."""

import gc
import os
import socket
import subprocess
import sys

import psutil
import pytest
import torch
import torch.multiprocessing
from torch import nn

from benchmarks.app import ROOT
from kdexplorer.cli import main
from kdexplorer.errors import ConfigError
from kdexplorer.methods import all_methods
from kdexplorer.methods.sp import sp_loss
from kdexplorer.networks import Outputs
from kdexplorer.runs.run_folder import finished_students, list_runs
from kdexplorer.training import ddp

PROGRAM = """
import os, signal
from kdexplorer.cli.main import main
from kdexplorer.datasets import get_dataset
from kdexplorer.training.trainer import Trainer

get_dataset("synthetic").sizes.update(train=120, test=60)
doomed = os.environ.get("DOOMED_STEP")
if doomed and os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
    step = Trainer.step

    def last(self, epoch, number):
        if (epoch, number) == (1, int(doomed)):
            os.kill(os.getpid(), signal.SIGKILL)
        step(self, epoch, number)

    Trainer.step = last
raise SystemExit(main())
"""


@pytest.fixture
def words(teacher):
    """A command: two students of a random teacher, two epochs of six steps."""
    return [
        "train", "--dataset", "synthetic", "--epochs", "2", "--batch-size", "20", "--learning-rate", "0.05",
        "--device", "cpu", "--precision", "float32", "--threads", "1", "--teacher", str(teacher.path),
        "--students", "resnet8:scratch", "resnet8:combined:beta=100",
    ]  # fmt: skip


def torchrun(tmp_path, words, *options, **environment):
    """Two gloo processes; returns the finished command and its run."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *options]
    done = subprocess.run(
        [*command, str(program), *words], capture_output=True, text=True, timeout=1200, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (run,) = list_runs()
    return done, run


def losses(run):
    """The losses in training, by epoch, student and term."""
    return {
        (row.epoch, row.student, name): value
        for row in run.metrics()
        for name, value in row.train.items()
        if name != "accuracy"  # one image more or less
    }


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["standard", "fast"])
def test_two_processes_follow_one_and_the_losses_differ_where_batch_norm_does(tiny, words, tmp_path, runs_root, recipe):
    """Every method: what compares images with each other compares those of both processes."""
    every = [*words, *(f"resnet8:{method.key}" for method in all_methods())]
    if recipe == "fast":
        every = [*words[: words.index("--teacher")], "--recipe", "fast", "--students", "air_16:scratch"]
    assert main.main(every) == 0
    (alone,) = list_runs()
    one = losses(alone)
    alone.path.rename(tmp_path / "alone")
    _, run = torchrun(tmp_path, [*every, "--sync-batch-norm"])
    assert run.status().state == "finished"
    assert len(finished_students(run)) == len(run.config().students)
    two = losses(run)
    assert two.keys() == one.keys()
    assert two == pytest.approx(one, rel=2e-2)  # float32 after twelve steps, two orders of summing
    if recipe == "standard":
        first = [key for key in one if key[0] == 0]
        assert {key: two[key] for key in first} == pytest.approx({key: one[key] for key in first}, rel=1e-3)
        run.path.rename(tmp_path / "synced")
        _, run = torchrun(tmp_path, words)
        unsynced = losses(run)
        assert unsynced != pytest.approx({key: one[key] for key in unsynced}, rel=2e-2)


@pytest.mark.slow
def test_a_process_that_is_killed_costs_the_steps_since_the_last_state(words, tmp_path):
    done, run = torchrun(tmp_path, words, "--max-restarts", "1", DOOMED_STEP="3")
    assert run.status().state == "finished"
    log = (run.path / "log.txt").read_text()
    assert "epoch 0 step 0" in log
    assert "epoch 1 step 0" in log  # it continued from the state of the first epoch's end
    assert [row.epoch for row in run.metrics()] == [0, 0, 1, 1]
    assert done.stdout.count("| resnet8-scratch ") == 1  # one process prints


def test_a_team_that_starts_again_continues_its_run_whatever_the_clock_says(runs_root, monkeypatch):
    assert ddp.run_id("x") is None  # without torchrun each command begins one
    monkeypatch.setenv("WORLD_SIZE", "2")
    first = ddp.run_id("x")
    (runs_root / first).mkdir(parents=True)
    monkeypatch.setattr(ddp.time, "strftime", lambda form: "20990101-000000")
    assert ddp.run_id("x") == first
    assert ddp.run_id("y").startswith("20990101-000000-y-")


def test_a_batch_is_shared_evenly_or_not_at_all():
    assert [ddp.Team(rank, 3).part(12) for rank in range(3)] == [slice(0, 4), slice(4, 8), slice(8, 12)]
    with pytest.raises(ConfigError, match="3 processes cannot share 10 images evenly"):
        ddp.Team(0, 3).part(10)


def draw():
    """Features of six images, and weights of what they become."""
    generator = torch.Generator().manual_seed(0)
    features, weights = (torch.randn(6, 3, 4, 4, generator=generator) for _ in range(2))
    return features * 3 + 5, weights


def compare(team):
    """A loss that compares images with each other, over the global batch, and its gradient for this member's images."""
    part = team.part(6)
    own, theirs = (values.double().flatten(1)[part] for values in draw())
    own.requires_grad_()

    def loss(student, teacher, labels):
        difference = student.embedding - teacher.embedding
        return sp_loss(student.logits, teacher.logits) + (difference.sum(dim=1) * labels).sum()

    outputs = (Outputs(one, [], one[:, :2]) for one in (own, theirs))
    found = team.relate(loss, *outputs, (torch.arange(6) % 3)[part])
    found.backward()
    return found.detach(), own.grad


def _member(rank, size, port, folder):
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    gc.disable()
    threads = psutil.Process().num_threads()
    team = ddp.join()
    x, weights = draw()
    network = team.network(nn.Sequential(nn.BatchNorm2d(3)), synchronized=True)
    mine = x[team.part(6)].clone().requires_grad_()
    out = network(mine)
    (out * weights[team.part(6)]).sum().backward()
    received = team.lead(lambda: {"from": rank}), team.any(rank == 1), team.mean({"rank": float(rank)})
    try:
        team.lead(lambda: (_ for _ in ()).throw(ConfigError("raised by the leader")))
    except ConfigError as error:
        received = (*received, str(error))
    found = {"out": out.detach(), "grad": mine.grad, "state": network.state_dict(), "received": received}
    torch.save(found | {"compared": compare(team)}, folder / f"{rank}.pt")
    ddp.leave()
    # Nothing keeps the group's threads until the interpreter's end: there they abort the process now and then.
    assert psutil.Process().num_threads() <= threads


def test_two_members_compute_over_the_whole_batch_and_receive_what_the_leader_computes(tmp_path):
    """Against torch's own batch norm on the whole batch, forward, backward and running statistics.

    Gradients are averaged over the team, so that of a loss of the global batch is multiplied by its size before.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_member, (2, port, tmp_path), nprocs=2)
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    x, weights = draw()
    whole, x = ddp.join().network(nn.BatchNorm2d(3), synchronized=True), x.requires_grad_()
    out = whole(x)
    (out * weights).sum().backward()
    torch.testing.assert_close(torch.cat([f["out"] for f in found]), out.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(torch.cat([f["grad"] for f in found]), x.grad, rtol=1e-4, atol=1e-5)
    loss, gradient = compare(ddp.Team())
    torch.testing.assert_close(torch.cat([f["compared"][1] for f in found]), 2 * gradient)
    for each in found:
        torch.testing.assert_close(each["state"]["0.running_mean"], whole.running_mean)
        torch.testing.assert_close(each["state"]["0.running_var"], whole.running_var)
        assert each["received"] == ({"from": 0}, True, {"rank": 0.5}, "raised by the leader")
        assert each["compared"][0].item() == pytest.approx(loss.item(), rel=1e-12)
