"""What reaches the application of other sites and programs, what each answer carries, and who gets a cookie."""

import asyncio
import stat

import pytest
import streamlit as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from kdexplorer.app.server import headers
from kdexplorer.app.server.streamlit_internals import ask_no_host, net_util
from tests.asgi import fetch


async def page(request):
    await request.body()
    return HTMLResponse("page")


ROUTES = [
    Route("/file.js", Response("file", media_type="text/javascript")),
    Route("/large", Response(bytes(range(256)) * 600)),
    Route("/{path:path}", page, methods=["GET", "POST"]),
]


def client(path="/", **options):
    """The answer of an application behind the gate; no cookies are kept."""
    application = Starlette(routes=ROUTES, middleware=[Middleware(headers.Gate)])
    return asyncio.run(fetch(application, path, host="kd.example.org:8501", **options))


def test_what_another_sites_page_sends_does_not_reach_streamlit_and_all_else_does():
    others = "https://evil.example", "http://kd.example.org:3000", "https://kd.example.org", "http://localhost:8501"
    for origin in (*others, "null", "", "http://[", "http://kd.example.org:8501.evil.example"):
        assert client(origin=origin).status == 403
        assert client(origin=origin, kind="websocket").events[0]["code"] == 1008
    for own in ({}, {"origin": "http://kd.example.org:8501"}, {"origin": "http://KD.example.org:8501"}):
        assert client(**own).status == client(method="POST", **own).status == 200
    assert client(sec_fetch_site="cross-site").status == 200
    assert client(method="POST", sec_fetch_site="cross-site").status == 403
    assert client(method="POST", sec_fetch_site="same-origin").status == 200


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("server.corsAllowedOrigins", ["https://evil.example"]),
        ("browser.serverAddress", "evil.example"),  # the name of the server, behind a proxy that does not keep it
        ("server.enableCORS", False),
    ],
)
def test_streamlits_settings_for_proxies_count(monkeypatch, option, value):
    get = st.get_option
    monkeypatch.setattr(st, "get_option", lambda name: value if name == option else get(name))
    assert client(origin="https://evil.example").status == 200


def test_a_large_answer_is_sent_in_pieces():
    start, *pieces = client("/large").events
    assert start["type"] == "http.response.start"
    assert [len(one["body"]) for one in pieces] == [1 << 16, 1 << 16, 153600 - (2 << 16)]
    assert [one["more_body"] for one in pieces] == [True, True, False]
    assert b"".join(one["body"] for one in pieces) == bytes(range(256)) * 600


def test_streamlit_asks_no_other_host_for_the_servers_address(monkeypatch):
    monkeypatch.setattr(net_util, "get_external_ip", net_util.get_external_ip)  # restored afterwards
    monkeypatch.setattr(net_util, "_make_blocking_http_get", lambda *_, **__: pytest.fail("another host was asked"))
    ask_no_host()
    assert net_util.get_external_ip() is None


@pytest.mark.parametrize("path", ["/_stcore/metrics", "/base/_stcore/metrics/", "/_stcore/agent/openapi.json"])
def test_what_is_for_programs_is_not_public(path):
    assert client(path).status == 404
    assert client(path.replace("metrics", "metricsx").replace("agent", "agents")).status == 200


@pytest.mark.parametrize(
    ("query", "location"),
    [
        ("figure=gradient&embed=1&T=4", "?figure=gradient&embed=true&T=4"),
        ("class=a%20cat%0D%0AX:%201&embed=1", "?class=a%20cat%0D%0AX:%201&embed=true"),
        *((query, None) for query in ("", "embed=true", "embed=0", "embed=10", "noembed=1")),
    ],
)
def test_the_short_parameter_for_frames_leads_to_the_long_one(query, location):
    answer = client(f"/soft_labels?{query}")
    assert (answer.status, answer.headers.get("location")) == (307 if location else 200, location)


def test_a_body_that_never_ends_is_dropped_and_a_slow_one_is_not(monkeypatch, caplog):
    monkeypatch.setattr(headers, "SLOW", 0.1)
    monkeypatch.setattr(headers, "SLOWEST", 1000.0)

    def send_body(*parts):
        waiting = list(parts)

        async def receive():
            seconds, data, more = waiting.pop(0) if waiting else (3600, b"", False)
            await asyncio.sleep(seconds)
            return {"type": "http.request", "body": data, "more_body": more}

        answer = client(method="POST", receive=receive)
        return answer.status, answer.headers.get("connection")

    assert send_body((0, b"x", True)) == (408, "close")
    assert send_body(*[(0.03, b"x", True)] * 10) == (408, "close")
    assert send_body((0.01, b"x" * 1000, True), (0.3, b"x", False)) == (200, None)
    assert caplog.text.count("a request's body did not arrive") == len(caplog.records) == 1


def test_every_answer_has_the_headers_once():
    found = [(name.decode(), text.decode()) for name, text in client().events[0]["headers"]]
    for name, text in headers.security_headers().items():
        assert [value for key, value in found if key.lower() == name.lower()] == [text]
    assert ("x-frame-options", "SAMEORIGIN") in found
    assert "frame-ancestors 'self'" in dict(found)["content-security-policy"].split("; ")
    assert "content-security-policy" in client(origin="null").headers


