"""What is shown of the vote: the result of a question, on a projector too, and all questions together."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
import streamlit as st

from kdexplorer.analysis.metrics import entropy, fit_temperature
from kdexplorer.app import layout
from kdexplorer.app.layout import as_text
from kdexplorer.app.parts import chart_view
from kdexplorer.app.server import access
from kdexplorer.app.server.headers import LOCAL
from kdexplorer.app.state import cached, choices
from kdexplorer.app.state.cached import Network
from kdexplorer.charts.common import NetworkLogits, format_share
from kdexplorer.charts.soft_labels import vote_bars
from kdexplorer.charts.style import TEACHER
from kdexplorer.datasets import find_dataset
from kdexplorer.errors import KDError
from kdexplorer.images.picture import Picture, data_url, enlarge_png, qr_png
from kdexplorer.vote.questions import Question, choice_of, count_votes, describe_agreement, distance, soft_label
from kdexplorer.vote.routes import PATH
from kdexplorer.vote.store import open_store

POLL, IDLE_POLL = 1.5, 5.0
"""Seconds between two looks while a question is open (a page that asks each second would count as one that asks without
pause, see `turns`), and before the next one."""
ANSWERS = {"votes": "Show the votes only", "all": "Show the label and the teacher"}
"""What the presenter can show of an open question, by the name in the link: at first the votes."""
FEW = 3
"""Votes from which on the QR code makes room for them."""
CHART = "chart_room"
"""The key of the question's chart, see `chart_view.start_sliders`."""


class Truth(NamedTuple):
    """What is known of a question beside the votes; `human` are the shares of annotators `[K]`."""

    label: int | None = None
    teacher: NetworkLogits | None = None
    human: np.ndarray | None = None


def chosen_answer() -> str:
    """Which of `ANSWERS` is shown of an open question; to visitors it is always the first."""
    chosen = choices.choose_one("answer", ANSWERS, "votes", kind="answer")
    return chosen if access.is_presenter() else "votes"


def phones_link() -> str:
    """The link of the phones' page: the presenter's own, or this server's."""
    return open_store().link or layout.server_url() + layout.with_base(PATH)


def show_code(small: bool) -> None:
    """The QR code and below it the link for phones."""
    link = phones_link()
    with st.container(key="code_small") if small else st.container(key="code_large"):
        st.image(data_url(qr_png(link)), width="stretch", alt=f"QR code of {link}")
    st.markdown(f"**{as_text(link)}**")
    if not small and urlsplit(link).hostname in LOCAL:
        st.caption(
            "Phones cannot open 'localhost', which means the phone itself: open this page under the server's name, or "
            "change the link on Audience."
        )


def show_question(teacher: Network, projector: bool = False) -> None:
    """The last question, live while it is open: its picture, and the QR code, large until there are votes.

    Beside it the result with the teacher's soft label: while it is open `chosen_answer`, afterwards everything. The
    slider starts at the pinned temperature. On a `projector` it is in letters for the last row.
    """
    store = open_store()
    question = store.current()
    hidden = question is not None and question.is_open and chosen_answer() == "votes"
    (truth,) = [Truth()] if question is None or hidden else find_truths([question], teacher)
    about = (question and question.key, hidden, teacher.name, projector)
    (begin,) = chart_view.start_sliders(CHART, about, (choices.pinned("T"),))

    def follow() -> None:
        if store.current() != question:
            st.rerun()  # the presenter has started or closed a question, perhaps in another tab
        if question is not None:
            _draw(question, store.counts(question), truth, begin, projector)

    st.fragment(follow, run_every=POLL if question is not None and question.is_open else IDLE_POLL)()


def _find_picture(question: Question) -> Picture:
    """The question's picture; without its place among the test images where these have been replaced since."""
    shown = question.image
    with contextlib.suppress(KDError):
        known = cached.gallery(question.dataset).images
        if shown.index in range(len(known)) and np.array_equal(known[shown.index], shown.pixels):
            return shown
    return replace(shown, index=None)


