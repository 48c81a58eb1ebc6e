"""Small runs for the tests of training, and what two runs must have in common to the last bit."""

import hashlib
import os
import signal
import time

import numpy as np
import pytest
import torch

from kdexplorer.config import RunConfig
from kdexplorer.runs.checkpoints import open_checkpoint
from kdexplorer.runs.launch import create_run
from kdexplorer.runs.run_folder import finished_students
from kdexplorer.training.train import execute
from kdexplorer.training.trainer import Trainer

SCRATCH = {"name": "scratch", "architecture": "resnet8"}
KD, AT = {"method": "kd", "weight": 0.7, "temperature": 3.0}, {"method": "at", "weight": 100.0}
RESPONSE = {"name": "response", "architecture": "resnet8", "ce_weight": 0.3, "terms": [KD]}
COMBINED = RESPONSE | {"name": "combined", "terms": [KD, AT]}


def make_config(*students, **changes):
    """Two epochs of six steps of synthetic shapes, in float32 on the CPU."""
    values = {
        "dataset": "synthetic", "students": list(students) or [SCRATCH], "epochs": 2, "train_images": 30,
        "batch_size": 5, "learning_rate": 0.1, "precision": "float32", "device": "cpu",
    }  # fmt: skip
    return RunConfig(**values | changes)


def create(config):
    return create_run(config, config.name)


def train_to_end(config):
    run = create(config)
    assert execute(run) == "finished"
    return run


def bits(run):
    """What must be the same to the last bit: the stored weights' hashes, and all figures of all epochs."""
    figures = [row.model_dump(include={"epoch", "student", "train", "test", "probes"}) for row in run.metrics()]
    weights = {path.name: open_checkpoint(path).sha256 for path in finished_students(run)}
    for name, sha256 in weights.items():
        assert hashlib.sha256((run.path / name / "weights.safetensors").read_bytes()).hexdigest() == sha256
    return weights, figures


def stop_at(run, where):
    """Trains and sends SIGTERM in that step, `(epoch, step)`; returns the steps that were done."""
    step, done = Trainer.step, []

    def interrupted(trainer, *now):
        done.append(now)
        if now == where:
            os.kill(os.getpid(), signal.SIGTERM)
        step(trainer, *now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "step", interrupted)
        assert execute(run) == "stopped"
    return done


def stop_halfway(config, where=(1, 1)):
    """A run that was stopped in that step, and the bits of one that nothing interrupts."""
    expected, run = bits(train_to_end(config)), create(config)
    assert stop_at(run, where)[-1] == where
    return run, expected


def stop_and_resume(config, where):
    """Stops a run in that step and resumes it: it ends with the bits of one that nothing interrupts; returns these."""
    run, expected = stop_halfway(config, where)
    assert execute(run) == "finished"
    assert bits(run) == expected
    return expected


def record_forwards(trainer, record):
    """Calls `record(inputs, **options)` before each forward pass in training, the teacher's included."""
    for owner in (trainer.teacher, *trainer.students):
        forward = owner.forward

        def recorded(inputs, forward=forward, **options):
            record(inputs, **options)
            return forward(inputs, **options)

        owner.forward = recorded


def predict(network, images, normalization):
    """Logits of uint8 images, with the normalization written out."""
    mean, std = (np.array(values, np.float32).reshape(1, 3, 1, 1) for values in (normalization.mean, normalization.std))
    with torch.inference_mode():
        return network.eval()(torch.from_numpy((images.astype(np.float32) / 255 - mean) / std)).numpy()


def wait_for(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("the condition did not become true")
