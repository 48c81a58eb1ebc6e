"""The command line: `python -m kdexplorer train|sweep|resume|evaluate|attention|people|import|runs|handout|data`.

Errors are one line on stderr without a traceback, unless `--debug`. Exit codes: 0 done, 1 it failed, 2 wrong usage,
130 stopped by a signal with the state saved.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from kdexplorer import __version__
from kdexplorer.config import ARCHITECTURES, PRESETS, ExperimentConfig, StudentConfig, validated
from kdexplorer.data import NORMALISATION
from kdexplorer.errors import ConfigError, KDError

if TYPE_CHECKING:
    from kdexplorer.sweep import SweepConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code."""
    options = parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except ConfigError as error:
        return _failed(options, error, 2)
    except (KDError, OSError) as error:
        return _failed(options, error, 1)
    except KeyboardInterrupt:
        return 130


def _failed(options: argparse.Namespace, error: Exception, code: int) -> int:
    if options.debug:
        raise error
    print(f"error: {error}", file=sys.stderr)
    return code


# --- Commands ---------------------------------------------------------------------------------------------


def _train(options: argparse.Namespace) -> int:
    from kdexplorer import runs

    values: dict[str, Any] = {}
    if options.config:
        values = ExperimentConfig.load(options.config).model_dump()
    given = {name: getattr(options, name) for name in ExperimentConfig.model_fields if name != "students"}
    values.update({name: value for name, value in given.items() if value is not None})
    if options.students:
        values["students"] = [StudentConfig.parse(text).model_dump() for text in options.students]
    if not values.get("students"):
        raise ConfigError("no students are given: try --students resnet20:scratch resnet20:response")
    config = validated(ExperimentConfig, values)
    if options.detach:
        _without_torchrun("--detach")
        print(runs.launch(config).run_id)
        return 0
    from kdexplorer import parallel

    run_id = parallel.run_id(config.name)

    def begun() -> runs.Run:
        started_before = run_id is not None and (runs.runs_root() / run_id).is_dir()
        return runs.find(run_id) if started_before else runs.create(config, run_id=run_id)

    return _execute(parallel.join().lead(begun), options.quiet)


def _sweep(options: argparse.Namespace) -> int:
    from kdexplorer import sweep

    grid = ("temperatures", "response_weights", "seeds", "students_per_experiment", "memory_gib")
    chosen = {name: getattr(options, name) for name in grid if getattr(options, name) is not None}
    recipe = {name: getattr(options, name) for name in ExperimentConfig.model_fields if name != "students"}
    recipe = {name: value for name, value in recipe.items() if value is not None}
    _without_torchrun("sweep")
    if options.detach and options.ray:
        raise ConfigError("--detach starts a sweep on this machine: leave it out with --ray, or use nohup.")
    made = sweep.create(sweep.configure(options.student, recipe, **chosen))
    if options.detach:
        sweep.start(made)
        print(made.run_id)
        return 0
    return _execute_sweep(made, options)


def _execute_sweep(made: Any, options: argparse.Namespace) -> int:
    from kdexplorer import surface, sweep

    if not options.quiet:
        print(f"{made.run_id}: its folder is {made.path}; the same command goes on after Ctrl-C", file=sys.stderr)
    state = sweep.execute(made, getattr(options, "ray", None), show=not options.quiet)
    if not options.quiet and made.table():
        print(json.dumps(made.table(), indent=1) if getattr(options, "json", False) else surface.markdown(made.table()))
    if state == "failed":
        print(f"error: {made.status()['message']}", file=sys.stderr)
    return {"finished": 0, "stopped": 130}.get(state, 1)


def _resume(options: argparse.Namespace) -> int:
    from kdexplorer import parallel, sweep

    found = sweep.find(options.run_id)
    if found is not None:
        _without_torchrun("sweep")
        return _execute_sweep(found, options)
    return _execute(parallel.join().lead(lambda: _resumable(options.run_id)), options.quiet)


def _resumable(run_id: str) -> Any:
    from kdexplorer import runs

    run = runs.find(run_id)
    status = run.status()
    state = status["state"]
    # A launched run is queued under its launcher's pid, then under its own, and this is its process.
    others = state == "queued" and status.get("pid") not in (os.getpid(), os.getppid())
    if state in ("finished", "running") or others:
        raise runs.RunError(f"{run.run_id} is {state}: there is nothing to resume.")
    return run


