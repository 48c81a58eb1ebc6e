"""Streamlit's files are compressed once, whoever asks; its page has our style; all else is answered as before."""

import asyncio
import gzip

import pytest
from starlette.applications import Starlette
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from kdexplorer.app.server.page_files import PageFiles
from tests.asgi import fetch

SCRIPT = b"const answer = 42;\n" * 1000
FOREVER = "public, immutable, max-age=31536000"


class Server:
    """Counts which files are read."""

    def __init__(self):
        self.read = []
        self.app = PageFiles(Starlette(routes=[Route("/{path:path}", self.serve)]))

    async def serve(self, request):
        self.read.append(request.url.path)
        await asyncio.sleep(0)
        kept = FOREVER if request.url.path.endswith((".js", ".woff2")) else "no-cache"
        kind = {"js": "text/javascript", "ff2": "font/woff2"}.get(request.url.path[-3:].strip("."), "text/html")
        return Response(SCRIPT, media_type=kind, headers={"Cache-Control": kept, "ETag": '"1"'})

    async def ask(self, path="/static/js/index.abc.js", **headers):
        return await fetch(self.app, path, **headers)


pytestmark = pytest.mark.anyio


async def test_a_hundred_visitors_at_once_cost_one_compression():
    server = Server()
    answers = await asyncio.gather(*(server.ask(accept_encoding="gzip, br") for _ in range(100)))
    assert len(server.read) == 1
    for one in answers:
        assert gzip.decompress(one.body) == SCRIPT
        assert int(one.headers["content-length"]) == len(one.body) < len(SCRIPT) / 10
        assert (one.headers["content-encoding"], one.headers["vary"]) == ("gzip", "Accept-Encoding")
        assert one.headers["cache-control"] == FOREVER


async def test_who_does_not_want_it_gets_the_file_as_it_is():
    server = Server()
    await server.ask(accept_encoding="gzip")
    for other in ({}, {"accept_encoding": "br"}, {"range": "bytes=0-3", "accept_encoding": "gzip"}):
        answer = await server.ask(**other)
        assert "content-encoding" not in answer.headers
        assert answer.body == SCRIPT


async def test_only_files_that_never_change_are_kept():
    server = Server()
    others = "/static/index.html", "/static/media/font.woff2", "/static/./js/a.js", "/static//js/a.js", "/page.js"
    for path in 3 * others:
        await server.ask(path, accept_encoding="gzip")
    assert len(server.read) == 3 * len(others)


async def test_the_first_visitor_may_leave_before_the_answer(tmp_path):
    (tmp_path / "a.js").write_bytes(SCRIPT * 10)
    app = PageFiles(FileResponse(tmp_path / "a.js", headers={"Cache-Control": FOREVER}))

    async def leave():
        return {"type": "http.disconnect"}

    for _ in range(2):
        answer = await fetch(app, "/static/a.js", receive=leave, accept_encoding="gzip")
    assert answer.status == 200
    assert gzip.decompress(answer.body) == SCRIPT * 10


async def test_a_page_has_the_style_at_its_end_and_other_documents_stay():
    page = b'<html><div id="root"></div></html>'
    kept = {"ETag": '"1"', "Last-Modified": "today", "Cache-Control": "no-cache"}
    asked = []

    async def serve(request):
        asked.append(request.headers)
        body = page if request.url.path != "/other" else b"<html></html>"
        return Response(body, media_type="text/html" if request.url.path != "/text" else "text/plain", headers=kept)

    app = PageFiles(Starlette(routes=[Route("/{path:path}", serve)]))
    opened = {"accept": "text/html", "accept_encoding": "gzip", "if_none_match": '"1"'}
    for path, accept in (("/launch", "image/avif,*/*"), ("/launch", "text/html"), ("/static/kd/launch", "text/html")):
        answer = await fetch(app, path, **opened | {"accept": accept})
        assert b"</style>" in answer.body
    assert answer.body.startswith(b'<html><div id="root"></div><style>')
    assert answer.body.endswith(b"</style></html>")
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert not {"etag", "last-modified"} & answer.headers.keys()
    assert not {"if-none-match", "accept-encoding"} & set(asked[0])
    for path, body in (("/other", b"<html></html>"), ("/text", page)):
        answer = await fetch(app, path, **opened)
        assert (answer.body, answer.headers["etag"]) == (body, '"1"')
    assert (await fetch(app, "/launch")).body == page
