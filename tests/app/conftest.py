"""What the tests of the application share: nobody is known, and nothing was logged."""

import pytest

from kdexplorer.app.server import headers, refusals, turns


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    """No refusal was logged within the last minute, and no address has had a browser."""
    monkeypatch.setattr(refusals, "_seen", {})
    monkeypatch.setattr(headers, "_new", {})


@pytest.fixture
def nobody_known(monkeypatch):
    """No address, browser or presenter is known, nobody is there, waits or has a turn, and nothing trains."""
    known = {"_addresses": {}, "_browsers": {}, "visitors": {}}
    for name, value in (known | {"_waiting": [], "_taken": [], "_rest_until": 0.0, "_turns_of_others": 0}).items():
        monkeypatch.setattr(turns, name, value)
    monkeypatch.setattr(turns, "is_training", lambda second: False)
