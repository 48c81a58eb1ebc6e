"""Audience: votes from phones become a soft label beside the teacher's; only the presenter has buttons."""

import contextlib
import re
from urllib.parse import urlsplit

import streamlit as st
from starlette.requests import Request
from starlette.routing import Route

from kdexplorer.analysis.metrics import softmax
from kdexplorer.app import layout
from kdexplorer.app.audience import votes
from kdexplorer.app.layout import as_text
from kdexplorer.app.parts import chart_view, network_picker, picture
from kdexplorer.app.server import access
from kdexplorer.app.server.headers import crowded_addresses, voter_of
from kdexplorer.app.server.refusals import network_of
from kdexplorer.app.state import cached, choices
from kdexplorer.app.state.cached import Network
from kdexplorer.errors import KDError
from kdexplorer.images.picture import Picture
from kdexplorer.vote.questions import MAX_QUESTIONS, Question, SoftLabel, VoteError, make_question
from kdexplorer.vote.routes import PATH, build_routes
from kdexplorer.vote.store import NO_QUESTION, open_store

LINK = 200
"""Characters of a link at most."""
VIEW, PROJECTOR = "view", "projector"
"""The projector view's name and value in the link."""
_SEEN, _OPENED = "questions_seen", "question_opened"


def show() -> None:
    """The question with its votes, the link for phones and the presenter's controls; or the projector view."""
    if st.query_params.get(VIEW) == PROJECTOR:
        show_projector(network_picker.pick_networks(shown=False)[0], [])
        return

    layout.header(
        "audience",
        "Open the page and choose what you see. The audience's votes are a **soft label**, as the teacher's prediction "
        "is.",
    )
    teacher, students = network_picker.pick_networks()

    for address, count in crowded_addresses().items() if access.is_presenter() else ():
        st.warning(
            f"{count:,} new browsers have come from {as_text(address)} within a few minutes. If the room is smaller, "
            "somebody makes up votes there."
        )
    store = open_store()
    seen, question = swap_seen(), store.current()
    with st.container(key="audience"):  # the buttons come first in the document, for the keyboard
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key="vote_controls"):
            show_buttons(teacher, seen)
            show_link_options()
            st.button(
                "Projector view", icon=":material/present_to_all:", key="projector_view",
                on_click=st.query_params.update, args=({VIEW: PROJECTOR},),
            )  # fmt: skip
        show_current(teacher, students, seen, projector=False)
    with st.container():  # the first closed question does not move what follows: an open popover would close
        votes.show_history(store.closed(), [teacher, *students])
    if store.questions():
        warning = "Delete all questions and their totals? This cannot be undone."
        access.offer_deletion("Delete all questions", warning, "vote_clear", store.clear, "Deleted.")
    show_preparation(teacher, students, seen, with_picture=question is not None)


def show_current(teacher: Network, students: list[Network], seen: str, projector: bool) -> None:
    """The last question. Before the first one the presenter's picture without its label, which may become one."""
    if open_store().current() is not None:
        votes.show_question(teacher, projector)
        return
    with st.container(key="question_row", horizontal=True, wrap=False, gap="medium", height=chart_view.chart_height()):
        if access.is_presenter():
            with st.container(key="picture", width="content", gap="small"):
                image = picture.pick(teacher, students, alone=projector, label=False)
        with st.container(key="question_result", height=chart_view.chart_height()):
            with st.container(horizontal=True, vertical_alignment="center"):
                hint = "" if access.is_presenter() else " The presenter starts questions."
                st.markdown(f"**No question yet.**{hint}", width="content")
                if access.is_presenter():
                    show_ask(teacher, image, seen)
            votes.show_code(small=False)
            votes.show_question(teacher)  # once there is one


def routes() -> list[Route]:
    """The phones' routes beside the application."""

    def identify(request: Request) -> tuple[str | None, str]:
        return voter_of(request.cookies), network_of(request.client and request.client.host)

    return build_routes(layout.with_base(PATH), identify)


def use_link(text: str) -> None:
    """Makes this the link for phones in all windows; without text it is the server's again.

    Raises VoteError for anything but an address of a web page.
    """
    text, host = text.strip(), None
    with contextlib.suppress(ValueError):  # of brackets around what is no address
        host = urlsplit(text).hostname
    if text and not (
        host and re.fullmatch(r"(?i:https?)://[^/?#:@\s]\S*", text) and text.isprintable() and len(text) <= LINK
    ):
        raise VoteError("The link must begin with http:// or https:// and a host name.")
    open_store().link = text


def show_link_options() -> None:
    """The link for phones to copy, which the presenter can change for all windows."""
    link = votes.phones_link()
    with st.popover("Link for phones", width="content"):
        st.markdown(f"**{as_text(link)}**")
        layout.show_copy_button("copy_phones", link)
        if not access.is_presenter():
            return
        with st.form("phones", border=False):
            text = st.text_input("Another link", link, max_chars=LINK, key="phones_text")
            if st.form_submit_button("Use this link"):
                access.act_and_rerun(lambda: use_link(text))


