"""A study's folder, and how its students are packed into runs.

`runs/studies/<id>/` contains `config.json` (the study, and how it is trained), `packing.json` (its runs so far),
`status.json` and `log.txt` as a run has them, and its table (`table.json`, `table.md`) unless that is elsewhere. The id
follows from what is declared and those of the runs from the id, so the same command continues where an earlier one
ended.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from filelock import FileLock
from pydantic import Field

from kdexplorer.config import MAX_STUDENTS, RunConfig
from kdexplorer.errors import ConfigError, RunError
from kdexplorer.files import read_json, read_once, write_json
from kdexplorer.runs import launch
from kdexplorer.runs.records import LIVE, RESUMABLE
from kdexplorer.runs.run_folder import Run, find_run, list_runs, runs_root
from kdexplorer.schema import Name, StrictModel, validate
from kdexplorer.studies.study import Study
from kdexplorer.studies.table import StudyRun, Table, begin_table, read_table


class StudyConfig(StrictModel):
    """`config.json`: the study, and how it is trained."""

    study: Study
    experiment: Name | None = None  # whose it is, which measures more than a study does
    table: str | None = None  # the file of the table; None for `table.json` in the folder
    seeds: int | None = Field(None, ge=1)  # train only the first so many declared seeds
    students_per_run: int = Field(MAX_STUDENTS, ge=1, le=MAX_STUDENTS)
    memory_gib: float | None = Field(None, gt=0)

    @property
    def table_path(self) -> Path:
        """Where the table is."""
        return Path(self.table) if self.table else folder_of(self.study).path / "table.json"


@dataclass(frozen=True)
class StudyFolder(Run):
    """A run folder whose configuration is a `StudyConfig`."""

    kind: ClassVar[str] = "study"

    def config(self) -> StudyConfig:  # type: ignore[override]
        """Raises ConfigError when `config.json` is missing or damaged."""
        return read_once(_load_config, self.path / "config.json")

    def check(self) -> None:
        """As `Run.check`, and `packing.json` must fit the study."""
        super().check()
        self.packing()

    @staticmethod
    def parent_folder() -> Path:
        return runs_root() / "studies"

    def packing(self) -> list[StudyRun]:
        """How it was packed; empty before it was. Raises ConfigError when that is damaged or not of this study."""
        path = self.path / "packing.json"
        if not os.path.lexists(path):
            return []
        packed = read_once(_load_packing, path)
        if not all(f"{one.run}-".startswith(f"{self.run_id}-{one.seed}-") for one in packed):
            raise ConfigError("packing.json names runs that are not this study's: delete it, it is made again.")
        unknown = {name for one in packed for name in one.entries} - self.config().study.entries.keys()
        if unknown:
            changed = "config.json was changed after the study had begun: restore it, or start a new study"
            raise ConfigError(f"packing.json has students that config.json lacks ({min(unknown)}): {changed}.")
        return packed

    def runs(self) -> list[Run]:
        """The runs of the packing; those that have not started have no folder yet. Raises ConfigError."""
        return [self.run(one) for one in self.packing()]

    def run(self, planned: StudyRun) -> Run:
        """The folder of a run."""
        return Run(self.path.parent.parent / planned.run)

    @property
    def table_path(self) -> Path:
        """Where its table is. Raises ConfigError."""
        return self.config().table_path

    def table(self) -> Table | None:
        """The results so far; None where there are none yet. Raises ConfigError when they are damaged."""
        return read_table(self.table_path)


def _load_config(path: Path) -> StudyConfig:
    if (values := StudyFolder(path.parent).read_values()) is None:
        raise ConfigError(f"{path.parent.name}: its {path.name} is missing or cannot be read.")
    return validate(StudyConfig, values, where=path.parent.name)


def _load_packing(path: Path) -> list[StudyRun]:
    values = (read_json(path) or {}).get("runs")
    if not isinstance(values, list):
        raise ConfigError(f"{path.name} cannot be read: delete it, it is made again.")
    return [validate(StudyRun, one, where=path.name) for one in values]


def list_studies(with_grid: bool = False) -> list[StudyFolder]:
    """All studies, or those of grids, the newest first."""
    found = [StudyFolder(run.path) for run in list_runs(StudyFolder.parent_folder())]
    found.sort(key=_began, reverse=True)
    return [one for one in found if not with_grid or _has_grid(one)]


def _began(folder: StudyFolder) -> float:
    with contextlib.suppress(OSError):
        return (folder.path / "config.json").stat().st_mtime
    return 0.0


def _has_grid(folder: StudyFolder) -> bool:
    with contextlib.suppress(ConfigError):
        return folder.config().study.grid is not None
    return True  # a damaged one is shown with the reason


def find_study(study_id: str) -> StudyFolder | None:
    """The study of that id or folder, or None."""
    with contextlib.suppress(RunError):
        return StudyFolder(find_run(study_id, (StudyFolder,)).path)
    return None


def folder_of(study: Study) -> StudyFolder:
    """The folder of a study, which need not exist."""
    return StudyFolder(StudyFolder.parent_folder() / study.study_id)


def open_study(config: StudyConfig) -> StudyFolder:
    """The folder of this study: the existing one, which is from now on trained as `config` says, or a new one.

    Raises RunError.
    """
    folder = folder_of(config.study)
    values = {"kind": folder.kind, **config.model_dump(mode="json")}
    try:
        folder.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.path.parent / ".create.lock", timeout=30):
            if not folder.path.is_dir():
                launch.create_run(config, config.study.name, run_id=folder.run_id, kind=StudyFolder)
            elif read_json(folder.path / "config.json") != values and not _is_working(folder):
                write_json(folder.path / "config.json", values)
    except OSError as error:  # filelock's Timeout is one
        reason = error.strerror or "another start is taking long"
        raise RunError(
            f"a study cannot be written to {folder.path} ({reason}): check the folder and the disk."
        ) from error
    return folder


def _is_working(folder: StudyFolder) -> bool:
    """Whether another process works in the folder."""
    status = folder.status()
    return status.state in LIVE and status.pid != os.getpid()


def start_study(folder: StudyFolder) -> None:
    """Starts a study's driver as a process of its own, unless it is running or finished. Raises RunError."""
    status = folder.status()
    if status.state in RESUMABLE or (status.state == "queued" and status.pid == os.getpid()):
        launch.start_run(folder)


