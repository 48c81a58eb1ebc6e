"""Which address a handout's links have."""

import pytest

from kdexplorer.app.parts import downloads


@pytest.mark.parametrize(
    ("server", "base", "address"),
    [
        ("https://kd.example.org:8443", "", "https://kd.example.org:8443"),
        ("http://10.0.0.7:8501", "/course", "http://10.0.0.7:8501/course"),
        ("http://localhost:8501", "", ""),
        ("http://127.0.0.1:8501", "/course", ""),
        ("http://[::1]:8501", "", ""),
    ],
)
def test_a_handout_links_to_the_application_where_others_find_it(monkeypatch, server, base, address):
    monkeypatch.setattr(downloads.layout, "server_url", lambda: server)
    monkeypatch.setattr(downloads.layout, "with_base", lambda path: base + path)
    assert downloads._own_address() == address
