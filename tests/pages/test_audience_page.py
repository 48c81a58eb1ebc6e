"""Audience without a browser: questions start, close and follow each other; guests only look."""

import time

import pytest

from kdexplorer.app import audience
from kdexplorer.app.audience import votes
from kdexplorer.app.server import access, headers
from kdexplorer.story import read_lecture
from kdexplorer.vote.questions import VoteError
from kdexplorer.vote.store import open_store
from tests.pages.reading import button, dataset, params, specs, text
from tests.pages.runs import CIFAR10
from tests.vote.conftest import ask, browser

SAMPLES = CIFAR10.gallery()
VOTE = 1 + [step.figure for step in read_lecture().steps].index("vote")  # the lecture's step with the vote

pytestmark = pytest.mark.usefixtures("family")


def sources(at):
    """Whose bars the chart has."""
    return {row["source"] for row in dataset(at, 0, "votes")}


def labels(at):
    return [one.label for one in at.button]


def test_a_question_from_the_current_picture_its_votes_the_projector_view_and_its_end(open_page, human):
    at = open_page("audience", image="3", T="4")
    assert "No question yet" in text(at)
    button(at, "Ask about this picture").click().run()
    store = open_store()
    question = store.current()
    assert (question.index, question.label, question.classes) == (3, SAMPLES.labels[3], CIFAR10.classes)
    assert (question.image.pixels == SAMPLES.images[3]).all()
    of_replaced = question.model_copy(update={"index": 5})
    assert [votes._find_picture(one).index for one in (question, of_replaced)] == [3, None]
    name = CIFAR10.classes[question.label]
    for number, choice in enumerate([question.label, question.label, (question.label + 1) % 10]):
        store.vote(question.key, choice, browser(number))
    at.run()
    assert "**3 votes** · open" in text(at)
    assert name not in specs(at)[0]["description"]  # the answer is not shown while the room votes
    assert {row["class"]: row["fixed"] for row in dataset(at, 0, "votes")}[name] == pytest.approx(2 / 3)
    button(at, "Show the label and the teacher").click().run()
    assert at.query_params["answer"] == "all"
    assert sources(at) == {"audience", "teacher", "human labels"}
    assert f"★ {name}" in {row["class"] for row in dataset(at, 0, "votes")}
    button(at, "Projector view").click().run()
    assert "entropy **0.64 nats**" in text(at)
    assert "closest" in text(at)
    assert not at.text_input
    button(at, "Show the votes only").click().run()
    assert "closest" not in text(at)
    assert name not in specs(at)[0]["description"]
    button(at, "Close and reveal").click().run()
    assert sources(at) == {"audience", "teacher", "human labels"}
    button(at, "Leave projector view").click().run()
    assert "view" not in at.query_params
    assert [one.value for one in at.title] == ["Audience"]
    row = at.dataframe[0].value.iloc[0]
    assert (row["label"], row["audience"], row["votes"]) == (name, f"{name} 67%", 3)
    assert "On 1 picture with a label" in text(at)
    assert button(at, "Close and reveal").disabled


def test_the_slider_starts_at_the_pinned_temperature_unless_the_visitor_moves_it(open_page):
    at = open_page("audience", ask="5", T="8")
    button(at, "Next question").click().run()
    button(at, "Show the label and the teacher").click().run()
    assert params(specs(at)[0])["logT"] == 3
    open_store().vote(open_store().current().key, 0, browser(1))
    at.session_state["slider_moved"] = votes.CHART
    at.session_state["T"] = 2.0
    at.run()
    assert params(specs(at)[0])["logT"] == 3  # it is where the visitor has moved it
    assert at.query_params["T"] in ("2", ["2"])
    button(at, "Close and reveal").click().run()
    assert params(specs(at)[0])["logT"] == 1


def test_prepared_questions_follow_each_other(open_page):
    at = open_page("audience", ask="5,3,99999")
    store = open_store()
    button(at, "Next question").click().run()
    assert store.current().index == 5
    button(at, "Show the label and the teacher").click().run()
    other = open_page("audience", answer="all")
    button(at, "Next question").click().run()
    for tab in (at, other.run()):  # the next question's label stays hidden
        assert "Show the label and the teacher" in labels(tab)
        assert "answer" not in tab.query_params
    assert [(one.index, one.is_open) for one in store.questions()] == [(5, False), (3, True)]
    button(at, "Next question").click().run()
    assert "no test image 99999" in at.error[0].value
    assert store.current().index == 3
    at.text_input(key="pick_ask").set_value("3").run()
    assert at.query_params["ask"] in ("3", ["3"])
    assert button(at, "Next question").disabled
    at.text_input(key="pick_ask").set_value("cat").run()
    assert at.text_input(key="pick_ask").value == "3"
    assert audience.parse_prepared(" 3, 25,3,,108") == ["3", "25", "108"]  # each image once
    assert audience.parse_prepared("") == []
    for words in ("1,cat", "-1", "1.5", "٣", "1234567", ",".join(map(str, range(65)))):
        with pytest.raises(ValueError, match=r"test image|questions"):
            audience.parse_prepared(words)


def test_teachers_with_more_classes_than_a_phone_has_room_for_or_with_others(family, make_checkpoint, open_page):
    make_checkpoint(family / "many", classes=[f"class {number}" for number in range(21)])
    at = open_page("audience", image="3", teacher="many")
    button(at, "Ask about this picture").click().run()
    assert "20 classes at most" in at.error[0].value
    assert "Next questions" in text(at)  # the rest of the page is drawn
    assert open_store().current() is None
    open_store().start(ask(label=None, classes=("yes", "no")))
    open_store().close()
    assert "other classes" in text(open_page("audience"))


