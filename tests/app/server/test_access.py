"""Who may act: the rule itself, and that no page acts without it."""

import ast
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import streamlit as st

from benchmarks.app import ROOT
from kdexplorer.app import launch as launch_page
from kdexplorer.app.launch import form as launch_form
from kdexplorer.app.launch import run as run_view
from kdexplorer.app.server import access, turns
from kdexplorer.datasets import download
from tests.pages.reading import button, link_labels
from tests.pages.runs import make_run

TOKEN = "correct horse battery staple"
BROWSER = {"cookie": "a browser"}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(access, "PAUSE", 0.0)


def test_without_a_token_every_visitor_of_a_server_for_this_machine_alone_may_act():
    own = ["localhost", "127.0.0.1", "::1"]
    others = [None, "", "0.0.0.0", "::", "192.168.1.7", "localhost.evil.example"]
    assert [address for address in own + others if access.is_allowed(address, None, "anything")] == own


def test_another_page_and_a_forwarded_request_are_a_guests_without_a_token():
    own = [{"Host": host} for host in ("localhost", "localhost:8501", "127.0.0.1:8501", "[::1]:8501")]
    own += [{"Origin": "http://LOCALHOST:8501"}, {"Accept-Language": "de", "Sec-Fetch-Site": "same-origin"}]
    # Names of a proxy, or of another site whose name was made to point at this machine:
    others = [{"Host": host} for host in ("kd.example.org", "evil.example:80", "localhost.evil.example", "")]
    others += [{"Origin": f"http://{host}"} for host in ("localhost:3000", "localhost", "evil.example")]
    others += [{"Origin": "null"}, {"Origin": ""}]
    proxies = "Forwarded x-forwarded-host Via X-Real-IP True-Client-IP CF-Ray X-Envoy-External X-Amzn-Trace-Id"
    others += [{name: "203.0.113.7"} for name in (*proxies.split(), "X-Original-Host")]
    proof = access.prove(TOKEN, TOKEN, **BROWSER)
    assert not access.is_allowed("localhost", None, None, {"Host": "localhost:8501"})  # no browser's WebSocket
    for one in own + others:
        headers = {"Host": "localhost:8501"} | one
        headers = {"Origin": f"http://{headers['Host']}"} | headers
        assert access.is_allowed("localhost", None, None, headers) == (one in own), one
        assert access.is_allowed("localhost", TOKEN, proof, headers, **BROWSER)


@pytest.mark.parametrize("address", ["localhost", "0.0.0.0", None])
def test_a_token_that_is_set_must_be_proved_for_the_browser_in_which_it_was_entered(address):
    """A session's id stands in the addresses of uploads, and who knows it can continue the session."""
    assert not access.is_allowed(address, TOKEN, None)
    assert not access.is_allowed(address, TOKEN, TOKEN, **BROWSER)  # the token is not its own proof
    proof = access.prove(TOKEN, TOKEN, **BROWSER)
    assert access.is_allowed(address, TOKEN, proof, **BROWSER)
    assert not access.is_allowed(address, "another token", proof, **BROWSER)
    assert not access.is_allowed(address, TOKEN, proof, cookie="another browser")
    assert not access.is_allowed(address, TOKEN, proof)
    with pytest.raises(access.NotPresenterError, match="cookies"):
        access.prove(TOKEN, TOKEN)


def test_wrong_attempts_of_an_address_wait_for_one_another_and_the_right_one_for_nobody(monkeypatch):
    pauses, inside, begun, go_on = [], [], threading.Semaphore(0), threading.Event()

    def pause(seconds):
        inside.append(seconds)
        assert len(inside) == 1
        begun.release()
        go_on.wait(60)
        pauses.append(seconds)
        inside.clear()

    monkeypatch.setattr(access, "PAUSE", 30.0)
    monkeypatch.setattr(access.time, "sleep", pause)
    with ThreadPoolExecutor(40) as pool:
        attempts = [pool.submit(access.prove, "no", TOKEN, "203.0.113.7") for _ in range(40)]
        assert begun.acquire(timeout=60)
        assert access.prove(TOKEN, TOKEN, "203.0.113.7", **BROWSER)  # while 40 wrong attempts wait
        assert pauses == []
        go_on.set()
    assert {type(attempt.exception()) for attempt in attempts} == {access.NotPresenterError}
    assert pauses == [30.0] * 40


@pytest.mark.parametrize(("token", "refused"), [(None, False), ("x" * 15, True), ("x" * 16, False)])
def test_a_short_token_is_refused_at_the_start_with_a_command_that_makes_one(monkeypatch, token, refused):
    if token is not None:
        monkeypatch.setenv(access.VARIABLE, token)
    with pytest.raises(SystemExit, match=r"secrets\.token_urlsafe") if refused else contextlib.nullcontext():
        access.check_token()


ACTIONS = {"create_run", "launch_run", "start_run", "stop_run", "delete_run", "start_work", "start_download",
           "cancel_download", "start_training", "Measurement"}  # fmt: skip
