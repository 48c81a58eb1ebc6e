"""A sweep's folder, and how its students are packed into experiments.

`runs/sweeps/<id>/` contains `config.json` (the sweep), `experiments.json` (how it was packed), `status.json` and
`log.txt` as a run has them, and the results so far (`table.json`, `table.md`). A sweep is found again by its
configuration and its runs' ids derive from its own, so the same command continues where an earlier one ended.
"""

from __future__ import annotations

import contextlib
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

from filelock import FileLock
from pydantic import Field

from kdexplorer.config import MAX_STUDENTS
from kdexplorer.errors import ConfigError, RunError
from kdexplorer.files import read_json, read_once, write_json
from kdexplorer.runs import launch
from kdexplorer.runs.records import RESUMABLE
from kdexplorer.runs.run_folder import Run, find_run, list_runs, runs_root
from kdexplorer.schema import Name, StrictModel, validate
from kdexplorer.sweeps.grid import SweepConfig, experiment_config
from kdexplorer.sweeps.results import SweepResults, read_results

AnySweep = TypeVar("AnySweep", bound="Sweep")


class PackedExperiment(StrictModel):
    """One experiment of a sweep: the run that trains it, its seed, and its students' names."""

    run: Name
    seed: int
    students: tuple[Name, ...] = Field(min_length=1, max_length=MAX_STUDENTS)


class Packing(StrictModel):
    """`experiments.json`."""

    experiments: list[PackedExperiment]


@dataclass(frozen=True)
class Sweep(Run):
    """A run folder whose configuration is a `SweepConfig`."""

    kind: ClassVar[str] = "sweep"

    def config(self) -> SweepConfig:  # type: ignore[override]
        """Raises ConfigError when `config.json` is missing or damaged."""
        return read_once(_load_config, self.path / "config.json")

    def check(self) -> None:
        """As `Run.check`, and `experiments.json` must fit the configuration."""
        super().check()
        self.experiments()

    @staticmethod
    def parent_folder() -> Path:
        return runs_root() / "sweeps"

    def experiments(self) -> list[PackedExperiment]:
        """How it was packed; empty before it was. Raises ConfigError when that is damaged or not of this sweep."""
        path = self.path / "experiments.json"
        if not os.path.lexists(path):
            return []
        packed = read_once(_load_packing, path).experiments
        if [one.run for one in packed] != self.run_ids(packed):
            raise ConfigError("experiments.json names runs that are not this sweep's: delete it, it is made again.")
        unknown = {name for one in packed for name in one.students} - {one.name for one in self.config().students()}
        if unknown:
            changed = "config.json was changed after the sweep had begun: restore it, or start a new sweep"
            raise ConfigError(f"experiments.json has students that config.json lacks ({min(unknown)}): {changed}.")
        return packed

    def run_ids(self, packed: list[PackedExperiment]) -> list[str]:
        """The ids of the runs that train these experiments."""
        return [f"{self.run_id}-{number}" for number in range(1, len(packed) + 1)]

    def runs(self) -> list[Run]:
        """The experiments' runs, in order; those that have not started have no folder yet. Raises ConfigError."""
        return [Run(self.path.parent.parent / experiment.run) for experiment in self.experiments()]

    def results(self) -> SweepResults | None:
        """The results so far; None where there are none yet. Raises ConfigError when they are damaged."""
        return read_results(self.path / "table.json")


def _load_config(path: Path) -> SweepConfig:
    if (values := Sweep(path.parent).read_values()) is None:
        raise ConfigError(f"{path.parent.name}: its {path.name} is missing or cannot be read.")
    return validate(SweepConfig, values, where=path.parent.name)


def _load_packing(path: Path) -> Packing:
    return validate(Packing, read_json(path), where=path.name)


def list_sweeps() -> list[Sweep]:
    """All sweeps, the newest first."""
    return [Sweep(run.path) for run in list_runs(Sweep.parent_folder())]


def find_sweep(sweep_id: str) -> Sweep | None:
    """The sweep of that id or folder, or None."""
    with contextlib.suppress(RunError):
        return Sweep(find_run(sweep_id, (Sweep,)).path)
    return None


