"""`start`: starts what was created and has not begun; continues a run, a study or an experiment."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from kdexplorer.cli import experiment, study, train
from kdexplorer.cli.options import refuse_torchrun
from kdexplorer.runs.launch import require_startable
from kdexplorer.runs.run_folder import Run, find_run
from kdexplorer.studies.folder import ExperimentFolder, StudyFolder

HELP = "start what was created, or continue a run from its last saved step, or a study"
ALIASES = ("resume",)

KINDS: dict[type[Run], Callable[[Any, bool], int]] = {
    Run: train.execute_run,
    StudyFolder: study.train,
    ExperimentFolder: experiment.execute,
}
"""What works in each kind of folder: a function of the folder and of whether it prints nothing, to an exit code."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run."""
    parser.add_argument("run_id", metavar="RUN", help="the id or folder of a run or study")
    parser.add_argument("--quiet", action="store_true", help="print no progress and no results")


def run(options: argparse.Namespace) -> int:
    """Works in the folder to the end. Raises RunError when there is none, or when it may not start."""
    from kdexplorer.training import ddp

    def find_startable() -> Run:
        found = find_run(options.run_id, tuple(KINDS))
        if type(found) is not Run:
            refuse_torchrun(f"a {found.kind}")
        require_startable(found)
        return found

    found = ddp.join().lead(find_startable)
    return KINDS[type(found)](found, options.quiet)
