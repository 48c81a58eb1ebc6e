"""The figures about methods, runs, results, experiments and the vote."""

from __future__ import annotations

import streamlit as st

from kdexplorer.app import methods as method_page
from kdexplorer.app.audience import controls
from kdexplorer.app.compare import compare_sections
from kdexplorer.app.compare.studies import VERDICTS
from kdexplorer.app.experiments import experiment_view
from kdexplorer.app.figures.context import Context, roles
from kdexplorer.app.figures.predictions import LARGE
from kdexplorer.app.parts import chart_view, network_picker
from kdexplorer.app.server import access
from kdexplorer.charts import divergence, evaluation
from kdexplorer.charts.style import enlarge, role_of
from kdexplorer.charts.taxonomy import taxonomy as draw_taxonomy
from kdexplorer.config import SCRATCH
from kdexplorer.images.picture import Picture
from kdexplorer.studies.experiments.results import SMALL
from kdexplorer.vote.store import Store, open_store


def taxonomy(context: Context) -> None:
    """All methods where they connect teacher and student; one stands out."""
    method = method_page.pick_method(short=True)
    chart_view.draw(enlarge(draw_taxonomy(method.key), 1.2), "Methods", ())
    st.markdown(f"**{method.label}**: {method.summary}")


def method(context: Context, picture: Picture) -> None:
    """What a method asks of a student on the picture."""
    chosen = method_page.pick_method()
    names = network_picker.short_names(context.students)
    students = dict(zip(names, context.students, strict=True))
    distilled = (name for name, one in students.items() if role_of(one, context.teacher) != SCRATCH)
    name = next(distilled, next(iter(students), None))
    if name is None:
        st.info("Choose a student to see this method's gradient on it.")
    else:
        method_page.show_instrument(chosen(), context.teacher, method_page.Student(name, students[name]), picture)


def show_divergence(context: Context) -> None:
    """Forward and reverse KL, with β's slider."""
    chart_view.draw(enlarge(divergence.mode_figure(), 1.1), "Forward and reverse KL", ())


def learning_curves(context: Context) -> None:
    """A measure of the networks after every epoch of their training."""
    shown = context.compare()
    students = {name: one for name, one in shown.networks.items() if not shown.teacher or name != shown.teacher[0]}
    compare_sections.show_curves(students or shown.networks, [], shown.teacher)


def accuracies(context: Context) -> None:
    """Test accuracies with their intervals."""
    shown = context.pick_family()
    chart_view.draw(enlarge(evaluation.accuracies(shown.rows, roles(shown)), LARGE), "Accuracies")


def losses(context: Context) -> None:
    """Cross-entropy beside the objective."""
    shown = context.pick_family()
    chart_view.draw(enlarge(evaluation.losses(shown.rows, roles(shown)), 1.3), "Losses")


def accuracy_cost(context: Context) -> None:
    """Accuracy against what a network costs."""
    compare_sections.show_cost(context.compare())


def experiment(context: Context) -> None:
    """One experiment: its question, its chart, its verdict."""
    left, right = st.columns([2, 3], gap="medium")
    with left:
        chosen = experiment_view.pick_experiment()
    words = right.empty()
    results, small = experiment_view.draw_chart(chosen)
    said = f"**{chosen.question}** "
    if results and small:
        said += SMALL
    elif results:
        verdicts = (f"{VERDICTS[claim.verdict]} {claim.claim}: {claim.verdict}." for claim in chosen.judge(results))
        said += "  \n".join(verdicts)
    words.markdown(said)


def vote(context: Context) -> None:
    """The question in letters for the last row, or before the first one the picture that it will be about."""
    store = open_store()
    seen = controls.swap_seen(store)
    question = store.current()
    if question is None:
        _prepare_vote(store, context, seen)
        return
    with controls.show_projector(store, context.teacher, seen):
        if access.is_presenter() and not question.is_open:
            picture = context.pick_picture(label=False)  # it would give the answer away
            controls.show_ask(store, context.teacher, picture, seen)


def _prepare_vote(store: Store, context: Context, seen: str) -> None:
    left, middle, right = st.columns([4, 4, 5], gap="medium")
    with left:
        controls.show_code("stretch")
    with middle:
        picture = context.pick_picture(label=False)
    with right:
        if access.is_presenter():
            controls.show_ask(store, context.teacher, picture, seen)
        else:
            st.info("No question yet. The presenter starts questions.")
