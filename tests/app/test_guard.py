"""What reaches the application: messages of pages, as many as an address may send."""

import asyncio
import contextlib
import math

import pytest
from starlette.websockets import WebSocket, WebSocketDisconnect
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from kdexplorer.app.server import guard, messages, shares

GUEST = ("203.0.113.7", 5000)


@pytest.fixture(autouse=True)
def nobody_known(monkeypatch):
    monkeypatch.setattr(shares, "_shares", {})


def rerun(change=lambda state: None):
    message = BackMsg()
    message.rerun_script.page_name = "launch"
    change(message.rerun_script)
    return message.SerializeToString()


def widget(**value):
    return lambda state: state.widget_states.widgets.add(id="$$ID-w", **value)


def strings(*values):
    return lambda state: state.widget_states.widgets.add(id="$$ID-w").string_array_value.data.extend(values)


def many_widgets(state):
    for number in range(messages.WIDGETS + 1):
        state.widget_states.widgets.add(id=f"$$ID-{number}", bool_value=True)


def file_names(count):
    message = BackMsg()
    message.file_urls_request.file_names.extend("x" for _ in range(count))
    return message.SerializeToString()


def operation(name):
    message = BackMsg()
    getattr(message.backend_operation_request, name).SetInParent()
    return message.SerializeToString()


ALLOWED = {
    "a run": rerun(),
    "a table's changes": rerun(widget(string_value='{"added_rows": []}')),
    "a grid's values": rerun(strings(*map(str, range(32)))),
    "a number": rerun(widget(double_value=0.5)),
    "a picture of the live view": rerun(widget(json_trigger_value="x" * 8000)),
    "a stop": BackMsg(stop_script=True).SerializeToString(),
    "an upload's address": file_names(1),
    "a handout": operation("deferred_file"),
}
DROPPED = {
    "clear_cache": BackMsg(clear_cache=True).SerializeToString(),
    "load_git_info": BackMsg(load_git_info=True).SerializeToString(),
    "debug_shutdown_runtime": BackMsg(debug_shutdown_runtime=True).SerializeToString(),
    "install_skills": operation("install_skills"),
    "nothing": b"",
    "no message": b"\xff\xff\xff",
    "a large message": b"\0" * (messages.MESSAGE + 1),
    "many widgets": rerun(many_widgets),
    "a name of no widget": rerun(lambda state: state.widget_states.widgets.add(id="experiment", string_value="x")),
    "a long text": rerun(widget(string_value="x" * (messages.TEXT + 1))),
    "a long list": rerun(strings(*"x" * (messages.ITEMS + 1))),
    "a long option": rerun(strings("x" * (messages.ITEM + 1))),
    "a long link": rerun(lambda state: setattr(state, "query_string", "x" * (messages.QUERY + 1))),
    "not a number": rerun(widget(double_value=math.nan)),
    "a widget without a name": rerun(lambda state: state.widget_states.widgets.add(bool_value=True)),
    "bytes": rerun(widget(bytes_value=b"x")),
    "many uploads' addresses": file_names(messages.ITEMS + 1),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_pages_send_is_read(name):
    assert messages.read(ALLOWED[name]) in messages.KINDS


@pytest.mark.parametrize("name", DROPPED)
def test_what_no_page_sends_is_dropped(name):
    assert messages.read(DROPPED[name]) is None


FINISHED = ForwardMsg(script_finished=ForwardMsg.ScriptFinishedStatus.FINISHED_SUCCESSFULLY).SerializeToString()
EARLY = ForwardMsg(script_finished=ForwardMsg.ScriptFinishedStatus.FINISHED_EARLY_FOR_RERUN).SerializeToString()


def test_the_end_of_a_run_is_noticed():
    assert messages.ends_work(FINISHED)
    assert not messages.ends_work(EARLY)
    assert not messages.ends_work(ForwardMsg(session_event={}).SerializeToString())
    assert not messages.ends_work(b"\0" * 5000)


class Browser:
    """One connection: what it sends, what the application has seen of it, and what it was sent."""

    def __init__(self, client=GUEST):
        self.incoming, self.outgoing, self.seen, self.sent = asyncio.Queue(), asyncio.Queue(), [], []
        self.task = asyncio.create_task(
            guard.Guard(self.application)({"type": "websocket", "client": client}, self.incoming.get, self.keep)
        )
        self.incoming.put_nowait({"type": "websocket.connect"})

    async def keep(self, event):
        self.sent.append(event)

    async def application(self, scope, receive, send):
        async def answer():
            while True:
                await send({"type": "websocket.send", "bytes": await self.outgoing.get()})

        answers = asyncio.create_task(answer())
        while (event := await receive())["type"] != "websocket.disconnect":
            self.seen.append(event.get("bytes"))
        answers.cancel()

    def say(self, *texts):
        for data in texts:
            self.incoming.put_nowait({"type": "websocket.receive", "bytes": data})

    async def leave(self):
        self.incoming.put_nowait({"type": "websocket.disconnect"})
        await asyncio.wait_for(self.task, 60)


async def settle():
    for _ in range(50):
        await asyncio.sleep(0)


def test_a_dropped_message_does_not_end_the_connection():
    async def play():
        browser = Browser()
        browser.say(*DROPPED.values(), rerun())
        await settle()
        assert browser.seen == [None, rerun()]
        await browser.leave()

    asyncio.run(play())


@pytest.mark.parametrize("client", [GUEST, ("127.0.0.1", 1)])
def test_a_browser_that_has_left_while_something_is_sent_is_seen_to_leave(client):
    async def application(scope, receive, send):
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect):  # as Streamlit's sender does
            await socket.send_bytes(b"x")
        with pytest.raises(WebSocketDisconnect):
            await socket.receive_bytes()

    async def send(event):
        if event["type"] == "websocket.send":
            raise OSError("the browser has left")

    async def play():
        events = asyncio.Queue()
        for kind in ("connect", "disconnect"):
            events.put_nowait({"type": f"websocket.{kind}", "code": 1006})
        await guard.Guard(application)({"type": "websocket", "client": client}, events.get, send)

    asyncio.run(play())