def find_same(config: SweepConfig) -> Sweep | None:
    """The sweep of the same configuration, or None."""
    return _find_same(config, Sweep)


def create(config: SweepConfig) -> Sweep:
    """The folder of this sweep: the existing one of the same configuration, or a new one. Raises RunError."""
    return open_same(config, Sweep, "sweep", config.recipe.name[:30])


def open_same(config: StrictModel, kind: type[AnySweep], what: str, name: str, run_id: str | None = None) -> AnySweep:
    """The folder with this configuration: the existing one, or a new one. Raises RunError.

    Args:
        config: of the sweep or league.
        kind: the class of the folder.
        what: what it is called in errors.
        name: begins a new folder's id.
        run_id: a new folder's id, if it is not to have one of its own.
    """
    folder = kind.parent_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".create.lock", timeout=30):
            return _find_same(config, kind) or kind(launch.create_run(config, name, folder, run_id, kind).path)
    except OSError as error:  # filelock's Timeout is one
        reason = error.strerror or "another start is taking long"
        raise RunError(f"a {what} cannot be written to {folder} ({reason}): check the folder and the disk.") from error


def _find_same(config: StrictModel, kind: type[AnySweep]) -> AnySweep | None:
    for one in (kind(run.path) for run in list_runs(kind.parent_folder())):
        with contextlib.suppress(ConfigError):
            if one.config() == config:
                return one
    return None


def launch_sweep(config: SweepConfig) -> Sweep:
    """Creates a sweep, or finds it, and starts its driver as a process of its own. Raises RunError."""
    sweep = create(config)
    start_sweep(sweep)
    return sweep


def start_sweep(sweep: Sweep) -> None:
    """Starts a sweep's driver as a process of its own, unless it is running or finished. Raises RunError."""
    status = sweep.status()
    if status.state in RESUMABLE or (status.state == "queued" and status.pid == os.getpid()):
        launch.start_run(sweep)


def pack(config: SweepConfig, sweep_id: str, elsewhere: bool = False) -> list[PackedExperiment]:
    """The experiments of a sweep: for each seed as few as memory allows, of equal size.

    With `elsewhere` a cluster trains it, whose machines are taken to have this one's memory unless `memory_gib` is set.
    Raises KDError when the memory cannot be estimated, as without the teacher.
    """
    from kdexplorer.training import estimate

    students, seed = config.students(), config.recipe.seed
    device = "cpu" if elsewhere else config.recipe.device
    limit = config.memory_gib * 2**30 if config.memory_gib else estimate.free_memory(device)
    most = min(config.students_per_experiment, len(students))
    while most > 1 and estimate.estimate_memory(experiment_config(config, students[:most], seed), elsewhere) > limit:
        most -= 1
    size = math.ceil(len(students) / math.ceil(len(students) / most))
    names = tuple(student.name for student in students)
    parts = [names[start : start + size] for start in range(0, len(names), size)]
    every = enumerate(((seed + number, part) for number in range(config.seeds) for part in parts), start=1)
    return [PackedExperiment(run=f"{sweep_id}-{number}", seed=one, students=part) for number, (one, part) in every]


def prepare(sweep: Sweep, elsewhere: bool = False) -> list[Run]:
    """The experiments' run folders; packs the sweep and creates the missing ones. Raises KDError."""
    config = sweep.config()
    if not sweep.experiments():
        packed = [one.model_dump(mode="json") for one in pack(config, sweep.run_id, elsewhere)]
        write_json(sweep.path / "experiments.json", {"experiments": packed})
    by_name = {student.name: student for student in config.students()}
    for experiment, run in zip(sweep.experiments(), sweep.runs(), strict=True):
        if not (run.path / "config.json").is_file():
            of_run = experiment_config(config, [by_name[name] for name in experiment.students], experiment.seed)
            if run.path.is_dir():  # only its configuration was lost
                write_json(run.path / "config.json", of_run.model_dump(mode="json"))
            else:
                launch.create_run(of_run, of_run.name, run.path.parent, experiment.run)
                run.write_status("waiting", "its sweep starts it")
    return sweep.runs()
