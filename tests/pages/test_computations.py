"""What visitors can have computed waits for its turn, whichever page or download starts it."""

from types import SimpleNamespace

import pytest

from kdexplorer.app.parts import downloads
from kdexplorer.app.server import access, turns
from kdexplorer.errors import KDError
from tests.pages.test_attention_page import compare


def test_who_has_as_many_computations_as_one_may_have_waits(family, monkeypatch, open_page):
    busy = turns.Visitor()
    monkeypatch.setattr(turns, "computations", [busy] * turns.OF_A_VISITOR)
    monkeypatch.setattr(access, "visitor", lambda: busy)
    with pytest.raises(KDError, match="computations at a time"):
        downloads.build_handout(SimpleNamespace(networks={}, compared={}, temperature=4.0, pictures=[]), busy)
    for at in (compare(open_page("attention")), open_page("compare").button(key="latency").click().run()):
        assert "computations at a time" in at.error[0].value