def find_truths(questions: Sequence[Question], teacher: Network) -> list[Truth]:
    """What is known of each question; what is missing is reported, each reason once."""
    found, problems = list[Truth](), list[str]()
    for one in questions:
        logits = human = None
        try:
            image = _find_picture(one)
            if teacher.classes == one.classes:
                logits = NetworkLogits(teacher.name, TEACHER, teacher.logits_of(image))
            if image.index is not None:
                known = find_dataset(one.dataset).human_labels()
                human = None if known is None else known[image.index]
        except (KDError, OSError) as error:
            problems.append(str(error))
        found.append(Truth(one.label, logits, human))
    if any(one.classes != teacher.classes for one in questions):
        which = "this question" if len(questions) == 1 else "some of these questions"
        st.info(f"{as_text(teacher.name)} has other classes than {which}.")
    for problem in dict.fromkeys(problems):
        st.error(as_text(access.hide_folders(problem)))
    return found


def _draw(question: Question, counts: Sequence[int], truth: Truth, begin: float, projector: bool) -> None:
    height, votes = chart_view.chart_height(), sum(counts)
    waits = question.is_open and votes < FEW and truth.teacher is None
    with st.container(key="question_row", horizontal=True, wrap=False, height=height, gap="medium"):
        with st.container(key="question", width="content", gap="xsmall"):
            picture = data_url(enlarge_png(question.image.pixels_last, 448))
            st.image(picture, width="stretch", alt="The picture of the question")
            lines = _describe(question, counts, truth)
            st.markdown("  \n".join([*lines, f"result shown from {FEW} votes on"] if waits and votes else lines))
            if question.is_open and not waits:
                show_code(small=True)
        with st.container(key="question_result", height=height):
            if waits:
                show_code(small=False)
                return
            chart = vote_bars(counts, question.classes, *truth, begin, projector)
            key, savable = f"room_{question.key}", not question.is_open and not projector
            with st.container(key=CHART, height=height):
                chart_view.draw(chart, "Vote", (), savable=savable, key=key, untitled=True)


def _describe(question: Question, counts: Sequence[int], truth: Truth) -> list[str]:
    """Votes and entropy; then the hard label and the T at which the teacher is closest, as far as they may be shown."""
    shares = soft_label(counts)
    lines = [f"**{count_votes(sum(counts))}** · {'open' if question.is_open else 'closed'}"]
    if shares is not None:
        lines.append(f"entropy **{float(entropy(shares)):.2f} nats**")
    if truth.label is not None:
        lines.append(f"★ the label: **{as_text(question.classes[truth.label])}**")
    if shares is not None and truth.teacher is not None:
        closest = fit_temperature(shares, truth.teacher.logits)
        lines.append("no T is closest" if closest is None else f"closest T: **{closest:.2f}**")
    return lines


def show_history(closed: Sequence[Question], networks: Sequence[Network]) -> None:
    """All closed questions as a table, and how often the audience and the networks are right, the teacher first."""
    if not closed:
        return
    st.header("All questions")
    truths = find_truths(closed, networks[0])
    rows = [_describe_row(one, truth, networks[0].name) for one, truth in zip(closed, truths, strict=True)]
    st.dataframe(rows, hide_index=True, column_config={"picture": st.column_config.ImageColumn("picture")})
    known, pictures = {}, [_find_picture(one) for one in closed]
    for network in networks:
        if all(one.classes == network.classes for one in closed):
            try:
                known[network.name] = np.stack([network.logits_of(one) for one in pictures])
            except KDError as error:
                access.show_error(error)
    if (text := describe_agreement(closed, known)) is not None:
        st.markdown(as_text(text))


def _describe_row(question: Question, truth: Truth, teacher: str) -> dict[str, object]:
    counts, classes = question.totals, question.classes
    shares, choice = soft_label(counts), choice_of(counts)
    described = "" if shares is None or choice is None else f"{classes[choice]} {format_share(shares[choice])}"
    row: dict[str, object] = {
        "picture": data_url(question.picture),
        "label": "" if truth.label is None else classes[truth.label],
        "audience": "" if shares is None else "a tie" if choice is None else described,
        "votes": sum(counts),
        "entropy (nats)": None if shares is None else abs(round(float(entropy(shares)), 2)),
    }
    if truth.teacher is not None:
        logits = truth.teacher.logits
        closest = None if shares is None else fit_temperature(shares, logits)
        row[teacher] = classes[int(logits.argmax())]
        row["KL to the teacher at T = 1 (nats)"] = None if shares is None else round(distance(shares, logits), 3)
        row["closest T"] = None if closest is None else round(closest, 2)
    return row
