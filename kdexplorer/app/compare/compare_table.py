"""What is compared on Compare (networks and runs, the teacher, the baseline), and the table of results."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import streamlit as st

from kdexplorer.analysis import measures, results, verdicts
from kdexplorer.analysis.measures import MEASURES
from kdexplorer.analysis.results import ResultRow
from kdexplorer.app.parts import downloads, network_picker
from kdexplorer.app.parts.text import as_text
from kdexplorer.app.state import choices
from kdexplorer.charts.style import TEACHER
from kdexplorer.datasets import get_dataset
from kdexplorer.runs import lineage, run_folder
from kdexplorer.runs.checkpoints import Checkpoint

LIMIT = 16
"""Rows that a table shows at a glance, and lines that a chart can distinguish."""

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

HIDDEN = {
    "accuracy_interval", "to_scratch_baseline", "to_teacher", "seed", "scaling_temperature", "step_seconds", "memory",
}  # fmt: skip
"""What this table leaves out: other columns contain the same, or it is not of networks."""


def pick_networks_and_runs(found: dict[str, Checkpoint]) -> tuple[dict[str, Checkpoint], list[str]]:
    """The chosen networks by name, the finished students of chosen runs among them, and the chosen runs."""
    bundled = {name: c for name, c in found.items() if "/" not in name}
    teachers = lineage.list_teachers(bundled)
    if len(teachers) > 1:
        with st.container(horizontal=True):
            for teacher in teachers:
                args = (_list_family(bundled, teacher), teacher)
                st.button(
                    f"{as_text(teacher)} and its students", f"family_{teacher}", on_click=_choose_networks, args=args
                )
    left, right = st.columns([3, 2])
    with left:
        default = _default_networks(found, bundled or found)
        hint = "Choose networks to compare"
        chosen = choices.pick_several("networks", "Networks", list(found), default, LIMIT, placeholder=hint)
    with right:
        runs = choices.pick_several(
            "runs", "Runs", [run.run_id for run in run_folder.list_runs()], [], LIMIT,
            kind="run", placeholder="Add all students of a run",
            help="Adds its finished students to the table and its curves to the learning curves",
        )  # fmt: skip
    for run_id in runs:
        chosen += [name for name in found if name.startswith(f"{run_id}/") and name not in chosen]
    return {name: found[name] for name in chosen}, runs


def _default_networks(found: dict[str, Checkpoint], options: dict[str, Checkpoint]) -> list[str]:
    """The chosen teacher and its students, as many as were evaluated on the same images as the teacher."""
    teacher = st.session_state.get("teacher", st.query_params.get("teacher"))
    if teacher not in found:  # "No teacher" changes columns, not rows
        teacher = st.session_state.get("compare_family")
    if teacher not in lineage.list_teachers(options):
        teacher = network_picker.default_teacher(options)
    st.session_state["compare_family"] = teacher
    family = lineage.first_family(options, options[teacher])  # curves of more than one are hard to tell apart
    names = [teacher, *family][:LIMIT] if family else list(options)[:LIMIT]
    return next(iter(results.group_by_evaluation({name: found[name] for name in names}).values()))


def _list_family(found: dict[str, Checkpoint], teacher: str) -> list[str]:
    """A teacher and its students."""
    return [teacher, *(name for name in lineage.students_of(found, found[teacher]) if name != teacher)][:LIMIT]


def _choose_networks(names: list[str], teacher: str | None = None) -> None:
    st.session_state.update({"networks": names, "runs": []} | ({"teacher": teacher} if teacher else {}))


def require_same_images(entries: dict[str, Checkpoint]) -> None:
    """Ends the page where the chosen networks were evaluated on different images."""
    groups = results.group_by_evaluation(entries)
    if len(groups) < 2:
        return
    parts = "\n".join(f"- {as_text(images)}: {as_text(', '.join(names))}" for images, names in groups.items())
    st.error(
        "These networks were evaluated on different images, so their figures cannot be compared in one table:\n\n"
        f"{parts}\n\nKeep the networks of one line only."
    )
    with st.container(horizontal=True):
        for images, names in groups.items():
            st.button(
                f"Keep those on {as_text(images)}", on_click=_choose_networks, args=(names,), key=f"keep_{images}"
            )
    st.stop()


def pick_references(
    entries: dict[str, Checkpoint], found: dict[str, Checkpoint], names: dict[str, str]
) -> tuple[str | None, str]:
    """The teacher for agreement and KL, and the baseline of the differences; `names` are the entries' short names."""
    first = next(iter(entries.values()))
    options = [name for name, c in found.items() if results.is_evaluated_on(c, first)]
    teachers = lineage.teachers_of({name: found[name] for name in options} | entries)
    counts = Counter(teachers[name] for name in entries if name in teachers)
    commonest: str | None = next((name for name, _ in counts.most_common(1)), None)
    left, right = st.columns(2)
    with right:
        teacher = choices.pick_one(
            "teacher", "Teacher", options, commonest,
            known=found, index=None, placeholder="No teacher",
            help="Agreement and KL compare each network's predictions with the teacher's",
        )  # fmt: skip
    students = [name for name in entries if name not in {teacher, *lineage.list_teachers(entries)}]
    scratch = [name for name in students if not lineage.is_distilled(entries[name])]
    with left:
        baseline = choices.pick_one(
            "baseline", "Baseline", list(entries), next(iter([*scratch, *entries])),
            known=found, format_func=lambda name: names.get(name, name),
            help="Differences and McNemar's p are relative to this network, on the same images",
        )  # fmt: skip
    return teacher, baseline


