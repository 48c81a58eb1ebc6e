"""`import`: makes a checkpoint from CIFAR-10 weights of your own."""

from __future__ import annotations

import argparse
from pathlib import Path

from kdexplorer.analysis.evaluate import find_better_normalization, import_checkpoint
from kdexplorer.cli.options import DONE
from kdexplorer.datasets import Normalization, get_dataset
from kdexplorer.networks import all_architectures
from kdexplorer.runs.run_folder import imported_root
from kdexplorer.schema import validate

HELP = "make a checkpoint from your own CIFAR-10 weights and evaluate it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The weights and what they belong to."""
    parser.add_argument("weights", type=Path, help="a PyTorch state dict (.pt, .pth; never unpickled) or safetensors")
    parser.add_argument("--architecture", required=True, choices=[one.key for one in all_architectures()])
    parser.add_argument("--name", required=True, help="the checkpoint's name")
    for key, default in get_dataset("cifar10").normalization.model_dump().items():
        text = f"of the channels in training (default: {' '.join(map(str, default))})"
        parser.add_argument(f"--{key}", nargs=3, type=float, default=default, metavar=("R", "G", "B"), help=text)


def run(options: argparse.Namespace) -> int:
    """Writes and evaluates the checkpoint; says so where another normalization gives more. Raises KDError."""
    normalization = validate(Normalization, {"mean": options.mean, "std": options.std})
    given = (options.weights, options.architecture, options.name)
    checkpoint = import_checkpoint(*given, imported_root(), normalization, show=True)
    accuracy = f"accuracy {100 * checkpoint.card.test_accuracy:.2f} %"
    print(f"{checkpoint.path}: {accuracy}; as a teacher: --teacher imported/{checkpoint.name}")
    better = find_better_normalization(checkpoint, show=True)
    if better is not None:
        print(better)
    return DONE
