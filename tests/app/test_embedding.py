"""`?embed=1` leads to the same address with `embed=true`; nothing else is changed."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from kdexplorer.app.embedding import Embedding

CLIENT = TestClient(
    Starlette(
        routes=[Route("/{page:path}", lambda request: PlainTextResponse(request.url.query))],
        middleware=[Middleware(Embedding)],
    ),
    follow_redirects=False,
)


@pytest.mark.parametrize(
    ("asked", "location"),
    [
        ("/?figure=gradient&embed=1&T=4", "?figure=gradient&embed=true&T=4"),
        ("/lecture/soft_labels?embed=1", "?embed=true"),
        ("/?class=a%20cat%0D%0AX:%201&embed=1", "?class=a%20cat%0D%0AX:%201&embed=true"),
    ],
)
def test_the_short_parameter_leads_to_the_long_one(asked, location):
    answer = CLIENT.get(asked)
    assert (answer.status_code, answer.headers["location"]) == (307, location)


@pytest.mark.parametrize("query", ["", "embed=true", "embed=0", "embed=10", "noembed=1"])
def test_other_addresses_stay_as_they_are(query):
    answer = CLIENT.get(f"/?{query}")
    assert (answer.status_code, answer.text) == (200, query)
