"""Headers of every response, and the cookie by which a visitor's browser is known again (ASGI)."""

from __future__ import annotations

import os
import re
import secrets

from starlette.types import ASGIApp, Message, Receive, Scope, Send

FRAME_VARIABLE = "KDEXPLORER_FRAME_ORIGINS"
"""Origins beside the application's own whose pages may show it in a frame, separated by spaces."""
COOKIE = "kdexplorer_visitor"
_ORIGIN = re.compile(r"https?://(\*\.)?[A-Za-z0-9.-]+(:\d{1,5})?")

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


def frame_origins() -> list[str]:
    """The origins that `FRAME_VARIABLE` names. Raises SystemExit for what is not an origin."""
    found = os.environ.get(FRAME_VARIABLE, "").split()
    for origin in found:
        if not _ORIGIN.fullmatch(origin):
            raise SystemExit(f"{FRAME_VARIABLE}: '{origin[:80]}' is not an origin such as https://slides.example.org")
    return found


def security_headers(origins: list[str]) -> dict[str, str]:
    """The headers by name; pages of these origins and the application's own may show it in a frame."""
    policy = POLICY | {"frame-ancestors": " ".join(["'self'", *origins])}
    headers = {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
        "Cross-Origin-Opener-Policy": "same-origin",
        "X-Frame-Options": "SAMEORIGIN",
    }
    if origins:  # X-Frame-Options cannot name them
        del headers["X-Frame-Options"]
    return headers


class Headers:
    """Adds the headers and, where a browser has none, the cookie: 128 random bits that scripts cannot read."""

    def __init__(self, app: ASGIApp) -> None:
        """Stands before `app`. Raises SystemExit for what is not an origin in `FRAME_VARIABLE`."""
        self.app = app
        self._headers = {
            name.lower().encode(): text.encode() for name, text in security_headers(frame_origins()).items()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection or request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        known = any(name == b"cookie" and f"{COOKIE}=".encode() in value for name, value in scope["headers"])

        async def send_with_headers(event: Message) -> None:
            if event["type"] == "http.response.start":
                others = [
                    (name, value) for name, value in event.get("headers", ()) if name.lower() not in self._headers
                ]
                event["headers"] = [*others, *self._headers.items()]
                is_page = any(
                    name.lower() == b"content-type" and text.startswith(b"text/html") for name, text in others
                )
                if is_page and not known:  # other files may be kept by a cache that serves many
                    event["headers"].append((b"set-cookie", _make_cookie(scope.get("scheme") == "https")))
            await send(event)

        await self.app(scope, receive, send_with_headers)


def _make_cookie(secure: bool) -> bytes:
    parts = [f"{COOKIE}={secrets.token_urlsafe(16)}", "Path=/", "HttpOnly", "SameSite=Lax"]
    return "; ".join([*parts, "Secure"] if secure else parts).encode()
