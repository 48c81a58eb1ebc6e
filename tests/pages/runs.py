"""Run folders as a trainer leaves them, and what their students' cards say."""

import numpy as np

from kdexplorer.analysis import metrics
from kdexplorer.config import RunConfig
from kdexplorer.datasets import get_dataset
from kdexplorer.presets import PRESETS
from kdexplorer.runs.launch import create_run
from kdexplorer.runs.run_folder import EpochMetrics

CIFAR10 = get_dataset("cifar10")
CIFAR10_CARD = {
    "classes": CIFAR10.classes,
    "normalization": CIFAR10.normalization,
    "data": {"dataset": "cifar10", "evaluation_split": "test", "evaluation_images": 10_000},
}
"""The fields of a card of CIFAR-10's whole test split."""


def distilled(teacher, preset="response"):
    """What a student's card says of its teacher and its objective."""
    return {"teacher": {"name": teacher.name, "sha256": teacher.sha256}, "objective": PRESETS[preset]}


def figures(right, seed=0):
    """Logits that are right on the first so many of 120 synthetic test images, and what a card says of them."""
    labels = get_dataset("synthetic").load("test").labels
    predicted = np.where(np.arange(120) < right, labels, (labels + 1) % 10)
    logits = np.random.default_rng(seed).normal(0, 0.1, (120, 10)) + 3 * np.eye(10)[predicted]
    cross_entropy = metrics.cross_entropy(logits, labels)
    return {"logits": logits, "test_accuracy": right / 120, "test_cross_entropy": cross_entropy, "test_objective": 1.0}


def make_run(state="finished", students=("scratch",), epochs=2, teacher=None, **facts):
    """A run folder as the trainer would leave it."""
    objectives = PRESETS if teacher else {}
    config = RunConfig(
        name="demo", dataset="synthetic", train_images=300, batch_size=64, epochs=epochs, teacher=teacher,
        students=[{"name": f"s-{one}", "architecture": "resnet8", **objectives.get(one, {})} for one in students],
    )  # fmt: skip
    run = create_run(config, config.name)
    generator = np.random.default_rng(0)
    rows = [
        EpochMetrics(
            epoch=epoch,
            student=student.name,
            train={"objective": 2.0, "cross_entropy": 2.0, "accuracy": 0.2},
            test={"objective": 2.0, "cross_entropy": 2.0 - epoch / 10, "accuracy": 0.3 + epoch / 10},
            probes=generator.normal(size=(20, 10)).round(3).tolist(),
            seconds=1.0,
        )
        for epoch in range(epochs)
        for student in config.students
    ]
    run.append_metrics(rows)
    run.write_status(state, **facts)
    return run
