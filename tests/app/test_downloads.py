"""Which address a handout's links have, and that several visitors may save the same one."""

import threading
import time

import numpy as np
import pytest

from kdexplorer.app.parts import downloads
from kdexplorer.app.server import turns
from kdexplorer.app.server.turns import Visitor
from kdexplorer.app.state import cached
from kdexplorer.handout import page
from kdexplorer.handout.request import HandoutRequest
from kdexplorer.images.picture import Picture


@pytest.mark.parametrize(
    ("server", "base", "address"),
    [
        ("http://10.0.0.7:8501", "/course", "http://10.0.0.7:8501/course"),
        ("http://localhost:8501", "", ""),
        ("http://[::1]:8501", "", ""),
    ],
)
def test_a_handout_links_to_the_application_where_others_find_it(monkeypatch, server, base, address):
    monkeypatch.setattr(downloads.layout, "server_url", lambda: server)
    monkeypatch.setattr(downloads.layout, "with_base", lambda path: base + path)
    assert downloads._own_address() == address


@pytest.mark.parametrize("is_presenter", [False, True])
def test_two_who_save_the_same_handout_do_not_hold_each_other_up(monkeypatch, nobody_known, is_presenter):
    """The second finds the first one's file, but the presenter waits for no other visitor's."""
    network = cached.all_networks()["resnet20-scratch"]
    picture = Picture(np.full((3, 32, 32), 7 + is_presenter, np.uint8), name="a photo")
    request = HandoutRequest({"student": network}, [picture])
    first, second = Visitor("room"), Visitor("room")
    second.browser.is_presenter, built, saved = is_presenter, [], []

    def save(visitor):
        saved.append(downloads.build_handout(request, visitor))

    one, other = (threading.Thread(target=save, args=[visitor], daemon=True) for visitor in (first, second))

    def build(request, give_way):
        built.append(1)
        if len(built) == 1:
            other.start()
            if is_presenter:
                other.join(60)
            while not is_presenter and len(turns.computations) < 2:
                time.sleep(0.01)
            time.sleep(0.1)
            give_way()
        return "a file"

    monkeypatch.setattr(page, "build", build)
    one.start()
    for thread in (one, other):
        thread.join(20)
    assert saved == [b"a file"] * 2
    assert len(built) == 1 + is_presenter
