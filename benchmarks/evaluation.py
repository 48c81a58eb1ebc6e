"""The share of an epoch that the evaluation of the test images takes, which `--evaluate-every` saves.

    python -m benchmarks.evaluation [--pairs resnet56:resnet20] [--repetitions 5] [--eager]

Steps of the command line with `--compile` and one student, with the teacher computed and with its predictions stored,
and the evaluation of the student on the test split take turns, so that other work on the machine slows down all of
them. The evaluation of the teacher is done once a run and not counted.
"""

from __future__ import annotations

import argparse
import os
import statistics
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.training import BATCH, available_dataset, make_config, seconds, stepping, untrained_teacher
from kdexplorer.notation import parse_student
from kdexplorer.training.hardware import configure_process
from kdexplorer.training.trainer import Trainer


def measure(teacher_name: str, student_name: str, dataset: str, options: argparse.Namespace) -> None:
    """Prints the seconds of an evaluation, and its share of an epoch with a computed and with a stored teacher."""
    with TemporaryDirectory() as folder:
        os.environ["KDEXPLORER_RUNS"] = folder
        path = untrained_teacher(teacher_name, dataset, Path(folder))
        students = [parse_student(f"{student_name}:response")]
        config = make_config(dataset, not options.eager, students, path)
        loops = {"teacher computed": stepping(config), "teacher stored": stepping(config, stored=True)}
        trainer = Trainer(make_config(dataset, False, students, path))
        assert trainer.teacher is not None
        outputs = trainer.teacher.compute_evaluation(trainer.evaluation)
        evaluate = partial(trainer.evaluate, trainer.students[0], outputs)
        seconds(evaluate, 2)
        for step in loops.values():
            seconds(step, 2)
        evaluations, epochs = list[float](), {name: list[float]() for name in loops}
        for _ in range(options.repetitions):
            for name, step in loops.items():
                epochs[name].append(seconds(step, options.steps) * trainer.steps_per_epoch)
            evaluations.append(seconds(evaluate, 1))
    count = len(trainer.evaluation)
    print(f"{teacher_name} -> {student_name}: {count:,} test images evaluated in {spread(evaluations)} s")
    for name, times in epochs.items():
        shares = [100 * own / (own + epoch) for own, epoch in zip(evaluations, times, strict=True)]
        print(f"  {name:<16} {trainer.steps_per_epoch} steps in {spread(times)} s, evaluation {spread(shares)} %")


def spread(values: list[float]) -> str:
    """Median, minimum and maximum."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main() -> None:
    """Prints three lines for each pair."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", nargs="+", default=["resnet56:resnet20"])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="in each of the two ways and rounds")
    parser.add_argument("--eager", action="store_true", help="the steps without torch.compile")
    options = parser.parse_args()
    configure_process()
    dataset = available_dataset()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, data: {dataset}, batch {BATCH}")
    for pair in options.pairs:
        teacher, student = pair.split(":")
        measure(teacher, student, dataset, options)


if __name__ == "__main__":
    main()