def launch_study(study: Study) -> StudyFolder:
    """Creates the folder of a study, or finds it, and starts its driver. Raises RunError."""
    folder = open_study(StudyConfig(study=study))
    start_study(folder)
    return folder


def pack(
    config: StudyConfig, left: Mapping[int, list[str]], packed: list[StudyRun], elsewhere: bool = False
) -> list[StudyRun]:
    """Runs for the entries that are left, by seed: as few as memory allows, of equal size.

    Args:
        config: the study, and how much a run may take.
        left: entries by seed.
        packed: the study's earlier runs, whose ids are taken.
        elsewhere: a cluster trains it, whose machines are taken to have this one's memory unless `memory_gib` is set.

    Raises:
        KDError: when the memory cannot be estimated, as without the teacher.
    """
    study, made = config.study, list[StudyRun]()
    for seed, names in left.items():
        most = _most_students(config, seed, names, elsewhere)
        size = math.ceil(len(names) / math.ceil(len(names) / most))
        taken = sum(one.seed == seed for one in packed)
        for number, start in enumerate(range(0, len(names), size), start=taken + 1):
            run = study.run_id(seed) + (f"-{number}" if number > 1 else "")
            made.append(StudyRun(run=run, seed=seed, entries=tuple(names[start : start + size])))
    return made


def _most_students(config: StudyConfig, seed: int, names: list[str], elsewhere: bool) -> int:
    """How many of these students a run may have."""
    most = min(config.students_per_run, len(names))
    if most == 1:
        return 1
    from kdexplorer.training import estimate

    device = "cpu" if elsewhere else config.study.shared.device
    limit = config.memory_gib * 2**30 if config.memory_gib else estimate.free_memory(device)
    while most > 1 and estimate.estimate_memory(config.study.config(seed, names[:most]), elsewhere) > limit:
        most -= 1
    return most


