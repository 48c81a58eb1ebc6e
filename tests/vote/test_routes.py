"""The page that phones load: one vote per browser, clear answers to everything else, and no script needed."""

import asyncio
import re
import sqlite3
from contextlib import closing, contextmanager

import pytest

from kdexplorer.app.server import headers
from kdexplorer.app.server.headers import COOKIE
from kdexplorer.vote import store as stores
from kdexplorer.vote.routes import PATH
from tests.vote.conftest import CLASSES, ask, ballot, browser


@contextmanager
def another_process(store):
    """Writes in the store's file."""
    with closing(sqlite3.connect(store._path, isolation_level=None)) as base:
        base.execute("BEGIN IMMEDIATE")
        yield


def buttons(text):
    return re.findall(r'<button name="choice" value="(\d+)"[^>]*>([^<]+)</button>', text)


def chosen(text):
    return re.findall(r'class="chosen"[^>]*>([^<]+)<', text)


def test_the_page_is_a_small_form_with_a_button_for_each_class_and_a_picture_that_browsers_keep(phones, question):
    page = phones.ask("GET")
    assert page.status == 200
    assert len(page.body) < 5_000
    assert buttons(page.text) == [(str(k), name) for k, name in enumerate(CLASSES)]
    assert f'<form method="post" action="{PATH}">' in page.text
    assert f'name="question" value="{question.key}"' in page.text
    assert not re.search(r'(src|href)="(https?:)?//|script src', page.text)
    assert page.headers["set-cookie"].startswith(f"{COOKIE}=")
    picture = phones.ask("GET", f"{PATH}/{question.key}.png")
    assert (picture.headers["content-type"], picture.body) == ("image/png", question.picture)
    assert "immutable" in picture.headers["cache-control"]
    assert phones.ask("GET", f"{PATH}/00000000.png").status == 404


def test_a_vote_is_counted_shown_and_changed_and_leaves_no_trace_in_the_log(phones, store, question, caplog):
    caplog.set_level("DEBUG")
    answer = phones.vote(question, 3)
    assert (answer.status, answer.headers["location"]) == (303, PATH)
    assert chosen(phones.ask("GET", number=1).text) == ["cat"]
    assert chosen(phones.ask("GET", number=2).text) == []
    phones.vote(question, 8)
    assert chosen(phones.ask("GET", number=1).text) == ["ship"]
    assert store.counts(question) == (0,) * 8 + (1, 0)
    assert browser(1) not in caplog.text
    assert not [one for one in caplog.records if not one.name.startswith(("asyncio", "filelock", "PIL."))]


def test_what_is_no_vote_is_refused_in_words(phones, store, question):
    def status(answer):
        assert "Not counted" in answer.text
        assert f'href="{PATH}"' in answer.text
        return answer.status

    vote = ballot(question, 1)
    others = (vote[:-9], vote[:-1] + b"cat", vote + b"0", vote + b"&choice=2", vote[:-1] + "٣".encode(), b"\xff" + vote)
    for body in (*others, b"question=../../etc&choice=1"):
        assert status(phones.ask("POST", body=body, number=1)) == 400
    assert status(phones.ask("POST", body=b"x" * 300, number=1)) == 413
    assert status(phones.vote(ask(), 1)) == 409
    assert status(phones.vote(question, 1, number=None)) == 400  # no cookie: another site's form has none either
    assert status(phones.vote(question, 1, number=None, cookie=f"{COOKIE}=x")) == 400
    assert not any(store.counts(question))
    store.close()
    assert status(phones.vote(question, 1, number=2)) == 409


def test_the_page_before_and_after_a_question_and_in_a_larger_room(phones, store, monkeypatch):
    assert "No question yet" in phones.ask("GET").text
    assert phones.ask("GET", f"{PATH}/state").text == "none 4"
    question = ask()
    store.start(question)
    assert phones.ask("GET", f"{PATH}/state").text == f"{question.key}-open 4"
    assert f'state = "{question.key}-open"' in phones.ask("GET").text
    store.close()
    page = phones.ask("GET")
    assert "Voting is closed" in page.text
    assert "★ cat" in page.text
    assert not buttons(page.text)
    monkeypatch.setattr(store, "voters", lambda: 5_000)  # 100 requests a second
    assert phones.ask("GET", f"{PATH}/state").text == f"{question.key}-closed 50"
    store.start(ask(label=0, classes=("<script>alert(1)</script>", '"cat"')))
    assert "<script>alert" not in phones.ask("GET").text


@pytest.mark.anyio
async def test_a_vote_that_waits_for_another_process_keeps_nobody_waiting(phones, store, question):
    """The other process writes until other phones have been answered."""
    with another_process(store):
        late = asyncio.create_task(phones.request("POST", body=ballot(question, 3), number=1))
        for number in range(2, 12):
            await asyncio.sleep(0)
            assert (await phones.request("GET", number=number)).status == 200
        assert not late.done()
        assert not any(store.counts(question))
    assert (await late).status == 303
    assert store.counts(question)[3] == 1


def test_a_vote_that_waits_too_long_is_told(phones, store, question, monkeypatch):
    monkeypatch.setattr(stores, "PATIENCE", 0.01)
    store._bases.clear()
    with another_process(store):
        answer = phones.vote(question, 3)
    assert (answer.status, "Not counted" in answer.text) == (503, True)


@pytest.mark.anyio
async def test_a_thousand_phones_behind_one_address_vote_at_the_same_time(phones, store, question, monkeypatch):
    """Each loads the page, the picture and its vote; with patience, on a machine that may be busy."""
    monkeypatch.setattr(stores, "PATIENCE", 600.0)
    monkeypatch.setattr(headers, "SLOW", 600.0)

    async def visit(number):
        found = [await phones.request("GET", number=number)]
        found.append(await phones.request("GET", f"{PATH}/{question.key}.png", number=number))
        found.append(await phones.request("POST", body=ballot(question, number % 10), number=number))
        found.append(await phones.request("GET", number=number))
        return [answer.status for answer in found]

    everyone = await asyncio.gather(*(visit(number) for number in range(1000)))
    assert all(statuses == [200, 200, 303, 200] for statuses in everyone)
    assert store.counts(question) == (100,) * 10
