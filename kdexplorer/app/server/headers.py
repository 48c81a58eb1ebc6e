"""What holds for every request and its answer: headers, refusals, the cookie of a visitor's browser (ASGI)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import hashlib
import hmac
import math
import os
import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import streamlit as st
from filelock import FileLock
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from kdexplorer.app.server.refusals import log_refusal, network_of
from kdexplorer.files import read_bytes
from kdexplorer.runs.run_folder import runs_root
from kdexplorer.vote.routes import PATH

FRAME_VARIABLE = "KDEXPLORER_FRAME_ORIGINS"
"""Origins beside the application's own whose pages may show it in a frame, separated by spaces."""
LOCAL = ("localhost", "127.0.0.1", "::1")
"""Names of this machine."""

POLICY = {
    # The application asks no other host for anything. Vega and Streamlit compile expressions and style inline; the page
    # Live is a module that Streamlit hands to the browser as a blob.
    "default-src": "'self'",
    "script-src": "'self' blob: 'unsafe-inline' 'unsafe-eval' 'wasm-unsafe-eval'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self' data:",  # Streamlit's camera reads its own picture from a data URL
    "media-src": "'self' blob:",
    "worker-src": "'self' blob:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
}
EMBED, EMBED_LONG = b"embed=1", b"embed=true"
"""A short parameter, and the only one with which Streamlit (1.67) leaves its menu out."""
PRIVATE = re.compile(r"/_stcore/(metrics|agent)(/|$)")
"""Streamlit's addresses for programs: memory and sessions, and an interface that the settings turn off."""
PIECE = 1 << 16
"""Bytes of an answer that are sent at a time: of more, all that a client does not read would wait in memory."""
SLOW, SLOWEST = 5.0, 20_000
"""Seconds within which a request's body must arrive, and one more for so many bytes that have."""

COOKIE = "kdexplorer_visitor"
BROWSERS, BROWSERS_A_SECOND = 1000, 5.0
"""New browsers of an address that get a cookie: a large lecture room at once, and then so many each second."""
MANY = 300
"""New browsers within a short time that the presenter is told about."""
ADDRESSES = 4096
"""That are remembered."""


def security_headers() -> dict[str, str]:
    """The headers by name. Raises SystemExit for what is not an origin in `FRAME_VARIABLE`."""
    origins = os.environ.get(FRAME_VARIABLE, "").split()
    for origin in origins:
        if not re.fullmatch(r"https?://(\*\.)?[A-Za-z0-9.-]+(:\d{1,5})?", origin):
            raise SystemExit(f"{FRAME_VARIABLE}: '{origin[:80]}' is not an origin such as https://slides.example.org")
    policy = POLICY | {"frame-ancestors": " ".join(["'self'", *origins])}
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
        "Cross-Origin-Opener-Policy": "same-origin",
        **({} if origins else {"X-Frame-Options": "SAMEORIGIN"}),  # it cannot name them
    }


def is_foreign(headers: Mapping[str, str], method: str = "GET") -> bool:
    """Whether a page of another site, or of another port of this machine, has sent a request.

    Streamlit would look for other names of this server first, and ask another host for its address. It has settings for
    a proxy that changes the Host header, which count here too.
    """
    origin, host = headers.get("origin"), headers.get("host", "")
    if not st.get_option("server.enableCORS"):
        return False
    if origin is None:
        return method not in ("GET", "HEAD") and headers.get("sec-fetch-site") in ("cross-site", "same-site")
    with contextlib.suppress(ValueError):
        found, name = urlsplit(origin), st.get_option("browser.serverAddress")
        if found.netloc.lower() == host.strip().lower() != "" or (found.hostname == name and name not in LOCAL):
            return False
    return origin not in st.get_option("server.corsAllowedOrigins")


