"""Images per second by resolution: a network without a teacher, and a teacher with distilled students.

    python -m benchmarks.resolution [--alone resnet50] [--teacher resnet50 --student resnet18 --students 3 4]

The training step of the command line with `--compile`, at each resolution that `--start-resolution 16` passes. The
first step at a resolution compiles and is printed separately. An image counts once, however many students see it.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.training import BATCH, available_dataset, parse_students, seconds, untrained_teacher
from kdexplorer.config import RunConfig, resolution
from kdexplorer.notation import parse_student
from kdexplorer.training.hardware import configure_process
from kdexplorer.training.trainer import Trainer

KIB = 2**30 if sys.platform == "darwin" else 2**20
"""Of the unit of `ru_maxrss` in a GiB: bytes on macOS, elsewhere KiB."""


def measure(title: str, trainer: Trainer, count: int) -> None:
    """Prints, by resolution, the median of `count` steps and the first one, and the peak memory so far."""
    print(title)
    epochs = {resolution(trainer.config, epoch): epoch for epoch in range(trainer.config.epochs)}
    for side, epoch in epochs.items():
        first, *others = (seconds(partial(trainer.step, epoch, number), 1) for number in range(count + 1))
        step = statistics.median(others)
        print(f"  {side} px {BATCH / step:5.0f} images/s  {step:6.3f} s a step  first step {first:3.0f} s", flush=True)
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB:.1f} GiB", flush=True)


def main() -> None:
    """Prints a block for each network without a teacher and one for each number of students."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--alone", nargs="*", default=["resnet50"])
    parser.add_argument("--teacher", default="resnet50")
    parser.add_argument("--student", default="resnet18")
    parser.add_argument("--students", type=int, nargs="+", default=[3, 4])
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    configure_process()
    dataset = available_dataset()
    shared = {
        "dataset": dataset, "batch_size": BATCH, "epochs": 20, "learning_rate": 0.01, "compile": True,
        "start_resolution": 16,
    }  # fmt: skip
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, data: {dataset}, batch {BATCH}")
    for name in options.alone:
        alone = Trainer(RunConfig(students=[parse_student(name)], **shared))
        measure(f"{name} without a teacher", alone, options.steps)
        del alone
    for count in options.students:
        with TemporaryDirectory() as folder:
            teacher = untrained_teacher(options.teacher, dataset, Path(folder))
            students = parse_students(options.student, count)
            pair = Trainer(RunConfig(students=students, teacher=str(teacher), **shared))
        measure(f"{options.teacher} -> {count} {options.student}", pair, options.steps)
        del pair


if __name__ == "__main__":
    main()
