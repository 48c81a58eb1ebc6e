"""Connections of a real server (uvicorn): how many there are, and how long they may be silent."""

import asyncio
import contextlib
import logging
import socket
import threading
import time
from contextlib import contextmanager
from unittest.mock import Mock

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute

from kdexplorer.app.server import connections

MUCH = 24 << 20
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def page(request):
    await asyncio.sleep(float(request.query_params.get("takes", 0)))
    return PlainTextResponse("page")


async def stream(socket):
    await socket.accept()
    await socket.send_bytes(bytes(int(socket.query_params.get("bytes", 0))))
    await socket.receive()


@contextmanager
def serving(force=True):
    """A server as Streamlit starts one, which ends at once or waits for its connections; yields its port."""
    large = Route("/large", PlainTextResponse("x" * MUCH))
    routes = [Route("/", page, methods=["GET", "POST"]), large, WebSocketRoute("/stream", stream)]
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(2048)
    server = uvicorn.Server(uvicorn.Config(connections.Connections(Starlette(routes=routes)), log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit, server.force_exit = True, force
        thread.join(30)
        assert not thread.is_alive()


def upgrade(path):
    """The request for a WebSocket."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    return f"{request}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()


def connect(port, data=b"", source="127.0.0.1"):
    found = socket.create_connection(("127.0.0.1", port), 20, (source, 0))
    found.sendall(data)
    return found


def is_closed(found, seconds=5.0):
    """Whether the server closes a connection within so many seconds, with or without an answer before."""
    found.settimeout(seconds)
    try:
        while found.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(connections, "SILENCE", 0.3)


def test_a_connection_that_asks_for_nothing_is_closed_and_who_waits_for_an_answer_or_has_a_websocket_stays(quick):
    body = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx"  # it does not end, nor do the heads
    with serving() as port:
        patient, open_ = connect(port, REQUEST.replace(b"/ ", b"/?takes=2 ")), connect(port, upgrade("/stream"))
        silent = [connect(port, data) for data in (b"", REQUEST[:-2], body, REQUEST + REQUEST[:-2])]
        assert all(map(is_closed, silent))
        assert not is_closed(open_, 1.5)
        assert patient.recv(4096).startswith(b"HTTP/1.1 200")


def ask_for_much(port):
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
    found.connect(("127.0.0.1", port))
    found.sendall(REQUEST.replace(b"/ ", b"/large "))
    return found


def test_what_a_client_does_not_read_does_not_wait_forever_but_for_a_slow_one(quick):
    with serving() as port:
        lazy, slow, received = ask_for_much(port), ask_for_much(port), [0, 0]
        began = time.monotonic()
        while (seconds := time.monotonic() - began) < 4:  # longer than the lazy one may wait
            while received[1] < 4e6 * seconds:
                received[1] += len(slow.recv(1 << 14))
            time.sleep(0.005)
        for number, one in ((1, slow), (0, lazy)):  # the lazy one has been dropped
            one.settimeout(10)
            with contextlib.suppress(ConnectionError):
                while received[number] < MUCH and (data := one.recv(1 << 20)):
                    received[number] += len(data)
    assert received[0] < 0.8 * MUCH
    assert received[1] >= MUCH


def test_small_answers_do_not_wait_for_one_another():
    """The server's side of a connection: without this option an answer waits until the browser has the one before."""
    with socket.socket() as found:
        parts = {"connection_made": lambda *_: None, "connections": (), "loop": Mock()}
        protocol = connections.watch(type("Protocol", (), parts), most=1)
        protocol().connection_made(Mock(get_extra_info={"socket": found}.get))
        assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_hundreds_of_half_open_heads_are_outlived_and_an_address_has_half_of_what_the_others_leave(monkeypatch, caplog):
    """With few files: others are answered, nothing runs out, and the log has a line for each address."""
    monkeypatch.setattr(connections, "raise_file_limit", lambda: 256)  # 160 connections
    sources = ("127.0.0.1", "127.0.0.2")
    with serving() as port:
        page = connect(port, upgrade("/stream"))  # its WebSocket is not silent
        assert b"101" in page.recv(12)
        held = [[connect(port, REQUEST[:-2], source) for _ in range(200)] for source in sources]
        for _ in range(20):  # on a busy machine it takes a moment until all are closed
            time.sleep(0.1)
            remaining = [sum(not is_closed(one, 0.001) for one in of_one) for of_one in held]
            if remaining == [79, 40]:
                break
        assert remaining == [79, 40]
        assert not is_closed(page, 0.001)
        assert [connect(port, REQUEST, source).recv(15) for source in sources] == [b"HTTP/1.1 200 OK"] * 2
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 2


def test_a_browser_that_does_not_read_does_not_hold_a_server_that_is_told_to_end(monkeypatch):
    monkeypatch.setattr(connections, "GRACE", 0.2)
    with serving(force=False) as port:
        silent = connect(port, upgrade("/stream?bytes=20000000"))
        assert b"101" in silent.recv(12)
    silent.close()


@pytest.mark.anyio
async def test_another_server_is_not_changed(caplog):
    async def application(scope, receive, send):
        pass

    await connections.Connections(application)({"type": "lifespan"}, lambda: None, None)
    assert "not watched" in caplog.text
