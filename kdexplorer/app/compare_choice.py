"""What is compared on Compare: networks and runs, the teacher, and the baseline."""

from __future__ import annotations

from collections import Counter

import streamlit as st

from kdexplorer.analysis import results
from kdexplorer.app import network_picker, pickers, url_state
from kdexplorer.runs import lineage, run_folder
from kdexplorer.runs.checkpoints import Checkpoint

LIMIT = 16
"""Rows that a table shows at a glance, and lines that a chart can distinguish."""


def pick_networks_and_runs(found: dict[str, Checkpoint]) -> tuple[dict[str, Checkpoint], list[str]]:
    """The chosen networks by name, the finished students of chosen runs among them, and the chosen runs."""
    bundled = {name: c for name, c in found.items() if "/" not in name}
    _show_families(bundled)
    left, right = st.columns([3, 2])
    with left:
        chosen = pickers.pick_several(
            "networks",
            "Networks",
            list(found),
            _default_networks(found, bundled or found),
            LIMIT,
            placeholder="Choose networks to compare",
        )
    with right:
        runs = pickers.pick_several(
            "runs",
            "Runs",
            [run.run_id for run in run_folder.list_runs()],
            [],
            LIMIT,
            kind="run",
            placeholder="Add all students of a run",
            help="Adds its finished students to the table and its curves to the learning curves",
        )
    for run_id in runs:
        chosen += [name for name in found if name.startswith(f"{run_id}/") and name not in chosen]
    return {name: found[name] for name in chosen}, runs


def _default_networks(found: dict[str, Checkpoint], options: dict[str, Checkpoint]) -> list[str]:
    """The chosen teacher and its students, as many as were evaluated on the same images as the teacher."""
    teacher = network_picker.chosen_teacher(found)
    if url_state.choices().get("teacher", teacher) is None:  # "No teacher" changes columns, not rows
        teacher = st.session_state.get("compare_family", teacher)
    if teacher not in lineage.list_teachers(options):
        teacher = network_picker.default_teacher(options)
    st.session_state["compare_family"] = teacher
    family = _list_family(options, teacher)
    names = family if len(family) > 1 else list(options)[:LIMIT]
    return next(iter(results.group_by_evaluation({name: found[name] for name in names}).values()))


def _list_family(found: dict[str, Checkpoint], teacher: str) -> list[str]:
    """A teacher and its students."""
    return [teacher, *(name for name in lineage.students_of(found, found[teacher]) if name != teacher)][:LIMIT]


def _show_families(bundled: dict[str, Checkpoint]) -> None:
    """A button for each bundled teacher, where there are several."""
    teachers = lineage.list_teachers(bundled)
    if len(teachers) < 2:
        return
    with st.container(horizontal=True):
        for teacher in teachers:
            st.button(
                f"{teacher} and its students",
                on_click=_choose_family,
                key=f"family_{teacher}",
                args=(teacher, _list_family(bundled, teacher)),
            )


def _choose_family(teacher: str, names: list[str]) -> None:
    network_picker.choose_teacher(teacher)
    _choose_networks(names)


def require_same_images(entries: dict[str, Checkpoint]) -> None:
    """Ends the page where the chosen networks were evaluated on different images."""
    groups = results.group_by_evaluation(entries)
    if len(groups) < 2:
        return
    parts = "\n".join(f"- {images}: {', '.join(names)}" for images, names in groups.items())
    st.error(
        "These networks were evaluated on different images, so their figures cannot be compared in one table:\n\n"
        f"{parts}\n\nKeep the networks of one line only."
    )
    with st.container(horizontal=True):
        for images, names in groups.items():
            st.button(f"Keep those on {images}", on_click=_choose_networks, args=(names,), key=f"keep_{images}")
    st.stop()


def _choose_networks(names: list[str]) -> None:
    url_state.put("networks", names, ",".join(names))
    url_state.put("runs", [], "")


def pick_references(
    entries: dict[str, Checkpoint], found: dict[str, Checkpoint], names: dict[str, str]
) -> tuple[str | None, str]:
    """The teacher for agreement and KL, and the baseline of the differences, both by name.

    Args:
        entries: the networks that are compared.
        found: all networks.
        names: the entries' short names.
    """
    images = results.describe_evaluation(next(iter(entries.values())))
    options = [name for name, c in found.items() if results.describe_evaluation(c) == images]
    teachers = lineage.teachers_of({name: found[name] for name in options} | entries)
    counts = Counter(teachers[name] for name in entries if name in teachers)
    left, right = st.columns(2)
    with right:
        teacher = pickers.pick_one_or_none(
            "teacher",
            "Teacher",
            options,
            counts.most_common(1)[0][0] if counts else None,
            known=found,
            on_change=network_picker.remember_teacher,
            placeholder="No teacher",
            help="Agreement and KL compare each network's predictions with the teacher's",
        )
    students = [name for name in entries if name not in {teacher, *lineage.list_teachers(entries)}]
    scratch = [name for name in students if not lineage.is_distilled(entries[name])]
    with left:
        baseline = pickers.pick_one(
            "baseline",
            "Baseline",
            list(entries),
            next(iter([*scratch, *entries])),
            known=found,
            format_func=lambda name: names.get(name, name),
            help="Differences and McNemar's p are relative to this network, on the same images",
        )
    return teacher, baseline
