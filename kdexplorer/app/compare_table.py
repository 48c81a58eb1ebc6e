"""The results table on Compare, with its files and the handout."""

from __future__ import annotations

from typing import Any

import streamlit as st

from kdexplorer.analysis import results, tables
from kdexplorer.analysis.results import ResultRow
from kdexplorer.app import handout_button, network_picker, pickers
from kdexplorer.charts.style import TEACHER
from kdexplorer.datasets import get_dataset
from kdexplorer.runs import lineage
from kdexplorer.runs.checkpoints import Checkpoint

HIDDEN = {"accuracy_interval", "to_scratch_baseline", "to_teacher", "seed"}
"""Columns of `tables.COLUMNS` that this table leaves out: others contain the same."""


def show(rows: list[ResultRow], baseline: str, teacher: str | None, checkpoint: Checkpoint, with_labels: bool) -> None:
    """The table, what is missing from it, and its files; `checkpoint` is one of the networks."""
    columns = [column for key, column in tables.COLUMNS.items() if key not in HIDDEN]
    values = [{column.key: column.value(row) for column in columns} for row in rows]
    for shown, row in zip(values, rows, strict=True):
        if row.name == teacher and not row.is_distilled:
            shown["method"] = TEACHER
    st.dataframe(
        values,
        hide_index=True,
        placeholder="–",
        key="compare_table",
        column_order=[column.key for column in columns if any(shown[column.key] is not None for shown in values)],
        column_config={column.key: _configure(column, baseline) for column in columns},
        alt="Results table: a row for each network with objective, cross-entropy, accuracy, tests, agreement and cost",
    )
    st.caption(
        f"Evaluated on {rows[0].evaluated_on}. The objective differs from cross-entropy because each method minimizes "
        "a different sum. Each network was trained once; the last epoch's weights are evaluated. The test images are "
        "never used for selection."
    )
    if not with_labels:
        st.info(
            "The labels of these images are missing, so calibration, McNemar's p, confusion and accuracy by class are "
            "missing too. Objective, cross-entropy and accuracy come from each network's card. "
            f"Download {get_dataset(results.dataset_of(checkpoint)).label} on the Launch page."
        )
    _show_downloads(rows, baseline)


def _configure(column: tables.Column, baseline: str) -> Any:
    if not column.format:
        return st.column_config.TextColumn(column.heading, help=column.help or None, pinned=column.key == "name")
    text = f"{column.help}, relative to {baseline}" if column.key == "difference" else column.help
    number = "localized" if column.format == "," else f"%{column.format}"
    return st.column_config.NumberColumn(column.heading, format=number, help=text or None)


def _show_downloads(rows: list[ResultRow], baseline: str) -> None:
    with st.container(horizontal=True):
        for name, text, ending, mime in (
            ("CSV", tables.to_csv(rows), "csv", "text/csv"),
            ("JSON", tables.to_json(rows), "json", "application/json"),
            ("Markdown", tables.to_markdown(rows, baseline), "md", "text/markdown"),
        ):
            st.download_button(
                f"Download {name}",
                text,
                f"kdexplorer-table.{ending}",
                mime,
                key=f"download_{ending}",
                on_click="ignore",
                icon=":material/download:",
            )


def show_handout_button(teacher: tuple[str, Checkpoint] | None, networks: dict[str, Checkpoint]) -> None:
    """The handout's button: the teacher, up to four networks (its own students first), and all rows of the table."""
    if teacher is None:
        return
    name, checkpoint = teacher
    students = [
        (n, c) for n, c in networks.items() if c.sha256 != checkpoint.sha256 and c.classes == checkpoint.classes
    ]
    own = set(lineage.students_of(networks, checkpoint))
    students.sort(key=lambda named: named[0] not in own)
    chosen = {name: checkpoint} | dict(students[: network_picker.MAX_STUDENTS])
    handout_button.show(chosen, [], pickers.temperature(), pickers.alpha(), compared=networks)