class Gate:
    """Stands before all other parts: refuses requests, and adds headers and the cookie to answers."""

    def __init__(self, app: ASGIApp) -> None:
        """Stands before `app`. Raises SystemExit for what is not an origin in `FRAME_VARIABLE`."""
        self.app, self._headers = app, security_headers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        request, address = Headers(scope=scope), scope["client"] and scope["client"][0]
        foreign = is_foreign(request, scope.get("method", "GET"))
        if foreign:
            log_refusal(address, "requests by other sites' pages")
        if scope["type"] == "websocket":
            await (WebSocketClose(1008) if foreign else self.app)(scope, receive, send)
            return
        cookies = cookie_parser(request.get("cookie", ""))
        known = visitor_of(cookies) is not None
        # A phone whose browser came beyond its address's limit gets one that votes with its first page after that.
        wants_cookie = not known or (scope["path"].endswith(PATH) and voter_of(cookies) is None)
        started = False

        async def send_with_headers(event: Message) -> None:
            nonlocal started
            started = True
            if event["type"] == "http.response.start":
                headers = MutableHeaders(raw=list(event.get("headers", ())))
                headers.update(self._headers)
                # Other files may be kept by a cache that serves many.
                is_page = headers.get("content-type", "").startswith("text/html")
                if wants_cookie and is_page and ((is_admitted := _admit(address)) or not known):
                    headers.append("set-cookie", _make_cookie(scope.get("scheme") == "https", is_admitted))
                event["headers"] = headers.raw
            await _send_in_pieces(send, event)

        try:
            await self._answer(scope, foreign)(scope, _in_time(receive), send_with_headers)
        except TimeoutError:
            log_refusal(address, "a request's body did not arrive")
            if not started:
                late = PlainTextResponse("The request did not arrive.", 408, {"Connection": "close"})
                await late(scope, receive, send_with_headers)

    def _answer(self, scope: Scope, foreign: bool) -> ASGIApp:
        """What answers a request."""
        query = scope.get("query_string", b"").split(b"&")
        if foreign:
            return PlainTextResponse("Another site's page has sent this.", 403)
        if PRIVATE.search(scope["path"]):
            return PlainTextResponse("There is no such page.", 404)
        if EMBED in query:
            query = [EMBED_LONG if part == EMBED else part for part in query]
            return RedirectResponse(f"?{b'&'.join(query).decode('latin-1')}")
        return self.app


async def _send_in_pieces(send: Send, event: Message) -> None:
    body, more = event.get("body", b""), event.get("more_body", False)
    if len(body) <= PIECE:
        await send(event)
        return
    for at in range(0, len(body), PIECE):
        await send({**event, "body": body[at : at + PIECE], "more_body": more or at + PIECE < len(body)})


def _in_time(receive: Receive) -> Receive:
    """`receive`, which raises TimeoutError while the body of a request does not arrive."""
    now, latest = asyncio.get_running_loop().time, 0.0

    async def receive_in_time() -> Message:
        nonlocal latest
        if latest == math.inf:
            return await receive()
        latest = latest or now() + SLOW
        async with asyncio.timeout_at(latest):
            event = await receive()
        latest = latest + len(event.get("body", b"")) / SLOWEST if event.get("more_body") else math.inf
        return event

    return receive_in_time


def visitor_of(cookies: Mapping[str, str]) -> str | None:
    """What a visitor's browser is known by, or None: only this server can make it, and scripts cannot read it."""
    number, _, signature = cookies.get(COOKIE, "").partition(".")
    return number if signature and hmac.compare_digest(signature.encode(), _sign(number).encode()) else None


def crowded_addresses() -> dict[str, int]:
    """Addresses from which more than `MANY` new browsers have come within minutes, and how many: some may be fake."""
    new = {network: round(_count_new(network)) for network in list(_new)}
    return {network: count for network, count in new.items() if count > MANY}


_new = dict[str, tuple[float, float]]()
"""How many new browsers an address has had, less `BROWSERS_A_SECOND`, and when there were so many."""


def _count_new(network: str) -> float:
    count, at = _new.get(network, (0.0, 0.0))
    return max(0.0, count - BROWSERS_A_SECOND * (time.monotonic() - at))


def _admit(address: str | None) -> bool:
    """Whether an address gets one more cookie that votes."""
    network = network_of(address)
    count = _count_new(network)
    if count > BROWSERS - 1:
        log_refusal(address, f"more than {BROWSERS} new browsers, whose votes are not counted")
        return False
    _new.pop(network, None)
    _new[network] = count + 1, time.monotonic()
    if len(_new) > ADDRESSES:  # the one that has asked for none for the longest time
        del _new[next(iter(_new))]
    return True


def voter_of(cookies: Mapping[str, str]) -> str | None:
    """As `visitor_of`, but None for a browser beyond its address's limit: it may be invented."""
    number = visitor_of(cookies)
    return None if number is None or number.startswith(VOTELESS) else number


VOTELESS = "~"
"""Before the number of a browser that came beyond its address's limit; the signature covers it."""


def _make_cookie(secure: bool, votes: bool) -> str:
    number = ("" if votes else VOTELESS) + secrets.token_urlsafe(16)
    parts = [f"{COOKIE}={number}.{_sign(number)}", "Path=/", "HttpOnly", "SameSite=Lax"]
    return "; ".join([*parts, "Secure"] if secure else parts)


def _sign(number: str) -> str:
    mac = hmac.new(_key(runs_root() / ".key"), number.encode(errors="replace"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(mac[:18]).decode()


@functools.lru_cache(maxsize=8)
def _key(path: Path) -> bytes:
    """32 random bytes that this server's processes share and that outlive it, where its folder can be written."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not path.is_file() or path.stat().st_size != 32:  # or of a disk that was full
                path.touch(0o600)
                path.write_bytes(secrets.token_bytes(32))
    with contextlib.suppress(OSError):
        if len(found := read_bytes(path, 64)) == 32:
            return found
    return secrets.token_bytes(32)
