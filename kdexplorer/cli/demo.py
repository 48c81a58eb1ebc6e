"""`demo`: trains a student with and without its teacher in about a minute, and prints what the teacher gave."""

from __future__ import annotations

import argparse
import sys

from kdexplorer import processes
from kdexplorer.analysis.verdicts import compare_with_teacher_and_baseline
from kdexplorer.cli.options import DONE
from kdexplorer.cli.runs import build_run_results
from kdexplorer.cli.train import execute_run
from kdexplorer.notation import train_command
from kdexplorer.runs.launch import create_run

HELP = "train a student with and without its teacher in about a minute, on images that come with the package"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The length and the seed."""
    add = parser.add_argument
    add("--epochs", type=int, metavar="INT", help="default: as many as fit about a minute on this machine")
    add("--seed", type=int, default=0, metavar="INT", help="default: 0")


def run(options: argparse.Namespace) -> int:
    """Measures the machine if it is not known yet, trains, and prints the results. Raises KDError."""
    from kdexplorer.training import demo
    from kdexplorer.training.estimate import format_duration, measure

    demo.demo_config(1 if options.epochs is None else options.epochs, options.seed)  # refused before the measurement
    estimate = demo.stored_estimate()
    if estimate is None:
        print("Measuring this machine, once …", file=sys.stderr)
        estimate = demo.store_estimate(measure(demo.demo_config(), demo.BUDGET, processes.age()))
    config = demo.demo_config(options.epochs or demo.choose_length(estimate), options.seed)
    duration = format_duration(demo.demo_seconds(estimate, config.epochs))
    print(
        "A ResNet-8 learns from labels alone, another also with a ResNet-20's soft labels and attention maps: "
        f"{config.epochs} epochs of 5,000 CIFAR-10 images, about {duration} on this machine.",
        file=sys.stderr,
    )
    trained = create_run(config, config.name)
    code = execute_run(trained, quiet=False)
    if code == DONE:
        names = ",".join(f"{trained.run_id}/{student.name}" for student in config.students)
        query = f"networks={names}" + (f"&teacher={config.teacher}" if config.teacher else "")
        print(
            f"\n{compare_with_teacher_and_baseline(build_run_results(trained))}\n\n"
            "Where to look next:\n"
            f"  streamlit run streamlit_app.py, then http://localhost:8501/compare?{query}\n"
            f"  http://localhost:8501/launch?run={trained.run_id} shows its curves\n"
            f"  the same training with every setting: {train_command(config)}"
        )
    return code
