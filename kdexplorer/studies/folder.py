"""The folders of studies and of experiments, and how a study's students are packed into runs.

`runs/studies/<id>/` contains `config.json` (the study, and how it is trained), `status.json` and `log.txt` as a run has
them, and its table (`table.json`, `table.md`) unless that is elsewhere. The id follows from what is declared and those
of the runs from the id, so the same command continues where an earlier one ended.
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from typing import ClassVar, TypeVar

from filelock import FileLock
from pydantic import Field

from kdexplorer.config import MAX_STUDENTS
from kdexplorer.errors import ConfigError
from kdexplorer.files import read_once
from kdexplorer.runs import launch
from kdexplorer.runs.run_folder import LIVE, Run, find_run, list_runs, runs_root
from kdexplorer.schema import RECORDED, Name, StrictModel, validate
from kdexplorer.studies.experiments import table_path
from kdexplorer.studies.study import Study
from kdexplorer.studies.table import StudyRun, Table, begin_table, read_table, require_writable

Folder = TypeVar("Folder", bound=Run)


class StudyConfig(StrictModel):
    """`config.json`: the study, and how it is trained."""

    study: Study
    experiment: Name | None = None  # whose it is, which measures more than a study does
    table: str | None = None  # the file of the table; None for `table.json` in the folder
    seeds: int | None = Field(None, ge=1)  # train only the first so many declared seeds
    students_per_run: int | None = Field(None, ge=1, le=MAX_STUDENTS)  # None: what memory allows, decided once
    memory_gib: float | None = Field(None, gt=0)  # that a run may take; None: seven tenths of what is free

    @property
    def table_path(self) -> Path:
        return Path(self.table) if self.table else folder_of(self.study).path / "table.json"

    def runs(self) -> list[StudyRun]:
        """The runs that train it, by seed: as few as `students_per_run` allows, of equal size."""
        names, found = list(self.study.entries), []
        size = math.ceil(len(names) / math.ceil(len(names) / (self.students_per_run or MAX_STUDENTS)))
        for seed in self.study.seeds[: self.seeds]:
            for number, start in enumerate(range(0, len(names), size), start=1):
                run = self.study.run_id(seed) + (f"-{number}" if number > 1 else "")
                found.append(StudyRun(run=run, seed=seed, entries=tuple(names[start : start + size])))
        return found


class StudyFolder(Run):
    """A run folder whose configuration is a `StudyConfig`."""

    kind: ClassVar[str] = "study"
    place: ClassVar[str] = "studies"

    def config(self) -> StudyConfig:  # type: ignore[override]
        """Raises ConfigError when `config.json` is missing or damaged."""
        return read_once(_load_config, self.path / "config.json")

    def runs(self) -> list[Run]:
        """Its runs; those that have not started have no folder yet. Raises ConfigError."""
        return [self.run(one) for one in self.config().runs()]

    def run(self, planned: StudyRun) -> Run:
        return Run(self.path.parent.parent / planned.run)

    def table(self) -> Table | None:
        """The results so far; None where there are none yet. Raises ConfigError when they are damaged."""
        return read_table(self.config().table_path)


def _load_config(path: Path) -> StudyConfig:
    folder = StudyFolder(path.parent)
    config = validate(StudyConfig, folder.read_values(), folder.run_id, RECORDED)
    if config.study.study_id != folder.run_id:
        raise ConfigError(f"{folder.run_id}: its {path.name} has another study: restore it, or start a new study.")
    return config


def list_sweeps() -> list[StudyFolder]:
    """The studies of grids, the last started first."""
    return list(filter(_has_grid, (StudyFolder(run.path) for run in list_runs(StudyFolder.parent_folder()))))


def _has_grid(folder: StudyFolder) -> bool:
    with contextlib.suppress(ConfigError):
        return folder.config().study.grid is not None
    return True  # a damaged one is shown with the reason


def find_study(study_id: str) -> StudyFolder | None:
    """The study of that id or folder, or None."""
    with contextlib.suppress(ConfigError):
        return StudyFolder(find_run(study_id, (StudyFolder,)).path)
    return None


def folder_of(study: Study) -> StudyFolder:
    """The folder of a study, which need not exist."""
    return StudyFolder(StudyFolder.parent_folder() / study.study_id)


def open_study(config: StudyConfig) -> StudyFolder:
    """The folder of this study: the existing one, which is from now on trained as `config` says, or a new one.

    Once runs have begun, they keep their students. Raises RunError and OSError.
    """
    return _open(folder_of(config.study), settle(config, decide=False))


def _open(folder: Folder, config: StrictModel) -> Folder:
    """Makes a folder or, unless another process works in it, writes its configuration. Raises RunError and OSError."""
    folder.path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.path.parent / ".start.lock", timeout=30):  # two may start the same work
        if not folder.path.is_dir():
            launch.create_run(config, folder.run_id, folder)
        elif (status := folder.status()).state not in LIVE or status.pid == os.getpid():
            launch.write_config(folder, config)
    return folder


def start_work(folder: Folder) -> Folder:
    """Starts the process of a study or an experiment, unless it is running or has finished a study without more seeds.

    Raises KDError and OSError.
    """
    state = folder.status().state
    if isinstance(folder, StudyFolder) and state == "finished" and not left_to_train(folder.config()):
        return folder
    if state in ("finished", "damaged"):
        folder.write_status("stopped", "starting")
    if (status := folder.status()).state not in LIVE or status.pid == os.getpid():
        launch.start_run(folder)
    return folder


def settle(config: StudyConfig, elsewhere: bool = False, decide: bool = True) -> StudyConfig:
    """With as many students in a run as when its runs began; else as given, and no more than memory allows.

    Where it is trained `elsewhere`, the cluster's machines are taken to have this one's memory unless `memory_gib` is
    set. Unless it shall `decide`, memory is not looked at. Raises KDError when memory cannot be estimated, as without
    the teacher.
    """
    with contextlib.suppress(ConfigError):
        if (before := folder_of(config.study).config().students_per_run) is not None:
            return config.model_copy(update={"students_per_run": before})
    for seed in config.study.seeds:  # of a study whose folder was deleted
        with contextlib.suppress(ConfigError):
            before = len(Run(runs_root() / config.study.run_id(seed)).config().students)
            return config.model_copy(update={"students_per_run": before})
    names = list(config.study.entries)
    most = min(config.students_per_run or MAX_STUDENTS, len(names))
    teaches = config.experiment is not None and config.study.shared.snapshots > 0  # others name its run
    if not decide or most == 1 or teaches:
        return config
    from kdexplorer.training import objective

    device = "cpu" if elsewhere else config.study.shared.device
    limit = config.memory_gib * 2**30 if config.memory_gib else objective.free_memory(device)
    seed = config.study.seeds[0]
    while most > 1 and objective.estimate_memory(config.study.config(seed, names[:most]), elsewhere) > limit:
        most -= 1
    return config.model_copy(update={"students_per_run": most})


def left_to_train(config: StudyConfig, again: bool = False) -> list[StudyRun]:
    """The runs that have not finished and train what the table lacks, or with `again` all of them.

    Raises ConfigError when the table belongs to something else.
    """
    folder, missing = folder_of(config.study), begin_table(config.study, config.table_path).missing()
    left = [one for one in config.runs() if again or {*one.entries} & {*missing.get(one.seed, ())}]
    return [one for one in left if folder.run(one).status().state != "finished"]


def prepare(folder: StudyFolder, left: list[StudyRun]) -> None:
    """Makes the folders of these runs where they are missing. Raises KDError and OSError."""
    study = folder.config().study
    for planned in left:
        run = folder.run(planned)
        if run.read_values() is None:
            _open(run, study.config(planned.seed, planned.entries)).write_status("waiting", "its study starts it")


class ExperimentConfig(StrictModel):
    """`config.json` of an experiment: which one, and whether it is the small variant."""

    experiment: Name
    small: bool = False


class ExperimentFolder(Run):
    """A run folder whose configuration is an `ExperimentConfig`: `runs/experiments/KEY/`, or `KEY-small`."""

    kind: ClassVar[str] = "experiment"
    place: ClassVar[str] = "experiments"

    def config(self) -> ExperimentConfig:  # type: ignore[override]
        """Raises ConfigError when `config.json` is missing or damaged."""
        return validate(ExperimentConfig, self.read_values(), where=self.run_id)


def experiment_folder(key: str, small: bool = False) -> ExperimentFolder:
    """The folder of an experiment, which need not exist."""
    return ExperimentFolder(ExperimentFolder.parent_folder() / (f"{key}-small" if small else key))


def open_experiment(key: str, small: bool = False) -> ExperimentFolder:
    """The folder of an experiment, made where it is missing. Raises KDError, also for its tables, and OSError."""
    require_writable(table_path(key, small=small))
    return _open(experiment_folder(key, small), ExperimentConfig(experiment=key, small=small))