GUARDS = {"act_if_presenter", "act_and_rerun", "offer_deletion", "offer_estimate"}  # the others act through the second


def names_in(tree):
    """The names and attributes that code uses."""
    return {getattr(node, "attr", getattr(node, "id", None)) for node in ast.walk(tree)}


class WithoutGuards(ast.NodeTransformer):
    """Leaves out what is an argument of a guard, and types, which are no actions."""

    def visit_Call(self, node):
        return None if names_in(node.func) & GUARDS else self.generic_visit(node)

    def visit_arguments(self, node):
        return None

    def visit_AnnAssign(self, node):
        return node.value and self.visit(node.value)


def test_every_action_of_a_page_is_guarded():
    """It is an argument of `access.act…`, or in a function that is only used there."""
    actions = set()
    for path in [*(ROOT / "pages").glob("*.py"), *(ROOT / "kdexplorer" / "app").rglob("*.py")]:
        used = names_in(ast.parse(path.read_text(encoding="utf-8")))
        actions |= used & ACTIONS
        rest = WithoutGuards().visit(ast.parse(path.read_text(encoding="utf-8")))
        for part in [part for part in rest.body if names_in(part) & ACTIONS]:
            assert getattr(part, "name", None) in used - names_in(rest), (path.name, names_in(part) & ACTIONS)
    assert len(actions) >= 8


def enter(at, attempt):
    at.text_input[0].input(attempt)
    button(at, "Enter").click().run()


@pytest.mark.parametrize(("is_presenter", "cookie"), [(True, "hers"), (False, "hers"), (True, "")])
def test_the_presenters_browser_goes_first_and_is_known_again(monkeypatch, nobody_known, is_presenter, cookie):
    visitor = turns.arrive("", cookie)
    monkeypatch.setattr(turns, "own", lambda: visitor)
    monkeypatch.setattr(access, "is_allowed", lambda *arguments: is_presenter)
    assert access.visitor().is_presenter == is_presenter
    known = [cookie for cookie in ("hers", "his", "") if turns.arrive("", cookie).is_presenter]
    assert known == ["hers"] * (is_presenter and cookie != "")  # a browser without cookies is not known


@pytest.fixture
def token(monkeypatch):
    """A presenter token that may be entered in this browser."""
    monkeypatch.setenv(access.VARIABLE, TOKEN)
    monkeypatch.setattr(access, "_cookie", lambda: BROWSER["cookie"])


def test_a_guest_sees_what_there_is_to_do_and_cannot_delete_a_run_before_the_token_is_entered(token, open_page, caplog):
    caplog.set_level("DEBUG")
    run = make_run("stopped")
    at = open_page("launch")
    keys = {one.key for one in at.button}
    assert not keys & {"start", "start_estimate", "download_cifar10"}
    assert any(key.startswith("open_") for key in keys if key)
    assert link_labels(at) == ["Live", "Soft labels", "Attention", "Compare"]
    enter(at, TOKEN)
    assert "train_now" in {one.key for one in at.button}
    at = open_page("launch", run=run.run_id)
    assert any(run.run_id in one.value for one in at.markdown)
    assert "delete" not in [one.key for one in at.button]
    enter(at, "wrong")
    assert "not the presenter token" in at.error[0].value
    enter(at, TOKEN)
    assert not any("presenter token" in block.value for block in at.markdown)
    assert TOKEN not in str(at.main) + str(at.session_state) + str(at.query_params) + caplog.text
    at.button(key="delete").click().run()
    assert not run.path.exists()


def test_what_a_guests_browser_sends_does_not_act(monkeypatch, open_page):
    """The buttons were drawn for a presenter who has left; a guest has no form at all."""
    stopped, running = make_run("stopped"), make_run("running")
    done = []
    actions = {launch_form: ("launch_run", "Measurement"), run_view: ("start_run", "stop_run", "delete_run")}
    for module, names in (actions | {launch_page: ("Measurement",), download: ("start_download",)}).items():
        for name in names:
            monkeypatch.setattr(module, name, lambda *_, name=name: done.append(name))
    form = open_page("launch", customize="true")
    form.button_group(key="form_dataset").set_value("cifar10").run()
    no_demo = open_page("launch", customize="true")
    no_demo.number_input(key="form_seed").set_value(1).run()
    opened = [
        (form, "download_cifar10"),
        (no_demo, "start_estimate"),
        (open_page("launch"), "train_now"),
        (open_page("launch", run=running.run_id), "stop"),
        (open_page("launch", run=stopped.run_id), "resume"),
        (open_page("launch", run=stopped.run_id), "delete"),
    ]
    monkeypatch.setattr(access, "is_allowed", lambda *_: False)
    for at, key in opened:
        at.button(key=key).click().run()
    assert done == []


def test_without_a_token_on_an_open_address_the_page_says_how_to_enable_the_actions(monkeypatch, open_page):
    option = st.get_option
    monkeypatch.setattr(st, "get_option", lambda name: "0.0.0.0" if name == "server.address" else option(name))
    assert access.VARIABLE in open_page("launch").info[0].value
