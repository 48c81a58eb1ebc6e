"""What stands between the network and the application (ASGI): turns, and messages that no page sends.

It depends on Streamlit's protocol (1.67): what begins and ends a run of a page, and what a browser sends. A version
that has another one serves its pages as well, without turns, and the log says so once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from typing import Any

from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from kdexplorer.app.server import turns
from kdexplorer.app.server.headers import visitor_of
from kdexplorer.app.server.refusals import log_refusal, network_of
from kdexplorer.app.server.streamlit_internals import BackMsg, DecodeError, ForwardMsg, begins_nothing

UPLOADS, WAITING, PATIENCE = 64, 400, 60.0
"""At a time, of which one takes 5 MB; so many further ones wait, so many seconds."""
BETWEEN_UPLOADS = 1.0
"""Seconds between two uploads of one browser: reading one takes some 40 ms."""
LONGEST, SLOW = 5.0, 0.3
"""Seconds until a run loses its turn: always, and if the browser reads nothing."""
INTERRUPT, PACE = 1.0, 0.01
"""Seconds of a run before the browser's next one interrupts it, and between two messages that begin no run."""
MESSAGE, VALUE, FILES, NAME = 256 * 1024, 64 * 1024, 8, 100
"""Bytes of a message and of one widget's value, uploads of a message, and characters of a request's name, which its
answer repeats."""
BEGIN, END = {"rerun_script", "backend_operation_request"}, {"script_finished", "backend_operation_response"}
DROPPED = {"clear_cache", "load_git_info", "set_run_on_save", "debug_disconnect_websocket", "debug_shutdown_runtime"}
"""The first empties the caches of all visitors, the others are for developers."""


class Guard:
    """Lets pages run in the order of `turns`, drops what no page sends, and bounds what is finite."""

    def __init__(self, app: ASGIApp) -> None:
        self.app, self._knows_protocol = app, knows_protocol()
        self._waiting, self._uploads = list[turns.Visitor](), list[turns.Visitor]()
        """Whose uploads wait, and whose are read."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_tab = scope["type"] == "websocket"
        if is_tab or scope.get("method") == "PUT":
            address, cookie = network_of((scope.get("client") or [None])[0]), visitor_of(HTTPConnection(scope).cookies)
            await (self._connect if is_tab else self._upload)(address, cookie or "", scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _upload(self, address: str, cookie: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes an upload on once there is room for it; refuses it where too many wait, or after `PATIENCE`."""
        visitor = turns.Visitor(address, cookie or address)  # those of an address without a cookie are one browser's
        patience = PATIENCE if turns.is_free(visitor, self._waiting, WAITING, WAITING) else 0.0
        self._waiting.append(visitor)
        try:
            async with asyncio.timeout(patience):
                while not turns.is_free(visitor, self._uploads, UPLOADS, 1):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            log_refusal(address, "more uploads than may wait")
            await PlainTextResponse("Too many uploads at a time.", 503)(scope, receive, send)
            return
        finally:
            self._waiting.remove(visitor)
        self._uploads.append(visitor)
        try:
            await self.app(scope, receive, send)
        finally:
            asyncio.get_running_loop().call_later(BETWEEN_UPLOADS, self._uploads.remove, visitor)

    async def _connect(self, address: str, cookie: str, scope: Scope, receive: Receive, send: Send) -> None:
        visitor = turns.arrive(address, cookie)
        if visitor is None:
            log_refusal(address, "more WebSockets than a visitor or an address may have")
            await WebSocketClose(1013)(scope, receive, send)  # a browser tries again by itself
            return
        name = turns.HEADER.encode()
        headers = [*(one for one in scope["headers"] if one[0] != name), (name, visitor.name.encode())]
        with contextlib.ExitStack() as ending:
            ending.callback(turns.visitors.pop, visitor.name)
            if self._knows_protocol:
                connection = _Connection(visitor, receive, send)
                ending.callback(connection.close)
                receive, send = connection.receive, connection.send
            await self.app(dict(scope, headers=headers), receive, send)


