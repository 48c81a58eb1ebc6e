"""`resume`: continues a run from its last saved step, or a sweep."""

from __future__ import annotations

import argparse
import os

from kdexplorer.cli import experiment
from kdexplorer.cli.options import refuse_torchrun
from kdexplorer.cli.study import train as train_study
from kdexplorer.cli.train import execute_run
from kdexplorer.errors import RunError
from kdexplorer.runs.run_folder import Run, find_run
from kdexplorer.studies.experiment_driver import find_experiment
from kdexplorer.studies.folder import find_study

HELP = "continue a run from its last saved step, or a sweep"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run."""
    parser.add_argument("run_id", metavar="RUN", help="the id or folder of a run or sweep")
    parser.add_argument("--quiet", action="store_true", help="print no progress and no results")


def run(options: argparse.Namespace) -> int:
    """Trains the run or the sweep to its end. Raises RunError when there is none or nothing to resume."""
    from kdexplorer.training import ddp

    prepared = find_experiment(options.run_id)
    if prepared is not None:
        refuse_torchrun("an experiment")
        return experiment.execute(prepared, options.quiet)
    study = find_study(options.run_id)
    if study is not None:
        refuse_torchrun("a study")
        return train_study(study, quiet=options.quiet)
    return execute_run(ddp.join().lead(lambda: _find_resumable(options.run_id)), options.quiet)


def _find_resumable(run_id: str) -> Run:
    """Raises RunError, or ConfigError for a run that is damaged."""
    run = find_run(run_id)
    run.check()
    status = run.status()
    # A launched run is queued under its launcher's pid, then under the pid of this process.
    queued_elsewhere = status.state == "queued" and status.pid not in (os.getpid(), os.getppid())
    if status.state in ("finished", "running") or queued_elsewhere:
        raise RunError(f"{run.run_id} is {status.state}: there is nothing to resume.")
    return run
