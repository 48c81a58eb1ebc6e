"""Images per second of two gloo processes with one thread each against one process with two threads.

    python -m benchmarks.parallel [--pair resnet56:resnet20] [--students 1] [--repetitions 5] [--processes 2]

Both train the same run: the global batch is the same, each process computes its slice, DistributedDataParallel
averages the gradients. They take turns, each in new processes; the medians and the ratios of the rounds are printed.
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

from benchmarks.training import BATCH, available_dataset, untrained_teacher
from kdexplorer.config import RunConfig
from kdexplorer.notation import parse_student
from kdexplorer.training import ddp
from kdexplorer.training.hardware import configure_process
from kdexplorer.training.trainer import Trainer


def member(options: argparse.Namespace) -> None:
    """One process of a team: it warms up and times its steps; rank 0 prints the rate."""
    students = [
        parse_student(f"{options.pair.split(':')[1]}:response:name=s{number}") for number in range(options.students)
    ]
    config = RunConfig(
        dataset=options.dataset, teacher=options.teacher, students=students, batch_size=BATCH, epochs=1000,
        learning_rate=0.01, threads=options.threads, compile=options.compile, sync_batch_norm=options.sync_batch_norm,
        device="cpu",
    )  # fmt: skip
    configure_process(config.threads)
    rate = time_steps(config, options.warm_up, options.steps)
    if ddp.join().leads:
        print(f"rate {rate}")
    ddp.leave()


def time_steps(config: RunConfig, warm_up: int, steps: int) -> float:
    """Images per second. The trainer ends here: torch hangs now and then when it outlives the process group."""
    trainer = Trainer(config)
    for step in range(warm_up):
        trainer.step(0, step)
    begin = time.perf_counter()
    for step in range(steps):
        trainer.step(1, step)
    return steps * BATCH / (time.perf_counter() - begin)


def rate(options: argparse.Namespace, processes: int, threads: int, teacher: Path, dataset: str) -> float:
    """Images per second of new processes."""
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
    dataset = available_dataset()
    print(f"torch {torch.__version__}, {options.pair}, {options.students} students, {dataset}, batch {BATCH}")
    several, single = [], []
    with tempfile.TemporaryDirectory() as folder:
        teacher = untrained_teacher(options.pair.split(":")[0], dataset, Path(folder))
        for _ in range(options.repetitions):
            single.append(rate(options, 1, options.processes, teacher, dataset))
            several.append(rate(options, options.processes, 1, teacher, dataset))
    ratios = [two / one for two, one in zip(several, single, strict=True)]
    print(f"  one process, {options.processes} threads: {statistics.median(single):.0f} images/s")
    print(f"  {options.processes} processes, one thread each: {statistics.median(several):.0f} images/s")
    print(f"  ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
