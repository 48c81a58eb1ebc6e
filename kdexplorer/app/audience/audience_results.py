"""What the projector shows of the vote: the question's result while it is open, and all questions together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from kdexplorer.analysis.metrics import entropy
from kdexplorer.app.parts.plain import as_text, show_error
from kdexplorer.app.server import access
from kdexplorer.app.state import caches, pickers, slider_memory, url_state
from kdexplorer.charts.common import NetworkLogits
from kdexplorer.charts.style import TEACHER
from kdexplorer.charts.votes import room_bars
from kdexplorer.errors import KDError
from kdexplorer.images import decode, render
from kdexplorer.runs.checkpoints import Checkpoint
from kdexplorer.vote import analysis, student
from kdexplorer.vote.records import Lecture, Question
from kdexplorer.vote.store import Store

POLL, IDLE_POLL = 1.0, 5.0
"""Seconds between two looks while a question is open, and before the next one."""
ANSWERS = {"votes": "The votes only", "all": "The label and the teacher too"}
"""What the presenter can show of an open question, by the name in the link: at first the votes."""
CHART = "chart_room"
"""The key of the question's chart, see `slider_memory.start`."""


@dataclass(frozen=True)
class Truth:
    """What is known of a question beside the votes."""

    label: int | None
    teacher: NetworkLogits | None
    human: np.ndarray | None
    """The shares of annotators `[K]`."""


Draw = Callable[[Question, Sequence[int], Truth, float], None]


def chosen_answer() -> str:
    """Which of `ANSWERS` is shown of an open question; to guests it is always the first."""
    votes_only = next(iter(ANSWERS))
    chosen = pickers.choose_one("answer", ANSWERS, votes_only, kind="answer")
    url_state.publish("answer", chosen)
    return chosen if access.is_presenter() else votes_only


def show_question(store: Store, teacher: Checkpoint, draw: Draw | None = None) -> None:
    """The last question's result, live while it is open: then `chosen_answer`, afterwards everything.

    The slider starts at the pinned temperature.

    Args:
        store: the server's.
        teacher: whose soft label is shown beside the room's.
        draw: draws a question with its counts of votes and the slider's start; the chart and figures of this page if
            not given.
    """
    question = store.current()
    hidden = question is not None and question.is_open and chosen_answer() == "votes"
    truth = Truth(None, None, None)
    if question is not None and not hidden:
        (truth,) = find_truths([question], teacher)
    temperature = pickers.pinned("T")
    url_state.publish("T", temperature)
    about = (question and question.key, hidden, teacher.name, draw is None)
    (begin,) = slider_memory.start(CHART, about, (temperature,))

    def follow() -> None:
        if store.current() != question:
            st.rerun()  # the presenter has started or closed a question, perhaps in another tab
        if question is None:
            st.info("No question yet.")
        else:
            (draw or _draw)(question, store.counts(question), truth, begin)

    poll = POLL if question is not None and question.is_open else IDLE_POLL
    st.fragment(follow, run_every=poll)()


def find_truths(questions: Sequence[Question], teacher: Checkpoint) -> list[Truth]:
    """What is known of each question; what is missing is reported, each reason once."""
    found = [_find_truth(one, teacher) for one in questions]
    if any(one.classes != teacher.classes for one in questions):
        which = "this question" if len(questions) == 1 else "some of these questions"
        st.info(f"{as_text(teacher.name)} has other classes than {which}.")
    for error in {str(error): error for _, error in found if error is not None}.values():
        show_error(error)
    return [truth for truth, _ in found]


def _find_truth(question: Question, teacher: Checkpoint) -> tuple[Truth, Exception | None]:
    """The label, the teacher's logits and the human labels, as far as they are known, and why something is missing."""
    logits = human = problem = None
    try:
        if teacher.classes == question.classes:
            computed = caches.image_logits(teacher, question.pixels, question.index, question.dataset)
            logits = NetworkLogits(teacher.name, TEACHER, computed)
        if question.index is not None:
            known = caches.human_labels_of(question.dataset)
            human = None if known is None else known[question.index]
    except (KDError, OSError, IndexError) as error:
        problem = error
    return Truth(question.label, logits, human), problem


