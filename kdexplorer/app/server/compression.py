"""Streamlit's files for the browser, compressed once and kept (ASGI).

Streamlit (1.67) sends them as they are, 5.6 MB to each new visitor, and leaves compression to a proxy that a lecturer's
laptop does not have. Their names contain their hash, and Streamlit's answer lets a browser keep them for a year.
"""

from __future__ import annotations

import asyncio
import posixpath

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LEVEL = 6
KEPT = 1000
"""Files; Streamlit has 360."""


class CompressOnce:
    """Answers what `app` declares immutable from memory once it was asked for."""

    def __init__(self, app: ASGIApp) -> None:
        """Stands before `app`."""
        self.app, self._compressing = app, GZipMiddleware(app, compresslevel=LEVEL)
        self._kept = dict[str, list[Message]]()
        self._lock = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection or request."""
        if not _is_file(scope):
            await self.app(scope, receive, send)
            return
        answer = self._kept.get(scope["path"])
        if answer is None:
            async with self._lock:  # many visitors ask for a file at the same time: the first one's is for all
                answer = self._kept.get(scope["path"]) or await self._compress(scope)
        for event in answer:
            await send(dict(event))

    async def _compress(self, scope: Scope) -> list[Message]:
        """The whole answer, which is kept where it is a compressed file that never changes."""
        start: Message = {}
        body = bytearray()

        async def collect(event: Message) -> None:
            start.update(event if event["type"] == "http.response.start" else {})
            body.extend(event.get("body", b""))

        await self._compressing(scope, _receive_nothing, collect)
        headers = MutableHeaders(raw=start["headers"])
        headers["Content-Length"] = str(len(body))
        answer = [start, {"type": "http.response.body", "body": bytes(body)}]
        is_final = start["status"] == 200 and "immutable" in headers.get("Cache-Control", "")
        if is_final and "Content-Encoding" in headers and len(self._kept) < KEPT:
            self._kept[scope["path"]] = answer
        return answer


async def _receive_nothing() -> Message:
    """Stands for the visitor who asked first: a file is read to its end, for the others, when that one leaves."""
    return await asyncio.Future[Message]()


def _is_file(scope: Scope) -> bool:
    """Whether a browser asks for one of Streamlit's files as a whole, under its only name."""
    if scope["type"] != "http" or scope["method"] != "GET" or "/static/" not in scope["path"]:
        return False
    headers, path = Headers(scope=scope), scope["path"]
    is_whole = "range" not in headers and "if-none-match" not in headers
    return is_whole and "gzip" in headers.get("accept-encoding", "") and posixpath.normpath(path) == path