def test_other_origins_may_show_it_in_a_frame_where_this_is_set(monkeypatch):
    monkeypatch.setenv(headers.FRAME_VARIABLE, "https://slides.example.org http://localhost:3000")
    found = client().headers
    assert "x-frame-options" not in found
    allowed = "frame-ancestors 'self' https://slides.example.org http://localhost:3000"
    assert allowed in found["content-security-policy"].split("; ")


@pytest.mark.parametrize("text", ["slides.example.org", "https://a.example;script-src *", "*", "https://a.example/x"])
def test_what_is_not_an_origin_ends_the_start(monkeypatch, text):
    monkeypatch.setenv(headers.FRAME_VARIABLE, text)
    with pytest.raises(SystemExit, match=headers.FRAME_VARIABLE):
        headers.security_headers()


def test_a_browser_gets_a_cookie_once_that_scripts_cannot_read():
    cookies = [client(scheme=scheme).headers["set-cookie"] for scheme in ("http", "https")]
    assert all(cookie.startswith(f"{headers.COOKIE}=") and "; HttpOnly" in cookie for cookie in cookies)
    assert [cookie.endswith("; Secure") for cookie in cookies] == [False, True]
    first, second = (cookie.split(";")[0] for cookie in cookies)
    assert first != second
    assert "set-cookie" not in client(cookie=f"a=b; {first}").headers
    assert "set-cookie" in client(cookie=f"{headers.COOKIE}=invented").headers
    assert "set-cookie" not in client("/file.js").headers  # a cache may keep it for others


def test_only_this_servers_cookies_are_known_also_after_a_restart(monkeypatch, runs_root):
    value = client().headers["set-cookie"].split(";")[0].partition("=")[2]
    number = headers.visitor_of({headers.COOKIE: value})
    assert number
    assert value.startswith(f"{number}.")
    headers._key.cache_clear()
    assert headers.visitor_of({headers.COOKIE: value}) == number
    assert stat.S_IMODE((runs_root / ".key").stat().st_mode) == 0o600
    for other in ("", number, f"{number}.", f".{value}", f"x{value}", f"{value}x", value.upper(), f"{number}.ü"):
        assert headers.visitor_of({headers.COOKIE: other}) is None
    monkeypatch.setenv("KDEXPLORER_RUNS", str(runs_root / "another"))
    assert headers.visitor_of({headers.COOKIE: value}) is None


def test_a_server_that_cannot_write_still_has_cookies(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KDEXPLORER_RUNS", str(tmp_path / "file"))
    cookie = client().headers["set-cookie"].split(";")[0]
    assert "set-cookie" not in client(cookie=cookie).headers


def test_a_key_of_a_full_disk_is_replaced(runs_root):
    (runs_root / ".key").touch()
    value = client().headers["set-cookie"].split(";")[0].partition("=")[2]
    headers._key.cache_clear()
    assert headers.visitor_of({headers.COOKIE: value})
    assert sorted(file.name for file in runs_root.iterdir()) == [".key", ".key.lock"]


def test_an_address_gets_so_many_cookies_that_vote_and_then_so_many_a_second(monkeypatch, caplog):
    clock = [1000.0]
    monkeypatch.setattr(headers.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(headers, "BROWSERS", 20)
    monkeypatch.setattr(headers, "MANY", 10)

    def admitted(count, address="203.0.113.7"):
        made = [client(address=address).headers["set-cookie"].split(";")[0].partition("=")[2] for _ in range(count)]
        assert all(headers.visitor_of({headers.COOKIE: value}) for value in made)  # the presenter may be among them
        return sum(headers.voter_of({headers.COOKIE: value}) is not None for value in made)

    assert admitted(10) == 10
    assert headers.crowded_addresses() == {}
    assert admitted(30) == 10
    assert headers.crowded_addresses() == {"203.0.113.7": 20}
    assert admitted(5, "203.0.113.8") == 5  # of others as many as before
    clock[0] += 1
    assert admitted(30) == headers.BROWSERS_A_SECOND
    clock[0] += 60
    assert headers.crowded_addresses() == {}
    assert caplog.text.count("new browsers") == 1


def test_a_phone_that_came_beyond_the_limit_votes_once_there_is_room(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(headers.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(headers, "BROWSERS", 1)
    client()
    cookie = client().headers["set-cookie"].split(";")[0]
    for path, seconds, votes in (("/vote", 0, False), ("/", 60, False), ("/vote", 0, True)):
        clock[0] += seconds
        made = client(path, cookie=cookie).headers.get("set-cookie", "").split(";")[0].partition("=")[2]
        assert (headers.voter_of({headers.COOKIE: made}) is not None) == votes == bool(made)


def test_so_many_addresses_are_remembered(monkeypatch):
    monkeypatch.setattr(headers, "ADDRESSES", 3)
    for number in range(6):
        client(address=f"203.0.113.{number}")
    assert list(headers._new) == ["203.0.113.3", "203.0.113.4", "203.0.113.5"]
