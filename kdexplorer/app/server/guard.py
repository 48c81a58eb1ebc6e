"""What stands between the network and the application (ASGI): turns, and messages that no page sends."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any
from weakref import WeakValueDictionary

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kdexplorer.app.server import messages, turns
from kdexplorer.app.server.headers import visitor_of
from kdexplorer.app.server.refusals import log_refusal, network_of

MOST = {"websocket": 2000, "PUT": 64}
"""At a time: tabs of browsers, and uploads, of which one takes 5 MB and further ones wait."""
OF_A_VISITOR = 32
"""WebSockets of one browser. In a frame of another site none has the server's cookie: they share their address's."""
LONGEST, SILENT, SLOW = 5.0, 1.0, 0.3
"""Seconds until a run loses its turn: always, if the server sends nothing, and if the browser reads nothing."""
BETWEEN_UPLOADS = 1.0
"""Seconds between two uploads of one browser: reading one takes some 40 ms."""
INTERRUPT, PACE = 1.0, 0.01
"""Seconds of a run before the browser's next one interrupts it, and between two messages that begin no run."""


class Guard:
    """Lets pages run in the order of `turns`, drops what no page sends (`messages`), and bounds what is finite."""

    def __init__(self, app: ASGIApp) -> None:
        """Stands before `app`."""
        self.app, self._used = app, {kind: Counter[str]() for kind in MOST}
        self._uploading = WeakValueDictionary[tuple[str, str], asyncio.Lock]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection or request."""
        handlers = {"websocket": self._connect, "PUT": self._upload}
        handle = handlers.get(scope.get("method", scope["type"]))
        if handle is None:
            await self.app(scope, receive, send)
        else:
            address, cookie = network_of((scope.get("client") or [None])[0]), visitor_of(HTTPConnection(scope).cookies)
            await handle(address, cookie or "", scope, receive, send)

    def _has_place(self, kind: str, address: str) -> bool:
        return turns.is_free(self._used[kind][address], self._used[kind].total(), MOST[kind])

    @contextlib.contextmanager
    def _take_place(self, kind: str, address: str) -> Iterator[None]:
        used = self._used[kind]
        used[address] += 1
        try:
            yield
        finally:
            used[address] -= 1
            used += Counter()  # forgets addresses without

    async def _upload(self, address: str, cookie: str, scope: Scope, receive: Receive, send: Send) -> None:
        one_at_a_time = self._uploading.setdefault((address, cookie), asyncio.Lock())
        await one_at_a_time.acquire()
        try:
            while not self._has_place("PUT", address):
                await asyncio.sleep(0.1)
            with self._take_place("PUT", address):
                await self.app(scope, receive, send)
        finally:
            asyncio.get_running_loop().call_later(BETWEEN_UPLOADS, one_at_a_time.release)

    async def _connect(self, address: str, cookie: str, scope: Scope, receive: Receive, send: Send) -> None:
        is_greedy = cookie and turns.count_visitors(address, cookie) >= OF_A_VISITOR
        if not turns.is_presenter(cookie) and (is_greedy or not self._has_place("websocket", address)):
            log_refusal(address, "more WebSockets than a visitor or an address may have")
            await receive()
            await send({"type": "websocket.close", "code": 1013})  # a browser tries again by itself
            return
        name = turns.HEADER.encode()
        with self._take_place("websocket", address), turns.visit(address, cookie) as visitor:
            headers = [one for one in scope["headers"] if one[0] != name]
            connection = _Connection(visitor, receive, send)
            try:
                named = dict(scope, headers=[*headers, (name, visitor.name.encode())])
                await self.app(named, connection.receive, connection.send)
            finally:
                connection.close()


class _Connection:
    """One browser's connection: its messages, and the turns of its pages."""

    def __init__(self, visitor: turns.Visitor, receive: Receive, send: Send) -> None:
        self._visitor, self._receive, self._send = visitor, receive, send
        self._loop, self._reads = asyncio.get_running_loop(), asyncio.Event()
        self._reads.set()
        self._ahead: asyncio.Future[Message] | None = None
        """The event after the one that waits: it may say that the browser has left."""
        self._passed, self._heard = 0.0, visitor.page

    async def receive(self) -> Message:
        """The next event that the application may see."""
        while True:
            ahead, self._ahead = self._ahead, None
            event = await (ahead or self._receive())
            if event["type"] != "websocket.receive":
                return event
            kind = messages.read(event.get("bytes") or b"")
            if kind in messages.BEGIN:
                if await self._take_turn():
                    return event
            else:
                await asyncio.sleep(PACE)
                if kind is not None:
                    return event

    async def _take_turn(self) -> bool:
        """Waits for the turn of a page; False where the browser has left meanwhile."""
        await self._reads.wait()
        page = self._visitor.page
        if page is not None and (left := self._passed + INTERRUPT - self._loop.time()) > 0:
            await asyncio.wait([asyncio.wrap_future(page.ended)], timeout=left)
        if page is None or page.ended.done():
            page = self._visitor.page = turns.ask(self._visitor)
            if not page.granted.done():
                granted: asyncio.Future[Any] = asyncio.wrap_future(page.granted)
                self._ahead = self._ahead or asyncio.ensure_future(self._receive())
                await asyncio.wait({granted, self._ahead}, return_when=asyncio.FIRST_COMPLETED)
                if self._ahead.done() and self._ahead.result()["type"] == "websocket.disconnect":
                    turns.end(page)
                    return False
                await granted
            self._loop.call_later(LONGEST, turns.end, page)
            self._loop.call_later(SILENT, lambda: None if self._heard is page else turns.end(page))
        self._passed = self._loop.time()
        return True

    async def send(self, event: Message) -> None:
        """Passes an event on; notices the end of a run, and a browser that does not read.

        What cannot be sent is dropped: `receive` tells the application that the browser has left. From an error it
        would conclude that the browser has sent text, and log a traceback.
        """
        slow = self._loop.call_later(SLOW, self._wait_for_reader)
        with contextlib.suppress(OSError):
            await self._send(event)
        slow.cancel()
        self._reads.set()
        self._heard = self._visitor.page
        if event["type"] == "websocket.send" and messages.ends_run(event.get("bytes") or b""):
            self._visitor.step_aside()

    def _wait_for_reader(self) -> None:
        self._reads.clear()
        self._visitor.step_aside()

    def close(self) -> None:
        """The browser has left; a run may go on for a moment."""
        if self._visitor.page is not None:
            self._loop.call_later(SLOW, turns.end, self._visitor.page)
        if self._ahead is not None:
            self._ahead.cancel()