def _without_torchrun(what: str) -> None:
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise ConfigError(f"{what}: start this without torchrun; it starts processes of its own.")


def _execute(run: Any, quiet: bool) -> int:
    from kdexplorer import parallel, table, train

    team = parallel.join()
    quiet = quiet or not team.leads
    if not quiet:
        print(f"{run.run_id}: its folder is {run.path}; stop with Ctrl-C, resume with its id", file=sys.stderr)
    state = train.execute(run, show=not quiet)
    parallel.leave()
    if state == "stopped":
        if team.leads:
            print(f"stopped; go on with: python -m kdexplorer resume {run.run_id}", file=sys.stderr)
        return 130 if team.size == 1 else 0  # torchrun would take anything but 0 for a failure and start again
    if not quiet:
        print(table.markdown(table.rows(table.of_run(run))))
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from kdexplorer import evaluate

    failed = 0
    for name in options.checkpoints:
        report = evaluate.evaluate(name, show=not options.json)
        print(json.dumps(report) if options.json else evaluate.sentence(report), flush=True)
        failed += not report["matches_card"]
    return 1 if failed else 0


def _import(options: argparse.Namespace) -> int:
    from kdexplorer import evaluate, runs

    normalisation = {"mean": options.mean, "std": options.std}
    made = evaluate.import_checkpoint(
        options.weights, options.architecture, options.name, runs.imported_root(), normalisation, show=True
    )
    print(f"{made.path}: accuracy {100 * made.card['test_accuracy']:.2f} %; use it as --teacher imported/{made.name}")
    return 0


def _runs_list(options: argparse.Namespace) -> int:
    from kdexplorer import runs

    rows = [{"run": run.run_id, **run.status()} for run in runs.list_runs()]
    if options.json:
        print(json.dumps(rows, indent=1))
    elif not rows:
        print(f"no runs in {runs.runs_root()} yet: start one with 'python -m kdexplorer train'")
    else:
        for row in rows:
            epoch = f"epoch {row['epoch'] + 1}/{row['epochs']}" if {"epoch", "epochs"} <= row.keys() else ""
            print(f"{row['run']:<48} {row['state']:<9} {epoch:<14} {row.get('message', '')}")
    return 0


def _runs_show(options: argparse.Namespace) -> int:
    from kdexplorer import runs, table

    run = runs.find(options.run_id)
    status = run.status()
    if options.json:
        config = run.config().model_dump(mode="json")
        print(json.dumps({"run": run.run_id, "status": status, "config": config, "metrics": run.metrics()}, indent=1))
        return 0
    print(f"{run.run_id}: {status['state']}  {status.get('message', '')}")
    print("made by: " + command_line(run.config()))
    latest = {row["student"]: row for row in run.metrics()}
    for name, row in latest.items():
        test = row.get("test")
        accuracy = test.get("accuracy") if isinstance(test, dict) else None
        words = f"accuracy {100 * accuracy:.2f} %" if isinstance(accuracy, (int, float)) else "its line is damaged"
        print(f"  {name:<32} epoch {row['epoch'] + 1:>3}  {words}")
    if table.of_run(run):
        print("\n" + table.markdown(table.rows(table.of_run(run))))
    if status["state"] in ("failed", "lost"):
        print("\nlast lines of its log:\n" + run.log_tail())
    return 0


def _runs_table(options: argparse.Namespace) -> int:
    from kdexplorer import checkpoints, comparison, runs, table

    chosen = [c for run_id in options.run_ids for c in table.of_run(runs.find(run_id))]
    if not options.run_ids:
        chosen = checkpoints.bundled()
    groups = comparison.groups({f"{c.card.get('run') or c.path.parent.name}/{c.name}": c for c in chosen})
    if len(groups) > 1:
        parts = "; ".join(f"{where}: {', '.join(names)}" for where, names in groups.items())
        raise ConfigError(f"these were measured on different images and cannot stand in one table. {parts}")
    rows = table.rows(chosen)
    print(json.dumps(rows, indent=1) if options.json else table.markdown(rows))
    return 0


def _runs_stop(options: argparse.Namespace) -> int:
    from kdexplorer import runs, sweep

    runs.stop(sweep.find(options.run_id) or runs.find(options.run_id))
    print("asked it to stop; it saves its state first")
    return 0


