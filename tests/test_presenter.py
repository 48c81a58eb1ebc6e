"""Who may act: the rule itself, and that no page goes round it."""

import re
import threading
from pathlib import Path

import pytest

from kdexplorer import download, estimate, presenter, runs
from kdexplorer.config import ExperimentConfig

ROOT = Path(__file__).resolve().parent.parent
TOKEN = "correct horse battery staple"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(presenter, "PAUSE", 0.0)
    monkeypatch.delenv(presenter.VARIABLE, raising=False)


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1", "::1"])
def test_on_this_machine_alone_whoever_sits_there_may_act(address):
    assert presenter.allowed(address, None, None)


@pytest.mark.parametrize("host", ["localhost:8501", "127.0.0.1:8501", "[::1]:8501", "localhost", "127.0.0.1", None])
def test_who_comes_under_a_local_name_sits_here(host):
    assert presenter.allowed("localhost", None, None, host)


@pytest.mark.parametrize("host", ["kd.example.org", "evil.example:80", "localhost.evil.example", "", "192.168.1.7:80"])
def test_a_foreign_name_that_points_here_is_a_guest(host):
    """A proxy, or a web page elsewhere whose name was made to point at this machine."""
    assert not presenter.allowed("localhost", None, None, host)


@pytest.mark.parametrize("address", [None, "", "0.0.0.0", "::", "192.168.1.7", "localhost.evil.example"])
def test_elsewhere_nobody_may_act_without_a_token_set(address):
    assert not presenter.allowed(address, None, None)
    assert not presenter.allowed(address, None, "anything")


@pytest.mark.parametrize("address", ["localhost", "0.0.0.0"])
def test_a_token_that_is_set_must_be_proved(address):
    assert not presenter.allowed(address, TOKEN, None)
    assert not presenter.allowed(address, TOKEN, TOKEN)  # the token is not its own proof
    assert presenter.allowed(address, TOKEN, presenter.prove(TOKEN, TOKEN))
    assert not presenter.allowed(address, "another token", presenter.prove(TOKEN, TOKEN))


@pytest.mark.parametrize(
    "given", ["", "Correct horse battery staple", TOKEN + " ", TOKEN[:-1], "\0", "\ud800", "x" * 5000]
)
def test_what_is_not_the_token_proves_nothing_and_is_not_repeated(given):
    with pytest.raises(presenter.NotPresenterError) as caught:
        presenter.prove(given, TOKEN)
    assert TOKEN not in str(caught.value)


def test_attempts_wait_for_one_another(monkeypatch):
    naps, inside = [], []

    def nap(seconds):
        inside.append(seconds)
        assert len(inside) == 1
        naps.append(seconds)
        inside.clear()

    monkeypatch.setattr(presenter, "PAUSE", 0.5)
    monkeypatch.setattr(presenter.time, "sleep", nap)

    def attempt():
        with pytest.raises(presenter.NotPresenterError):
            presenter.prove("no", TOKEN)

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert naps == [0.5] * 8


def test_pages_act_through_the_door_alone():
    """What acts stands behind `door.` in its line, or in a function that is only ever named behind it."""
    acts = re.compile(
        r"\b((runs|sweep)\.(launch|start|stop|delete|create)|download\.(start|cancel)|estimate\.Measurement\()\b"
    )
    found = 0
    for page in [*(ROOT / "pages").glob("*.py"), *(ROOT / "kdexplorer" / "ui").glob("*.py")]:
        text, inside = page.read_text(encoding="utf-8"), ""
        for line in text.splitlines():
            inside = line[4:].partition("(")[0] if line.startswith("def ") else inside
            if acts.search(line):
                found += 1
                named = [use for use in text.splitlines() if re.search(rf"\b{inside}\(", use)]
                others = [use for use in named if not use.startswith("def ")]
                behind = others and all("door." in use for use in others)
                assert "door." in line or behind, f"{page.name}: {line.strip()}"
    assert found >= 7


def enter(at, given):
    at.text_input[0].input(given)
    next(button for button in at.button if button.label == "Enter").click().run()


def test_a_guest_sees_the_run_and_cannot_delete_it_until_the_token_is_entered(monkeypatch, open_page, caplog):
    caplog.set_level("DEBUG")
    monkeypatch.setenv(presenter.VARIABLE, TOKEN)
    students = [{"name": "scratch", "architecture": "resnet8"}]
    run = runs.create(ExperimentConfig(dataset="synthetic", students=students))
    run.write_status("stopped", "stopped; it can be resumed")
    at = open_page("launch", run=run.run_id)
    assert any(run.run_id in caption.value for caption in at.caption)
    at.button(key="discard").click().run()
    assert "presenter token" in at.error[0].value
    assert run.path.is_dir()
    enter(at, "wrong")
    assert "not the presenter token" in at.error[0].value
    enter(at, TOKEN)
    assert not any("presenter token" in block.value for block in at.markdown)
    assert TOKEN not in str(at.main) + str(at.session_state) + str(at.query_params) + caplog.text
    at.button(key="discard").click().run()
    assert not run.path.exists()


@pytest.mark.parametrize("secret", [TOKEN, None], ids=["no token entered", "no token set"])
def test_a_guest_sees_every_button_and_none_of_them_acts(monkeypatch, open_page, tmp_path, secret):
    monkeypatch.setattr(presenter, "LOCAL", ())
    monkeypatch.setenv("KDEXPLORER_DATA", str(tmp_path))
    if secret:
        monkeypatch.setenv(presenter.VARIABLE, secret)
    config = ExperimentConfig(dataset="synthetic", students=[{"name": "scratch", "architecture": "resnet8"}])
    stopped, running = runs.create(config), runs.create(config)
    stopped.write_status("stopped")
    running.write_status("running")
    done = []
    actions = [(runs, name) for name in ("launch", "start", "stop", "delete")]
    for module, name in [*actions, (download, "start"), (estimate, "Measurement")]:
        monkeypatch.setattr(module, name, lambda *_, name=name: done.append(name))
    form = open_page("launch")
    form.button_group(key="form_dataset").set_value("cifar10").run()
    for at, key in [
        (form, "get_cifar10"), (open_page("launch"), "estimate_button"), (open_page("launch"), "start"),
        (open_page("launch", run=running.run_id), "stop"), (open_page("launch", run=stopped.run_id), "resume"),
        (open_page("launch", run=stopped.run_id), "discard"),
    ]:  # fmt: skip
        at.button(key=key).click().run()
        assert any("presenter token" in error.value or presenter.VARIABLE in error.value for error in at.error), key
    assert done == []


def test_with_no_token_on_an_open_address_the_page_says_how_to_turn_it_on(monkeypatch, open_page):
    import streamlit as st

    option = st.get_option
    monkeypatch.setattr(st, "get_option", lambda name: "0.0.0.0" if name == "server.address" else option(name))
    at = open_page("launch")
    assert presenter.VARIABLE in at.info[0].value
