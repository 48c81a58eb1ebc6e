"""One figure alone: in a frame of slides, `?figure=NAME`, and in a step of the story."""

from dataclasses import replace
from typing import Any

import streamlit as st

from kdexplorer.analysis import results
from kdexplorer.app import attention, audience, experiments, layout, methods, soft_labels
from kdexplorer.app.compare import LIMIT, sections, with_runs
from kdexplorer.app.compare.sections import Comparison
from kdexplorer.app.layout import as_text
from kdexplorer.app.parts import chart_view, network_picker, picture
from kdexplorer.app.server.access import show_error
from kdexplorer.app.state import choices
from kdexplorer.app.state.cached import Network, label_together
from kdexplorer.config import trained_alpha
from kdexplorer.errors import KDError
from kdexplorer.figures import Figure, all_figures
from kdexplorer.images.picture import Picture
from kdexplorer.runs import lineage
from kdexplorer.runs.run_folder import list_runs


def show() -> None:
    """Draws the figure that the address names, or the list of names."""
    key = st.query_params[layout.FIGURE]
    if key not in all_figures():
        st.error(f"There is no figure '{as_text(key[:60])}'. Choose one of these:")
        for name, one in all_figures().items():
            layout.link_to(one.page, f"{name}: {one.title}", {layout.FIGURE: name})
        layout.link_to("overview", "Overview", icon=layout.ARROW)
        return
    place = st.container(key="kd_figure", height="stretch")
    if not st.context.is_embedded and st.button("Leave", key="figure_leave"):
        st.query_params.pop(layout.FIGURE, None)
        st.switch_page(layout.FOLDER / f"{all_figures()[key].page}.py", query_params={})
    draw(key, place=place)  # last: it may end the run


ANSWERED = ("experiment",)
"""Figures whose answer a lecture hides at first."""


def draw(key: str, with_answer: bool = True, place: Any = None) -> None:
    """Draws a figure with its control, in a container `place` of its own; an error is reported in its place."""
    with place or st.container(key="kd_figure", height="stretch"):
        try:
            figure = all_figures()[key]
            if key in ANSWERED:
                experiments.show_alone(with_answer)
            elif not figure.needs and key not in SECTIONS:
                chart_view.show_figure(key, None, about=())
            else:
                needs = "stages" if figure.page == "attention" else ""
                _draw(figure, *network_picker.pick_networks(needs, shown=False))
        except KDError as error:
            show_error(error)
        for pinned in choices.PINNED:
            choices.pinned(pinned)


def _draw(figure: Figure, teacher: Network, students: list[Network]) -> None:
    if figure.needs == "picture":
        with st.container(key="figure_row", horizontal=True, wrap=False, height="stretch", gap="medium"):
            left: dict[str, Any] = {"width": "content", "gap": "small"}
            maps = figure.page == "attention"  # which show the picture, too
            with st.container(key="figure_left_small", **left) if maps else st.container(key="figure_left", **left):
                with st.container(key="picture", gap="small"):
                    image = picture.pick(teacher, students, alone=True)
                controls = st.container()
            with st.container(height="stretch", gap="small"):
                _draw_beside(figure, teacher, students, image, controls)
    elif figure.key in SECTIONS:
        SECTIONS[figure.key](teacher, students)
    else:
        chart_view.show_figure(figure.key, _pick_family(teacher, students), about=("networks",))


def _draw_beside(figure: Figure, teacher: Network, students: list[Network], image: Picture, controls: Any) -> None:
    """A figure about a picture, from the networks' attention maps or their logits; its choices are in `controls`."""
    if figure.draw is None:
        with layout.unseen("student"):
            student = methods.pick_student(students, teacher)
        methods.show_instrument(methods.pick_method()(), teacher, student, image)
        return
    source: Any
    if figure.page == "attention":
        source = attention.pick_maps(image, teacher, students, layout.unseen("scale"))
    else:
        source = soft_labels.build(image, teacher, students)
        if source.students:
            with layout.unseen("student"):
                shown = soft_labels.pick_student(source)
            alpha = trained_alpha(source.networks[shown.name].card.objective)
            source = replace(source, student=shown, alpha=choices.pinned("alpha", alpha))
    chart_view.show_figure(figure.key, source, choices_in=controls)


def _pick_family(teacher: Network, students: list[Network]) -> Comparison:
    """Draws the choice of a teacher; the rows of its family, or of those that were chosen."""
    found = network_picker.networks()
    teachers = [teacher.key, *lineage.list_teachers({name: c for name, c in found.items() if "/" not in name})]
    name = choices.pick_option("family", "Teacher", dict.fromkeys(teachers), label_visibility="collapsed")
    return _compare(found[name], students if name == teacher.key else None)


def _compare(teacher: Network, students: list[Network] | None) -> Comparison:
    """The networks that a link from Compare names, else the teacher and the students where they were chosen.

    Without both, or where `students` is None, the teacher and its family.
    """
    found, known_runs = network_picker.networks(), {run.run_id for run in list_runs()}
    choices.check_link("networks", found, "network")
    choices.check_link("runs", known_runs, "run")
    names, runs = ([], []) if students is None else map(st.query_params.get_all, ("networks", "runs"))
    runs = [one for one in runs if one in known_runs][:LIMIT]
    if students is None or not choices.is_chosen("students"):
        students = [found[one] for one in lineage.first_family(found, teacher)]
    known = [name for name in names if name in found] or [one.key for one in (teacher, *students)]
    networks = label_together([found[name] for name in with_runs(known, runs, found)[:LIMIT]])
    networks = {name: networks[name] for name in next(iter(results.group_by_evaluation(networks).values()))}
    own = [name for name, one in networks.items() if one.sha256 == teacher.sha256] + lineage.list_teachers(networks)
    first = own[0] if own else None
    layout.mention(networks=lineage.name_family(first, [name for name in networks if name != first]))
    return Comparison.read(networks, networks[first] if first else None, runs=runs)


def _show_curves(teacher: Network, students: list[Network]) -> None:
    shown = _compare(teacher, students)
    others = {name: one for name, one in shown.networks.items() if one is not shown.teacher}
    sections.show_curves(replace(shown, networks=others or shown.networks))


SECTIONS = {
    "learning_curves": _show_curves,
    "accuracy_cost": lambda teacher, students: sections.show_cost(_compare(teacher, students)),
    "vote": audience.show_projector,
}
"""The figures that have more on their page than a chart and its control, and are shown with it."""
