"""Experiments on why distillation works, and the lab's claims: one file each.

Here are the registry, what is known of each from its tables, and what is said of it: in a line, Markdown, CSV.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace
from functools import cache
from pathlib import Path

from kdexplorer.analysis import measures
from kdexplorer.errors import ConfigError, unknown_name
from kdexplorer.runs.run_folder import runs_root
from kdexplorer.studies.experiments.base import NETWORKS, Claim, Experiment, Results
from kdexplorer.studies.study import Study, bundled_studies
from kdexplorer.studies.table import Table, find_changed, find_conflicts, read_table

SMALL = (
    "A small variant has one seed, few images, at most two epochs and smaller teachers, whatever chart and protocol "
    "say: it shows how the experiment works and gives no verdict."
)


@cache
def all_experiments() -> tuple[Experiment, ...]:
    """Every experiment of this package, in the order in which they are trained. Loads no torch."""
    modules = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    found = [module.EXPERIMENT for module in modules if hasattr(module, "EXPERIMENT")]
    return tuple(sorted(found, key=lambda experiment: experiment.order))


def get_experiment(key: str) -> Experiment:
    """The experiment of that key. Raises ConfigError, which lists the choices, for any other."""
    found = {experiment.key: experiment for experiment in all_experiments()}
    if key not in found:
        raise ConfigError(unknown_name("experiment", key, found))
    return found[key]


def table_path(key: str, name: str = NETWORKS, small: bool = False) -> Path:
    """The table of one of an experiment's studies, or of the networks that it measures.

    They are bundled; those of small variants are among the runs.
    """
    folder = runs_root() / "experiments" / "tables" if small else bundled_studies() / "experiments"
    return folder / key / f"{name}.json"


def read(experiment: Experiment, small: bool = False) -> Results:
    """What is known so far; tables that belong to something else, or cannot be read, are left out."""
    studies: dict[str, Study | None] = {**experiment.studies(small)}
    if experiment.measure is not None:
        studies[NETWORKS] = None
    left_out, tables = list[str](), dict[str, Table]()
    for name, study in studies.items():
        path = table_path(experiment.key, name, small)
        try:
            table = read_table(path)
        except ConfigError as error:
            left_out.append(str(error))
            continue
        if table is None or not table.rows:
            continue
        if reason := find_faults(experiment, table, study):
            left_out.append(f"{experiment.key}: {path.name} is left out. {reason}")
        else:
            tables[name] = table
    return Results(tables, tuple(left_out), small)


def read_largest(experiment: Experiment) -> Results:
    """What is known of it, or where that is nothing of its small variant; with all that is left out."""
    results = read(experiment)
    if results:
        return results
    small = read(experiment, small=True)
    return replace(small, left_out=(*results.left_out, *small.left_out))


def find_faults(experiment: Experiment, table: Table, study: Study | None) -> str:
    """Why a table cannot be used for an experiment; empty where it can."""
    if (table.study is None) != (study is None):
        return "It is the table of something else."
    if study is None:
        changed = find_changed(table)
        others = f"Other weights than those that were measured: {', '.join(changed)}. Measure again."
        return others if changed else ""
    if conflicts := find_conflicts(table, study):
        return " ".join(conflicts)
    known = [(row, name) for row in table.rows for name in experiment.ranges if name in row.measures]
    if 0 < len(known) < len(table.rows) * len(experiment.ranges):
        return "Its rows do not have what this experiment measures."
    for row, name in known:
        least, most = experiment.ranges[name]
        if not least <= row.measures[name] <= most:
            return f"{row.entry}, seed {row.seed}: its value of '{name}' is damaged."
    return ""


def describe_results(experiment: Experiment, results: Results) -> str:
    """What is known, in a line."""
    if not results:
        return " ".join(["not measured yet.", *results.left_out, experiment.describe_cost()])
    declared = sum(len(study.seeds) for study in experiment.studies(False).values())
    count = count_left(experiment, results)
    verdicts = " ".join(f"{claim.claim}: {claim.verdict}." for claim in experiment.judge(results))
    left = f" {declared - count} of {declared} trainings are done." if count else ""
    return " ".join([f"{verdicts}{left}", *results.left_out])


def count_left(experiment: Experiment, results: Results) -> int:
    """How many trainings are left: seeds of all studies."""
    return sum(
        len(results.tables[name].missing()) if name in results.tables else len(study.seeds)
        for name, study in experiment.studies(False).items()
    )


def find_claims(experiment: Experiment, results: Results) -> list[Claim]:
    """The claims with their verdicts; none before anything is known, or of a small variant."""
    return experiment.judge(results) if results and not results.small else []


def list_verdicts() -> list[tuple[Experiment, Claim]]:
    """Every experiment that is measured and has one verdict, with it."""
    known = [(one, find_claims(one, read(one))) for one in all_experiments()]
    return [(experiment, claims[0]) for experiment, claims in known if len(claims) == 1]


def to_markdown(experiment: Experiment, results: Results) -> str:
    """The question, the protocol, the verdict or several as a table, and what belongs to it or else all means."""
    head = [f"**{experiment.question}** {SMALL if results.small else experiment.protocol}", *results.left_out]
    if not results:
        return "\n\n".join([*head, f"Not measured yet. {experiment.describe_cost(results.small)}"])
    claims = find_claims(experiment, results)
    if len(claims) > 1:
        rows = [{"Claim": one.claim, "Evidence": one.evidence, "Verdict": one.verdict} for one in claims]
        said = [measures.to_markdown(rows, 3)]
    else:
        said = [f"{claim.claim}: **{claim.verdict}**. {claim.evidence}" for claim in claims]
    if details := experiment.details(results):
        return "\n\n".join([*head, *said, details])
    accuracies: dict[tuple[str, str], list[float]] = {}
    for name, table in results.tables.items():
        for row in table.rows:
            accuracies.setdefault((row.part or name, row.entry), []).append(row.accuracy)
    lines = [
        {"Part": part, "Student": entry, "Seeds": str(len(values))}
        | {"Accuracy %": f"{100 * sum(values) / len(values):.2f}"}
        for (part, entry), values in accuracies.items()
    ]
    return "\n\n".join([*head, *said, measures.to_markdown(lines, 2)])
