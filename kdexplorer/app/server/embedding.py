"""`?embed=1` is answered as `?embed=true`, the only value with which Streamlit (1.67) leaves its menu out (ASGI)."""

from __future__ import annotations

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

SHORT, LONG = b"embed=1", b"embed=true"


class Embedding:
    """Sends a browser that asks with the short parameter to the same address with the long one."""

    def __init__(self, app: ASGIApp) -> None:
        """Stands before `app`."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection or request."""
        parts = scope.get("query_string", b"").split(b"&")
        if scope["type"] != "http" or SHORT not in parts:
            await self.app(scope, receive, send)
            return
        query = b"&".join(LONG if part == SHORT else part for part in parts)
        await RedirectResponse(f"?{query.decode('latin-1')}")(scope, receive, send)