def swap_seen() -> str:
    """The questions' state when this page was last shown, which is what a pressed button is about; once per run.

    What was shown of a question before its end holds for no other question.
    """
    now = open_store().state()
    seen = st.session_state.get(_SEEN, now)
    st.session_state[_SEEN] = now
    if seen not in (now, NO_QUESTION):
        choices.forget("answer")
    return seen


def show_buttons(teacher: Network, seen: str) -> None:
    """Close, and the next of the prepared questions; for others, the field for the token."""
    if not access.is_presenter():
        st.caption("You see the results. The presenter starts and closes questions.")
        access.show_login()
        return
    store = open_store()
    question = store.current()
    if st.button("Close and reveal", disabled=question is None or not question.is_open, key="vote_close"):
        access.act_and_rerun(lambda: store.close(seen))
    asked = {one.index for one in store.questions() if one.dataset == teacher.dataset}
    following = next((int(text) for text in _prepared() if int(text) not in asked), None)
    what = "The next prepared test image that was not asked about"
    if st.button("Next question", disabled=following is None, key="vote_next", help=what):
        access.act_and_rerun(lambda: _ask_test_image(teacher, following, seen))
    if question is not None and question.is_open:
        other = "votes" if votes.chosen_answer() == "all" else "all"
        st.button(votes.ANSWERS[other], key="vote_answer", on_click=choices.put, args=("answer", other))


def show_preparation(teacher: Network, students: list[Network], seen: str, with_picture: bool) -> None:
    """Questions to come: a list of test images, and the picture of all pages. The last part of a page."""
    if not access.is_presenter():
        return
    st.header("Next questions")
    prepared = _prepared()
    st.session_state["pick_ask"] = ", ".join(prepared)
    st.text_input(
        "Prepared test images", key="pick_ask", placeholder="3, 25, 108", max_chars=500, on_change=_remember_prepared,
        help="Their numbers, in the order of the questions. The link to this page contains them.",
    )  # fmt: skip
    choices.publish("ask", prepared)
    if with_picture:
        with st.container(key="picture", gap="small"):
            show_ask(teacher, picture.pick(teacher, students), seen)


def show_ask(teacher: Network, image: Picture, seen: str, label: str = "Ask about this picture") -> None:
    """The button that asks about a picture. `seen`: see `swap_seen`."""
    if st.button(label, key="vote_ask", type="primary"):
        access.act_and_rerun(lambda: open_store().start(_make_question(teacher, image), seen))


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
    return choices.get("ask", parse_prepared) or []


def _remember_prepared() -> None:
    try:
        found = parse_prepared(st.session_state["pick_ask"])
    except ValueError as error:
        st.toast(as_text(f"The list is not changed: {error}."))
        return
    choices.put("ask", found) if found else choices.forget("ask")


def _ask_test_image(teacher: Network, index: int | None, seen: str) -> None:
    if index is None or index >= len(cached.gallery(teacher.dataset)):
        raise VoteError(f"There is no test image {index} here: change the prepared list.")
    open_store().start(_make_question(teacher, teacher.test_images([index])[0]), seen)


def _make_question(teacher: Network, image: Picture) -> Question:
    """A question about a picture, with the teacher's soft label at the pinned T for the phones once it is closed."""
    known = None
    with contextlib.suppress(KDError):
        shares = softmax(teacher.logits_of(image), choices.pinned("T"))
        known = SoftLabel(name=teacher.name, temperature=choices.pinned("T"), shares=tuple(shares.tolist()))
    return make_question(image, teacher.classes, known)


def show_projector(teacher: Network, students: list[Network]) -> None:
    """The question for the last row, live while it is open, and the presenter's buttons; without the menu.

    Before the first question the presenter's picture, which may become one, is chosen by these networks' predictions.
    Beside a question of the last lecture the lecture's Enter key reaches the button that asks; beside one that was open
    in this visit it does not: a second Enter would replace the result.
    """
    seen, question = swap_seen(), open_store().current()
    if question is not None and question.is_open:
        st.session_state[_OPENED] = question.key
    if not layout.is_alone():
        with st.container(key="page_header"):
            st.title("What is it?", anchor=False)
    with st.container(key="projector", height=chart_view.chart_height()):
        show_current(teacher, students, seen, projector=True)
    with st.container(horizontal=True, key="projector_controls", gap="small"):
        if access.is_presenter() and (question is not None or _prepared()):
            show_buttons(teacher, seen)
        if access.is_presenter() and question is not None and not question.is_open:
            outside = None if st.session_state.get(_OPENED) == question.key else st.container(width="content")
            with st.popover("Another question", width="content"), st.container(key="picture", gap="small"):
                place = outside or st.container()
                image = picture.pick(teacher, students, alone=True, label=False)
                with place:
                    show_ask(teacher, image, seen, "Ask about the chosen picture")
        if layout.STORY in st.query_params:
            access.show_login()
        if not layout.is_alone():
            st.button("Leave projector view", key="leave_projector", on_click=choices.forget, args=(VIEW,))
