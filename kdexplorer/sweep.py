"""Which temperature and which weight pay: a grid of students, packed into experiments, carried out one by one.

Students that share teacher, data and seed go into one experiment until memory says stop: they share batches and the
teacher's forward pass. `runs/sweeps/<id>/` holds `config.json` (the sweep), `experiments.json` (how it was packed),
`status.json` and `log.txt` as a run has them, and the results so far (`table.json`, `table.md`). A sweep's id and its
runs' ids follow from its configuration, so the same command goes on where an earlier one ended.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, model_validator

from kdexplorer import processes, runs
from kdexplorer.config import ARCHITECTURES, PRESETS, ExperimentConfig, StudentConfig, validated
from kdexplorer.errors import ConfigError, KDError, RunError
from kdexplorer.files import read_json, write_bytes, write_json

MOST_STUDENTS = 64
"""What one experiment can hold (see `ExperimentConfig`)."""

ATTEMPTS = 3
"""How often an experiment whose process or machine vanished is taken up again without having got any further."""

POLL = 0.5
"""Seconds between two looks at an experiment."""


class SweepConfig(BaseModel):
    """A grid over temperature and response weight, its seeds, and what all experiments share.

    `response_weight` w goes with `ce_weight` 1 - w, as in the lab's formula.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    recipe: ExperimentConfig
    """What is the same everywhere; `seed` is the first seed. Its students are the references that every seed has beside
    the grid: the twin that learns from labels alone, and the lab's default."""
    student: Literal[ARCHITECTURES]  # type: ignore[valid-type]
    temperatures: list[Annotated[float, Field(ge=0.1, le=100)]] = Field([1.0, 2.0, 4.0, 8.0, 16.0], min_length=1)
    response_weights: list[Annotated[float, Field(gt=0, le=1)]] = Field([0.3, 0.5, 0.7, 0.9], min_length=1)
    seeds: int = Field(3, ge=1, le=100)
    students_per_experiment: int = Field(MOST_STUDENTS, ge=1, le=MOST_STUDENTS)
    memory_gib: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> SweepConfig:
        for values in (self.temperatures, self.response_weights):
            if len(set(values)) < len(values):
                raise ValueError("a value stands twice in the grid: leave one out")
        if not self.recipe.teacher:
            raise ValueError("a sweep needs a teacher: choose one")
        return self

    def students(self) -> list[StudentConfig]:
        """Every student of one seed: the references, then the grid."""
        made = {student.name: student for student in self.recipe.students}
        for temperature in self.temperatures:
            for weight in self.response_weights:
                student = cell(self.student, temperature, weight)
                made.setdefault(student.name, student)
        return list(made.values())


def cell(architecture: str, temperature: float, weight: float) -> StudentConfig:
    """The student of one cell of the grid."""
    return validated(
        StudentConfig,
        {
            "name": f"{architecture}-T{temperature:g}-w{weight:g}",
            "architecture": architecture,
            "ce_weight": round(1 - weight, 12),
            "response_weight": weight,
            "temperature": temperature,
        },
    )


def references(architecture: str) -> list[StudentConfig]:
    """The twin from scratch, and the lab's default as the cell of the grid that it is."""
    default = PRESETS["response"]
    return [
        StudentConfig.parse(f"{architecture}:scratch"),
        cell(architecture, default["temperature"], default["response_weight"]),
    ]


def configure(student: str, recipe: dict[str, Any], **grid: Any) -> SweepConfig:
    """A sweep from the fields of `ExperimentConfig` (without students) and of `SweepConfig`. Raises ConfigError."""
    if student not in ARCHITECTURES:
        raise ConfigError(f"student: '{student[:60]}' is not a network. Choose one of {', '.join(ARCHITECTURES)}.")
    if not recipe.get("teacher"):
        raise ConfigError("teacher: a sweep needs a teacher, as in --teacher resnet56.")
    shared = validated(ExperimentConfig, {"name": "sweep", **recipe, "students": references(student)})
    return validated(SweepConfig, {"recipe": shared, "student": student, **grid})


# --- The folder ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sweep(runs.Run):
    """A sweep's folder: a run folder whose configuration is a `SweepConfig`."""

    def config(self) -> SweepConfig:
        """Raises ConfigError when `config.json` is missing or damaged."""
        values = read_json(self.path / "config.json")
        if values is None:
            raise ConfigError(f"{self.path / 'config.json'} cannot be read as a sweep.")
        return validated(SweepConfig, values, where=self.run_id)

    @staticmethod
    def home() -> Path:
        return sweeps_root()

    @property
    def root(self) -> Path:
        """The runs folder that its experiments' runs are in."""
        return self.path.parent.parent

    def experiments(self) -> list[dict[str, Any]]:
        """How it was packed: `run` (its id), `seed` and `students` (names) of each; empty before it was."""
        return (read_json(self.path / "experiments.json") or {}).get("experiments", [])

    def runs(self) -> list[runs.Run]:
        """The experiments' runs, in order; those that have not begun have no folder yet."""
        return [runs.Run(self.root / experiment["run"]) for experiment in self.experiments()]

    def table(self) -> dict[str, Any] | None:
        """The results so far; see `surface.results`."""
        return read_json(self.path / "table.json")


