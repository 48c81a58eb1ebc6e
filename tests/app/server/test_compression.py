"""Streamlit's files are compressed once, whoever asks, and everything else is answered as before."""

import asyncio
import gzip

import pytest
from starlette.applications import Starlette
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from kdexplorer.app.server.compression import CompressOnce

SCRIPT = b"const answer = 42;\n" * 1000
FOREVER = "public, immutable, max-age=31536000"


class Server:
    """Counts which files are read."""

    def __init__(self):
        self.read = []
        self.app = CompressOnce(Starlette(routes=[Route("/{path:path}", self.serve)]))

    async def serve(self, request):
        self.read.append(request.url.path)
        await asyncio.sleep(0)
        kept = FOREVER if request.url.path.endswith((".js", ".woff2")) else "no-cache"
        kind = {"js": "text/javascript", "ff2": "font/woff2"}.get(request.url.path[-3:].strip("."), "text/html")
        return Response(SCRIPT, media_type=kind, headers={"Cache-Control": kept, "ETag": '"1"'})

    async def request(self, path="/static/js/index.abc.js", **headers):
        sent = []

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(event):
            sent.append(event)

        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": raw, "root_path": ""}
        await self.app(scope, receive, send)
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return found, b"".join(event.get("body", b"") for event in sent[1:])


def test_a_hundred_visitors_at_once_cost_one_compression():
    server = Server()

    async def everyone():
        return await asyncio.gather(*(server.request(accept_encoding="gzip, br") for _ in range(100)))

    answers = asyncio.run(everyone())
    assert len(server.read) == 1
    for headers, body in answers:
        assert gzip.decompress(body) == SCRIPT
        assert int(headers["content-length"]) == len(body) < len(SCRIPT) / 10
        assert (headers["content-encoding"], headers["vary"]) == ("gzip", "Accept-Encoding")
        assert headers["cache-control"] == FOREVER


@pytest.mark.parametrize("other", [{}, {"accept_encoding": "br"}, {"range": "bytes=0-3", "accept_encoding": "gzip"}])
def test_who_does_not_want_it_gets_the_file_as_it_is(other):
    server = Server()
    asyncio.run(server.request(accept_encoding="gzip"))
    headers, body = asyncio.run(server.request(**other))
    assert "content-encoding" not in headers
    assert body == SCRIPT


@pytest.mark.parametrize(
    "path",
    ["/static/index.html", "/static/media/font.woff2", "/static/./js/a.js", "/static//js/a.js", "/page.js"],
)
def test_only_files_that_never_change_are_kept(path):
    server = Server()
    for _ in range(3):
        asyncio.run(server.request(path, accept_encoding="gzip"))
    assert len(server.read) == 3


def test_the_first_visitor_may_leave_before_the_answer(tmp_path):
    (tmp_path / "a.js").write_bytes(SCRIPT * 10)

    async def leave():
        return {"type": "http.disconnect"}

    async def request(receive):
        sent = []

        async def send(event):
            sent.append(event)

        scope = {"type": "http", "method": "GET", "path": "/static/a.js", "query_string": b"", "root_path": ""}
        await app(scope | {"headers": [(b"accept-encoding", b"gzip")]}, receive, send)
        return sent

    app = CompressOnce(FileResponse(tmp_path / "a.js", headers={"Cache-Control": FOREVER}))
    asyncio.run(request(leave))
    start, body = asyncio.run(request(leave))
    assert start["status"] == 200
    assert gzip.decompress(body["body"]) == SCRIPT * 10
