"""Images per second by resolution: a network that learns alone, and a teacher with students that listen.

    python -m benchmarks.resolution [--alone resnet50] [--teacher resnet50 --student resnet18 --students 3 4]

The engine as the command line runs it with `--compile`, at each resolution that `--start-resolution 16` passes. The
first step at a resolution compiles for it and is shown apart. Images per second are those that pass, however many
students see them.
"""

from __future__ import annotations

import argparse
import resource
import statistics
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.training import BATCH, OBJECTIVES, seconds, untrained_teacher
from kdexplorer import data
from kdexplorer.config import ExperimentConfig, StudentConfig
from kdexplorer.train import Experiment, resolution


def measure(title: str, experiment: Experiment, count: int) -> None:
    """Prints, by resolution, the median of `count` steps and the first one, and the memory taken so far."""
    print(title)
    epochs = {resolution(experiment.config, epoch): epoch for epoch in range(experiment.config.epochs)}
    for side, epoch in epochs.items():
        first, *others = (seconds(partial(experiment.step, epoch, number), 1) for number in range(count + 1))
        step = statistics.median(others)
        print(f"  {side} px {BATCH / step:5.0f} images/s  {step:6.3f} s a step  first step {first:3.0f} s", flush=True)
    print(f"  memory at its height {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB", flush=True)


def main() -> None:
    """Prints a block for the network alone and one for each number of students."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--alone", nargs="*", default=["resnet50"])
    parser.add_argument("--teacher", default="resnet50")
    parser.add_argument("--student", default="resnet18")
    parser.add_argument("--students", type=int, nargs="+", default=[3, 4])
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    dataset = "cifar10" if data.find_cifar10(data.data_root()) else "synthetic"
    shared = {
        "dataset": dataset, "batch_size": BATCH, "epochs": 20, "learning_rate": 0.01, "compile": True,
        "start_resolution": 16,
    }  # fmt: skip
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, data: {dataset}, batch {BATCH}")
    for name in options.alone:
        alone = Experiment(ExperimentConfig(students=[StudentConfig.parse(name)], **shared))
        measure(f"{name} alone", alone, options.steps)
        del alone
    for count in options.students:
        students = [StudentConfig.parse(f"{options.student}:{OBJECTIVES[k % 4]}:name=s{k}") for k in range(count)]
        with TemporaryDirectory() as folder:
            teacher = untrained_teacher(options.teacher, dataset, Path(folder))
            pair = Experiment(ExperimentConfig(students=students, teacher=str(teacher), **shared))
        measure(f"{options.teacher} -> {count} {options.student}", pair, options.steps)
        del pair


if __name__ == "__main__":
    main()