def show_summary(rows: list[ResultRow], baseline: str) -> None:
    """The table's most important columns, accuracy first, as many as there is room for."""
    st.html(STYLE)
    columns = {key: MEASURES[key] for keys in SUMMARIES.values() for key in keys}
    values = {key: [column.value(row) for row in rows] for key, column in columns.items()}
    known = {key: _configure(column, baseline) for key, column in columns.items() if set(values[key]) - {None}}
    with st.container(key="summary", gap=None):
        for least, keys in SUMMARIES.items():
            shown = {key: values[key] for key in keys if key in known}
            config = {key: known[key] for key in shown}
            with st.container(key=f"summary_{least}"):
                st.dataframe(
                    shown, hide_index=True, placeholder="–", key=f"compare_summary_{least}", height="content",
                    column_config=config, alt="A row for each network with its accuracy and other figures",
                )  # fmt: skip


def show_table(rows: list[ResultRow], baseline: str, teacher: str | None, missing: str | None) -> None:
    """The table and its files; `missing` is the data set whose labels are missing, if they are."""
    columns = [column for key, column in MEASURES.items() if key not in HIDDEN]
    values = [{column.key: column.value(row) for column in columns} for row in rows]
    for shown, row in zip(values, rows, strict=True):
        if row.name == teacher and not row.is_distilled:
            shown["method"] = TEACHER
    known = [column.key for column in columns if any(shown[column.key] is not None for shown in values)]
    st.dataframe(
        values, hide_index=True, placeholder="–", key="compare_table", column_order=known,
        column_config={column.key: _configure(column, baseline) for column in columns},
        alt="Results table: a row for each network with objective, cross-entropy, accuracy, tests, agreement and cost",
    )  # fmt: skip
    st.caption(
        f"Evaluated on {as_text(rows[0].evaluated_on)}. The objective differs from cross-entropy because each method "
        f"minimizes a different sum. {as_text(verdicts.describe_training(rows))}"
    )
    if missing:
        st.info(
            "The labels of these images are missing, so calibration, McNemar's p, confusion and accuracy by class are "
            "missing too. Objective, cross-entropy and accuracy come from each network's card. "
            f"Download {get_dataset(missing).label} on the Launch page."
        )
    files = {"csv": results.to_csv(rows), "json": measures.to_json(rows), "md": results.to_markdown(rows, baseline)}
    downloads.show_files("kdexplorer-table", files)


def _configure(column: measures.Measure, baseline: str) -> Any:
    if not column.format:
        return st.column_config.TextColumn(column.heading, help=column.help or None, pinned=column.key == "name")
    text = f"{column.help}, relative to {as_text(baseline)}" if column.key == "to_baseline" else column.help
    number = "localized" if column.format == "," else f"%{column.format}"
    return st.column_config.NumberColumn(column.heading, format=number, help=text or None)


def show_handout_button(teacher: tuple[str, Checkpoint], networks: dict[str, Checkpoint]) -> None:
    """The handout's button: the teacher, up to four networks (its own students first), and all rows of the table."""
    name, checkpoint = teacher
    others = {n: c for n, c in networks.items() if c.sha256 != checkpoint.sha256 and c.classes == checkpoint.classes}
    own = set(lineage.students_of(networks, checkpoint))
    students = sorted(others, key=lambda name: name not in own)[: network_picker.MAX_STUDENTS]
    downloads.show_handout({name: checkpoint} | {name: others[name] for name in students}, compared=networks)
