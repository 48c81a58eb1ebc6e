"""The application's style in Streamlit's page, so that nothing moves once it arrives (ASGI).

Streamlit (1.67) can only send a style with the elements of a page: these were drawn without it first, and then moved.
"""

from __future__ import annotations

from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kdexplorer.vote.routes import PATH

STYLE = Path(__file__).parents[1] / "style.css"
ROOT = b'<div id="root"></div>'
"""Where Streamlit draws."""
LEFT_OUT = (b"accept-encoding", b"if-none-match", b"if-modified-since")
"""The page arrives as it is, and in full where a browser has Streamlit's own from before."""


class StyleFirst:
    """Adds the style to Streamlit's page, at its end, where it outweighs Streamlit's own rules."""

    def __init__(self, app: ASGIApp) -> None:
        """Stands before `app`."""
        self.app, self._style = app, b"<style>" + STYLE.read_bytes() + b"</style>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one connection or request."""
        asks = scope["type"] == "http" and "text/html" in Headers(scope=scope).get("accept", "")
        if not asks or scope["path"].endswith(PATH):  # the vote's page has a style of its own
            await self.app(scope, receive, send)
            return
        start: Message = {}
        body = bytearray()

        async def send_styled(event: Message) -> None:
            nonlocal start
            if event["type"] == "http.response.start" and _is_page(event):
                start = event
            elif not start:
                await send(event)
            else:
                body.extend(event.get("body", b""))
                if not event.get("more_body", False):
                    await self._finish(start, bytes(body), send)

        kept = [header for header in scope["headers"] if header[0] not in LEFT_OUT]
        await self.app({**scope, "headers": kept}, receive, send_styled)

    async def _finish(self, start: Message, page: bytes, send: Send) -> None:
        """Sends a page that has arrived; Streamlit's with the style, which a copy of must not outlive."""
        if ROOT in page:
            page = page.replace(ROOT, ROOT + self._style)
            headers = MutableHeaders(raw=list(start["headers"]))
            headers["Content-Length"] = str(len(page))
            del headers["ETag"], headers["Last-Modified"]
            start = {**start, "headers": headers.raw}
        await send(start)
        await send({"type": "http.response.body", "body": page})


def _is_page(event: Message) -> bool:
    return Headers(raw=event["headers"]).get("content-type", "").startswith("text/html")
