"""The load generator speaks the application's protocol: a small hall, every action, no error."""

import argparse
import asyncio

import numpy as np
import pytest

from benchmarks import load
from kdexplorer import checkpoints

pytestmark = [
    pytest.mark.xdist_group("app"),
    pytest.mark.skipif(len(checkpoints.bundled()) < 3, reason="the bundled networks are not here"),
]


def test_a_visitor_does_everything_a_browser_does(app):
    tally = load.Tally()

    async def visit():
        visitor = load.Visitor(0, app, tally, run=None)
        await visitor.open("overview")
        assert {"overview", "soft_labels", "attention", "launch", "compare"} <= set(visitor.pages) | {"overview"}
        await visitor.turn_page("soft_labels")
        assert {"Next", "Students", "Pinned temperature"} <= visitor.widgets.keys()
        await visitor.pin()
        assert "T=" in visitor.query
        await visitor.network()
        assert "students=" in visitor.query
        before = visitor.query
        await visitor.next_image()
        assert visitor.query != before
        await visitor.upload()
        await visitor.turn_page("attention")
        await visitor.socket.close()

    asyncio.run(visit())
    assert tally.errors == []
    assert tally.lost == 0
    assert [what for _, _, what in tally.actions] == [
        "join overview", "open soft_labels", "pin T", "choose networks", "next", "open soft_labels", "choose upload",
        "show the upload", "upload, all of it", "open attention",
    ]  # fmt: skip


def test_a_small_hall_is_served(app, capsys):
    tally = load.main(["--people", "3", "--minutes", "0.03", "--join", "0.5", "--think", "0.2", "0.4", "--url", app])
    assert tally.errors == []
    assert len(tally.actions) >= 6
    assert "errors 0, connections lost 0" in capsys.readouterr().out


def test_percentiles_and_an_application_that_is_not_there():
    assert "median   2.00 s" in load.percentiles([1.0, 2.0, 3.0])
    options = argparse.Namespace(minutes=0.01, think=(1, 1), people=1, join=0)
    tally = asyncio.run(load.hall(["http://localhost:9"], None, [], options))
    assert len(tally.errors) == 1


@pytest.mark.reliability
def test_a_full_hall_is_served_while_a_run_trains(reliability, capsys):
    """A hundred people for ten minutes: no error, nobody lost. Needs a machine on which nothing else runs."""
    tally = load.main(["--people", "100", "--minutes", "10", "--train"])
    with capsys.disabled():
        print("\n" + capsys.readouterr().out)
    reliability["people served"] = 100
    reliability["actions of theirs"] = len(tally.actions)
    reliability["errors"] = len(tally.errors)
    reliability["connections lost"] = tally.lost
    assert tally.errors == []
    assert tally.lost == 0
    joining, after = (
        [took for at, took, _ in tally.actions if (at <= tally.joined_until) is now] for now in (True, False)
    )
    assert np.percentile(joining, 95) < 5
    assert np.percentile(after, 95) < 1.5
    assert all(len(texts) > 1 for texts in tally.progress.values())
