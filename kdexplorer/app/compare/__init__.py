"""The page Compare: the choice, one section beside the short table, and behind an expander everything else."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import streamlit as st

from kdexplorer.analysis import results, verdicts
from kdexplorer.app import experiments, layout
from kdexplorer.app.compare import sections
from kdexplorer.app.compare.sections import Comparison
from kdexplorer.app.layout import as_text
from kdexplorer.app.parts import network_picker, studies
from kdexplorer.app.state import choices
from kdexplorer.app.state.cached import Network, label_together
from kdexplorer.runs import lineage, run_folder
from kdexplorer.studies.experiments import lab_claims

GROUPS: dict[str, dict[str, Callable[[Comparison], object]]] = {
    "Results": {
        "Accuracy and cost": sections.show_cost,
        "Learning curves": sections.show_curves,
        "Calibration": sections.show_calibration,
    },
    "Errors": {
        "Classes": sections.show_classes,
        "Confusion": sections.show_confusion,
        "Disagreements": sections.show_disagreements,
        "Error inheritance": sections.show_inheritance,
    },
    "Hyperparameters and methods": {
        "Sweep": lambda _: studies.show_grids(),
        "League": lambda _: studies.show_comparisons(),
        "The lab's claims": lambda _: experiments.show_findings(lab_claims.EXPERIMENT),
    },
}
"""The sections by their group; a section's name is its name in the link."""
SECTIONS = {name: show for group in GROUPS.values() for name, show in group.items()}
LABELS = {"Sweep": "T and weight", "League": "Methods", "The lab's claims": "The lab report's claims"}
"""Of sections that are called otherwise on the page."""
BESIDE = ("Accuracy and cost", "Learning curves", "Calibration", "Classes")
"""Sections that stand beside the table; the others are about two networks or about none, and have the page's width."""

LIMIT = 16
"""Rows that a table shows at a glance, and lines that a chart can distinguish."""


def show() -> None:
    """The choice, and what it compares."""
    layout.header(
        "compare",
        "Networks side by side on the same test images. A teacher, its students and their scratch baseline show what "
        "distillation changes.",
    )
    found = network_picker.networks()
    line, place = layout.networks_line()
    with place:
        entries, runs = _pick_networks_and_runs(found)
    if entries:
        _compare(entries, found, runs, line, place)
    else:
        st.info("Press **Change networks** and choose some, or a run with finished students.")
        if runs:
            sections.show_curves(Comparison({}, runs=runs))
    network_picker.show_unusable()


def _compare(entries: dict[str, Network], found: dict[str, Network], runs: list[str], line: Any, place: Any) -> None:
    """Everything about these networks, which `line` names; the teacher and the baseline are chosen in `place`."""
    _require_same_images(entries)
    with place:
        teacher_key, baseline_key = _pick_references(entries, found)
    beside = [found[teacher_key]] if teacher_key and teacher_key not in entries else []
    labeled = {one.key: one for one in label_together([*entries.values(), *beside]).values()}
    teacher, baseline = labeled.get(teacher_key or ""), labeled[baseline_key].name
    networks = {labeled[key].name: labeled[key] for key in entries}
    first = teacher.name if teacher else None
    others = [name for name in networks if name != first]
    line.markdown(f"{layout.name_networks(first, others)}; baseline {as_text(baseline)}")
    layout.mention(networks=lineage.name_family(first, others))
    with st.spinner("Comparing …"):
        compared = Comparison.read(networks, teacher, baseline, runs)
    section = _pick_section()
    if section in BESIDE:
        with st.container(key="compared"):
            left, right = st.columns(2, gap="medium")
        with left:
            sections.show_summary(compared)
            st.markdown(as_text(sections.describe(section, compared)))
        with right:
            SECTIONS[section](compared)
    else:
        SECTIONS[section](compared)
    if difference := verdicts.describe_training_difference(networks):
        st.warning(as_text(difference))
    with st.expander("All numbers, files, and what they mean"):
        sections.show_table(compared)
        st.markdown("**Why can a distilled student's loss be larger?**")
        st.markdown(as_text(verdicts.explain_larger_loss(compared.rows)))
        st.markdown("**Did a student really beat its teacher, or its scratch baseline?**")
        st.markdown(as_text(verdicts.compare_with_teacher_and_baseline(compared.rows)))


