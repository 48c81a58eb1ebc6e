"""What reaches the application: messages of pages, as many as an address may send."""

import asyncio
import contextlib
import itertools
import math

import pytest
from starlette.websockets import WebSocket, WebSocketDisconnect
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from kdexplorer.app.server import guard, headers, turns

GUEST = "203.0.113.7"
pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def patient(monkeypatch, nobody_known):
    """Only a test's own limits end a turn."""
    for limit in ("LONGEST", "SLOW"):
        monkeypatch.setattr(guard, limit, 1e6)


def message(**parts):
    return BackMsg(**parts).SerializeToString()


def rerun(id="$$ID-w", **value):
    """A run of a page, where a widget has a value."""
    widgets = [{"id": id, **value}] if value else []
    return message(rerun_script={"page_name": "launch", "widget_states": {"widgets": widgets}})


ALLOWED = {
    "a run": rerun(),
    "a grid's values": rerun(string_array_value={"data": map(str, range(32))}),
    "a number": rerun(double_value=0.5),
    "a picture of the live view": rerun(json_trigger_value="x" * 8000),
    "a stop": message(stop_script=True),
    "an upload's address": message(file_urls_request={"file_names": ["x"]}),
    "a handout": message(backend_operation_request={"deferred_file": {}}),
}
DROPPED = {
    "clear_cache": message(clear_cache=True),
    "load_git_info": message(load_git_info=True),
    "debug_shutdown_runtime": message(debug_shutdown_runtime=True),
    "install_skills": message(backend_operation_request={"install_skills": {}}),
    "nothing": b"",
    "no message": b"\xff\xff\xff",
    "a large message": b"\0" * (guard.MESSAGE + 1),
    "a name of no widget": rerun("experiment", string_value="x"),
    "a long text": rerun(string_value="x" * guard.VALUE),
    "not a number": rerun(double_value=math.nan),
    "a widget without a name": rerun("", bool_value=True),
    "many uploads' addresses": message(file_urls_request={"file_names": ["x"] * (guard.FILES + 1)}),
    "an upload's long name": message(file_urls_request={"request_id": "x" * (guard.NAME + 1), "file_names": ["x"]}),
    "a handout's long name, which the answer repeats": message(
        backend_operation_request={"request_id": "x" * (guard.NAME + 1), "deferred_file": {}}
    ),
}
GONE = message(rerun_script={"fragment_id": "gone"})
FINISHED = ForwardMsg(script_finished=ForwardMsg.ScriptFinishedStatus.FINISHED_SUCCESSFULLY).SerializeToString()
MORE = ForwardMsg(session_event={}).SerializeToString()
EARLY = ForwardMsg(script_finished=ForwardMsg.ScriptFinishedStatus.FINISHED_EARLY_FOR_RERUN).SerializeToString()
PRESENTER = turns.Browser((0.0, 0.0), is_presenter=True)


class Browser:
    """One connection: what it sends, what the application has seen of it, and what it was sent.

    It leaves with the event loop.
    """

    def __init__(self, cookie="", address=GUEST):
        self.incoming, self.outgoing, self.seen, self.sent = asyncio.Queue(), asyncio.Queue(), [], []
        cookies = f"a=b; {headers.COOKIE}={cookie}.{headers._sign(cookie)}" if cookie else "a=b"
        sent = [(turns.HEADER.encode(), b"forged"), (b"cookie", cookies.encode())]
        self.scope = {"type": "websocket", "client": (address, 5000), "headers": sent, "browser": self}
        self.reads = asyncio.Event()
        self.reads.set()
        app = guard.Guard(Browser.application)
        self.task = asyncio.create_task(app(self.scope, self.incoming.get, self.keep))
        self.incoming.put_nowait({"type": "websocket.connect"})

    async def keep(self, event):
        await self.reads.wait()
        self.sent.append(event)

    @staticmethod
    async def application(scope, receive, send):
        self = scope["browser"]
        self.scope = scope

        async def answer():
            while True:
                await send({"type": "websocket.send", "bytes": await self.outgoing.get()})

        answers = asyncio.create_task(answer())
        while (event := await receive())["type"] != "websocket.disconnect":
            self.seen.append(event.get("bytes"))
            guard.begins_nothing.set(event.get("bytes") == GONE)
        answers.cancel()

    @property
    def runs(self):
        return self.seen.count(rerun())

    def say(self, *texts):
        for data in texts:
            self.incoming.put_nowait({"type": "websocket.receive", "bytes": data})

    async def answer(self, data):
        self.outgoing.put_nowait(data)
        await settle()

    async def leave(self):
        self.incoming.put_nowait({"type": "websocket.disconnect"})
        await asyncio.wait_for(self.task, 60)


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)


