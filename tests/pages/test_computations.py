"""What visitors can have computed waits for its turn, whichever page or download starts it."""

import pytest

from kdexplorer.app.parts import downloads
from kdexplorer.app.server import access, turns
from kdexplorer.errors import KDError
from tests.pages.test_attention_page import compare


@pytest.fixture
def busy(monkeypatch):
    """The visitor has as many computations as one may have."""
    visitor = turns.Visitor()
    monkeypatch.setattr(turns, "computations", [visitor] * turns.OF_A_VISITOR)
    monkeypatch.setattr(access, "visitor", lambda: visitor)
    return visitor


def test_who_computes_already_gets_no_file(busy):
    with pytest.raises(KDError, match="computations at a time"):
        downloads.build_handout(None, busy)


def test_attention_over_many_images_waits(family, busy, open_page):
    at = compare(open_page("attention"))
    assert "computations at a time" in at.error[0].value


def test_latency_waits(evaluated, busy, open_page):
    at = open_page("compare")
    at.button(key="latency").click().run()
    assert "computations at a time" in at.error[0].value