def test_a_guest_sees_the_results_and_who_forges_the_buttons_is_refused(open_page, monkeypatch):
    """The guest's page has no such buttons; their identifiers are known from the presenter's."""
    at = open_page("audience", ask="5,3")
    button(at, "Next question").click().run()
    names = [one.proto.id for one in at.button if one.key and one.key.startswith("vote_")]
    assert len(names) == 5

    def press_all(**view):
        page = open_page("audience", ask="5,3", **view)
        states = page._tree.get_widget_states()
        for name in names:
            states.widgets.add(id=name, trigger_value=True)
        page._run(states)
        return [(one.index, one.is_open) for one in open_store().questions()]

    with monkeypatch.context() as patch:
        patch.setenv(access.VARIABLE, "a presenter token")
        guest = open_page("audience", ask="5,3")
        assert not {"Ask about this picture", "Next question", "Close and reveal"} & set(labels(guest))
        assert "You see the results" in text(guest)
        assert labels(open_page("audience", view="projector")) == ["Present", "Leave projector view"]
        for shown in (guest, open_page(story=str(VOTE))):
            assert "Presenter token" in [one.label for one in shown.text_input]
        assert press_all() == press_all(view="projector") == [(5, True)]
    assert press_all() == [(5, False)]  # the presenter closes it in the same way


@pytest.mark.parametrize("view", [{}, {"view": "projector"}])
def test_a_guest_sees_the_votes_alone_while_the_question_is_open(open_page, monkeypatch, view):
    """Neither a link nor a button whose identifier is known from the presenter's page shows more."""
    at = open_page("audience", ask="5", **view)
    button(at, "Next question").click().run()
    assert not specs(at)  # the QR code has the room
    for voter in range(votes.FEW):
        assert not specs(at.run())  # while the first are looking for their phones, too
        open_store().vote(open_store().current().key, 0, browser(voter))
    assert sources(at.run()) == {"audience"}
    forged = at.button(key="vote_answer").proto.id
    button(at, "Show the label and the teacher").click().run()
    assert sources(at) == {"audience", "teacher"}
    monkeypatch.setenv(access.VARIABLE, "a presenter token")
    assert sources(at.run()) == {"audience"}  # no longer the presenter
    guest = open_page("audience", answer="all", **view)
    states = guest._tree.get_widget_states()
    states.widgets.add(id=forged, trigger_value=True)
    guest._run(states)
    assert "Show the label and the teacher" not in labels(guest)
    assert sources(guest) == {"audience"}
    open_store().close()
    assert sources(guest.run()) == {"audience", "teacher"}


def test_two_presenters_who_press_at_once_lose_nothing(open_page):
    first, second = open_page("audience", ask="5,3"), open_page("audience", ask="5,3", view="projector")
    button(first, "Next question").click().run()
    store = open_store()
    store.vote(store.current().key, 0, browser(1))
    button(second, "Next question").click().run()
    assert "another presenter" in second.error[0].value
    assert [(one.index, one.is_open) for one in store.questions()] == [(5, True)]
    assert "1 vote" in text(second)  # it follows the other
    store.vote(store.current().key, 1, browser(2))  # no reason to refuse
    button(second, "Next question").click().run()
    assert [(one.index, one.is_open) for one in store.questions()] == [(5, False), (3, True)]
    button(first, "Close and reveal").click().run()
    assert "another presenter" in first.error[0].value
    assert store.current().is_open


def test_enter_asks_beside_a_question_of_the_last_lecture_but_not_after_its_own(open_page):
    def in_popover(at):
        return "vote_ask" in [one.key for popover in at.get("popover") for one in popover.button]

    first = open_page("audience", view="projector", ask="5")
    button(first, "Next question").click().run()
    button(first, "Close and reveal").click().run()
    assert in_popover(first)
    second = open_page(story=str(VOTE), image="3")
    assert not in_popover(second)
    second.button(key="vote_ask").click().run()
    assert (open_store().current().index, open_store().current().is_open) == (3, True)
    button(second, "Close and reveal").click().run()
    assert in_popover(second)


def test_the_presenter_can_change_the_link_for_phones_and_is_told_where_votes_may_be_made_up(open_page, monkeypatch):
    at = open_page("audience")
    assert not at.warning
    assert audience.PATH in text(at)
    at.text_input(key="phones_text").set_value("javascript:alert(1)")
    button(at, "Use this link").click().run()
    assert "host name" in at.error[0].value
    at.text_input(key="phones_text").set_value("http://192.0.2.5:8501/vote")
    button(at, "Use this link").click().run()
    assert not at.error
    for window in (at, open_page("audience", view="projector")):
        assert "192" in text(window)
    monkeypatch.setattr(headers, "_new", {"203.0.113.7": (headers.MANY + 100, time.monotonic())})
    (warning,) = open_page("audience").warning
    assert "203" in warning.value
    monkeypatch.setenv(access.VARIABLE, "a presenter token")
    guest = open_page("audience")
    assert not guest.warning
    assert "Use this link" not in labels(guest)
    for link in ("vote", "ftp://example.org/", "http://", "http://[x", "https://x/" + "y" * 200, "http://a\nb/"):
        with pytest.raises(VoteError, match="http"):
            audience.use_link(link)
