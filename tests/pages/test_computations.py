"""What guests can have computed waits in one queue, whichever page or download starts it."""

import pytest

from kdexplorer.app.server import access, jobs, shares
from kdexplorer.app.state import result_caches
from tests.pages.test_attention_page import compare


@pytest.fixture
def busy(monkeypatch):
    """The visitor is a guest whose address has as many computations as it may."""
    share = shares.Share()
    monkeypatch.setattr(access, "guest_share", lambda: share)
    with jobs.queue.place(share), jobs.queue.place(share):
        yield share


def test_a_guest_who_computes_already_gets_no_file(busy):
    with pytest.raises(jobs.BusyError):
        result_caches.handout(None, None, busy)


def test_attention_over_many_images_waits(family, busy, open_page):
    at = compare(open_page("attention"))
    assert "computations at a time" in at.error[0].value


def test_latency_waits(evaluated, busy, open_page):
    at = open_page("compare")
    at.button(key="latency").click().run()
    assert "computations at a time" in at.error[0].value
