"""Images per second: a plain distillation loop against this engine, on the same networks and data.

    python -m benchmarks.training [--pairs resnet56:resnet20 resnet50:resnet18] [--repetitions 5]

(a) is the usual loop of tutorials: a DataLoader with PIL transforms and two workers, float32, the teacher's forward
pass for each batch, one student. (b) is `kdexplorer.training.trainer.Trainer`, with one student and with four, as
the command line runs it with `--compile`; and with one student whose teacher's predictions are stored, as every run
after the first has them. They take turns, so that a drift of the machine's speed affects all of
them; the medians and the ratios within each round are printed. Student-images are images times students.

It also multiplies two large matrices, in float32 and in the precision that the engine chooses for this processor, and
prints which share of the rate in its own precision each loop reaches (convolutions and linear layers; forward and both
backward passes of the students, forward of the teacher). That rate is the processor's maximum; convolutions of 16 to 64
channels stay far below it.

The rest, by torch.profiler over five compiled ResNet-20 steps at batch 128 (2 threads): on an Intel Xeon with
matrix tiles 34 % went to the convolutions' backward, 11 % to their forward, 50 % to the fused batch norm, ReLU and
addition kernels (31 % backward, 19 % forward), 2 % to the optimizer; uncompiled, the same unfused operations took 57
%. On an AMD EPYC without tiles, whose convolutions are slower, 43 %, 16 %, 36 % and 1 %. The fused kernels wait for
memory: an activation of the first stage has 4 MB, more than a core's cache. So students are trained one after the other
in each step: in parallel, a core each, one cost 90 ms there, and in sequence on both cores 80 ms.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from kdexplorer.config import RunConfig, StudentConfig
from kdexplorer.datasets import Split, get_dataset
from kdexplorer.networks import build, count_multiply_adds, count_parameters
from kdexplorer.notation import parse_student
from kdexplorer.runs.array_store import save_arrays
from kdexplorer.runs.card import Card
from kdexplorer.runs.checkpoints import save_checkpoint, to_half_precision
from kdexplorer.training.hardware import configure_process, resolve_precision
from kdexplorer.training.trainer import Trainer

BATCH = 128
OBJECTIVES = ("response", "scratch", "feature", "combined")


class PlainImages(Dataset):
    """Items as torchvision's CIFAR10 gives them: array to PIL image, transforms, tensor."""

    def __init__(self, split: Split) -> None:
        self.images, self.labels = np.array(split.images).transpose(0, 2, 3, 1), split.labels
        normalization = get_dataset("cifar10").normalization
        crop, mirror = transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()
        normalize = transforms.Normalize(normalization.mean, normalization.std)
        self.transform = transforms.Compose([crop, mirror, transforms.ToTensor(), normalize])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def plain(teacher_name: str, student_name: str, split: Split) -> Callable[[], None]:
    """One step of the plain loop."""
    teacher, student = build(teacher_name), build(student_name)
    for network in (teacher, student):
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    teacher.eval()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    loader = DataLoader(PlainImages(split), batch_size=BATCH, shuffle=True, num_workers=2, drop_last=True)
    batches = iter(loader)

    def step() -> None:
        nonlocal batches
        try:
            images, labels = next(batches)
        except StopIteration:
            batches = iter(loader)
            images, labels = next(batches)
        with torch.no_grad():
            teacher_logits = teacher(images)
        logits = student(images)
        soft = F.kl_div(F.log_softmax(logits / 4, 1), F.softmax(teacher_logits / 4, 1), reduction="batchmean") * 16
        loss = 0.7 * soft + 0.3 * F.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def make_config(dataset: str, compiled: bool, students: list[StudentConfig], teacher: Path | None) -> RunConfig:
    """A run that is long enough for every benchmark."""
    recipe: dict[str, Any] = {"batch_size": BATCH, "epochs": 1000, "learning_rate": 0.01, "compile": compiled}
    return RunConfig(dataset=dataset, teacher=str(teacher) if teacher else None, students=students, **recipe)


def available_dataset() -> str:
    """CIFAR-10 where it is available, else the synthetic shapes."""
    return next(key for key in ("cifar10", "synthetic") if get_dataset(key).is_available())


def parse_students(architecture: str, count: int) -> list[StudentConfig]:
    """Students of one architecture, their objectives in turn."""
    return [parse_student(f"{architecture}:{OBJECTIVES[k % 4]}:name=s{k}") for k in range(count)]


def stepping(config: RunConfig, stored: bool = False) -> Callable[[], None]:
    """A function that does one training step of a run after another, the first epoch's teacher stored or not.

    `KDEXPLORER_RUNS` must be a folder of the benchmark's own where it is stored.
    """
    trainer, done = Trainer(config), 0
    teacher = trainer.teacher
    if teacher is not None and teacher.batch_facts is not None and stored:
        zeros = {part: np.zeros(shape, np.float32) for part, shape in teacher.shapes.items()}
        save_arrays(teacher.facts_of(0), zeros)
        assert teacher.is_stored(0)
    elif teacher is not None:
        teacher.batch_facts = None  # an earlier benchmark's are not to be read

    def step() -> None:
        nonlocal done
        trainer.step(*divmod(done, trainer.steps_per_epoch))
        done += 1

    return step