def _pick_section() -> str:
    chosen = choices.choose_one("show", SECTIONS, next(iter(SECTIONS)), kind="section")

    def take(key: str) -> None:
        choices.put("show", st.session_state[key] or chosen)

    with st.container(key="show"):
        places = st.columns([31, 36, 33], gap="small")  # as wide as their names
    for number, (place, (group, named)) in enumerate(zip(places, GROUPS.items(), strict=True)):
        key = f"section_{number}"
        st.session_state[key] = chosen if chosen in named else None
        place.segmented_control(
            group, list(named), format_func=lambda name: LABELS.get(name, name), key=key, on_change=take, args=(key,)
        )
    return chosen


def _pick_networks_and_runs(found: dict[str, Network]) -> tuple[dict[str, Network], list[str]]:
    """The chosen networks by name, the finished students of chosen runs among them, and the chosen runs."""
    bundled = {name: c for name, c in found.items() if "/" not in name}
    teachers = lineage.list_teachers(bundled)
    if len(teachers) > 1:
        with st.container(horizontal=True):
            for teacher in teachers:
                students = [name for name in lineage.students_of(bundled, bundled[teacher]) if name != teacher]
                st.button(
                    f"{as_text(teacher)} and its students", f"family_{teacher}", on_click=choices.choose,
                    kwargs={"networks": [teacher, *students][:LIMIT], "runs": [], "teacher": teacher},
                )  # fmt: skip
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
    chosen = with_runs(chosen, runs, found)
    if len(chosen) > LIMIT:
        st.caption(f"The first {LIMIT} of {len(chosen)} networks are compared: choose fewer networks or runs.")
        del chosen[LIMIT:]
    return {name: found[name] for name in chosen}, runs


def with_runs(names: Sequence[str], runs: Sequence[str], found: Iterable[str]) -> list[str]:
    """The names of networks, and of the finished students of runs, each once."""
    return list(dict.fromkeys([*names, *(name for run in runs for name in found if name.startswith(f"{run}/"))]))


def _default_networks(found: dict[str, Network], options: dict[str, Network]) -> list[str]:
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


def _require_same_images(entries: dict[str, Network]) -> None:
    """Ends the page where the chosen networks were evaluated on different images."""
    if len(groups := results.group_by_evaluation(entries)) < 2:
        return
    parts = "\n".join(f"- {as_text(images)}: {as_text(', '.join(names))}" for images, names in groups.items())
    st.error(
        "These networks were evaluated on different images, so their numbers cannot be compared in one table:\n\n"
        f"{parts}\n\nKeep the networks of one line only."
    )
    with st.container(horizontal=True):
        for images, names in groups.items():
            kept = {"networks": names, "runs": []}
            st.button(f"Keep those on {as_text(images)}", f"keep_{images}", on_click=choices.choose, kwargs=kept)
    st.stop()


def _pick_references(entries: dict[str, Network], found: dict[str, Network]) -> tuple[str | None, str]:
    """The teacher for agreement and KL, and the baseline of the differences."""
    first, names = next(iter(entries.values())), lineage.short_names(list(entries))
    options = [name for name, c in found.items() if results.is_evaluated_on(c, first)]
    known = {name: found[name] for name in options} | entries
    teachers = lineage.name_relatives(known, lineage.teacher_of)
    own = [teachers[name] for name in entries if name in teachers]
    left, right = st.columns(2)
    with right:
        teacher = choices.pick_one(
            "teacher", "Teacher", options, max(own, key=own.count, default=None),
            known=found, index=None, placeholder="No teacher",
            help="Agreement and KL compare each network's predictions with the teacher's",
        )  # fmt: skip
    students = [name for name in entries if name not in {teacher, *lineage.list_teachers(entries)}]
    scratch = [name for name in students if not lineage.is_distilled(entries[name])]
    with left:
        baseline = choices.pick_one(
            "baseline", "Baseline", list(entries), next(iter([*scratch, *entries])),
            known=found, format_func=names.__getitem__,
            help="Differences and McNemar's p are relative to this network, on the same images",
        )  # fmt: skip
    return teacher, baseline
