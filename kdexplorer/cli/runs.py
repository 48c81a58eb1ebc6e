"""`runs`: lists runs, shows one, prints results, stops or deletes runs."""

from __future__ import annotations

import argparse
import json

from kdexplorer.analysis import results
from kdexplorer.analysis.measures import to_json
from kdexplorer.analysis.results import ResultRow
from kdexplorer.cli.options import DONE, FAILED, JSON_HELP, add_command, add_confirmation, confirm
from kdexplorer.errors import ConfigError
from kdexplorer.notation import train_command
from kdexplorer.runs.checkpoints import bundled_checkpoints, run_checkpoints
from kdexplorer.runs.launch import delete_run, stop_run
from kdexplorer.runs.run_folder import Run, find_run, list_runs, runs_root
from kdexplorer.studies.folder import StudyFolder

STOPPABLE = (Run, StudyFolder)
"""The kinds of folders that `stop` and `delete` take."""
HELP = "list, show, stop and delete runs; print their results"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listed = add_command(commands, "list", "list all runs, the newest first", subcommand=_list)
    shown = add_command(commands, "show", "show one run: state, command, latest figures", subcommand=_show)
    table = add_command(commands, "table", "print the results of runs or of the bundled networks", subcommand=_table)
    stop = add_command(commands, "stop", "stop a run or a sweep after saving its state", subcommand=_stop)
    delete = add_command(commands, "delete", "delete runs with their trained networks, or sweeps", subcommand=_delete)
    shown.add_argument("run_id", metavar="RUN", help="the run's id or folder")
    table.add_argument("run_ids", nargs="*", metavar="RUN", help="ids or folders (default: the bundled networks)")
    stop.add_argument("run_id", metavar="RUN", help="the id or folder of a run or sweep")
    delete.add_argument("run_ids", nargs="+", metavar="RUN", help="ids or folders of runs or sweeps")
    add_confirmation(delete, "delete")
    for command, text in ((listed, "print JSON"), (shown, "print JSON"), (table, JSON_HELP)):
        command.add_argument("--json", action="store_true", help=text)


def run(options: argparse.Namespace) -> int:
    """Runs the subcommand."""
    return options.subcommand(options)


def _list(options: argparse.Namespace) -> int:
    statuses = {found.run_id: found.status() for found in list_runs()}
    if options.json:
        rows = [{"run": run_id, **status.model_dump(mode="json")} for run_id, status in statuses.items()]
        print(json.dumps(rows, indent=1))
    elif not statuses:
        print(f"no runs in {runs_root()} yet: start one with 'python -m kdexplorer train'")
    else:
        for run_id, status in statuses.items():
            epoch = "" if None in (status.epoch, status.epochs) else f"epoch {(status.epoch or 0) + 1}/{status.epochs}"
            print(f"{run_id:<48} {status.state:<9} {epoch:<14} {status.message}".rstrip())
    return DONE


def _show(options: argparse.Namespace) -> int:
    found = find_run(options.run_id)
    status, config, metrics = found.status(), found.config(), found.metrics()
    if options.json:
        report = {"status": status.model_dump(mode="json"), "config": config.model_dump(mode="json")}
        rows = [row.model_dump(mode="json") for row in metrics]
        print(json.dumps({"run": found.run_id, **report, "metrics": rows}, indent=1))
        return DONE
    print(f"{found.run_id}: {status.state}  {status.message}".rstrip())
    print(f"command: {train_command(config)}")
    for row in {row.student: row for row in metrics}.values():
        accuracy = f"{100 * row.test['accuracy']:.2f} %" if "accuracy" in row.test else "missing"
        print(f"  {row.student:<32} epoch {row.epoch + 1:>3}  accuracy {accuracy}")
    if run_checkpoints(found):
        print("\n" + format_results(found))
    if status.state in ("failed", "lost"):
        print("\nlast lines of the log:\n" + found.log_tail())
    return DONE


def _table(options: argparse.Namespace) -> int:
    chosen = {checkpoint.name: checkpoint for checkpoint in bundled_checkpoints()}
    if options.run_ids:
        chosen = {f"{run_id}/{c.name}": c for run_id in options.run_ids for c in run_checkpoints(find_run(run_id))}
    short = results.short_names(list(chosen))
    entries = {short[name]: checkpoint for name, checkpoint in chosen.items()}
    groups = results.group_by_evaluation(entries)
    if len(groups) > 1:
        parts = "; ".join(f"{images}: {', '.join(names)}" for images, names in groups.items())
        raise ConfigError(f"networks that were evaluated on different images cannot share a table. {parts}")
    rows = results.read_rows(entries)
    print(to_json(rows) if options.json else results.to_markdown(rows))
    return DONE


def _stop(options: argparse.Namespace) -> int:
    stop_run(find_run(options.run_id, STOPPABLE))
    print("Stopping: saving state first")
    return DONE


def _delete(options: argparse.Namespace) -> int:
    found = [find_run(run_id, STOPPABLE) for run_id in options.run_ids]
    if not confirm(options, f"Delete {', '.join(run.run_id for run in found)} for good?"):
        return FAILED
    for run in found:
        delete_run(run)
        print(f"deleted {run.path}")
    return DONE


def format_results(run: Run) -> str:
    """The results of a run's finished students as a Markdown table."""
    return results.to_markdown(build_run_results(run))


def build_run_results(run: Run) -> list[ResultRow]:
    """The results of a run's finished students."""
    return results.read_rows({checkpoint.name: checkpoint for checkpoint in run_checkpoints(run)})