def _handout(options: argparse.Namespace) -> int:
    from kdexplorer.files import write_bytes
    from kdexplorer.handout import order, page, sources

    given = sources.from_disk()
    wanted = order.ordered(
        options.networks,
        options.images,
        options.test_images,
        options.photos,
        options.temperature,
        options.alpha,
        given,
        options.live,
    )
    text = page.build(wanted, given).encode()
    write_bytes(options.output, text)
    print(f"{options.output}: {len(text) / 1e6:.2f} MB, {len(wanted.pictures)} pictures; open it in a browser")
    return 0


def _attention(options: argparse.Namespace) -> int:
    from kdexplorer import attention_study, comparison, data
    from kdexplorer.train import find_checkpoint

    if options.images < 1:
        raise ConfigError("--images: it takes at least one image to compare attention on.")
    teacher, *students = (find_checkpoint(name) for name in (options.teacher, *options.students))
    students, others = attention_study.split(teacher, students)
    if others:
        raise KDError(f"{', '.join(c.name for c in others)}: not as many stages as {teacher.name} has; leave it out.")
    images = data.load_split(comparison.dataset_of(teacher), "test").images[: options.images]
    kept = attention_study.stored(teacher, students, images)
    missing = [c for c in students if kept[c.path] is None]
    if missing:
        with _bar("comparing attention") as shown:

            def progress(share: float) -> None:
                shown(round(share * len(images)), len(images))

            attention_study.measure(teacher, missing, images, lambda checkpoint: checkpoint.network(), progress)
    rows = attention_study.rows(teacher, students, images, options.power)
    print(json.dumps(rows, indent=1) if options.json else attention_study.markdown(rows))
    return 0


def _people(options: argparse.Namespace) -> int:
    from kdexplorer import checkpoints, doubt, people
    from kdexplorer.train import find_checkpoint

    path = people.find()
    if path is None:
        raise KDError(f"people's answers are not here: set {people.VARIABLE} to CIFAR-10H's {people.FILES[0]}.")
    chosen = [find_checkpoint(name) for name in options.checkpoints] or checkpoints.bundled()
    rows = doubt.rows(chosen, people.load(path))
    print(json.dumps(rows, indent=1) if options.json else doubt.markdown(rows))
    return 0


def _data_info(options: argparse.Namespace) -> int:
    from kdexplorer import data

    root = data.data_root()
    source = data.find_cifar10(root)
    if source is None:
        print(f"CIFAR-10 is not in {root}: get it with 'python -m kdexplorer data download'")
        return 1
    print(f"CIFAR-10 is in {source}")
    for split in data.SIZES:
        with _bar(f"decoding {split}") as progress:
            loaded = data.load_split("cifar10", split, root, progress)
        print(f"  {split:<5} {len(loaded):>6} images {loaded.images.shape[1:]} {loaded.images.dtype}")
    return 0


def _data_download(options: argparse.Namespace) -> int:
    from kdexplorer import data

    print(f"CIFAR-10 is in {data.download_cifar10()}")
    return 0


class _bar:
    """A tqdm bar that appears only when there is something to wait for."""

    def __init__(self, what: str) -> None:
        self.what, self.bar = what, None

    def __enter__(self) -> Any:
        return self.update

    def update(self, done: int, total: int) -> None:
        from tqdm import tqdm

        self.bar = self.bar or tqdm(total=total, desc=self.what, unit="img", unit_scale=True)
        self.bar.update(done - self.bar.n)

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.close()


def command_line(config: ExperimentConfig) -> str:
    """The command that launches this experiment: what differs from the defaults."""
    words = ["python -m kdexplorer train", *_options(config)]
    words.append("--students " + shlex.join(student_notation(student) for student in config.students))
    return " ".join(words)


def sweep_command_line(config: SweepConfig) -> str:
    """The command that launches this sweep, its grid in full."""
    words = [f"python -m kdexplorer sweep --student {config.student}", *_options(config.recipe)]
    for flag, values in (("--temperature", config.temperatures), ("--response-weight", config.response_weights)):
        words.append(f"{flag} " + " ".join(_number(value) for value in values))
    words.append(f"--seeds {config.seeds}")
    if config.students_per_experiment != type(config).model_fields["students_per_experiment"].default:
        words.append(f"--students-per-experiment {config.students_per_experiment}")
    if config.memory_gib:
        words.append(f"--memory {_number(config.memory_gib)}")
    return " ".join(words)


