"""Images per second of two gloo processes with one thread each against one process with two threads.

    python -m benchmarks.parallel [--pair resnet56:resnet20] [--students 1] [--repetitions 5] [--processes 2]

Both train the same experiment: the global batch is the same, each process computes its slice, DistributedDataParallel
averages the gradients. They take turns, a fresh start each; the medians and the ratio of each round are printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.training import BATCH, untrained_teacher
from kdexplorer import data, parallel
from kdexplorer.config import ExperimentConfig, StudentConfig
from kdexplorer.train import Experiment


def member(options: argparse.Namespace) -> None:
    """What each process does: warms up, times its steps, and lets the leader say how fast they were."""
    students = [
        StudentConfig.parse(f"{options.pair.split(':')[1]}:response:name=s{number}")
        for number in range(options.students)
    ]
    config = ExperimentConfig(
        dataset=options.dataset, teacher=options.teacher, students=students, batch_size=BATCH, epochs=1000,
        learning_rate=0.01, threads=options.threads, compile=options.compile, sync_batch_norm=options.sync_batch_norm,
        device="cpu",
    )  # fmt: skip
    experiment = Experiment(config)
    for step in range(options.warm_up):
        experiment.step(0, step)
    begin = time.perf_counter()
    for step in range(options.steps):
        experiment.step(1, step)
    rate = options.steps * BATCH / (time.perf_counter() - begin)
    if experiment.team.leads:
        print(f"rate {rate}")
    parallel.leave()


def rate(options: argparse.Namespace, processes: int, threads: int, teacher: Path, dataset: str) -> float:
    """Images per second of a fresh start."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
    command = [sys.executable, *(launcher if processes > 1 else ["-m"]), "benchmarks.parallel", "--member"]
    command += ["--pair", options.pair, "--students", str(options.students), "--steps", str(options.steps)]
    command += ["--warm-up", str(options.warm_up), "--threads", str(threads)]
    command += ["--teacher", str(teacher), "--dataset", dataset]
    command += [f"--{name.replace('_', '-')}" for name in ("compile", "sync_batch_norm") if getattr(options, name)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": str(threads)}
    )
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return float(next(line for line in done.stdout.splitlines() if line.startswith("rate ")).split()[1])


def main() -> None:
    """Prints both rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", default="resnet56:resnet20")
    parser.add_argument("--students", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--warm-up", type=int, default=5)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--sync-batch-norm", action="store_true")
    parser.add_argument("--member", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--teacher", help=argparse.SUPPRESS)
    parser.add_argument("--dataset", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.member:
        member(options)
        return
    dataset = "cifar10" if data.find_cifar10(data.data_root()) else "synthetic"
    print(f"torch {torch.__version__}, {options.pair}, {options.students} students, {dataset}, batch {BATCH}")
    together, alone = [], []
    with tempfile.TemporaryDirectory() as folder:
        teacher = untrained_teacher(options.pair.split(":")[0], dataset, Path(folder))
        for _ in range(options.repetitions):
            alone.append(rate(options, 1, options.processes, teacher, dataset))
            together.append(rate(options, options.processes, 1, teacher, dataset))
    ratios = [two / one for two, one in zip(together, alone, strict=True)]
    print(f"  one process, {options.processes} threads: {statistics.median(alone):.0f} images/s")
    print(f"  {options.processes} processes, one thread each: {statistics.median(together):.0f} images/s")
    print(f"  ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
