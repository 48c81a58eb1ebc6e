"""`attention`: compares students' attention maps with a teacher's."""

from __future__ import annotations

import argparse

from kdexplorer.analysis import attention_similarity
from kdexplorer.analysis.measures import to_json, to_markdown
from kdexplorer.analysis.results import dataset_of
from kdexplorer.cli.options import CHECKPOINT_HELP, DONE, JSON_HELP, progress_bar
from kdexplorer.datasets import get_dataset
from kdexplorer.errors import ConfigError, KDError
from kdexplorer.runs.checkpoints import Checkpoint, find_checkpoint

HELP = "compare students' attention maps with a teacher's, stage by stage"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The networks and the images."""
    baseline = "students, in the same form; one whose scratch baseline is given is compared with that too"
    count, power = (
        "number of test images, from the first on (default: all)",
        "1: mean over channels, 2: mean of squares",
    )
    parser.add_argument("teacher", metavar="TEACHER", help=CHECKPOINT_HELP)
    parser.add_argument("students", nargs="+", metavar="STUDENT", help=baseline)
    parser.add_argument("--images", type=int, metavar="INT", help=count)
    parser.add_argument("--power", type=int, choices=(1, 2), default=1, help=power)
    parser.add_argument("--json", action="store_true", help=JSON_HELP)


def run(options: argparse.Namespace) -> int:
    """Prints the table; what an earlier command measured is not measured again. Raises KDError."""
    if options.images is not None and options.images < 1:
        raise ConfigError("--images must be at least 1.")
    teacher, *students = (find_checkpoint(name) for name in (options.teacher, *options.students))
    students, others = attention_similarity.split_by_stages(teacher, students)
    if others:
        names = ", ".join(checkpoint.name for checkpoint in others)
        raise KDError(f"{names}: the number of stages differs from that of {teacher.name}: leave it out.")
    images = get_dataset(dataset_of(teacher)).gallery()[0][: options.images]
    with progress_bar("comparing attention") as update:
        count = len(images)
        attention_similarity.measure(
            teacher, students, images, Checkpoint.network, lambda share: update(round(share * count), count)
        )
    rows = attention_similarity.build_rows(teacher, students, images, options.power)
    print(to_json(rows) if options.json else to_markdown(attention_similarity.tabulate(rows)))
    return DONE
