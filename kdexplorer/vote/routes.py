"""What phones load: a page of a few kilobytes, its picture, and the address that a vote is sent to (Starlette).

The page is a plain form, so it works without scripts. Its own script only asks now and then whether there is another
question, the less often the more devices vote. A browser is known by its cookie; nothing is logged.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs

from jinja2 import Environment
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from kdexplorer.charts.common import format_share
from kdexplorer.vote.questions import KEY, Question, VoteError
from kdexplorer.vote.store import NO_QUESTION, Store, open_store

PATH = "/vote"
"""Of the page, unless the application is served below another path."""
BODY = 256
"""Bytes that a vote has at most."""
SHORTEST_WAIT, QUESTIONS_A_SECOND = 4, 100
"""How often a page asks for the next question, and how many of all pages may ask in a second."""

_ENVIRONMENT = Environment(autoescape=True)
_ENVIRONMENT.filters["percent"] = format_share
_TEMPLATE = _ENVIRONMENT.from_string(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
_FRESH = {"Cache-Control": "no-store"}


def build_routes(path: str, identify: Callable[[Request], tuple[str | None, str]]) -> list[Route]:
    """The routes of the vote: the page at `path`, the others below it.

    `identify` returns what a browser is known by, or None for one without a cookie, and its address.
    """
    writing = asyncio.Lock()  # those who wait for others' votes take no thread, which pages' files need

    async def show(request: Request) -> Response:
        store, (known, _) = open_store(), identify(request)
        question = store.current()
        chosen = store.choice(question, known) if question is not None and known is not None else None
        return HTMLResponse(_render(path, question, chosen, _wait(store)), headers=_FRESH)

    async def vote(request: Request) -> Response:
        try:
            key, choice = await _read_vote(request)
            known, address = identify(request)
            if known is None:
                raise VoteError(
                    "The vote was not counted: your browser sent no cookie, or too many new browsers came from your "
                    "network. Allow cookies, open the page again in a minute, and vote once more."
                )
            async with writing:
                await run_in_threadpool(open_store().vote, key, choice, known, address)
        except VoteError as error:
            state, wait = open_store().state(), SHORTEST_WAIT
            page = _TEMPLATE.render(error=str(error), path=path, state=state, wait=wait)
            return HTMLResponse(page, error.status, headers=_FRESH)
        return RedirectResponse(path, 303, headers=_FRESH)

    async def ask(request: Request) -> Response:
        store = open_store()
        return PlainTextResponse(f"{store.state()} {_wait(store)}", headers=_FRESH)

    async def picture(request: Request) -> Response:
        key = request.path_params["key"]
        found = next((one for one in open_store().questions() if one.key == key), None)
        if found is None:
            return PlainTextResponse("There is no such picture.", 404)
        headers = {"Cache-Control": "public, max-age=86400, immutable"}
        return Response(found.picture, media_type="image/png", headers=headers)

    return [
        Route(path, show, methods=["GET"]),
        Route(path, vote, methods=["POST"]),
        Route(f"{path}/state", ask, methods=["GET"]),
        Route(f"{path}/{{key}}.png", picture, methods=["GET"]),
    ]


def _wait(store: Store) -> int:
    """Seconds until a page asks again."""
    return max(SHORTEST_WAIT, store.voters() // QUESTIONS_A_SECOND)


@functools.lru_cache(maxsize=64)
def _render(path: str, question: Question | None, chosen: int | None, wait: int) -> str:
    """The page: one for each class that may be chosen."""
    state = NO_QUESTION if question is None else question.state
    return _TEMPLATE.render(path=path, question=question, chosen=chosen, wait=wait, state=state)


async def _read_vote(request: Request) -> tuple[str, int]:
    """The question's key and the class. Raises VoteError for anything but a form with these two."""
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY:
                raise VoteError("This is not a vote: it is too long.", 413)
    except ClientDisconnect as error:
        raise VoteError("The vote did not arrive.", 408) from error
    fields = parse_qs(body.decode("ascii", "replace"))
    (key, *more), (choice, *others) = (fields.get(name) or [""] for name in ("question", "choice"))
    if more or others or not re.fullmatch(KEY, key) or not re.fullmatch("[0-9]{1,2}", choice):
        raise VoteError("This is not a vote. Open the page again and press a button.")
    return key, int(choice)