async def settle():
    for _ in range(100):
        await asyncio.sleep(0)


async def crowd(count):
    """So many browsers, each of which has asked for a page."""
    browsers = [Browser() for _ in range(count)]
    for browser in browsers:
        browser.say(rerun())
    await settle()
    return browsers


async def test_what_pages_send_is_passed_on_and_nothing_else(monkeypatch):
    monkeypatch.setattr(guard, "INTERRUPT", 0.0)
    monkeypatch.setattr(guard, "PACE", 0.0)
    browser = Browser()
    browser.say(*DROPPED.values(), *ALLOWED.values())
    await until(lambda: len(browser.seen) > len(ALLOWED))
    assert browser.seen == [None, *ALLOWED.values()]
    await browser.leave()


async def test_a_browser_that_has_left_while_something_is_sent_is_seen_to_leave():
    async def application(scope, receive, send):
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect):  # as Streamlit's sender does
            await socket.send_bytes(MORE)
        with pytest.raises(WebSocketDisconnect):
            await socket.receive_bytes()

    async def send(event):
        if event["type"] == "websocket.send":
            raise OSError("the browser has left")

    events = asyncio.Queue()
    for kind in ("connect", "disconnect"):
        events.put_nowait({"type": f"websocket.{kind}", "code": 1006})
    await guard.Guard(application)({"type": "websocket", "client": (GUEST, 1), "headers": []}, events.get, send)


async def test_the_script_sees_the_name_that_the_server_gives():
    browser = Browser("hers")
    await settle()
    ((name, visitor),) = turns.visitors.items()
    given = [text for key, text in browser.scope["headers"] if key == turns.HEADER.encode()]
    assert (given, visitor.cookie, visitor.address) == ([name.encode()], "hers", GUEST)
    await browser.leave()
    assert not turns.visitors


@pytest.mark.parametrize(
    ("limits", "browsers", "taken"),
    [
        ({"OF_A_BROWSER": 2}, [("greedy", GUEST)] * 3 + [("hers", GUEST)], [1, 1, 0, 1]),
        ({"CONNECTIONS": 4, "_browsers": {"hers": PRESENTER}}, [("", GUEST)] * 4 + [("hers", GUEST)], [1, 1, 0, 0, 1]),
        (  # in a frame without cookies they are not one browser; of the last place nobody gets half
            {"CONNECTIONS": 8, "OF_A_BROWSER": 2},
            [("", f"192.0.2.{number}") for number in (0, 0, 0, 0, 0, 1, 1, 1, 2, 3)],
            [1, 1, 1, 1, 0, 1, 1, 0, 1, 0],
        ),
    ],
)
async def test_nobody_can_take_the_connections_of_others_or_of_the_presenter(
    monkeypatch, caplog, limits, browsers, taken
):
    for name, value in limits.items():
        monkeypatch.setattr(turns, name, value)
    found = [Browser(*one) for one in browsers]
    await settle()
    refused = [{"type": "websocket.close", "code": 1013, "reason": ""}]
    assert [(browser.seen, browser.sent) for browser in found] == [
        ([None], []) if one else ([], refused) for one in taken
    ]
    assert len(caplog.records) == len({address for (_, address), one in zip(browsers, taken, strict=True) if not one})
    for browser in found:
        await browser.leave()
    again = Browser(*browsers[0])
    await settle()
    assert again.seen == [None]


async def test_two_pages_run_at_a_time_and_the_end_of_one_lets_another_begin():
    browsers = await crowd(4)
    assert [browser.runs for browser in browsers] == [1, 1, 0, 0]
    for data in (EARLY, MORE, b"\0" * 5000):
        await browsers[0].answer(data)
    assert [browser.runs for browser in browsers] == [1, 1, 0, 0]
    await browsers[0].answer(FINISHED)
    assert [browser.runs for browser in browsers] == [1, 1, 1, 0]
    await browsers[1].answer(FINISHED)
    assert [browser.runs for browser in browsers] == [1, 1, 1, 1]


async def test_a_browser_that_leaves_while_it_waits_or_runs_leaves_its_place(monkeypatch):
    monkeypatch.setattr(guard, "SLOW", 0.0)
    browsers = await crowd(5)
    await browsers[2].leave()
    assert browsers[2].runs == 0
    await browsers[0].leave()
    await until(lambda: browsers[3].runs)
    assert browsers[4].runs == 0


async def test_a_run_that_takes_long_or_never_begins_loses_its_turn(monkeypatch):
    monkeypatch.setattr(guard, "LONGEST", 0.01)
    browsers = await crowd(3)
    await browsers[0].answer(MORE)
    await until(lambda: browsers[2].runs)
    browsers[0].say(rerun())  # its next one waits for a turn again, as the third has lost its own
    await until(lambda: browsers[0].runs == 2)


