"""What is compared on Compare, and the table of its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import streamlit as st

from kdexplorer.analysis import measures, results, verdicts
from kdexplorer.analysis.measures import MEASURES
from kdexplorer.analysis.results import ResultRow
from kdexplorer.app.parts import downloads, network_picker
from kdexplorer.app.parts.layout import as_text
from kdexplorer.charts import style
from kdexplorer.datasets import get_dataset
from kdexplorer.runs import lineage
from kdexplorer.runs.checkpoints import Checkpoint


@dataclass(frozen=True)
class Comparison:
    """Networks by the short names that the table has."""

    networks: Mapping[str, Checkpoint]
    teacher: tuple[str, Checkpoint] | None = None
    """The teacher for agreement and KL; it need not be one of the networks."""
    rows: Sequence[ResultRow] = ()
    labels: np.ndarray | None = None
    """Int64 `[N]`, where they are available."""
    logits: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Stored logits `[N, K]` of the networks that have them."""
    baseline: str = ""
    """The network that the differences refer to."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """The names of the networks in links and on the other pages."""
    runs: Sequence[str] = ()
    """Runs whose curves are shown even if they have not finished."""

    @property
    def roles(self) -> dict[str, str]:
        return {name: style.role_of(one, self.teacher and self.teacher[1]) for name, one in self.networks.items()}

    @property
    def looks(self) -> list[style.Series]:
        return style.series(self.roles)

    @property
    def dataset(self) -> str:
        return results.dataset_of(next(iter(self.networks.values())))

    @property
    def classes(self) -> tuple[str, ...]:
        return next(iter(self.networks.values())).classes

    def require_labels(self) -> np.ndarray | None:
        """The labels for a section that needs them and stored logits; where one is missing, it says so."""
        if self.labels is None:
            dataset = get_dataset(self.dataset).label
            st.info(f"This needs the labels of the evaluation images. Download {dataset} on the Launch page.")
        elif not self.logits:
            st.info("None of these networks has stored logits: the file test_logits.npz is missing or damaged.")
        return self.labels if self.logits else None


_FIRST = ("name", "accuracy", "to_baseline")
_TESTED = (*_FIRST, "p", "cross_entropy")
SUMMARIES = {
    0: _FIRST,
    30: _TESTED,
    40: (*_TESTED, "interval"),
    49: (*_TESTED, "interval", "calibration_error"),
    74: ("name", "method", *_TESTED[1:], "scaled_cross_entropy", "calibration_error", "interval"),
}
"""Columns of `MEASURES` on the first screen, by the least width of their place in letters' heights (rem).

The objective cannot be compared between rows, so it is not one.
"""
_STEPS = [*SUMMARIES, 10_000]
_STYLE = "".join(
    f"@container (max-width: {low - 0.01}rem) or (min-width: {high}rem) {{.st-key-summary_{low} {{display: none}}}}"
    for low, high in pairwise(_STEPS)
)
STYLE = f"<style>.st-key-summary {{container-type: inline-size}}{_STYLE}</style>"
"""Of the tables, which differ in their columns, the browser shows the one that fits."""

HIDDEN = ("accuracy_interval", "to_scratch_baseline", "to_teacher", "seed", "scaling_temperature")
COLUMNS = [key for key in MEASURES if key not in HIDDEN]
"""Columns of the whole table: all but those that say the same as others."""


def show_summary(compared: Comparison) -> None:
    """The table's most important columns, accuracy first, as many as there is room for."""
    st.html(STYLE)
    values = {key: [MEASURES[key].value(row) for row in compared.rows] for keys in SUMMARIES.values() for key in keys}
    known = {key: _configure(key, compared.baseline) for key, column in values.items() if set(column) - {None}}
    with st.container(key="summary", gap=None):
        for least, keys in SUMMARIES.items():
            shown = {key: values[key] for key in keys if key in known}
            with st.container(key=f"summary_{least}"):
                st.dataframe(
                    shown, hide_index=True, placeholder="–", key=f"compare_summary_{least}", height="content",
                    column_config={key: known[key] for key in shown},
                    alt="A row for each network with its accuracy and other figures",
                )  # fmt: skip


def show_table(compared: Comparison) -> None:
    """The table and its files, and the button of a handout."""
    rows, teacher = compared.rows, compared.teacher
    values = [{key: MEASURES[key].value(row) for key in COLUMNS} for row in rows]
    for shown, row in zip(values, rows, strict=True):
        if teacher and row.name == teacher[0] and not row.is_distilled:
            shown["method"] = style.TEACHER
    known = [key for key in COLUMNS if any(shown[key] is not None for shown in values)]
    st.dataframe(
        values, hide_index=True, placeholder="–", key="compare_table", column_order=known,
        column_config={key: _configure(key, compared.baseline) for key in COLUMNS},
        alt="Results table: a row for each network with objective, cross-entropy, accuracy, tests, agreement and cost",
    )  # fmt: skip
    st.caption(
        f"Evaluated on {as_text(rows[0].evaluated_on)}. The objective differs from cross-entropy because each method "
        f"minimizes a different sum. {as_text(verdicts.describe_training(rows))}"
    )
    if compared.labels is None:
        st.info(
            "The labels of these images are missing, so calibration, McNemar's p, confusion and accuracy by class are "
            "missing too. Objective, cross-entropy and accuracy come from each network's card. "
            f"Download {get_dataset(compared.dataset).label} on the Launch page."
        )
    markdown = results.to_markdown(rows, compared.baseline)
    files = {"csv": results.to_csv(rows), "json": measures.to_json(rows), "md": markdown}
    downloads.show_files("kdexplorer-table", files)
    if teacher:
        _show_handout_button(*teacher, compared.networks)


def _configure(key: str, baseline: str) -> Any:
    """A measure's heading, format and help."""
    measure = MEASURES[key]
    if not measure.format:
        return st.column_config.TextColumn(measure.heading, help=measure.help or None, pinned=key == "name")
    text = f"{measure.help}, relative to {as_text(baseline)}" if key == "to_baseline" else measure.help
    number = "localized" if measure.format == "," else f"%{measure.format}"
    return st.column_config.NumberColumn(measure.heading, format=number, help=text or None)


def _show_handout_button(name: str, teacher: Checkpoint, networks: Mapping[str, Checkpoint]) -> None:
    """Of the teacher, up to four networks (its own students first), and all rows of the table."""
    others = [n for n, c in networks.items() if c.sha256 != teacher.sha256 and c.classes == teacher.classes]
    own = set(lineage.students_of(networks, teacher))
    students = sorted(others, key=lambda name: name not in own)[: network_picker.MAX_STUDENTS]
    downloads.show_handout({name: teacher} | {one: networks[one] for one in students}, compared=networks)
