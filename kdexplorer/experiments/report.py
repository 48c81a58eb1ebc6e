"""An experiment's results for readers: what is known in a line, Markdown, CSV."""

from __future__ import annotations

import csv
import io

from kdexplorer.analysis.claims import Claim
from kdexplorer.analysis.tables import markdown_table
from kdexplorer.experiments import all_experiments
from kdexplorer.experiments.base import PreparedExperiment, describe_cost
from kdexplorer.experiments.results import Measurement, Results, read_results
from kdexplorer.sweeps.league_table import LeagueRow

SMALL = "A small variant has one seed and few images: it shows how the experiment works and gives no verdict."
COLUMNS = ("part", "entry", "seed", "accuracy", "calibration_error", "teacher_agreement")


def command(key: str, small: bool = False) -> str:
    """The command that trains or measures what is left."""
    return f"python -m kdexplorer experiment {key}" + (" --small" if small else "")


def describe_results(experiment: PreparedExperiment, results: Results) -> str:
    """What is known, in a line."""
    if not results:
        return " ".join(["not measured yet.", *results.left_out, describe_cost(experiment)])
    declared = sum(len(part.declaration.seeds) for part in experiment.parts())
    count = count_left(experiment, results)
    claim = experiment.judge(results)
    left = f" {declared - count} of {declared} trainings are done." if count else ""
    return " ".join([f"{claim.claim}: {claim.verdict}.{left}", *results.left_out])


def count_left(experiment: PreparedExperiment, results: Results) -> int:
    """How many trainings are left: seeds of all parts."""
    known = {name: table.complete_seeds() for name, table in results.tables.items()}
    return sum(len(set(part.declaration.seeds) - known.get(part.name, set())) for part in experiment.parts())


def read(experiment: PreparedExperiment, small: bool = False) -> Results:
    """What is known of an experiment so far."""
    declarations = {part.name: part.declaration for part in experiment.parts(small)}
    return read_results(experiment.key, declarations, small, experiment.columns, experiment.counts)


def list_verdicts() -> list[tuple[PreparedExperiment, Claim]]:
    """Every experiment that is measured, with its verdict."""
    known = ((experiment, read(experiment)) for experiment in all_experiments())
    return [(experiment, experiment.judge(results)) for experiment, results in known if results]


def list_rows(experiment: PreparedExperiment, results: Results) -> list[dict[str, str]]:
    """A row for each student, by the names of `COLUMNS` and of the experiment's own columns.

    Numbers have full precision; what is unknown is empty, or missing among the experiment's own.
    """
    rows: list[tuple[str, LeagueRow | Measurement]] = [
        (part, row) for part, table in results.tables.items() for row in table.rows
    ]
    rows += [(row.part, row) for row in (results.measured.rows if results.measured else [])]
    found = []
    for part, row in rows:
        more = row.more if isinstance(row, LeagueRow) else {}
        values = {name: getattr(row, name) for name in COLUMNS[2:]}
        for name, columns in experiment.columns.items():
            values |= zip(columns, more.get(name, []), strict=False)
        texts = {name: "" if value is None else str(value) for name, value in values.items()}
        found.append({"part": part, "entry": row.entry} | texts)
    return found


def to_csv(experiment: PreparedExperiment, results: Results) -> str:
    """A line for each student; the last columns are what the experiment measured besides."""
    buffer = io.StringIO()
    own = [column for columns in experiment.columns.values() for column in columns]
    writer = csv.DictWriter(buffer, [*COLUMNS, *own], lineterminator="\n")
    writer.writeheader()
    writer.writerows(list_rows(experiment, results))
    return buffer.getvalue()


def to_markdown(experiment: PreparedExperiment, results: Results, small: bool = False) -> str:
    """The question, the protocol, the verdict and the means of all students."""
    head = [f"**{experiment.question}** {SMALL if small else experiment.protocol}", *results.left_out]
    if not results:
        return "\n\n".join([*head, f"Not measured yet. {describe_cost(experiment, small)}"])
    said = []
    if not small:
        claim = experiment.judge(results)
        said = [f"{claim.claim}: **{claim.verdict}**. {claim.evidence}"]
    means: dict[tuple[str, str], list[float]] = {}
    for row in list_rows(experiment, results):
        means.setdefault((row["part"], row["entry"]), []).append(float(row["accuracy"]))
    cells = [
        [part, entry, str(len(values)), f"{100 * sum(values) / len(values):.2f}"]
        for (part, entry), values in means.items()
    ]
    return "\n\n".join([*head, *said, markdown_table(["Part", "Student", "Seeds", "Accuracy %"], cells, 2)])