def sweeps_root(root: Path | None = None) -> Path:
    """Where sweeps are kept: `sweeps/` among the runs."""
    return (root or runs.runs_root()) / "sweeps"


def list_sweeps(root: Path | None = None) -> list[Sweep]:
    """All sweeps, the newest first."""
    return [Sweep(run.path) for run in runs.list_runs(sweeps_root(root))]


def find(sweep_id: str, root: Path | None = None) -> Sweep | None:
    """The sweep of that id or folder, or None."""
    with contextlib.suppress(RunError):
        path = runs.find(sweep_id, sweeps_root(root)).path
        return Sweep(path) if path.parent.name == "sweeps" else None
    return None


def create(config: SweepConfig, root: Path | None = None) -> Sweep:
    """The folder of this sweep: the one that is there already, or a new one. Raises RunError."""
    facts = config.model_dump(mode="json")
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]
    folder = sweeps_root(root)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".create.lock", timeout=30):
            return _found_or_made(config, key, folder, root)
    except OSError as error:  # filelock's Timeout is one
        why = error.strerror or "another start takes long"
        raise RunError(f"a sweep cannot be written to {folder} ({why}): check the folder and the disk.") from error


def _found_or_made(config: SweepConfig, key: str, folder: Path, root: Path | None) -> Sweep:
    for sweep in list_sweeps(root):
        if sweep.run_id.endswith(f"-{key}"):
            return sweep
    return Sweep(runs.create(config, folder, f"{time.strftime('%Y%m%d-%H%M%S')}-{config.recipe.name[:30]}-{key}").path)


def launch(config: SweepConfig, root: Path | None = None) -> Sweep:
    """Creates a sweep, or finds it, and starts its driver as a process of its own. Raises RunError."""
    sweep = create(config, root)
    start(sweep)
    return sweep


def start(sweep: Sweep) -> None:
    """Starts a sweep's driver as a process of its own, unless it is at work or has nothing left to do."""
    status = sweep.status()
    waiting = status["state"] == "queued" and status["pid"] == os.getpid()
    if waiting or status["state"] in runs.RESUMABLE:
        runs.start(sweep)


def pack(config: SweepConfig, sweep_id: str, elsewhere: bool = False) -> list[dict[str, Any]]:
    """The experiments: per seed as few as memory allows, of even size. See `Sweep.experiments`.

    `elsewhere` is a cluster: its machines are taken to have this one's memory, unless `memory_gib` says what they have.
    """
    from kdexplorer import estimate

    students = config.students()
    device = "cpu" if elsewhere else config.recipe.device
    limit = config.memory_gib * 2**30 if config.memory_gib else estimate.free_memory(device)
    most = min(config.students_per_experiment, len(students))
    while most > 1 and estimate.memory(_experiment(config, students[:most], "packing", 0), elsewhere) > limit:
        most -= 1
    size = math.ceil(len(students) / math.ceil(len(students) / most))
    names = [student.name for student in students]
    parts = [names[start : start + size] for start in range(0, len(names), size)]
    seeds = [config.recipe.seed + number for number in range(config.seeds)]
    every = [(seed, part) for seed in seeds for part in parts]
    return [
        {"run": f"{sweep_id}-{number}", "seed": seed, "students": part}
        for number, (seed, part) in enumerate(every, start=1)
    ]


def _experiment(config: SweepConfig, students: list[StudentConfig], name: str, seed: int) -> ExperimentConfig:
    return validated(ExperimentConfig, config.recipe.model_dump() | {"students": students, "name": name, "seed": seed})


def prepare(sweep: Sweep, elsewhere: bool = False) -> list[runs.Run]:
    """The experiments' run folders; packs the sweep and creates what is not there yet. Raises KDError."""
    config = sweep.config()
    if not sweep.experiments():
        write_json(sweep.path / "experiments.json", {"experiments": pack(config, sweep.run_id, elsewhere)})
    by_name = {student.name: student for student in config.students()}
    for experiment, run in zip(sweep.experiments(), sweep.runs(), strict=True):
        if not (run.path / "config.json").is_file():
            students = [by_name[name] for name in experiment["students"]]
            made = _experiment(config, students, config.recipe.name, experiment["seed"])
            if run.path.is_dir():  # only its configuration was lost
                write_json(run.path / "config.json", made.model_dump(mode="json"))
            else:
                runs.create(made, sweep.root, experiment["run"])
    return sweep.runs()


# --- The driver ---------------------------------------------------------------------------------------------


class Stopped(Exception):
    """SIGTERM or SIGINT came, or somebody stopped one of its runs."""