async def test_who_asks_for_a_part_of_a_page_that_does_not_exist_has_no_turn(monkeypatch):
    monkeypatch.setattr(guard, "INTERRUPT", 0.0)
    first, second, waits = await crowd(3)
    first.say(GONE)  # within its run, which goes on
    await until(lambda: GONE in first.seen)
    await settle()
    assert waits.runs == 0
    await first.answer(FINISHED)
    assert waits.runs == 1
    first.say(GONE)
    await second.answer(FINISHED)
    assert first.seen.count(GONE) == 2
    other = Browser()
    other.say(rerun())
    await settle()
    assert other.runs == 1


async def test_the_end_of_a_run_that_has_lost_its_turn_does_not_end_the_next_ones_waiting():
    late, *others = await crowd(3)
    turns.end(next(iter(turns.visitors.values())).page)  # it took too long
    late.say(rerun())
    await settle()
    await late.answer(FINISHED)
    assert late.runs == 1
    await others[0].answer(FINISHED)
    assert late.runs == 2


async def test_a_browser_that_does_not_read_loses_its_turn_and_asks_for_nothing_before_it_has_read(monkeypatch):
    monkeypatch.setattr(guard, "SLOW", 0.01)
    slow, *others = await crowd(3)
    slow.reads.clear()
    await slow.answer(MORE)
    await until(lambda: others[1].runs)
    for browser in others:
        await browser.answer(FINISHED)
    slow.say(rerun())
    await settle()
    assert slow.runs == 1
    slow.reads.set()
    await until(lambda: slow.runs == 2)


async def test_a_click_interrupts_ones_own_run_after_a_while(monkeypatch):
    monkeypatch.setattr(guard, "INTERRUPT", 0.05)
    browser, other, waits = browsers = [Browser() for _ in range(3)]
    for one in (*browsers, browser):
        one.say(rerun())
    await settle()
    assert (browser.runs, other.runs, waits.runs) == (1, 1, 0)
    await until(lambda: browser.runs == 2)
    assert waits.runs == 0  # still one turn


async def test_a_browser_that_sends_without_pause_runs_one_page_after_the_other(monkeypatch):
    monkeypatch.setattr(guard, "INTERRUPT", 1e6)
    browser = Browser()
    browser.say(*[rerun()] * 3)
    for count in (1, 2, 3):
        await until(lambda count=count: browser.runs == count)
        await browser.answer(FINISHED)


@pytest.mark.parametrize("part", ["BackMsg", "ForwardMsg"])
async def test_an_unknown_protocol_is_passed_on_with_one_warning(monkeypatch, caplog, part):
    monkeypatch.setattr(guard, part, None)
    application = guard.Guard(Browser.application)
    monkeypatch.setattr(guard, "Guard", lambda _: application)
    browsers = await crowd(4)
    assert [browser.runs for browser in browsers] == [1] * 4
    assert len(caplog.records) == 1


async def test_uploads_that_wait_too_long_or_are_too_many_end(monkeypatch, caplog):
    monkeypatch.setattr(guard, "WAITING", 4)
    monkeypatch.setattr(guard, "PATIENCE", 0.05)
    monkeypatch.setattr(guard, "UPLOADS", 0)
    application, sent = guard.Guard(None), []

    async def send(event):
        sent.append(event.get("status"))

    scope = {"type": "http", "client": GUEST, "method": "PUT", "headers": []}
    uploads = [asyncio.create_task(application(scope, None, send)) for _ in range(3)]
    await asyncio.gather(*uploads)
    assert sent == 3 * [503, None]
    assert "uploads" in caplog.text


@pytest.mark.parametrize(("cookies", "first"), [(itertools.count(), 2), (itertools.repeat(0), 1)])
async def test_further_uploads_wait_and_a_browser_has_one_at_a_time(monkeypatch, cookies, first):
    now, most, go_on = [0], [0], asyncio.Event()

    async def store(scope, receive, send):
        now[0] += 1
        most[0] = max(most[0], now[0])
        await go_on.wait()
        now[0] -= 1

    monkeypatch.setattr(guard, "UPLOADS", 4)
    monkeypatch.setattr(guard, "visitor_of", lambda _: str(next(cookies)))
    monkeypatch.setattr(guard, "BETWEEN_UPLOADS", 0)
    application = guard.Guard(store)
    scope = {"type": "http", "client": (GUEST, 1), "method": "PUT", "headers": []}
    uploads = [asyncio.create_task(application(scope, None, None)) for _ in range(8)]
    await settle()
    assert now[0] == first
    go_on.set()
    await asyncio.gather(*uploads)
    assert most[0] == first