def seconds(step: Callable[[], object], count: int) -> float:
    """Mean seconds of `count` steps."""
    begin = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - begin) / count


def matmul_rate(dtype: torch.dtype, budget: float = 3.0) -> float:
    """Floating-point operations per second of a square matrix product: the median of nine.

    The matrices have 2048 rows, or as many as ten products in about `budget` seconds allow: a processor without
    bfloat16 instructions can need half a minute for one of 2048.
    """

    def product(size: int) -> Callable[[], object]:
        a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
        return lambda: a @ b

    probe = product(256)
    probe()
    estimate = seconds(probe, 3)
    size = next((size for size in (2048, 1024, 512) if 10 * estimate * (size / 256) ** 3 <= budget), 256)
    step = product(size)
    times = [seconds(step, 1) for _ in range(10)]
    return 2 * size**3 / statistics.median(times[1:])


def untrained_teacher(architecture: str, dataset: str, folder: Path) -> Path:
    """A checkpoint with initial weights: its forward pass costs as much as a trained network's."""
    network, data = build(architecture, seed=0), get_dataset(dataset)
    facts: dict[str, Any] = {"parameters": count_parameters(network), "test_accuracy": 0.1, "test_cross_entropy": 2.3}
    facts |= {"classes": data.classes, "normalization": data.normalization}
    card = Card(name=architecture, architecture=architecture, **facts)
    return save_checkpoint(folder / architecture, to_half_precision(network), card, None).path


@dataclass(frozen=True)
class Loop:
    """A way to train: what does one step, for how many students, in which precision."""

    step: Callable[[], None]
    students: int
    dtype: torch.dtype
    stored: bool = False
    """Whether the teacher's predictions are read instead of computed."""


def time_in_turn(
    steps: dict[str, Callable[[], None]], repetitions: int, budget: float = 5.0
) -> tuple[dict[str, int], dict[str, list[float]]]:
    """The number of steps a round, about `budget` seconds, and the mean seconds of a step in each round.

    They take turns, so that a machine whose speed drifts drifts for all of them.
    """
    counts, times = dict[str, int](), {name: list[float]() for name in steps}
    for name, step in steps.items():
        seconds(step, 2)
        counts[name] = max(2, round(budget / seconds(step, 1)))
    for _ in range(repetitions):
        for name, step in steps.items():
            times[name].append(seconds(step, counts[name]))
    return counts, times


def print_pair(
    teacher: str, student: str, loops: dict[str, Loop], repetitions: int, limits: dict[torch.dtype, float]
) -> None:
    """Measures the loops of a pair, the plain one first, and prints a row for each."""
    counts, times = time_in_turn({name: loop.step for name, loop in loops.items()}, repetitions)
    print(f"\n{teacher} -> {student}, {repetitions} rounds of {', '.join(map(str, counts.values()))} steps")
    base = next(iter(times.values()))
    work = {name: count_multiply_adds(name) for name in (teacher, student)}
    for name, loop in loops.items():
        rates = [loop.students * BATCH / t for t in times[name]]
        ratios = [loop.students * b / t for b, t in zip(base, times[name], strict=True)]
        multiply_adds = BATCH * (work[teacher] * (not loop.stored) + 3 * loop.students * work[student])
        share = 2 * multiply_adds / statistics.median(times[name]) / limits[loop.dtype]
        print(
            f"  {name:<33} {statistics.median(rates):7.0f} student-images/s  ({min(rates):.0f} to {max(rates):.0f})"
            f"   {statistics.median(ratios):.2f} x plain"
            f"   {100 * share:.0f} % of the {dtype_name(loop.dtype)} matrix rate"
        )


def dtype_name(dtype: torch.dtype) -> str:
    """`float32`, `bfloat16`."""
    return str(dtype).removeprefix("torch.")


def main() -> None:
    """Prints a block of figures per pair."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", nargs="+", default=["resnet56:resnet20", "resnet50:resnet18"])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--eager", action="store_true", help="the engine without torch.compile")
    options = parser.parse_args()
    configure_process()
    dataset = available_dataset()
    split = get_dataset(dataset).load("train")
    chosen = resolve_precision("auto", torch.device("cpu"))
    limits = {dtype: matmul_rate(dtype) for dtype in dict.fromkeys((torch.float32, chosen))}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, data: {dataset}, batch {BATCH}")
    print("matrix product: " + ", ".join(f"{dtype_name(d)} {rate / 1e9:.0f} GFLOP/s" for d, rate in limits.items()))
    for pair in options.pairs:
        teacher, student = pair.split(":")
        with TemporaryDirectory() as folder:
            path = untrained_teacher(teacher, dataset, Path(folder))
            loops = {"plain, 1 student": Loop(plain(teacher, student, split), 1, torch.float32)}
            os.environ["KDEXPLORER_RUNS"] = folder
            for count, stored, name in (
                (1, False, "engine, 1 student"),
                (4, False, "engine, 4 students"),
                (1, True, "engine, 1 student, stored teacher"),
            ):
                config = make_config(dataset, not options.eager, parse_students(student, count), path)
                loops[name] = Loop(stepping(config, stored), count, chosen, stored)
            print_pair(teacher, student, loops, options.repetitions, limits)


if __name__ == "__main__":
    main()
