"""The load generator speaks the application's protocol: a few visitors, every action, no error."""

import argparse
import asyncio
import math
import urllib.request

import numpy as np
import pytest
from PIL import Image

from benchmarks import guest, load, vote
from kdexplorer.runs.checkpoints import bundled_checkpoints
from kdexplorer.vote.store import open_store
from tests.images.image_files import encode

pytestmark = pytest.mark.skipif(len(bundled_checkpoints()) < 3, reason="the bundled networks are missing")


@pytest.mark.anyio
async def test_a_visitor_does_everything_a_browser_does(app):
    visitor = load.Visitor(0, app, tally := load.Tally(), run=None)
    await visitor.open("overview")
    assert {"overview", "soft_labels", "attention", "launch", "compare"} <= set(visitor.pages) | {"overview"}
    await visitor.turn_page("soft_labels")
    assert {"Next", "Students", load.UPLOADER} <= visitor.widgets.keys()
    await visitor.pin()
    assert "T=" in visitor.query
    await visitor.network()
    before = visitor.query
    await visitor.next_image()
    assert visitor.query != before
    await visitor.upload()
    await visitor.turn_page("attention")
    await visitor.socket.close()
    assert tally.errors == []
    assert tally.lost == 0
    assert [what for _, _, what in tally.actions] == [
        "join overview", "open soft_labels", "pin T", "choose networks", "next image", "open soft_labels",
        "show the upload", "upload, all of it", "open attention",
    ]  # fmt: skip


class RecordingVisitor(load.Visitor):
    """A visitor who keeps every message."""

    def __init__(self, number, url):
        super().__init__(number, url, load.Tally(), run=None)
        self.seen = []

    async def _receive(self):
        message = await super()._receive()
        self.seen.append(message)
        return message

    def elements(self):
        """What the last run drew; the handout's button has another URL each time, and a spinner leaves a place."""
        begin = max(at for at, message in enumerate(self.seen) if message.WhichOneof("type") == "new_session")
        drawn = [message.delta.new_element for message in self.seen[begin:] if message.WhichOneof("type") == "delta"]
        return [one.SerializeToString() for one in drawn if one.WhichOneof("type") not in ("download_button", "empty")]


@pytest.mark.anyio
async def test_a_visitor_sees_nothing_of_anothers_upload(app):
    """Neither by the other's link, nor through what is cached for all visitors, nor at its URL."""
    picture = encode(Image.fromarray(np.random.default_rng(7).integers(0, 256, (32, 32, 3), np.uint8)))
    owner, guest = RecordingVisitor(1, app), RecordingVisitor(2, app)
    for visitor in (owner, guest):
        await visitor.open("soft_labels")
    public = owner.elements()
    address = await owner.upload(picture, "private-holiday.png")
    private = set(owner.elements()) - set(public)
    assert any(b"Your photo" in element for element in private)
    for query in ("", owner.query, f"{owner.query}&source=Upload a photo&photo=1"):
        await guest.turn_page("soft_labels", query)
        if not query:
            assert set(guest.elements()) <= set(public)
    assert not private & {message.delta.new_element.SerializeToString() for message in guest.seen}
    for secret_text in (b"private-holiday", b"Your photo"):
        assert not any(secret_text in message.SerializeToString() for message in guest.seen)
    with urllib.request.urlopen(app + address) as response:
        assert b'<div id="root">' in (body := response.read())  # the first document, as for any unknown URL
        assert picture[:40] not in body
    for visitor in (owner, guest):
        await visitor.socket.close()
        assert visitor.tally.errors == []


def test_the_first_page_is_found_by_its_name_too(app):
    with urllib.request.urlopen(f"{app}/overview?T=2") as response:
        assert response.url == f"{app}/?T=2"


@pytest.mark.anyio
async def test_a_guest_has_the_servers_headers_and_pages_after_messages_that_no_page_sends(app):
    one = guest.Guest(app, "")
    headers = await one._fetch("/")
    assert "frame-ancestors 'self'" in headers["Content-Security-Policy"]
    await one.open("launch")
    cookies = {part.partition("=")[0] for part in one.cookie.split("; ")}
    assert cookies == {"kdexplorer_visitor", "_streamlit_xsrf"}
    await guest.empty_rows(one)
    await guest.clear_caches(one)
    await one.turn_page("overview")
    one.socket.transport.abort()
    assert one.tally.errors == []


@pytest.mark.usefixtures("app_runs")
def test_a_few_phones_vote(app, capsys, monkeypatch):
    monkeypatch.setattr(vote, "BUDGET", math.inf)  # a busy machine may take longer
    room, tally = asyncio.run(vote.run(app, argparse.Namespace(devices=5, seconds=2.5, stuffing=None)))
    assert room.errors == tally.errors == []
    assert sum(room.told.values()) == 5
    counts = open_store().current().totals
    assert vote.report(room, tally, counts)
    assert not vote.report(room, tally, (0,) * 10)
    printed = capsys.readouterr().out
    assert "confirmed 5, lost 0" in printed
    assert "confirmed 5, lost 5" in printed


@pytest.mark.reliability
def test_a_full_lecture_room_is_served_while_a_run_trains(reliability, capsys):
    """A hundred visitors for ten minutes: no error, no lost connection. Needs a machine that does nothing else."""
    tally = load.main(["--people", "100", "--minutes", "10", "--train"])
    with capsys.disabled():
        print("\n" + capsys.readouterr().out)
    reliability["visitors served"] = 100
    reliability["their actions"] = len(tally.actions)
    reliability["errors"] = len(tally.errors)
    reliability["connections lost"] = tally.lost
    assert tally.errors == []
    assert tally.lost == 0
    joining, after = (
        [took for at, took, _ in tally.actions if (at <= tally.joined_until) is now] for now in (True, False)
    )
    reliability["95th percentile after joining, ms"] = round(1000 * np.percentile(after, 95))
    reliability["memory, MB more each minute"] = round(tally.slope())
    assert np.percentile(joining, 95) < 5
    assert np.percentile(after, 95) < 1.5
    assert sum(len(texts) > 1 for texts in tally.progress.values()) == 100
    assert tally.slope() < 10


@pytest.mark.reliability
def test_a_hostile_guest_costs_no_more_than_a_guest_may(capsys):
    """Needs a machine that does nothing else."""
    kept = guest.main([])
    with capsys.disabled():
        print("\n" + capsys.readouterr().out)
    assert kept