def execute(sweep: Sweep, ray_address: str | None = None, show: bool = False) -> str:
    """Carries out what is left of a sweep; finished experiments are left alone, the others go on from their state.

    Args:
        sweep: a folder that `create` wrote.
        ray_address: of a Ray cluster that takes the experiments (`auto` finds it); without one they run here in turn.
        show: print a line per experiment.

    Returns:
        The final state: `finished`, `stopped`, or `failed` where at least one experiment failed.

    Raises:
        RunError: when another process drives this sweep.
        KDError: when it cannot be packed, or the cluster not be reached.
    """
    lock = FileLock(sweep.path / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"{sweep.run_id} is being carried out by another process: stop that one first.") from None
    with processes.stop_signals() as stopping, sweep.log() as logger:
        progress = Progress(sweep, logger, show)
        try:
            progress.write("running", "packing the students into experiments")
            todo = [run for run in prepare(sweep, bool(ray_address)) if not progress.settled(run)]
            if ray_address:
                from kdexplorer import cluster

                cluster.carry_out(todo, ray_address, stopping, progress)
            else:
                for run in todo:
                    in_turn(run, stopping, progress)
            state, message = ("failed", progress.failures()) if progress.failed else ("finished", "")
            progress.write(state, message)
            return state
        except Stopped:
            progress.write("stopped", "stopped; it can be resumed")
            return "stopped"
        except BaseException as error:
            with contextlib.suppress(OSError):
                progress.write("failed", str(error)[:500])
            raise
        finally:
            lock.release()


def in_turn(run: runs.Run, stopping: threading.Event, progress: Progress) -> None:
    """Trains one experiment in a process of its own, as Launch does, and waits for its end.

    The trainer outlives a driver that is killed; the next driver waits for it. Raises Stopped.
    """
    attempts, furthest, started = 0, (-1, -1), False
    progress.begin(run)
    while True:
        status = run.status()
        state = status["state"]
        if state in runs.LIVE and status["pid"] != os.getpid():
            started = True  # perhaps by a driver before this one
            if stopping.is_set():
                with contextlib.suppress(RunError):
                    runs.stop(run)
            progress.beat()
            time.sleep(POLL)
            continue
        if state == "finished" or (started and state == "failed"):
            progress.end(run, state, str(status.get("message") or ""))
            return
        if stopping.is_set() or (started and state == "stopped"):
            raise Stopped
        here = (status.get("epoch", -1), status.get("step", -1))
        attempts, furthest = (attempts + 1 if here == furthest else 1), here
        if attempts > ATTEMPTS:
            progress.end(run, "failed", f"its process vanished {ATTEMPTS} times at the same place")
            return
        runs.start(run)
        started = True


class Progress:
    """What the driver tells: the sweep's status, its log, a line per experiment, and the results so far."""

    def __init__(self, sweep: Sweep, logger: logging.Logger, show: bool) -> None:
        self.sweep, self.logger, self.show = sweep, logger, show
        self.working: list[str] = []
        self.failed: dict[str, str] = {}
        self.written = 0.0

    def settled(self, run: runs.Run) -> bool:
        """Whether there is nothing left to do for an experiment."""
        return run.status()["state"] == "finished"

    def begin(self, run: runs.Run, where: str = "here") -> None:
        self.working.append(run.run_id)
        self.tell(f"{run.run_id} begins {where}")
        self.beat(every=0)

    def beat(self, every: float = 2.0) -> None:
        """Keeps the status fresh."""
        if time.monotonic() - self.written >= every:
            with contextlib.suppress(OSError):  # a full disk must not end a sweep for want of a heartbeat
                self.write("running", "training")

    def end(self, run: runs.Run, state: str, message: str) -> None:
        """An experiment is over: the results so far are written anew."""
        from kdexplorer import surface

        self.working.remove(run.run_id)
        if state == "failed":
            self.failed[run.run_id] = message
        self.tell(f"{run.run_id} {state}" + (f": {message}" if message else ""))
        try:
            results = surface.results(self.sweep)
            write_json(self.sweep.path / "table.json", results)
            write_bytes(self.sweep.path / "table.md", surface.markdown(results).encode())
        except (KDError, OSError) as error:
            self.tell(f"the results so far could not be written: {error}")
        self.beat(every=0)

    def tell(self, line: str) -> None:
        """A line for the log, and for whoever watches."""
        self.logger.info("%s", line)
        if self.show:
            print(line, file=sys.stderr, flush=True)

    def write(self, state: runs.State, message: str) -> None:
        every = self.sweep.runs()
        self.written = time.monotonic()
        self.sweep.write_status(
            state, message, experiments=len(every), finished=sum(self.settled(run) for run in every),
            working=self.working, failed=self.failed,
        )  # fmt: skip

    def failures(self) -> str:
        """What went wrong, in a sentence."""
        first, why = next(iter(self.failed.items()))
        return f"{len(self.failed)} of {len(self.sweep.runs())} experiments failed; {first}: {why}"