def _options(config: ExperimentConfig) -> list[str]:
    made = []
    for name, field in ExperimentConfig.model_fields.items():
        value = getattr(config, name)
        if name != "students" and value != field.default:
            made.append(f"--{name.replace('_', '-')}" + ("" if value is True else f" {shlex.quote(str(value))}"))
    return made


def _number(value: float) -> str:
    """A number as short as it reads back to the same."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def student_notation(student: StudentConfig) -> str:
    """The notation that `StudentConfig.parse` reads back to the same student."""
    preset = PRESETS[student.method]
    defaults = {name: field.default for name, field in StudentConfig.model_fields.items()} | preset
    words = [student.architecture, student.method]
    for name in StudentConfig.model_fields:
        value = getattr(student, name)
        if name == "name" and value != f"{student.architecture}-{student.method}":
            words.append(f"name={value}")
        elif name not in ("name", "architecture") and value != defaults[name]:
            words.append(f"{name}={_number(value) if isinstance(value, float) else value}")
    return ":".join(words)


# --- Options ----------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="kdexplorer", description="Distil CIFAR-10 networks and look at them.")
    top.add_argument("--version", action="version", version=__version__)
    top.add_argument("--debug", action="store_true", help="show tracebacks")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(where: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
        made = where.add_parser(name, help=text, description=text)
        made.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        made.set_defaults(run=run)
        return made

    train = command(commands, "train", _train, "train students, with or without a teacher")
    train.add_argument("--config", type=Path, help="a JSON file with the configuration; options override it")
    train.add_argument(
        "--students",
        nargs="+",
        metavar="ARCHITECTURE:PRESET[:KEY=VALUE…]",
        help=f"presets: {', '.join(PRESETS)}; keys: name, T, alpha, beta, power, smoothing, initial "
        "(a checkpoint to go on from); as in "
        "resnet20:scratch resnet20:response:T=4:alpha=0.7 resnet20:feature:beta=1000",
    )
    for name, field in ExperimentConfig.model_fields.items():
        if name != "students":
            _add_option(train, name, field)
    train.add_argument("--detach", action="store_true", help="train in the background and print the run's id")
    train.add_argument("--quiet", action="store_true", help="no progress line and no table")

    sweep = command(commands, "sweep", _sweep, "train a grid of students over temperature and weight, with seeds")
    sweep.add_argument("--student", required=True, choices=ARCHITECTURES, help="the network that is taught")
    for flag, name, kind, text in (
        ("--temperature", "temperatures", float, "temperatures of the grid (default: 1 2 4 8 16)"),
        ("--response-weight", "response_weights", float, "weights of the teacher's term, with 1 - weight on the "
         "cross-entropy (default: 0.3 0.5 0.7 0.9)"),
    ):  # fmt: skip
        sweep.add_argument(flag, dest=name, nargs="+", type=kind, metavar=kind.__name__.upper(), help=text)
    sweep.add_argument("--seeds", type=int, metavar="INT", help="how many seeds, from --seed on (default: 3)")
    sweep.add_argument(
        "--students-per-experiment", type=int, metavar="INT", help="at most; fewer make more experiments for a cluster"
    )
    sweep.add_argument(
        "--memory", dest="memory_gib", type=float, metavar="GIB",
        help="what one experiment may take (default: seven tenths of what is free here)",
    )  # fmt: skip
    for name, field in ExperimentConfig.model_fields.items():
        if name != "students":
            _add_option(sweep, name, field)
    sweep.add_argument("--ray", metavar="ADDRESS", help="a Ray cluster takes the experiments: its address, or auto")
    sweep.add_argument("--json", action="store_true", help="print the results as JSON instead of Markdown")
    sweep.add_argument("--detach", action="store_true", help="in the background; print the sweep's id")
    sweep.add_argument("--quiet", action="store_true", help="no lines while it works and no table")

    resume = command(commands, "resume", _resume, "go on with a run from its last saved step, or with a sweep")
    resume.add_argument("run_id", metavar="RUN", help="the id or folder of a run or sweep")
    resume.add_argument("--quiet", action="store_true", help="no progress line and no table")

    evaluate = command(commands, "evaluate", _evaluate, "measure checkpoints again and compare with their cards")
    evaluate.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT", help="a name, RUN/STUDENT, or a folder")
    evaluate.add_argument("--json", action="store_true", help="a JSON object a line")

    bring = command(commands, "import", _import, "make a checkpoint from your own CIFAR-10 weights and measure it")
    bring.add_argument("weights", type=Path, help="a PyTorch state dict (.pt, .pth; never unpickled) or safetensors")
    bring.add_argument("--architecture", required=True, choices=ARCHITECTURES)
    bring.add_argument("--name", required=True, help="what it will be called")
    for key in ("mean", "std"):
        default = NORMALISATION["cifar10"][key]
        bring.add_argument(
            f"--{key}",
            nargs=3,
            type=float,
            default=default,
            help=f"of the channels, as it was trained (default: {default})",
        )

    run_commands = commands.add_parser("runs", help="list, show, stop runs; print the results table")
    run_commands = run_commands.add_subparsers(required=True, metavar="COMMAND")
    command(run_commands, "list", _runs_list, "all runs, the newest first").add_argument("--json", action="store_true")
    show = command(run_commands, "show", _runs_show, "one run: state, command, latest figures")
    show.add_argument("run_id", metavar="RUN")
    show.add_argument("--json", action="store_true")
    table = command(run_commands, "table", _runs_table, "the results table of runs, or of the bundled networks")
    table.add_argument("run_ids", nargs="*", metavar="RUN")
    table.add_argument("--json", action="store_true", help="JSON instead of Markdown")
    command(run_commands, "stop", _runs_stop, "end a run after its current step, state saved").add_argument(
        "run_id", metavar="RUN"
    )

    handout = command(commands, "handout", _handout, "one HTML file with networks' answers, alive without a server")
    handout.add_argument("--networks", nargs="+", required=True, metavar="CHECKPOINT", help="a teacher, then students")
    handout.add_argument("--images", type=int, default=12, metavar="INT", help="how many pictures (default: 12)")
    handout.add_argument("--test-images", nargs="+", type=int, default=[], metavar="INDEX", help="these come first")
    handout.add_argument("--photos", nargs="+", type=Path, default=[], metavar="FILE", help="your own come first")
    handout.add_argument("--temperature", type=float, default=4.0, help="where its slider begins (default: 4)")
    handout.add_argument("--alpha", type=float, default=0.7, help="where its slider begins (default: 0.7)")
    handout.add_argument("--live", action="store_true", help="the networks too, for pictures of the reader's own")
    handout.add_argument("-o", "--output", type=Path, default=Path("handout.html"), help="default: handout.html")

    look = command(commands, "attention", _attention, "students' attention against a teacher's, stage by stage")
    look.add_argument("teacher", metavar="TEACHER", help="a checkpoint")
    look.add_argument("students", nargs="+", metavar="STUDENT", help="checkpoints; with a scratch twin it is compared")
    look.add_argument("--images", type=int, default=10_000, metavar="INT", help="of the test split (default: all)")
    look.add_argument("--power", type=int, choices=(1, 2), default=1, help="1: mean over channels, 2: of squares")
    look.add_argument("--json", action="store_true", help="JSON instead of Markdown")

    near = command(commands, "people", _people, "networks against people's answers (CIFAR-10H)")
    near.add_argument("checkpoints", nargs="*", metavar="CHECKPOINT", help="default: the bundled networks")
    near.add_argument("--json", action="store_true", help="JSON instead of Markdown")

    data_commands = commands.add_parser("data", help="get CIFAR-10, or see what is there")
    data_commands = data_commands.add_subparsers(required=True, metavar="COMMAND")
    command(data_commands, "info", _data_info, "what lies under KDEXPLORER_DATA")
    command(data_commands, "download", _data_download, "fetch the official archive and verify it")
    return top


def _add_option(parser: argparse.ArgumentParser, name: str, field: Any) -> None:
    """An option from a field: its description is the help, pydantic checks the value."""
    flag, annotation = f"--{name.replace('_', '-')}", field.annotation
    text = (field.description or "") + ("" if field.default in (None, False) else f" (default: {field.default})")
    if annotation is bool:
        parser.add_argument(flag, action="store_true", default=None, help=text.replace("%", "%%"))
        return
    kinds = [kind for kind in (get_args(annotation) or (annotation,)) if kind is not type(None)]
    if all(isinstance(kind, str) for kind in kinds):
        parser.add_argument(flag, choices=kinds, help=text)
    else:
        kind = kinds[0] if kinds[0] in (int, float) else str
        parser.add_argument(flag, type=kind, metavar=kind.__name__.upper(), help=text.replace("%", "%%"))
