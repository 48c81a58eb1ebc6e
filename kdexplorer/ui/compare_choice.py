"""What is compared on Compare: networks and runs, the teacher, and the pinned baseline."""

from __future__ import annotations

from collections import Counter

import streamlit as st

from kdexplorer import comparison, relatives, runs
from kdexplorer.checkpoints import Checkpoint
from kdexplorer.ui import choice

MOST = 16
"""Rows that a table still shows at a glance, and lines that a chart can tell apart."""


def pick_networks_and_runs(found: dict[str, Checkpoint]) -> tuple[dict[str, Checkpoint], list[str]]:
    """The chosen networks by key (finished students of chosen runs among them), and the chosen runs."""
    bundled = {name: c for name, c in found.items() if "/" not in name}
    among = bundled or found
    teacher = choice.teacher(found)
    if choice.memory().get("teacher", teacher) is None:  # no teacher was chosen: that changes columns, not rows
        teacher = st.session_state.get("compare_family", teacher)
    if teacher not in relatives.teachers(among):
        teacher = choice.default_teacher(among)
    st.session_state["compare_family"] = teacher
    usual = _with_pupils(among, teacher)
    usual = usual if len(usual) > 1 else list(among)[:MOST]
    usual = comparison.groups({name: found[name] for name in usual})
    _offer_families(bundled)
    left, right = st.columns([3, 2])
    with left:
        chosen = choice.pick_several(
            "networks",
            "Networks",
            list(found),
            next(iter(usual.values())),
            "compare_networks",
            MOST,
            placeholder="Choose networks to compare",
        )
    with right:
        opened = choice.pick_several(
            "runs",
            "Runs",
            [run.run_id for run in runs.list_runs()],
            [],
            "compare_runs",
            MOST,
            what="run",
            placeholder="Add all students of a run",
            help="Its finished students join the table, its curves the learning curves",
        )
    for run_id in opened:
        chosen += [name for name in found if name.startswith(f"{run_id}/") and name not in chosen]
    return {name: found[name] for name in chosen}, opened


def _with_pupils(found: dict[str, Checkpoint], teacher: str) -> list[str]:
    """A teacher and its students, in one table."""
    return [teacher, *(name for name in relatives.pupils(found, found[teacher]) if name != teacher)][:MOST]


def _offer_families(bundled: dict[str, Checkpoint]) -> None:
    """A button a bundled teacher, where there is more than one."""
    teachers = relatives.teachers(bundled)
    if len(teachers) < 2:
        return
    with st.container(horizontal=True):
        for teacher in teachers:
            names = _with_pupils(bundled, teacher)
            st.button(
                f"{teacher} and its students", on_click=_show_family, args=(teacher, names), key=f"family_{teacher}"
            )


def _show_family(teacher: str, names: list[str]) -> None:
    choice.choose_teacher(teacher)
    _keep(names)


def refuse_a_mixture(entries: dict[str, Checkpoint]) -> None:
    """Ends the page where the chosen networks were measured on different images."""
    groups = comparison.groups(entries)
    if len(groups) < 2:
        return
    parts = "\n".join(f"- {where}: {', '.join(names)}" for where, names in groups.items())
    st.error(
        "These networks were measured on different images. Their numbers cannot stand in one table, and averaging "
        f"them would mean nothing:\n\n{parts}\n\nKeep the networks of one line only."
    )
    with st.container(horizontal=True):
        for where, names in groups.items():
            st.button(f"Keep those on {where}", on_click=_keep, args=(names,), key=f"keep_{where}")
    st.stop()


def _keep(names: list[str]) -> None:
    """One group of a mixture."""
    choice.put("networks", names, ",".join(names))
    choice.put("runs", [], "")


def pick_references(
    entries: dict[str, Checkpoint], found: dict[str, Checkpoint], names: dict[str, str]
) -> tuple[str | None, str | None]:
    """The teacher that agreement and KL are about, and the baseline of the differences; both are keys."""
    where = comparison.measured_on(next(iter(entries.values())))
    possible = [name for name, c in found.items() if comparison.measured_on(c) == where]
    guides = relatives.guides({name: found[name] for name in possible} | entries)
    taught = Counter(guides[name] for name in entries if name in guides)
    usual = taught.most_common(1)[0][0] if taught else None
    left, right = st.columns(2)
    with right:
        teacher = choice.pick_one(
            "teacher",
            "Teacher",
            possible,
            usual,
            "compare_teacher",
            known=found,
            optional=True,
            placeholder="No teacher",
            help="Agreement and KL compare each network's answers with this one's",
        )
    others = [name for name in entries if name not in {teacher, *relatives.teachers(entries)}]
    scratch = [name for name in others if entries[name].card.get("method") == "scratch"]
    with left:
        baseline = choice.pick_one(
            "baseline",
            "Pinned baseline",
            list(entries),
            scratch[0] if scratch else next(iter(entries)),
            "compare_baseline",
            known=found,
            format_func=lambda name: names.get(name, name),
            help="Differences and McNemar's p are to this network, on the same images",
        )
    return teacher, baseline