def describe_votes(question: Question, votes: int) -> str:
    """How many there are, and whether more are accepted, as Markdown."""
    return f"**{analysis.count_votes(votes)}** · {'open' if question.is_open else 'closed'}"


def _draw(question: Question, counts: Sequence[int], truth: Truth, begin: float) -> None:
    room, votes = analysis.soft_label(counts), sum(counts)
    facts = [describe_votes(question, votes)]
    if room is not None:
        nats = float(entropy(room))
        facts.append(f"entropy of the room **{nats:.2f} nats** ({np.exp(nats):.1f} effective classes)")
    if truth.human is not None:
        facts.append(f"of the human labels {float(entropy(truth.human)):.2f} nats")
    if room is not None and truth.teacher is not None:
        temperature = pickers.pinned("T")
        found = analysis.distance(room, truth.teacher.logits, temperature)
        facts.append(as_text(analysis.describe_distance(found, truth.teacher.name, temperature)))
    st.markdown(" · ".join(facts))
    chart = room_bars(counts, question.classes, truth.label, truth.teacher, truth.human, begin)
    slider_memory.draw(CHART, chart, "Vote", (), savable=not question.is_open, key=f"room_{question.key}")


def show_history(lecture: Lecture, networks: dict[str, Checkpoint]) -> None:
    """All closed questions as a table, how often room and networks are right, and the comparison of students.

    Args:
        lecture: the questions.
        networks: by the name that they are shown under, the teacher first.
    """
    closed = lecture.closed
    if not closed:
        return
    st.header("All questions")
    name, teacher = next(iter(networks.items()))
    truths = find_truths(closed, teacher)
    rows = [_describe_row(one, truth, name) for one, truth in zip(closed, truths, strict=True)]
    st.dataframe(rows, hide_index=True, column_config={"picture": st.column_config.ImageColumn("picture")})
    text = analysis.describe_agreement(closed, _logits(closed, networks))
    if text is not None:
        st.markdown(as_text(text))
    if lecture.comparison is not None:
        st.markdown(student.describe_students(lecture.comparison))


def _describe_row(question: Question, truth: Truth, teacher: str) -> dict[str, object]:
    counts, classes = question.totals, question.classes
    room, choice = analysis.soft_label(counts), analysis.choice_of(counts)
    row: dict[str, object] = {
        "picture": render.data_url(render.enlarge_png(question.pixels.transpose(1, 2, 0), decode.SIZE)),
        "label": "" if truth.label is None else classes[truth.label],
        "room": "" if room is None else "a tie" if choice is None else f"{classes[choice]} {room[choice]:.0%}",
        "votes": sum(counts),
        "entropy (nats)": None if room is None else abs(round(float(entropy(room)), 2)),
    }
    if truth.teacher is not None:
        found = None if room is None else analysis.distance(room, truth.teacher.logits, 1.0)
        row[teacher] = classes[int(truth.teacher.logits.argmax())]
        row["KL at T = 1 (nats)"] = None if found is None else round(found.kl, 3)
        row["closest T"] = None if found is None or found.closest is None else round(found.closest, 2)
    return row


def _logits(closed: Sequence[Question], networks: dict[str, Checkpoint]) -> dict[str, np.ndarray]:
    """Of each network that has the questions' classes, `[questions, K]`."""
    found = {}
    for name, checkpoint in networks.items():
        if all(one.classes == checkpoint.classes for one in closed):
            try:
                rows = [caches.image_logits(checkpoint, one.pixels, one.index, one.dataset) for one in closed]
            except KDError as error:
                show_error(error)
            else:
                found[name] = np.stack(rows)
    return found
