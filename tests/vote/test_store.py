"""Votes are kept once per device, survive a restart, a second process and a killed one; what they say."""

import contextlib
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import numpy as np
import pytest

from kdexplorer.vote import store as stores
from kdexplorer.vote.questions import VoteError, choice_of, describe_agreement, distance, soft_label
from kdexplorer.vote.store import Store
from tests.vote.conftest import ask, browser


def reopen(store):
    """The same folder in another process, or after a restart."""
    return Store(store._path.parent)


def test_two_processes_take_votes_at_the_same_time_and_close_for_both(store, question):
    other = reopen(store)
    assert other.current() == question

    def vote(where, begin):
        for number in range(begin, begin + 40):
            where.vote(question.key, number % 10, browser(number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(vote, (store, other, store, other), (0, 40, 80, 120)))
    assert store.counts(question) == other.counts(question) == (16,) * 10
    store.vote(question.key, 9, browser(0))
    store.vote(question.key, 0, browser(9))
    assert [other.choice(question, browser(number)) for number in (0, 9)] == [9, 0]
    other.close()
    with pytest.raises(VoteError) as late:
        store.vote(question.key, 1, browser(0))
    assert late.value.status == 409
    assert store.counts(question) == reopen(store).questions()[0].counts == (16,) * 10


def test_an_address_leaves_room_for_the_devices_of_others(store, question, monkeypatch):
    monkeypatch.setattr(stores, "MAX_DEVICES", 20)
    voters = [(f"{address} {number}", address) for address in ("203.0.113.7", "203.0.113.8") for number in range(20)]
    for cookie, address in voters:
        with contextlib.suppress(VoteError):
            store.vote(question.key, 0, cookie, address)
    counted = [address for cookie, address in voters if store.choice(question, cookie) == 0]
    assert [counted.count(address) for address in ("203.0.113.7", "203.0.113.8")] == [10, 5]
    with pytest.raises(VoteError) as refused:
        store.vote(question.key, 0, "another", "203.0.113.7")
    assert refused.value.status == 503
    store.vote(question.key, 1, "203.0.113.7 0", "203.0.113.7")  # who has voted can change it
    reopen(store).start(ask(seed=1))
    for cookie, address in voters[:10]:
        store.vote(store.current().key, 0, cookie, address)


def test_the_next_question_closes_the_one_before_and_the_number_of_questions_is_limited(store, question, monkeypatch):
    store.vote(question.key, 0, browser(1))
    following = ask(seed=1)
    store.start(following)
    first, second = store.questions()
    assert (first.totals[0], first.is_open, second) == (1, False, following)
    assert store.counts(following) == (0,) * 10
    monkeypatch.setattr(stores, "MAX_QUESTIONS", 2)
    with pytest.raises(VoteError):
        store.start(ask(seed=2))


def test_nothing_on_the_disk_connects_a_browser_with_its_votes(store, question):
    store.vote(question.key, 4, browser(1), "203.0.113.7")

    def is_kept(text):
        return any(text.encode() in path.read_bytes() for path in store._path.parent.iterdir())

    number = stores._number(question.key, browser(1))
    assert is_kept(number)
    assert not is_kept(browser(1))
    assert not is_kept("203.0.113.7")
    assert number != stores._number(ask().key, browser(1))
    store.close()
    assert sqlite3.connect(store._path).execute("SELECT * FROM vote").fetchall() == []


def test_an_empty_folder_a_cleared_one_and_one_that_was_deleted_under_the_server(tmp_path):
    store = Store(tmp_path / "none")
    assert store.current() is None
    with pytest.raises(VoteError):
        store.vote("00000000", 1, browser(1))
    store.close()
    store.clear()
    assert not (tmp_path / "none").exists()  # reading creates nothing
    store.start(ask())
    store.clear()
    assert store.questions() == reopen(store).questions() == ()
    assert store.state() == "none"
    store.start(question := ask())
    store.vote(question.key, 3, browser(1))
    shutil.rmtree(tmp_path / "none")
    store.start(question)
    assert [one.key for one in reopen(store).questions()] == [question.key]


@pytest.mark.parametrize(
    "script",
    [None, "CREATE TABLE question (other TEXT)", f"{stores._TABLES}INSERT INTO question (json) VALUES ('{{}}')"],
    ids=["no file", "a file of other tables", "no question"],
)
def test_a_damaged_file_counts_as_empty_and_is_kept(tmp_path, script):
    store, question, path = Store(tmp_path), ask(), tmp_path / "votes.sqlite"
    if script is None:
        path.write_bytes(b"garbage" * 1000)
    else:
        with contextlib.closing(sqlite3.connect(path)) as base:
            base.executescript(script)
    assert store.questions() == ()
    assert store.counts(question) == (0,) * 10
    store.start(ask(label=5, seed=1))
    assert len(store.questions()) == len(reopen(store).questions()) == 1
    assert len(list(tmp_path.glob("votes.damaged.*"))) == 1  # nothing is lost


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR_WRITE])
def test_a_file_that_cannot_be_opened_now_stays_where_it_is(store, question, monkeypatch, code):
    error, other = sqlite3.OperationalError("not now"), reopen(store)
    error.sqlite_errorcode = code
    monkeypatch.setattr(other, "_connect", Mock(side_effect=error))
    with pytest.raises(VoteError, match="could not be stored"):
        other.start(ask(label=5, seed=1))
    assert [one.key for one in reopen(store).questions()] == [question.key]