def test_an_address_has_so_many_connections_and_others_have_their_own():
    async def play():
        browsers = [Browser() for _ in range(shares.CONNECTIONS)]
        await settle()
        refused, other = Browser(), Browser(("198.51.100.1", 1))
        await settle()
        assert refused.sent == [{"type": "websocket.close", "code": 1013}]
        assert refused.seen == []
        assert other.seen == [None]
        await browsers[0].leave()
        again = Browser()
        await settle()
        assert again.seen == [None]
        for browser in [*browsers[1:], other, again]:
            await browser.leave()
        assert shares.share_of(GUEST[0]).connections == 0

    asyncio.run(play())


def test_an_address_has_so_many_runs_at_a_time_whatever_others_do():
    async def play():
        browsers = [Browser() for _ in range(shares.RUNS + 2)]
        other = Browser(("198.51.100.1", 1))
        for browser in [*browsers, other]:
            browser.say(rerun())
        await settle()
        running = [browser for browser in browsers if browser.seen == [None, rerun()]]
        assert len(running) == shares.RUNS
        assert other.seen == [None, rerun()]
        running[0].say(rerun())  # a click while the page runs interrupts it
        await settle()
        assert running[0].seen == [None, rerun(), rerun()]
        running[0].outgoing.put_nowait(EARLY)
        await settle()
        assert sum(rerun() in browser.seen for browser in browsers) == shares.RUNS
        running[0].outgoing.put_nowait(FINISHED)
        await settle()
        assert sum(rerun() in browser.seen for browser in browsers) == shares.RUNS + 1
        await running[1].leave()
        await settle()
        assert all(rerun() in browser.seen for browser in browsers)
        for browser in [*browsers, other]:
            if browser is not running[1]:
                await browser.leave()

    asyncio.run(play())


def test_who_has_used_up_the_processor_time_waits_and_others_do_not():
    async def play():
        guest, other = Browser(), Browser(("198.51.100.1", 1))
        await settle()
        shares.share_of(GUEST[0]).pages.spend(1e6)
        for browser in (guest, other):
            browser.say(rerun())
        await settle()
        assert (guest.seen, other.seen) == ([None], [None, rerun()])
        guest.task.cancel()
        await other.leave()

    asyncio.run(play())


def call(application, client=GUEST, method="GET", cookie="", scheme="http"):
    """The events of one request's response."""
    scope = {"type": "http", "client": client, "method": method, "scheme": scheme, "path": "/", "headers": []}
    if cookie:
        scope["headers"].append((b"cookie", cookie.encode()))
    sent = []

    async def send(event):
        sent.append(event)

    async def receive():
        return {"type": "http.request"}

    return application(scope, receive, send), sent


KIND = b"text/html; charset=utf-8"


async def page(scope, receive, send):
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"X-Content-Type-Options", b"other"), (b"content-type", KIND)],
        }
    )
    await send({"type": "http.response.body", "body": b"page"})


def test_an_address_sends_so_many_files_at_a_time():
    now, most, go_on = [0], [0], asyncio.Event()

    async def store(scope, receive, send):
        now[0] += 1
        most[0] = max(most[0], now[0])
        await go_on.wait()
        now[0] -= 1

    async def play():
        uploads = [asyncio.create_task(call(guard.Guard(store), method="PUT")[0]) for _ in range(8)]
        await settle()
        assert now[0] == shares.UPLOADS
        go_on.set()
        await asyncio.gather(*uploads)

    asyncio.run(play())
    assert most[0] == shares.UPLOADS


def test_more_requests_at_a_time_than_an_address_has_are_refused(monkeypatch):
    monkeypatch.setattr(shares, "REQUESTS", 0)
    for client, status in ((GUEST, 429), (("127.0.0.1", 1), 200)):
        monkeypatch.setattr(shares.Share, "most_requests", 0)
        done, sent = call(guard.Guard(page), client)
        asyncio.run(done)
        assert sent[0]["status"] == status
