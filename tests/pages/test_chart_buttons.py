"""The buttons that save charts, without a browser: one for each chart, and what they pass on when they are open."""

import json

import pytest

from kdexplorer.app.layout import TITLES
from kdexplorer.app.parts import chart_view
from tests.pages.reading import open_popover, open_tab, specs
from tests.pages.runs import CIFAR10_CARD, make_run


def popovers(at):
    return [key for key in at.session_state if key.startswith("save_open_")]


@pytest.mark.parametrize("page", TITLES)
def test_every_chart_has_a_closed_button_that_sends_nothing(family, open_page, page, monkeypatch):
    monkeypatch.setattr(chart_view, "_describe", lambda *_: pytest.fail("a button is open"))
    at = open_page(page)
    assert len(popovers(at)) == len(specs(at))


@pytest.fixture
def passed(monkeypatch):
    """What open buttons have passed on."""
    passed = []
    monkeypatch.setattr(chart_view, "_offer", lambda data, **_: passed.append(data))
    return passed


def test_an_open_button_says_what_the_chart_is_of(family, open_page, passed):
    at = open_page("soft_labels", image="25")
    open_popover(at, next(key for key in popovers(at) if key.startswith("save_open_soft-labels")))
    (data,) = passed
    assert data["source"] == "KD Explorer, Soft labels: CIFAR-10 test image 25, teacher → small-scratch, small-response"
    assert (data["name"], data["of"]) == ("Soft labels", "CIFAR-10 test image 25")
    assert max(data["tables"], key=len)[0]["network"] == "teacher"
    json.dumps(data, allow_nan=False)


def test_the_chart_of_a_run_names_it_and_has_no_button_while_it_trains(open_page, passed):
    at = open_page("launch", run=make_run("running").run_id)
    assert specs(at)
    assert not popovers(at)
    run = make_run()
    at = open_page("launch", run=run.run_id)
    open_popover(at, next(key for key in popovers(at) if "accuracy" in key))
    assert passed[0]["source"] == f"KD Explorer, demo: run {run.run_id}"


def test_names_that_are_alike_do_not_meet(own, make_checkpoint, open_page):
    for number, name in enumerate(("a" * 60 + "-x", "a" * 60 + "-y")):
        make_checkpoint(own / name, "resnet8", number, **CIFAR10_CARD)
    at = open_tab(open_page("soft_labels"), "Curves over T")
    assert len(set(popovers(at))) == len(specs(at))
