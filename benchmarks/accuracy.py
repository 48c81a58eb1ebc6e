"""Minutes until a network has an accuracy, by recipe: means and spreads over seeds.

    python -m benchmarks.accuracy [--networks air_64 resnet20] [--recipes fast standard] [--epochs 8] [--seeds 3]
                                  [--smoothing 0.2] [--set start_resolution=16]
                                  [--instead first_layer=trained filter_rate=0.12]

Accuracy is measured on training images that are held out, never on the test split, after every epoch. A run's rate
falls over its whole length, so a shorter run reaches an accuracy earlier than a longer one: compare runs by their last
epoch, and give `--epochs` several lengths. `--set` changes the recipe of every run. `--instead` trains once more for
each word, with other values in place of the recipe's: what each part of a recipe gives.

Minutes are those of the training steps, without evaluation: by the clock, and in brackets of one processor (all threads
together), which other programs on the machine hardly change. PFLOP count two operations for a multiply-add, forward and
both backward passes. Test-time augmentation (the mean of the logits of six views: as it is with weight 1/2, shifted by
a pixel in two directions with 1/4 each, all of them mirrored too; Jordan 2024, section 3.7) is a number of its own.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kdexplorer.config import RunConfig, pixel_shares
from kdexplorer.errors import KDError
from kdexplorer.networks import all_architectures, count_multiply_adds
from kdexplorer.notation import parse_student
from kdexplorer.presets import RECIPES
from kdexplorer.schema import validate
from kdexplorer.training.hardware import configure_process
from kdexplorer.training.objective import run_network
from kdexplorer.training.teacher import evaluation_batches
from kdexplorer.training.trainer import Trainer

TARGETS = (0.85, 0.90, 0.92, 0.94)


@dataclass
class Curve:
    """A run: after each epoch accuracy, seconds by the clock and of a processor; the last accuracy with six views."""

    points: list[tuple[float, float, float]]
    augmented: float
    pflop: float


def train(config: RunConfig) -> Curve:
    """Trains a run and evaluates it after every epoch."""
    trainer = Trainer(config)
    student = trainer.students[0]
    points, clock, processor = [], 0.0, 0.0
    for epoch in range(config.epochs):
        clock, processor = clock - time.perf_counter(), processor - time.process_time()
        for step in range(trainer.steps_per_epoch):
            trainer.step(epoch, step)
        clock, processor = clock + time.perf_counter(), processor + time.process_time()
        points.append((_accuracy(trainer, 1), clock, processor))
        accuracy = points[-1][0]
        print(f"  seed {config.seed}, epoch {epoch + 1}: {accuracy:.2%}, {clock:.0f} s, {processor:.0f} s", flush=True)
    images = trainer.steps_per_epoch * config.batch_size * sum(pixel_shares(config))  # as many at full size
    pflop = 6e-15 * count_multiply_adds(student.config.architecture) * images
    return Curve(points, _accuracy(trainer, 6), pflop)


@torch.no_grad()
def _accuracy(trainer: Trainer, views: int) -> float:
    """The share of the held-out images that the student names right, on one view or six."""
    network, labels, right = trainer.students[0].result.eval(), torch.from_numpy(trainer.evaluation.labels), 0

    def logits(images: Tensor) -> Tensor:
        return run_network(network, images, trainer.dtype, set()).logits

    for start, stop, images in evaluation_batches(network, trainer.evaluation, trainer.normalization):
        found = logits(images) if views == 1 else _mean_of_views(logits, images)
        right += int((found.argmax(dim=1).cpu() == labels[start:stop]).sum())
    network.train()
    return right / len(labels)


def _mean_of_views(logits: Any, images: Tensor) -> Tensor:
    side, padded = images.shape[-1], F.pad(images, (1, 1, 1, 1), mode="reflect")
    views = ((0.5, images), (0.25, padded[..., :side, :side]), (0.25, padded[..., 2:, 2:]))
    return sum((share / 2 * (logits(view) + logits(view.flip(-1))) for share, view in views), torch.zeros(()))


def describe(name: str, curves: list[Curve]) -> str:
    """A line: the last accuracy, minutes of the whole run and to each target, PFLOP."""
    last = [100 * curve.points[-1][0] for curve in curves]
    augmented = [100 * curve.augmented for curve in curves]
    spread = f" ± {statistics.stdev(last):.2f}" if len(last) > 1 else ""
    line = f"{name:<40} {statistics.mean(last):6.2f} %{spread}  six views {statistics.mean(augmented):6.2f} %"
    line += f"  {_minutes(curves, 0.0, -1)} min  {curves[0].pflop:.3f} PFLOP"
    reached = [f"{target:.0%}: {_minutes(curves, target)}" for target in TARGETS]
    return f"{line}  to " + ", ".join(reached)


def _minutes(curves: list[Curve], target: float, point: int | None = None) -> str:
    """Mean minutes by the clock, in brackets of a processor, until the accuracy; a dash where a seed never has it."""
    found = []
    for curve in curves:
        reached = [one for one in curve.points if one[0] >= target] if point is None else [curve.points[point]]
        if not reached:
            return "–"
        found.append(reached[0])
    clock, processor = (statistics.mean(one[k] for one in found) / 60 for k in (1, 2))
    return f"{clock:.1f} ({processor:.1f})"


def main() -> None:
    """Trains every network with every recipe and length, and with each value that is given instead."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--networks", nargs="+", default=["air_64"], choices=[one.key for one in all_architectures()])
    add("--recipes", nargs="+", default=["fast"], choices=list(RECIPES))
    add("--epochs", nargs="+", type=int, default=[8])
    add("--seeds", type=int, default=3)
    add("--smoothing", type=float, default=0.2)
    add("--holdout", type=int, default=5000)
    add("--train-images", type=int)
    add("--threads", type=int)
    add("--set", nargs="*", default=[], metavar="SETTING=VALUE")
    add("--instead", nargs="*", default=[], metavar="SETTING=VALUE[,SETTING=VALUE…]")
    options = parser.parse_args()
    configure_process(options.threads)
    todo, lines = dict[str, list[RunConfig]](), list[str]()
    for network, recipe, epochs in itertools.product(options.networks, options.recipes, options.epochs):
        for other in ("", *options.instead):
            values: dict[str, Any] = {"recipe": recipe, "epochs": epochs, "holdout": options.holdout}
            values |= {"train_images": options.train_images, "threads": options.threads, "dataset": "cifar10"}
            values["students"] = [parse_student(f"{network}:scratch:smoothing={options.smoothing}")]
            name = ", ".join([network, recipe, f"{epochs} epochs", *options.set, *filter(None, [other])])
            try:
                values |= [pair.split("=") for pair in (*options.set, *filter(None, other.split(",")))]
                todo[name] = [validate(RunConfig, values | {"seed": seed}) for seed in range(options.seeds)]
            except (KDError, ValueError) as error:
                parser.error(f"{name}: {error}")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    for name, configs in todo.items():
        lines.append(describe(name, [train(config) for config in configs]))
        print(lines[-1], flush=True)
    print("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
