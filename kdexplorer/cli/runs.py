"""`runs`: lists runs, shows one, prints results, stops or deletes runs. `start`: works in what was created."""

from __future__ import annotations

import argparse
import json

from kdexplorer.analysis import results
from kdexplorer.analysis.measures import to_csv, to_json
from kdexplorer.cli import options as shared
from kdexplorer.cli import study, train
from kdexplorer.cli.options import argument, command, flag
from kdexplorer.notation import train_command
from kdexplorer.runs import launch
from kdexplorer.runs.checkpoints import run_checkpoints
from kdexplorer.runs.run_folder import Run, find_run, list_runs, runs_root
from kdexplorer.studies.folder import ExperimentFolder, StudyFolder

KINDS = (Run, StudyFolder, ExperimentFolder)
"""The kinds of folders that `start`, `stop` and `delete` take."""


@command(
    "start", argument("run_id", metavar="RUN", help="the id or folder of a run, study or experiment"),
    shared.LOG, shared.QUIET, aliases=("resume",),
)  # fmt: skip
def start(options: argparse.Namespace) -> int:
    """Start what was created, or continue a run from its last saved step, a study or an experiment."""
    from kdexplorer.training import ddp

    shared.choose_log(options)

    def find_startable() -> Run:
        found = find_run(options.run_id, KINDS)
        if type(found) is not Run:
            shared.refuse_torchrun(f"a {found.kind}")
        launch.require_resumable(found)
        return found

    found = ddp.join().lead(find_startable)
    if isinstance(found, (StudyFolder, ExperimentFolder)):
        return study.execute(found, options.quiet)
    return train.execute_run(found, options.quiet)


@command("runs list", shared.JSON)
def list_all(options: argparse.Namespace) -> None:
    """List all runs, the newest first."""
    statuses = {found.run_id: found.status() for found in list_runs()}
    if options.json:
        print(json.dumps([{"run": name, **one.model_dump(mode="json")} for name, one in statuses.items()], indent=1))
    elif not statuses:
        print(f"no runs in {runs_root()} yet: start one with 'python -m kdexplorer demo'")
    else:
        for run_id, status in statuses.items():
            epoch = "" if None in (status.epoch, status.epochs) else f"epoch {(status.epoch or 0) + 1}/{status.epochs}"
            print(f"{run_id:<48} {status.state:<9} {epoch:<14} {status.message}".rstrip())


@command("runs show", argument("run_id", metavar="RUN", help="the run's id or folder"), shared.JSON)
def show(options: argparse.Namespace) -> None:
    """Show one run: state, command, latest measures."""
    found = find_run(options.run_id)
    status, config, metrics = found.status(), found.config(), found.metrics()
    if options.json:
        report = {"status": status.model_dump(mode="json"), "config": config.model_dump(mode="json")}
        rows = [row.model_dump(mode="json") for row in metrics]
        print(json.dumps({"run": found.run_id, **report, "metrics": rows}, indent=1))
        return
    print(f"{found.run_id}: {status.state}  {status.message}".rstrip())
    print(f"command: {train_command(config)}")
    finished = {checkpoint.name for checkpoint in run_checkpoints(found)}  # the table has their final measures
    for row in {row.student: row for row in metrics if row.student not in finished}.values():
        accuracy = f"{100 * row.test['accuracy']:.2f} %" if "accuracy" in row.test else "missing"
        print(f"  {row.student:<32} epoch {row.epoch + 1:>3}  accuracy {accuracy}")
    if finished:
        print("\n" + results.to_markdown(results.read_run(found)))
    if status.state in ("failed", "lost"):
        print("\nlast lines of the log:\n" + found.log_tail())


@command(
    "runs table",
    argument(
        "names",
        nargs="*",
        metavar="RUN",
        help=f"ids or folders of runs, or single networks: {shared.CHECKPOINT_HELP} (default: all bundled networks)",
    ),
    flag("--csv", "print CSV with full precision instead of Markdown"),
    shared.JSON,
)
def tabulate(options: argparse.Namespace) -> None:
    """Print the results of runs and networks."""
    rows = results.read_rows(results.find_entries(options.names))
    text = to_csv(results.to_records(rows)).strip() if options.csv else results.to_markdown(rows)
    print(to_json(rows) if options.json else text)


@command("runs stop", argument("run_id", metavar="RUN", help="the id or folder of a run, study or experiment"))
def stop(options: argparse.Namespace) -> None:
    """Stop a run, a study or an experiment after saving its state."""
    launch.stop_run(find_run(options.run_id, KINDS))
    print("Stopping: saving state first")


@command(
    "runs delete",
    argument("run_ids", nargs="+", metavar="RUN", help="ids or folders of runs, studies or experiments"),
    shared.YES,
)
def delete(options: argparse.Namespace) -> int:
    """Delete runs with their trained networks, studies, or experiments."""
    found = {run.path.resolve(): run for run_id in options.run_ids for run in [find_run(run_id, KINDS)]}.values()
    if not shared.confirm(options, f"Delete {', '.join(run.run_id for run in found)} for good?"):
        return shared.FAILED
    for run in found:
        launch.delete_run(run)
        print(f"deleted {run.path}")
    return shared.DONE