def test_a_full_disk_is_answered(store, question):
    store._connect("write").execute("PRAGMA max_page_count = 1")  # what there is stays

    with pytest.raises(VoteError) as refused:
        [store.vote(question.key, 1, browser(number)) for number in range(2000)]
    assert refused.value.status == 503
    counted = sum(store.counts(question))
    assert 0 < counted < 2000
    store.vote(question.key, 1, browser(2000))  # there is space again
    assert sum(store.counts(question)) == counted + 1


def closed(label, **votes):
    """A closed question with votes for classes by their number: closed(3, c3=2)."""
    return ask(label).model_copy(update={"counts": tuple(votes.get(f"c{k}", 0) for k in range(10))})


def test_soft_label_choice_and_distance_against_hand_computed_figures():
    assert soft_label([1, 3, 0]).tolist() == [0.25, 0.75, 0.0]
    assert soft_label([0, 0]) is None
    assert [choice_of(counts) for counts in ([1, 3, 0], [2, 2, 1], [0, 0, 0])] == [1, None, None]
    logits = np.log(np.array([0.5, 0.25, 0.25]))
    assert distance(np.array([0.5, 0.5, 0.0]), logits) == pytest.approx(0.5 * np.log(1) + 0.5 * np.log(2))
    assert distance(np.exp(logits), logits) == pytest.approx(0, abs=1e-9)


def test_agreement_counts_and_does_not_decide_on_few_pictures():
    questions = [
        closed(3, c3=3, c5=1),
        closed(3, c3=2, c5=2),  # a tie
        closed(None, c3=2),  # a photo
        closed(3),  # nobody voted
        ask(3),  # open
    ]
    logits = {"big": 5.0 * np.eye(10)[[3] * 5], "small": 5.0 * np.eye(10)[[5] * 5]}
    text = describe_agreement(questions, logits)
    assert "On 2 pictures with a label" in text
    assert "is right once (a tie" in text
    assert "62%" in text  # the mean of 75 % and 50 %
    assert "big 2, small 0" in text
    assert "not decided" in text
    assert describe_agreement(questions[2:], logits) is None
    assert "networks" not in describe_agreement(questions, {})


@pytest.mark.parametrize(("room_right", "word"), [(True, "more"), (False, "less")])
def test_agreement_says_when_the_room_differs(room_right, word):
    """Twelve pictures on which only one of the two is right: p = 2 / 2**12, twice that after Holm's correction."""
    same, other = (3, 4) if room_right else (4, 3)
    questions = [closed(3, **{f"c{same}": 5}) for _ in range(12)]
    text = describe_agreement(questions, {"big": 5.0 * np.eye(10)[[other] * 12], "same": 5.0 * np.eye(10)[[same] * 12]})
    assert f"is right {12 * room_right} times (a tie" in text
    assert f"the audience is {word} often right than big (p = 0.00098)" in text
    assert "than same" not in text
