"""`train`: trains students, with or without a teacher. `demo`: a minute of it."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from kdexplorer.analysis import results
from kdexplorer.analysis.programs import find_or_import, is_function
from kdexplorer.analysis.verdicts import compare_with_teacher_and_baseline
from kdexplorer.cli import options as shared
from kdexplorer.cli.options import argument, command, flag
from kdexplorer.config import Objective, RunConfig, recipe_settings
from kdexplorer.datasets import get_dataset
from kdexplorer.errors import ConfigError
from kdexplorer.methods import all_methods
from kdexplorer.networks import all_architectures
from kdexplorer.notation import describe_objective, format_number, parse_student, train_command
from kdexplorer.presets import PRESETS
from kdexplorer.runs.checkpoints import Checkpoint
from kdexplorer.runs.launch import create_run, launch_run
from kdexplorer.runs.run_folder import Run, find_run, imported_root, runs_root
from kdexplorer.schema import validate
from kdexplorer.training.checks import require_startable

NOTATION = "ARCHITECTURE[:PRESET-OR-METHOD[:KEY=VALUE…][+METHOD[:KEY=VALUE…]…]]"
EXAMPLES = " ".join(f"resnet20:{name}" for name in PRESETS)


def _add_notation(parser: argparse.ArgumentParser) -> None:
    """The notation of a student with the presets, the methods and their settings, at the end of the help."""
    lines = [
        f"STUDENT is {NOTATION}",
        f"as in: {EXAMPLES}",
        "",
        "architectures: " + ", ".join(architecture.key for architecture in all_architectures()),
        "keys of a student: name, initial (a checkpoint to start from), ce_weight, smoothing",
        "",
        "presets:",
        *(f"  {name:<10} {describe_objective(Objective(**preset))}" for name, preset in PRESETS.items()),
        "",
        "methods, with the defaults of their settings:",
    ]
    for method in all_methods():
        short = {name: f" (or {key})" for key, name in method.short_keys.items()}
        defaults = {name: field.default for name, field in method.Settings.model_fields.items() if name != "method"}
        settings = [f"{name}={format_number(value)}{short.get(name, '')}" for name, value in defaults.items()]
        lines += [f"  {method.key:<10} {method.summary}", f"  {'':<10} {', '.join(settings)}"]
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, "\n".join(lines)


@command(
    "demo",
    argument("--epochs", type=int, metavar="INT", help="default: 14, or 9 where that takes longer than a minute or so"),
    argument("--seed", type=int, default=0, metavar="INT", help="default: 0"),
)
def show_demo(options: argparse.Namespace) -> int:
    """Train a student with and without its teacher in about a minute, on images that come with the package."""
    from kdexplorer.training import estimate

    estimate.demo_config(1 if options.epochs is None else options.epochs, options.seed)  # refused at once
    found = estimate.stored_estimate()
    if found is None:
        print("Measuring this machine, once …", file=sys.stderr)
        found = estimate.measure(estimate.demo_config())
        estimate.store_estimate(found)
    config = estimate.demo_config(options.epochs or estimate.choose_length(found), options.seed)
    duration = estimate.format_duration(estimate.demo_seconds(found, config.epochs))
    print(
        f"One {config.students[0].architecture} learns from labels alone, another also from {config.teacher}: "
        f"{config.epochs} epochs of 5,000 CIFAR-10 images, about {duration} on this machine.",
        file=sys.stderr,
    )
    trained = create_run(config, config.name)
    code = execute_run(trained, quiet=False)
    if code == shared.DONE:
        names = ",".join(f"{trained.run_id}/{student.name}" for student in config.students)
        query = f"networks={names}&teacher={config.teacher}"
        print(
            f"\n{compare_with_teacher_and_baseline(results.read_run(trained))}\n\n"
            "Where to look next:\n"
            f"  python -m kdexplorer app, then http://localhost:8501/compare?{query}\n"
            f"  http://localhost:8501/launch?run={trained.run_id} shows its curves\n"
            f"  the same training with every setting: {train_command(config)}"
        )
    return code


@command(
    "train",
    _add_notation,
    argument("--config", type=Path, help="a JSON file with the configuration; options override it"),
    argument(
        "--students", nargs="+", metavar="STUDENT",
        help=f"the networks to train: {NOTATION}; see the end of this text",
    ),
    *shared.RUN_OPTIONS,
    argument(
        "--teacher-logits", type=Path, metavar="FILE",
        help="a teacher of which only logits count: .npz with train, test and sha256, .pt2 of torch.export, or .onnx; "
        "--teacher MODULE:FUNCTION calls a function of your own that returns a network",
    ),
    flag("--detach", "train in the background and print the run's id"),
    shared.LOG,
    shared.QUIET,
)  # fmt: skip
def train(options: argparse.Namespace) -> int:
    """Train students, with or without a teacher."""
    config = read_config(options)
    shared.choose_log(options)
    if options.detach:
        shared.refuse_torchrun("--detach")
        shared.prepare_data(options, config.dataset)
        require_startable(config)
        print(launch_run(config).run_id)
        return shared.DONE
    from kdexplorer.training import ddp

    run_id = ddp.run_id(config.name)
    shared_run = Run(runs_root() / run_id) if run_id else None

    def create_or_find() -> Run:
        if shared_run and shared_run.path.is_dir():  # torchrun starts a failed team again
            return find_run(shared_run.run_id)
        shared.prepare_data(options, config.dataset)
        require_startable(config)
        return create_run(config, config.name, shared_run)

    run = ddp.join().lead(create_or_find)
    if options.quiet and ddp.join().leads:
        print(run.run_id, flush=True)
    return execute_run(run, options.quiet)


def read_config(options: argparse.Namespace) -> RunConfig:
    """The run: the file of `--config`, overridden by the other options. Raises ConfigError."""
    values = RunConfig.read(options.config, follow_links=True) if options.config else {}
    if options.recipe is not None:
        values |= recipe_settings(options.recipe)
    values |= shared.given_values(options, shared.RUN_FIELDS)
    if options.students:
        values["students"] = [parse_student(text) for text in options.students]
    if not values.get("students"):
        raise ConfigError(f"no students are given: try --students {EXAMPLES}")
    options.dataset = values.get("dataset")  # what was chosen, there too
    values.setdefault("dataset", shared.default_dataset())
    if options.teacher_logits or is_function(options.teacher or ""):
        if options.teacher_view not in (None, "fixed"):
            raise ConfigError("--teacher-view: such a teacher sees the images as they are: leave it out.")
        values |= {"teacher": "imported/teacher", "teacher_view": "fixed"}
        validate(RunConfig, values)  # before all images are classified
        values["teacher"] = _import_teacher(options, values["dataset"])
    return validate(RunConfig, values, str(options.config or ""))


def _import_teacher(options: argparse.Namespace, dataset: str) -> str:
    """The name of the checkpoint that the logits of such a teacher are kept as. Raises KDError."""
    if options.teacher and options.teacher_logits:
        raise ConfigError("--teacher-logits is the teacher: leave out --teacher.")
    from kdexplorer.training import ddp

    def prepare_and_find() -> Checkpoint:
        shared.prepare_data(options, dataset, remark=False)
        teacher, data = options.teacher_logits or options.teacher, get_dataset(dataset)
        return find_or_import(teacher, imported_root(), data, not options.quiet)

    found = ddp.join().lead(prepare_and_find)
    if not options.quiet and ddp.join().leads:
        print(f"{found.path}: accuracy {100 * found.card.test_accuracy:.2f} % as a teacher", file=sys.stderr)
    return f"imported/{found.name}"


def execute_run(run: Run, quiet: bool) -> int:
    """Trains a run to its end or until a signal, and prints its results.

    A process of a team exits with 0 when it is stopped: torchrun takes any other code for a failure and starts again.
    """
    from kdexplorer.training import ddp
    from kdexplorer.training.train import execute

    team = ddp.join()
    quiet = quiet or not team.leads
    if not quiet:
        print(f"{run.run_id}: in {run.path}; Ctrl-C stops it, `resume` continues it", file=sys.stderr)
    state = execute(run, show=not quiet)
    ddp.leave()
    if state == "stopped":
        if team.leads:
            with contextlib.suppress(OSError):  # who read this may be gone, too
                print(f"stopped; continue with: python -m kdexplorer resume {run.run_id}", file=sys.stderr)
        return shared.STOPPED if team.size == 1 else shared.DONE
    if not quiet:
        print(results.to_markdown(results.read_run(run)))
    return shared.DONE
