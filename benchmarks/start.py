"""The start of a training process until its first steps: imports, data and networks, compiling.

    python -m benchmarks.start [--pairs resnet56:resnet20 resnet50:resnet18] [--repetitions 3] [--compile]

Each repetition is a process of its own that does what `python -m kdexplorer train` does, one part after the other.
Prints the medians of the seconds and, in brackets, of the processor seconds. With `--compile` the first repetition
compiles and is printed alone, because the others find what it compiled.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.app import ROOT

PARTS = ("command line", "torch", "its compiler and optimizers", "data and networks", "first step", "second step")


def play(teacher: str, student: str, compiled: bool) -> None:
    """Starts up and takes two steps; prints each part's seconds and processor seconds as JSON."""
    marks = [(0.0, 0.0), (time.perf_counter(), time.process_time())]
    origin = marks[1][0] - marks[1][1]  # the interpreter's own start counts

    def mark() -> None:
        marks.append((time.perf_counter() - origin, time.process_time()))

    import kdexplorer.cli.main  # noqa: F401
    from kdexplorer.config import RunConfig
    from kdexplorer.notation import parse_student

    settings = {"teacher": teacher, "students": [parse_student(f"{student}:response")], "compile": compiled}
    config = RunConfig.model_validate(settings | {"dataset": "cifar10"})
    del marks[1]
    mark()
    import torch  # noqa: F401

    mark()
    from kdexplorer.training.hardware import configure_process
    from kdexplorer.training.trainer import Trainer

    configure_process()
    mark()
    trainer = Trainer(config)
    mark()
    for step in range(2):
        trainer.step(0, step)
        mark()
    print(json.dumps([[b - a for a, b in zip(one, two, strict=True)] for one, two in itertools.pairwise(marks)]))


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", default=["resnet56:resnet20", "resnet50:resnet18"])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--play", metavar="PAIR", help="one repetition, in this process")
    options = parser.parse_args(arguments)
    if options.play:
        teacher, student = options.play.split(":")
        play(teacher, student, options.compile)
        return
    with tempfile.TemporaryDirectory() as folder:
        own = {"KDEXPLORER_RUNS": str(Path(folder, "runs")), "TORCHINDUCTOR_CACHE_DIR": str(Path(folder, "inductor"))}
        for pair in options.pairs:
            command = [sys.executable, "-m", "benchmarks.start", "--play", pair, *(["--compile"] * options.compile)]
            found = []
            for _ in range(options.repetitions + options.compile):
                printed = subprocess.run(command, cwd=ROOT, env=os.environ | own, stdout=subprocess.PIPE, check=True)
                found.append(json.loads(printed.stdout))
            print(pair.replace(":", " -> "))
            if options.compile:
                show("first", [found.pop(0)])
            show(f"medians of {len(found)}", found)


def show(name: str, found: list[list[list[float]]]) -> None:
    """Prints the medians of each part, and of all but the second step."""
    print(f"  {name}")
    rows = [*zip(*found, strict=True), [[sum(part[:-1]) for part in zip(*one, strict=True)] for one in found]]
    for part, row in zip((*PARTS, "until the first step has ended"), rows, strict=True):
        seconds, busy = (statistics.median(one[which] for one in row) for which in (0, 1))
        print(f"    {part:<32} {seconds:6.2f} s  ({busy:6.2f})")


if __name__ == "__main__":
    main()