def left_to_train(config: StudyConfig, again: bool = False, elsewhere: bool = False) -> list[StudyRun]:
    """The runs that train what the table lacks; nothing is written.

    Args:
        config: the study, and how it is trained.
        again: train everything whose networks are missing, whatever the table has.
        elsewhere: see `pack`.

    Raises:
        KDError: when the table belongs to something else, or memory cannot be estimated.
    """
    study, folder = config.study, folder_of(config.study)
    missing = begin_table(study, config.table_path).missing(config.seeds)
    left = {seed: list(study.entries) for seed in study.seeds[: config.seeds]} if again else missing
    packed = folder.packing() if (folder.path / "config.json").is_file() else []
    covered = {(one.seed, name) for one in packed for name in one.entries}
    rest = {seed: [name for name in names if (seed, name) not in covered] for seed, names in left.items()}
    wanted = {(seed, name) for seed, names in left.items() for name in names}
    known = [one for one in packed if any((one.seed, name) in wanted for name in one.entries)]
    found = known + pack(config, {seed: names for seed, names in rest.items() if names}, packed, elsewhere)
    return [one for one in found if folder.run(one).status().state != "finished"]


def prepare(folder: StudyFolder, left: list[StudyRun]) -> None:
    """Writes the packing with these runs, and the run folders that are missing. Raises KDError and OSError."""
    config, packed = folder.config(), folder.packing()
    known = {one.run for one in packed}
    every = [*packed, *(one for one in left if one.run not in known)]
    write_json(folder.path / "packing.json", {"runs": [one.model_dump(mode="json") for one in every]})
    for planned in every:
        run = folder.run(planned)
        if not (run.path / "config.json").is_file():
            of_run = config.study.config(planned.seed, planned.entries)
            if run.path.is_dir():  # only its configuration was lost
                write_json(run.path / "config.json", of_run.model_dump(mode="json"))
            elif planned in left:
                create_waiting(run, of_run)


def create_waiting(run: Run, config: RunConfig) -> None:
    """Creates the folder of a run that its study starts later. Raises RunError."""
    launch.create_run(config, config.name, run.path.parent, run.run_id)
    run.write_status("waiting", "its study starts it")


class ExperimentConfig(StrictModel):
    """`config.json` of an experiment: which one, and whether it is the small variant."""

    experiment: Name
    small: bool = False


@dataclass(frozen=True)
class ExperimentFolder(Run):
    """A run folder whose configuration is an `ExperimentConfig`: `runs/experiments/KEY/`, or `KEY-small`."""

    kind: ClassVar[str] = "experiment"

    def config(self) -> ExperimentConfig:  # type: ignore[override]
        """Raises ConfigError when `config.json` is missing or damaged."""
        return validate(ExperimentConfig, self.read_values(), where=self.run_id)

    @staticmethod
    def parent_folder() -> Path:
        return runs_root() / "experiments"


def experiment_folder(key: str, small: bool = False) -> ExperimentFolder:
    """The folder of an experiment, which need not exist."""
    return ExperimentFolder(ExperimentFolder.parent_folder() / (f"{key}-small" if small else key))


def open_experiment(key: str, small: bool = False) -> ExperimentFolder:
    """The folder of an experiment, made where it is missing. Raises RunError."""
    folder, config = experiment_folder(key, small), ExperimentConfig(experiment=key, small=small)
    if not folder.path.is_dir():
        launch.create_run(config, key, run_id=folder.run_id, kind=ExperimentFolder)
    elif folder.read_values() is None:
        write_json(folder.path / "config.json", {"kind": folder.kind, **config.model_dump()})
    return folder


def start_experiment(key: str, small: bool = False) -> None:
    """Starts an experiment as a process of its own; one that has finished starts anew, for what is left. KDError."""
    folder = open_experiment(key, small)
    if folder.status().state in ("finished", "damaged"):
        folder.write_status("stopped", "starting")
    launch.start_run(folder)
