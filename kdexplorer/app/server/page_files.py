"""What Streamlit sends to a browser, on its way: files compressed once and kept, the page with our style (ASGI).

Streamlit (1.67) sends its files as they are, 4.4 MB to each new visitor, and leaves compression to a proxy that a
lecturer's laptop does not have. Their names contain their hash, and Streamlit's answer lets a browser keep them for a
year. It can only send a style with the elements of a page: these were drawn without it first, and then moved.
"""

from __future__ import annotations

import asyncio
import posixpath
from pathlib import Path

from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kdexplorer.vote.routes import PATH

LEVEL = 6
KEPT = 1000
"""Files; Streamlit has 360."""
STYLE = Path(__file__).parents[1] / "style.css"
ROOT = b'<div id="root"></div>'
"""Where Streamlit draws."""
LEFT_OUT = (b"accept-encoding", b"if-none-match", b"if-modified-since")
"""The page arrives as it is, and in full where a browser has Streamlit's own from before."""


class PageFiles:
    """Answers what `app` declares immutable from memory once it was asked for; adds the style to Streamlit's page."""

    def __init__(self, app: ASGIApp) -> None:
        self.app, self._compressing = app, GZipMiddleware(app, compresslevel=LEVEL)
        self._style = b"<style>" + STYLE.read_bytes() + b"</style>"
        self._kept = dict[str, Response]()
        self._lock = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer: ASGIApp = self.app
        if _may_be_page(scope):
            answer = await self._add_style(scope, receive)
        elif _is_file(scope):
            answer = self._kept.get(scope["path"]) or await self._compress(scope)
        await answer(scope, receive, send)

    async def _compress(self, scope: Scope) -> Response:
        """The whole answer, which is kept where it is a compressed file that never changes."""
        async with self._lock:  # many visitors ask for a file at the same time: the first one's is for all
            if (kept := self._kept.get(scope["path"])) is not None:
                return kept
            # It receives nothing: a file is read to its end, for the others, when who asked first leaves.
            answer = await _collect(self._compressing, scope, asyncio.Future)
            answer.headers["Content-Length"] = str(len(answer.body))
            is_final = answer.status_code == 200 and "immutable" in answer.headers.get("Cache-Control", "")
            if is_final and "Content-Encoding" in answer.headers and len(self._kept) < KEPT:
                self._kept[scope["path"]] = answer
            return answer

    async def _add_style(self, scope: Scope, receive: Receive) -> Response:
        """Streamlit's page with the style at its end, where it outweighs Streamlit's own rules."""
        asked = [header for header in scope["headers"] if header[0] not in LEFT_OUT]
        answer = await _collect(self.app, {**scope, "headers": asked}, receive)
        if answer.headers.get("Content-Type", "").startswith("text/html") and ROOT in (page := bytes(answer.body)):
            answer.body = page.replace(ROOT, ROOT + self._style)
            answer.headers["Content-Length"] = str(len(answer.body))
            del answer.headers["ETag"], answer.headers["Last-Modified"]  # a copy must not outlive the style
        return answer


async def _collect(app: ASGIApp, scope: Scope, receive: Receive) -> Response:
    """The whole of an answer."""
    answer, parts = Response(), list[bytes]()

    async def collect(event: Message) -> None:
        if event["type"] == "http.response.start":
            answer.status_code, answer.raw_headers = event["status"], list(event["headers"])
        else:
            parts.append(event.get("body", b""))

    await app(scope, receive, collect)
    answer.body = b"".join(parts)
    return answer


def _is_file(scope: Scope) -> bool:
    """Whether a browser asks for one of Streamlit's files as a whole, under its only name."""
    if scope["type"] != "http" or scope["method"] != "GET" or "/static/" not in scope["path"]:
        return False
    headers, path = Headers(scope=scope), scope["path"]
    is_whole = "range" not in headers and "if-none-match" not in headers
    return is_whole and "gzip" in headers.get("accept-encoding", "") and posixpath.normpath(path) == path


def _may_be_page(scope: Scope) -> bool:
    """Whether a browser opens a page, but not the vote's, which has a style of its own.

    Chromium asks for a page's address as for an icon, too, and shows that answer to who comes back from elsewhere.
    """
    accept = Headers(scope=scope).get("accept", "") if scope["type"] == "http" else ""
    is_opened = "text/html" in accept or ("image/" in accept and "." not in posixpath.basename(scope["path"]))
    return is_opened and not scope["path"].endswith(PATH)
