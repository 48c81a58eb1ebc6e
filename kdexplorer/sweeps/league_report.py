"""A league's table for readers: headings and cells, Markdown, CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

from kdexplorer.analysis.statistics import format_p_cell
from kdexplorer.analysis.tables import markdown_table
from kdexplorer.config import objective_label
from kdexplorer.notation import format_student
from kdexplorer.sweeps.league_summary import EntrySummary, describe_league, summarize_entries
from kdexplorer.sweeps.league_table import LeagueRow, LeagueTable

Cell = Callable[[EntrySummary], str]


def _number(value: float | None, form: str, scale: float = 1) -> str:
    return "" if value is None else format(scale * value, form)


def _interval(entry: EntrySummary) -> str:
    text = f"{100 * entry.accuracy:.2f}"
    if entry.accuracy_low is None or entry.accuracy_high is None:
        return text
    return f"{text} ({100 * entry.accuracy_low:.2f} – {100 * entry.accuracy_high:.2f})"


def _difference(reference: str) -> Cell:
    def cell(entry: EntrySummary) -> str:
        one = entry.differences.get(reference)
        if one is None:
            return ""
        reach = "" if one.test is None else f" ± {100 * (one.test.high - one.mean):.2f}"
        return f"{100 * one.mean:+.2f}{reach}"

    return cell


def _p(reference: str) -> Cell:
    def cell(entry: EntrySummary) -> str:
        return format_p_cell(one.p_holm if (one := entry.differences.get(reference)) else None)

    return cell


def _columns(references: list[str]) -> dict[str, Cell]:
    columns: dict[str, Cell] = {
        "Entry": lambda entry: entry.name,
        "Method": lambda entry: objective_label(entry.objective.key),
        "Seeds": lambda entry: str(entry.seeds),
        "Accuracy % (95 % interval)": _interval,
    }
    for reference in references:
        columns |= {f"To {reference}": _difference(reference), f"Holm p to {reference}": _p(reference)}
    return columns | {
        "Cross-entropy": lambda entry: _number(entry.means["cross_entropy"], ".3f"),
        "scaled": lambda entry: _number(entry.means["scaled_cross_entropy"], ".3f"),
        "Calibration error %": lambda entry: _number(entry.means["calibration_error"], ".2f", 100),
        "scaled %": lambda entry: _number(entry.means["scaled_calibration_error"], ".2f", 100),
        "Agrees with teacher %": lambda entry: _number(entry.means["teacher_agreement"], ".2f", 100),
        "Step (ms)": lambda entry: _number(entry.means["step_seconds"], ".1f", 1e3),
        f"Step / {references[0]}": lambda entry: _number(entry.own_step, ".2f"),
        f"Whole step / {references[-1]}": lambda entry: _number(entry.whole_step, ".2f"),
        "Memory (MB)": lambda entry: _number(entry.memory, ".1f", 1e-6),
    }


def format_league(table: LeagueTable) -> tuple[list[str], list[list[str]]]:
    """Headings and cells as text, an entry a line, the most accurate first."""
    columns = _columns(table.declaration.references)
    entries = sorted(summarize_entries(table), key=lambda entry: -entry.accuracy)
    return list(columns), [[cell(entry) for cell in columns.values()] for entry in entries]


NOTES = (
    "Intervals are Student's 95 % t intervals over seeds, of differences seed by seed, in percentage points; p is of "
    "the paired t test over seeds with Holm's correction for all entries of the column. Scaled: after temperature "
    "scaling in five folds, each evaluated with the temperature that was fitted on the others. Step: an entry's own "
    "forward pass, loss, backward pass and update, timed in the same run; whole step: with the batch and the teacher's "
    "forward pass. Memory: weights, gradients and momentum of the student and of what its methods train beside it, "
    "and what autograd keeps of one batch."
)
"""What the columns mean."""


def describe_protocol(table: LeagueTable) -> str:
    """The pair, the images, the length and the seeds, in a sentence."""
    config, seeds = table.declaration.recipe, sorted(one.seed for one in table.seeds)
    images = "all training images" if config.train_images is None else f"{config.train_images:,} training images"
    return (
        f"{table.declaration.student} distilled from {config.teacher}: {images} of {config.dataset}, {config.epochs} "
        f"epochs, batches of {config.batch_size}, seeds {', '.join(map(str, seeds)) or 'none yet'} of "
        f"{len(table.declaration.seeds)} declared; evaluated on the {table.evaluated_on}, last epoch."
    )


def to_markdown(table: LeagueTable) -> str:
    """The protocol, the table, what it decides, what the columns mean, and each entry's settings."""
    settings = "\n".join(f"- {student.name}: `{format_student(student)}`" for student in table.declaration.students())
    parts = [describe_protocol(table), markdown_table(*format_league(table), text_columns=2), describe_league(table)]
    return "\n\n".join([*parts, NOTES, settings]) + "\n"


def to_csv(table: LeagueTable) -> str:
    """A line for each entry and seed, all numbers with full precision; empty where unknown."""
    buffer = io.StringIO()
    names = [name for name in LeagueRow.model_fields if name != "more"]
    lines = [[getattr(row, name) for name in names] for row in table.rows]
    csv.writer(buffer, lineterminator="\n").writerows([names, *lines])
    return buffer.getvalue()
