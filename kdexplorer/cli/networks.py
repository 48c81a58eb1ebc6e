"""Networks: `evaluate`, `export`, `attention`, `human-labels` and `import`."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from kdexplorer.analysis import attention_similarity, human_agreement, programs
from kdexplorer.analysis import evaluate as evaluation
from kdexplorer.analysis.measures import to_json, to_markdown
from kdexplorer.cli import options as shared
from kdexplorer.cli.options import argument, command, flag
from kdexplorer.datasets import Normalization, available_dataset, dataset_choices, get_dataset
from kdexplorer.datasets.cifar10 import HUMAN_FILES, HUMAN_VARIABLE, Cifar10
from kdexplorer.errors import ConfigError, DataError, KDError
from kdexplorer.files import check_place, write_bytes
from kdexplorer.networks import all_architectures
from kdexplorer.runs.checkpoints import bundled_checkpoints, find_checkpoint
from kdexplorer.runs.run_folder import imported_root
from kdexplorer.schema import validate
from kdexplorer.studies import report
from kdexplorer.studies.collect import measure_choice
from kdexplorer.studies.folder import find_study

AFTER_CHOICE = "evaluate networks, or a sweep's best cell (its id), chosen on held-out images, once on the test split"
CHANNELS = "of the channels in training (default: the data set's)"
STUDENTS = "students, in the same form; one whose scratch baseline is given is compared with that too"


@command(
    "evaluate",
    argument("checkpoints", nargs="+", metavar="CHECKPOINT", help=shared.CHECKPOINT_HELP),
    flag("--after-choice", AFTER_CHOICE),
    flag("--json", "print one JSON object per line"),
)
def evaluate(options: argparse.Namespace) -> int:
    """Evaluate checkpoints on the test split again and compare with their cards.

    It fails where one differs from its card. `--after-choice` measures what was chosen on held-out images, once.
    """
    code, show = shared.DONE, not options.json
    for name in options.checkpoints:
        if not options.after_choice:
            found = evaluation.evaluate_checkpoint(name, show)
            values, text = asdict(found), evaluation.format_report(found)
            code = code if found.matches_card else shared.FAILED
        elif (folder := find_study(name)) is not None:
            table = measure_choice(folder, show)
            values, text = table.model_dump(mode="json"), report.to_markdown(table)
        else:
            chosen = evaluation.measure_after_choice(find_checkpoint(name), show)
            values, text = chosen.model_dump(mode="json"), evaluation.format_after_choice(name, chosen)
        print(json.dumps(values) if options.json else text, flush=True)
    return code


@command(
    "export",
    argument("checkpoint", metavar="CHECKPOINT", help=shared.CHECKPOINT_HELP),
    argument("--format", choices=programs.FORMATS, default="pt2", help="default: pt2, of torch.export"),
    argument("-o", "--output", type=Path, metavar="FILE", help="default: NAME.FORMAT in this folder"),
)  # fmt: skip
def export(options: argparse.Namespace) -> None:
    """Write a network as a program for PyTorch or ONNX, or its weights in float32."""
    checkpoint = find_checkpoint(options.checkpoint)
    path = options.output or Path(f"{checkpoint.name}.{options.format}")
    check_place(path)
    data = programs.export(checkpoint, options.format)
    write_bytes(path, data)
    print(f"{path}: {len(data) / 1e6:.2f} MB")


@command(
    "attention",
    argument("teacher", metavar="TEACHER", help=shared.CHECKPOINT_HELP),
    argument("students", nargs="+", metavar="STUDENT", help=STUDENTS),
    argument("--images", type=int, metavar="INT", help="number of test images, from the first on (default: all)"),
    argument(
        "--power", type=int, choices=(1, 2), default=1, help="1: mean over channels of absolute values, 2: of squares"
    ),
    shared.JSON,
)
def compare_attention(options: argparse.Namespace) -> None:
    """Compare students' attention maps with a teacher's, stage by stage."""
    if options.images is not None and options.images < 1:
        raise ConfigError("--images must be at least 1.")
    teacher, *students = (find_checkpoint(name) for name in (options.teacher, *options.students))
    if not teacher.computes:
        raise KDError(f"{teacher.name} has logits only, so no attention maps: choose another teacher.")
    students, others = attention_similarity.split_by_stages(teacher, students)
    if others:
        names = ", ".join(checkpoint.name for checkpoint in others)
        raise KDError(f"{names}: the number of stages differs from that of {teacher.name}: leave it out.")
    dataset = teacher.card.known_dataset
    if dataset is None or not len(images := dataset.gallery().images[: options.images]):
        raise DataError(f"the images of {teacher.card.data.dataset}, the data set of {teacher.name}, are missing.")
    with shared.progress_bar("comparing attention") as update:
        count = len(images)
        attention_similarity.measure(teacher, students, images, lambda share: update(round(share * count), count))
    rows = attention_similarity.build_rows(teacher, students, images, options.power)
    print(to_json(rows) if options.json else to_markdown(attention_similarity.tabulate(rows)))


@command(
    "human-labels",
    argument("checkpoints", nargs="*", metavar="CHECKPOINT", help=f"{shared.CHECKPOINT_HELP} (default: all bundled)"),
    shared.JSON,
)
def compare_with_humans(options: argparse.Namespace) -> None:
    """Compare networks with human labels (CIFAR-10H)."""
    human = Cifar10().human_labels()
    if human is None:
        raise DataError(f"the human labels are missing: set {HUMAN_VARIABLE} to CIFAR-10H's {HUMAN_FILES[0]}.")
    chosen = [find_checkpoint(name) for name in options.checkpoints] or bundled_checkpoints()
    rows = human_agreement.build_rows(chosen, human)
    if left := sorted({one.name for one in chosen} - {row.name for row in rows}):
        text = f"without stored logits of CIFAR-10's test images, left out: {', '.join(left)}"
        if not rows:
            raise DataError(text)
        print(text, file=sys.stderr)
    print(to_json(rows) if options.json else to_markdown(human_agreement.tabulate(rows)))


@command(
    "import",
    argument(
        "weights",
        type=Path,
        help="a PyTorch state dict (.pt, .pth; no code in it runs) or safetensors; or a teacher of which only logits "
        "are kept: .npz with train, test and sha256, .pt2 of torch.export, or .onnx",
    ),
    argument("--architecture", choices=[one.key for one in all_architectures()], help="of weights"),
    argument("--name", required=True, help="the checkpoint's name"),
    argument("--dataset", help=f"whose classes it has: {dataset_choices()} (default: cifar10)"),
    argument("--classes", nargs="+", metavar="CLASS", help="the network's order of the classes, if it is another one"),
    *(argument(f"--{key}", nargs=3, type=float, metavar=("R", "G", "B"), help=CHANNELS) for key in ("mean", "std")),
)
def import_weights(options: argparse.Namespace) -> None:
    """Make a checkpoint from your own weights and evaluate it.

    It says so where another normalization gives more.
    """
    dataset = get_dataset(options.dataset or "cifar10").key
    shared.prepare_data(options, dataset)
    used = get_dataset(available_dataset(dataset))
    values = {name: getattr(options, name) or known for name, known in used.normalization.model_dump().items()}
    given = options.mean is not None or options.std is not None
    normalization, is_logits = validate(Normalization, values), options.weights.suffix in programs.SUFFIXES
    if is_logits == bool(options.architecture):
        raise ConfigError("--architecture says what weights are of: give it with weights, and only with them.")
    if is_logits and options.classes:
        raise ConfigError("--classes is for weights: order the columns of the logits as the data set's classes.")
    if is_logits:
        checkpoint = programs.import_logits(
            options.weights, options.name, imported_root(), used, normalization if given else None, show=True
        )
    else:
        checkpoint = evaluation.import_checkpoint(
            options.weights, options.architecture, options.name, imported_root(), normalization,
            show=True, dataset=dataset, classes=options.classes or (),
        )  # fmt: skip
    if used.key != dataset:
        print(f"{get_dataset(dataset).label} is missing: evaluated on {used.label}", file=sys.stderr)
    images = f"on {checkpoint.card.data.evaluation_images:,} test images of {used.label}"
    accuracy = f"accuracy {100 * checkpoint.card.test_accuracy:.2f} % {images}"
    as_teacher = f"--teacher imported/{checkpoint.name}" + " --teacher-view fixed" * is_logits
    print(f"{checkpoint.path}: {accuracy}; as a teacher: {as_teacher}")
    if not is_logits and (better := evaluation.find_better_normalization(checkpoint, show=True)):
        print(better)