class _Connection:
    """One browser's connection: its messages, and the turns of its pages."""

    def __init__(self, visitor: turns.Visitor, receive: Receive, send: Send) -> None:
        self._visitor, self._receive, self._send = visitor, receive, send
        self._loop, self._sending, self._passed = asyncio.get_running_loop(), asyncio.Lock(), 0.0
        self._began_turn = False
        self._next = asyncio.ensure_future(receive())
        """The event that comes next, read ahead: it may say that a browser whose page waits has left."""

    async def receive(self) -> Message:
        """The next event that the application may see, which has handled the last one."""
        if self._began_turn and begins_nothing.get():
            turns.end(self._visitor.page)
            await asyncio.sleep(PACE)
        self._began_turn = False
        begins_nothing.set(False)
        while True:
            event, self._next = await self._next, asyncio.ensure_future(self._receive())
            if event["type"] != "websocket.receive":
                return event
            kind = read(event.get("bytes") or b"")
            if kind in BEGIN:
                return await self._take_turn(event)
            await asyncio.sleep(PACE)
            if kind is not None:
                return event
            log_refusal(self._visitor.address, "messages that no page sends")

    async def _take_turn(self, event: Message) -> Message:
        """The event, once its page has a turn; or that the browser has left meanwhile."""
        async with self._sending:  # a browser that does not read asks for nothing
            page = self._visitor.page
        if (left := self._passed + INTERRUPT - self._loop.time()) > 0:
            await asyncio.wait([asyncio.wrap_future(page.ended)], timeout=left)
        if page.ended.done():
            page = self._visitor.page = turns.ask(self._visitor)
            granted: asyncio.Future[Any] = asyncio.wrap_future(page.granted)
            await asyncio.wait({granted, self._next}, return_when=asyncio.FIRST_COMPLETED)
            if self._next.done() and self._next.result()["type"] == "websocket.disconnect":
                turns.end(page)
                return await self._next
            await asyncio.wait([granted])
            self._began_turn = True
            self._loop.call_later(LONGEST, turns.end, page)
        self._passed = self._loop.time()
        return event

    async def send(self, event: Message) -> None:
        """Passes an event on; notices the end of a run, and a browser that does not read.

        What cannot be sent is dropped: `receive` tells the application that the browser has left. From an error it
        would conclude that the browser has sent text, and log a traceback.
        """
        async with self._sending:
            slow = self._loop.call_later(SLOW, self._visitor.step_aside)
            with contextlib.suppress(OSError):
                await self._send(event)
            slow.cancel()
        if kind_of(event.get("bytes") or b"") in END:
            self._visitor.step_aside()

    def close(self) -> None:
        """The browser has left; a run may go on for a moment."""
        self._loop.call_later(SLOW, turns.end, self._visitor.page)
        self._next.cancel()


def read(data: bytes) -> str | None:
    """The kind of a browser's message, see `BEGIN`; None for one that the application must not see."""
    if len(data) > MESSAGE:
        return None
    try:
        message = BackMsg.FromString(data)
        kind, files = message.WhichOneof("type"), message.file_urls_request
        operation = message.backend_operation_request
        is_known = (
            kind not in DROPPED
            and len(files.file_names) <= FILES
            and max(len(files.request_id), len(operation.request_id)) <= NAME
            and operation.WhichOneof("payload") in {None, "deferred_file"}
            and all(map(_is_of_page, message.rerun_script.widget_states.widgets))
        )
        return kind if is_known else None
    except DecodeError:
        return None


def _is_of_page(widget: Any) -> bool:
    """Whether it has a widget's id, and a value that a browser sends."""
    numbers = widget.double_value, *widget.double_array_value.data
    return widget.id.startswith("$$") and widget.ByteSize() <= VALUE and all(map(math.isfinite, numbers))


def kind_of(data: bytes) -> str | None:
    """The kind of a message to the browser, see `END`; None for a long one, and where a run begins again."""
    if len(data) > 4096:  # those in `END` are short
        return None
    message = ForwardMsg.FromString(data)
    again = message.script_finished == message.ScriptFinishedStatus.FINISHED_EARLY_FOR_RERUN
    return None if again else message.WhichOneof("type")


def knows_protocol() -> bool:
    """Whether a run and its end can be told in Streamlit's messages; the log says so where they cannot."""
    with contextlib.suppress(AttributeError, ValueError, TypeError):
        run, end = BackMsg(), ForwardMsg(script_finished=ForwardMsg.ScriptFinishedStatus.FINISHED_SUCCESSFULLY)
        run.rerun_script.widget_states.widgets.add(id="$$ID", bool_value=True)
        if read(run.SerializeToString()) in BEGIN and kind_of(end.SerializeToString()) in END:
            return True
    logging.getLogger(__name__).warning(
        "Streamlit's protocol is not that of 1.67: pages wait for no turns, so one visitor can slow down all others."
    )
    return False
