"""The choice of a teacher and its students, shared by all pages."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import streamlit as st

from kdexplorer.app import layout
from kdexplorer.app.layout import as_text
from kdexplorer.app.server import access
from kdexplorer.app.state import choices
from kdexplorer.app.state.cached import Network, all_networks, label_together, unusable_networks
from kdexplorer.errors import KDError
from kdexplorer.runs import lineage

MAX_STUDENTS = 4
_TEACHER = "teacher_of_students"

T = TypeVar("T")


def networks() -> dict[str, Network]:
    """All networks by their name in links; where there is none, the page says what to do and ends."""
    if not (found := all_networks()):
        st.info("There are no networks yet. Train one on the Launch page, or restore the folder 'checkpoints'.")
        show_unusable()
        st.stop()
    return found


def show_unusable() -> None:
    """The checkpoints that cannot be used, each with the reason; nothing where there are none."""
    if not (unusable := unusable_networks()):
        return
    with st.expander(f"{len(unusable)} unusable network{'s' if len(unusable) > 1 else ''}", icon=":material/error:"):
        for name, reason in list(unusable.items())[:50]:
            st.markdown(f"**{as_text(name)}**: {as_text(access.hide_folders(reason)[:500])}")


def default_teacher(found: Mapping[str, Network]) -> str:
    """The smallest bundled teacher, whose pages open fastest. Without one: any other teacher, else any network."""
    if bundled := lineage.list_teachers({name: c for name, c in found.items() if "/" not in name}):
        return min(bundled, key=lambda name: found[name].card.parameters)
    return next(iter(lineage.list_teachers(found) or found))


def pick_networks(needs: str = "", shown: bool = True) -> tuple[Network, list[Network]]:
    """Draws a line with the names of a teacher and of up to four students, and their choice behind a button.

    Unless it is `shown`, what was chosen elsewhere holds. The student that is chosen by default beside the scratch
    baseline has learned from those of the teacher's outputs that are in `needs` (see `Method.needs`), or from any.
    """
    found = networks()
    line, place = layout.networks_line() if shown else (None, layout.unseen("networks"))
    with place:
        name = choices.pick_one("teacher", "Teacher", list(found), default_teacher(found))
        others, default = _list_students(found, found[name], needs)
        _follow_teacher(found, found[name], default)
        chosen = choices.pick_several(
            "students", "Students", others, default, MAX_STUDENTS, known=found, placeholder="Choose up to four students"
        )
    layout.mention(networks=lineage.name_family(name, chosen))
    teacher, *students = label_together([found[one] for one in (name, *chosen)]).values()
    if line is not None:
        line.markdown(layout.name_networks(teacher.label, [one.label for one in students]))
    return teacher, students


def _list_students(found: Mapping[str, Network], teacher: Network, needs: str) -> tuple[list[str], list[str]]:
    """The networks that may be students of a teacher, and those that are chosen by default: two of its first family."""
    others = [name for name, c in found.items() if c.sha256 != teacher.sha256 and c.classes == teacher.classes]
    family = [name for name in lineage.first_family(found, teacher) if name in others]
    objectives = {name: found[name].card.objective for name in family[1:]}
    learned = [name for name, one in objectives.items() if not needs or (one is not None and needs in one.needs)]
    return others, [*family[:1], *(learned or family[1:])[:1]] or others[:1]


def _follow_teacher(found: Mapping[str, Network], teacher: Network, default: list[str]) -> None:
    """Replaces chosen students of the teacher before by the default, unless some of them are this one's own too."""
    before, st.session_state[_TEACHER] = st.session_state.get(_TEACHER, teacher), teacher
    students = set(st.session_state.get("students") or [])
    old, new = (set(lineage.students_of(found, one)) for one in (before, teacher))
    if before.sha256 != teacher.sha256 and students <= old and not students & new:
        choices.follow("students", default)


def ask_each(
    networks: Sequence[Network], ask: Callable[[Network], T], must_have_first: bool = True
) -> list[tuple[Network, T]]:
    """What each network answers; one that cannot be used is reported and left out.

    Without the first, which is the teacher, the page ends where it must have that.
    """
    found = []
    for network in networks:
        try:
            found.append((network, ask(network)))
        except KDError as error:
            access.show_error(error)
            if must_have_first and network is networks[0]:
                st.stop()
    return found


def find_name(reference: str, found: Mapping[str, Network]) -> str | None:
    """The name on the pages of a network that a run's configuration names, perhaps by its folder; or None."""
    by_folder = (name for name, c in found.items() if c.path.resolve() == Path(reference).resolve())
    return reference if reference in found else next(by_folder, None)
