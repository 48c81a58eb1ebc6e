"""What the presenter does with the vote: start, close, next, compare students, delete. Guests see none of it."""

from __future__ import annotations

import numpy as np
import streamlit as st

from kdexplorer.analysis.results import dataset_of
from kdexplorer.app.audience import audience_results as results
from kdexplorer.app.parts import deletion, picture
from kdexplorer.app.parts.plain import as_text
from kdexplorer.app.server import access, turns
from kdexplorer.app.state import caches, url_state
from kdexplorer.images import render
from kdexplorer.images.picture import Picture
from kdexplorer.runs.checkpoints import Checkpoint
from kdexplorer.vote import student
from kdexplorer.vote.records import MAX_QUESTIONS, Lecture, VoteError, make_question
from kdexplorer.vote.store import Store

_SEEN = "lecture_seen"


def swap_seen(store: Store) -> str:
    """The lecture's state when this page was last shown, which is what a pressed button is about; once per run."""
    now = store.lecture().state
    seen = st.session_state.get(_SEEN, now)
    st.session_state[_SEEN] = now
    return seen


def show_buttons(store: Store, teacher: Checkpoint, seen: str) -> None:
    """Close, and the next of the prepared questions; for a guest, the field for the token."""
    if not access.is_presenter():
        st.caption("You see the results. The presenter starts and closes questions.")
        access.show_login()
    elif not show_close_and_next(store, teacher, seen):
        st.caption("There is no prepared question left: ask about a picture below.")


def show_close_and_next(store: Store, teacher: Checkpoint, seen: str) -> bool:
    """The presenter's buttons; whether there is a next question. `seen`: see `swap_seen`."""
    question = store.current()
    with st.container(horizontal=True):
        if st.button("Close the question", disabled=question is None or not question.is_open, key="vote_close"):
            access.act_and_rerun(lambda: store.close(seen))
        following = _next_index(store, teacher)
        if st.button("Next question", disabled=following is None, key="vote_next"):
            access.act_and_rerun(lambda: _ask_test_image(store, teacher, following, seen))
        if question is not None and question.is_open:
            other = "votes" if results.chosen_answer() == "all" else "all"
            st.button(results.ANSWERS[other], key="vote_answer", on_click=url_state.put, args=("answer", other))
    return following is not None


def show_preparation(store: Store, teacher: Checkpoint, students: list[Checkpoint], seen: str) -> None:
    """Questions to come: a list of test images, or the picture of all pages. The last part of a page."""
    if not access.is_presenter():
        return
    st.header("Ask a question")
    prepared = _prepared()
    st.session_state["pick_ask"] = ", ".join(prepared)
    st.text_input(
        "Prepared test images", key="pick_ask", placeholder="3, 25, 108", max_chars=500, on_change=_remember_prepared,
        help="Their numbers, in the order of the questions. The link to this page contains them.",
    )  # fmt: skip
    url_state.publish("ask", prepared)
    place = st.container(horizontal=True, vertical_alignment="center")
    image = picture.pick(teacher, students)
    with place:
        st.image(render.enlarge_png(image.pixels_last, 96), width=96, alt="The picture to ask about")
        show_ask(store, teacher, image, seen)


def show_ask(store: Store, teacher: Checkpoint, image: Picture, seen: str) -> None:
    """The button that asks about a picture. `seen`: see `swap_seen`."""
    if st.button("Ask about this picture", key="vote_ask"):
        question = make_question(image.pixels, teacher.classes, image.dataset, image.index, image.label)
        access.act_and_rerun(lambda: store.start(question, seen))


def show_end(store: Store, lecture: Lecture, teacher: Checkpoint) -> None:
    """The comparison of students, and the deletion of everything."""
    if not access.is_presenter() or not lecture.questions:
        return
    usable = student.usable(lecture.questions)
    with st.container(horizontal=True):
        if usable and st.button("Distill a student from the votes", key="vote_students"):
            access.act_and_rerun(lambda: _compare(store, lecture, teacher))
        question = "Delete all questions and their totals? This cannot be undone."
        deletion.offer("Delete all questions", question, "vote_clear", store.clear, "Deleted.")


def parse_prepared(text: str) -> list[str]:
    """Numbers of test images from text with commas, each once. Raises ValueError."""
    found = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for part in found:
        if not part.isascii() or not part.isdigit() or len(part) > 6:
            raise ValueError(f"'{part[:20]}' is not the number of a test image")
    if len(found) > MAX_QUESTIONS:
        raise ValueError(f"there are {MAX_QUESTIONS} questions at most")
    return found


def _prepared() -> list[str]:
    return url_state.get("ask", [], parse_prepared)


def _remember_prepared() -> None:
    try:
        found = parse_prepared(st.session_state["pick_ask"])
    except ValueError as error:
        st.toast(as_text(f"The list is not changed: {error}."))
        return
    url_state.put("ask", found) if found else url_state.forget("ask")


def _next_index(store: Store, teacher: Checkpoint) -> int | None:
    """The first prepared test image that was not asked about."""
    dataset = dataset_of(teacher)
    asked = {one.index for one in store.lecture().questions if one.dataset == dataset}
    return next((int(text) for text in _prepared() if int(text) not in asked), None)


def _ask_test_image(store: Store, teacher: Checkpoint, index: int | None, seen: str) -> None:
    dataset = dataset_of(teacher)
    pixels, labels, indices = caches.gallery(dataset)
    (ranks,) = np.nonzero(indices == index)
    if not len(ranks):
        raise VoteError(f"There is no test image {index} here: change the prepared list.")
    chosen = picture.make_test_image(teacher, pixels[ranks[0]], int(indices[ranks[0]]), int(labels[ranks[0]]))
    store.start(make_question(chosen.pixels, teacher.classes, dataset, index, chosen.label), seen)


def _compare(store: Store, lecture: Lecture, teacher: Checkpoint) -> None:
    """Trains the students as a job of this server; `teacher` has the normalization of their input."""
    usable = student.usable(lecture.questions)
    if not usable:
        raise VoteError("Close a question about a test image with votes first.")
    pixels, labels, indices = caches.gallery(usable[-1].dataset)
    others = ~np.isin(indices, [one.index for one in usable if one.index is not None])
    images, targets = pixels[others][: student.TEST_IMAGES], labels[others][: student.TEST_IMAGES]
    bar, done, steps = st.progress(0.0, "Training students …"), -1, 2 * student.SEEDS
    with turns.compute(access.visitor()) as give_way:

        def pause() -> None:
            nonlocal done
            done += 1
            bar.progress(done / steps, f"Training student {done + 1} of {steps}")
            give_way()

        store.keep_comparison(student.compare_students(usable, images, targets, teacher.card.normalization, pause))
