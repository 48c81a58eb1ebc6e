"""`?embed=1` leads to the same address with `embed=true`; nothing else is changed."""

import asyncio

import pytest

from kdexplorer.app.server.embedding import Embedding


def ask(query, kind="http"):
    """The status and the location of the answer; the application's own status is 200."""
    sent = []

    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(event):
        sent.append(event)

    scope = {"type": kind, "method": "GET", "path": "/lecture/soft_labels", "query_string": query, "headers": []}
    asyncio.run(Embedding(application)(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"]).get(b"location")


@pytest.mark.parametrize(
    ("query", "location"),
    [
        (b"figure=gradient&embed=1&T=4", b"?figure=gradient&embed=true&T=4"),
        (b"embed=1", b"?embed=true"),
        (b"class=a%20cat%0D%0AX:%201&embed=1", b"?class=a%20cat%0D%0AX:%201&embed=true"),
        (b"embed=1&class=\r\nX: 1\xff", b"?embed=true&class=%0D%0AX:%201%C3%BF"),
    ],
)
def test_the_short_parameter_leads_to_the_long_one(query, location):
    assert ask(query) == (307, location)


@pytest.mark.parametrize("query", [b"", b"embed=true", b"embed=0", b"embed=10", b"noembed=1"])
def test_other_addresses_stay_as_they_are(query):
    assert ask(query) == (200, None)


def test_what_is_no_request_stays_as_it_is():
    assert ask(b"embed=1", "websocket") == (200, None)
