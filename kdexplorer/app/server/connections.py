"""What holds for a connection before it is a request (uvicorn's protocol): how many there are, and how long one waits.

A connection that asks for nothing is closed after `SILENCE`, also where its request's head never ends, nor its body
after it was answered, and one whose client does not read what it is sent. Where there are too many, the oldest silent
ones go first. So a client that opens thousands of them takes neither the server's files and memory nor the places of
others.
"""

from __future__ import annotations

import logging
import socket
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from kdexplorer.app.server.guard import MESSAGE
from kdexplorer.app.server.refusals import OncePerMinute, log_refusal, network_of
from kdexplorer.app.server.streamlit_internals import server_settings
from kdexplorer.processes import raise_file_limit

SILENCE = 10.0
"""Seconds."""
STALLED = 6
"""Times that long a client may read nothing; the system's buffers hold megabytes, which a slow one reads meanwhile."""
MOST = 4000
"""Connections, as far as the system allows as many files. A browser opens six while it loads a page."""
GRACE = 5
"""Seconds for browsers to take leave when the server is told to end; one that does not answer would hold it forever."""

logger = logging.getLogger(__name__)


class Connections:
    """Watches the connections of the server that starts this application (ASGI)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Changes the server's settings when it starts."""
        if scope["type"] == "lifespan":
            for name in list(logging.root.manager.loggerDict):
                if name.partition(".")[0] in ("uvicorn", "asyncio", "streamlit"):
                    logging.getLogger(name).addFilter(OncePerMinute())
            settings, files = server_settings(receive), raise_file_limit()
            if settings is None:
                logger.warning("Connections are not watched: this is another version of uvicorn than 0.54.")
            else:
                settings.timeout_graceful_shutdown = GRACE
                settings.ws_max_size = 2 * MESSAGE  # what is larger is closed before it is all in memory
                most = min(MOST, files * 5 // 8)
                # So many are accepted at once, three times before the first of them can be closed again.
                settings.backlog = min(settings.backlog, max(64, (files - most) // 4))
                settings.http_protocol_class = watch(settings.http_protocol_class, most)
        await self.app(scope, receive, send)


def watch(protocol: Any, most: int) -> Any:
    """A subclass of uvicorn's HTTP protocol that allows `most` connections, of one address half of what is free."""
    waiting = dict[Any, None]()
    """Those that are not WebSockets, the oldest first."""

    class Watched(protocol):
        """One connection."""

        def connection_made(self, transport: Any) -> None:
            """Accepts it, in place of an older one where there are too many."""
            super().connection_made(transport)
            # asyncio does this only where a socket was created with a protocol number, and Streamlit's was not: small
            # answers would wait for the browser's acknowledgement of the last one, 40 ms.
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            waiting[self], self.passes = None, 0
            if 2 * len(self.connections) > most:  # otherwise no address can have more than half of what is free
                self._make_room()
            self.loop.call_later(SILENCE, self._check)

        def resume_writing(self) -> None:
            self.passes += 1
            super().resume_writing()

        def connection_lost(self, exc: Exception | None) -> None:
            waiting.pop(self, None)
            super().connection_lost(exc)

        def _make_room(self) -> None:
            network, total = _network(self), len(self.connections)
            own = sum(_network(one) == network for one in self.connections)
            if own + total > most:
                silent = (one for one in waiting if one.is_silent and (total > most or _network(one) == network))
                refused = next(silent, self)
                log_refusal(refused.client and refused.client[0], "too many connections")
                waiting.pop(refused, None)
                self.connections.discard(refused)  # not only when it is closed: meanwhile others may come
                refused.transport.abort()

        @property
        def is_silent(self) -> bool:
            """Whether it has asked for nothing that is not answered; not one that became a WebSocket."""
            is_answered = self.cycle is None or self.cycle.response_complete
            return is_answered and self.transport.get_protocol() is self

        def _check(self, before: Any = None, passes: int = 0, unread: int = 0, times: int = 0) -> None:
            """Ends it where it was silent or, `STALLED` times, its client read nothing since the last time.

            Then `before` was its latest request, and `unread` bytes waited; a WebSocket's count once it is closed.
            """
            is_http, is_closing = self.transport.get_protocol() is self, self.transport.is_closing()
            left = self.transport.get_write_buffer_size()
            if is_closing or not is_http:
                waiting.pop(self, None)
            times = times + 1 if left >= unread > 0 and self.passes == passes and (is_http or is_closing) else 0
            if times == STALLED or (not left and not is_closing and self.is_silent and self.cycle is before):
                self.transport.abort()
            elif left or not is_closing:
                self.loop.call_later(SILENCE, self._check, self.cycle, self.passes, left, times)

    return Watched


def _network(connection: Any) -> str:
    return network_of(connection.client[0] if connection.client else None)
