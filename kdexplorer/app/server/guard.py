"""What stands between the network and the application (ASGI): limits for each address, and only messages of pages."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from kdexplorer.app.server import messages, shares
from kdexplorer.app.server.shares import Share
from kdexplorer.vote.routes import PATH as VOTE

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Event, Receive, Send], Awaitable[None]]

LONGEST = 5.0
"""Seconds after which a run of a page no longer counts as one of its address: it may wait for others (`jobs`)."""
COSTS = {"request": 0.001, "upload": 0.05, "connection": 0.03, "message": 0.002, "vote": 0.0005}
"""Seconds of processor time, roughly, that are taken from a share beside those of runs."""

logger = logging.getLogger(__name__)


class Guard:
    """Limits what the visitors of one address can use (`shares`) and drops what no page sends (`messages`)."""

    def __init__(self, app: Application, vote: str = VOTE) -> None:
        """Stands before `app`; `vote` is the path of the audience's page, whose requests have a share of their own."""
        self.app, self._vote = app, vote

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        """Handles one connection or request."""
        share = shares.share_of((scope.get("client") or (None,))[0])
        if scope["type"] == "websocket":
            await self._connect(share, scope, receive, send)
        elif scope["type"] == "http" and share is not None and f"{scope['path']}/".startswith(f"{self._vote}/"):
            await self._answer_phone(share, scope, receive, send)
        elif scope["type"] == "http" and share is not None:
            await self._answer(share, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _connect(self, share: Share | None, scope: Event, receive: Receive, send: Send) -> None:
        connection = _Connection(share, receive, send)
        if share is None:
            await self.app(scope, connection.receive, connection.send)
            return
        full = share.connections >= share.most_connections
        if full and not share.warned:
            share.warned = True
            logger.warning(
                "More than %d connections from %s are refused. If it stands for many visitors, set %s.",
                share.most_connections, scope["client"][0], shares.VARIABLE,
            )  # fmt: skip
        if full or share.pages.wait() > 0:  # a browser tries again by itself
            await receive()
            await send({"type": "websocket.close", "code": 1013})
            return
        share.connections += 1
        try:
            share.pages.spend(COSTS["connection"])
            await self.app(scope, connection.receive, connection.send)
        finally:
            share.connections -= 1
            connection.end_run()

    async def _answer(self, share: Share, scope: Event, receive: Receive, send: Send) -> None:
        if share.requests >= share.most_requests:
            await _refuse(send, "Too many requests at a time.")
            return
        is_upload = scope["method"] == "PUT"
        share.requests += 1
        try:
            share.pages.spend(COSTS["upload" if is_upload else "request"])
            await share.afford()
            if is_upload:
                async with share.uploads:
                    await self.app(scope, receive, send)
            else:
                await self.app(scope, receive, send)
        finally:
            share.requests -= 1

    async def _answer_phone(self, share: Share, scope: Event, receive: Receive, send: Send) -> None:
        """A page of the vote: many phones may have one address, and each needs an answer at once or a refusal."""
        if share.votes_now >= shares.VOTES or share.votes.wait() > 0:
            await _refuse(send, "Too many votes at a time from your network. Try again in a few seconds.")
            return
        share.votes_now += 1
        try:
            share.votes.spend(COSTS["vote"])
            await self.app(scope, receive, send)
        finally:
            share.votes_now -= 1


async def _refuse(send: Send, text: str) -> None:
    headers = [(b"retry-after", b"5"), (b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 429, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


class _Connection:
    """One browser's connection: its messages, and whether one of the runs of its address is its own."""

    def __init__(self, share: Share | None, receive: Receive, send: Send) -> None:
        self._share, self._receive, self._send = share, receive, send
        self._run: asyncio.TimerHandle | None = None

    async def receive(self) -> Event:
        """The next event that the application may see, when the address may use more."""
        while True:
            event = await self._receive()
            if event["type"] != "websocket.receive":
                return event
            kind = messages.read(event.get("bytes") or b"")
            if self._share is not None:
                self._share.pages.spend(COSTS["message"])
                await self._share.afford()
                if kind in messages.WORK and self._run is None:  # in a run that goes on, a message interrupts it
                    await self._share.runs.acquire()
                    self._run = asyncio.get_running_loop().call_later(LONGEST, self.end_run)
            if kind is not None:
                return event

    async def send(self, event: Event) -> None:
        """Passes an event on; notices the end of a run.

        What cannot be sent is dropped: `receive` tells the application that the browser has left. From an error it
        would conclude that the browser has sent text, and log a traceback.
        """
        if self._run is not None and messages.ends_work(event.get("bytes") or b""):
            self.end_run()
        with contextlib.suppress(OSError):
            await self._send(event)

    def end_run(self) -> None:
        """The run no longer counts."""
        if self._run is not None and self._share is not None:
            self._run.cancel()
            self._run = None
            self._share.runs.release()
