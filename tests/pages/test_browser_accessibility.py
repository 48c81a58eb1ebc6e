"""axe-core on every page and on the handout, in both themes: nothing serious, headings in order, all in regions."""

from __future__ import annotations

from importlib import resources

import pytest

from benchmarks.app import CHROMIUM, browser, running, settle
from kdexplorer.app.navigation import TITLES
from kdexplorer.handout import page as handout_page
from kdexplorer.handout.request import HandoutRequest, open_sources
from kdexplorer.handout.request import test_pictures as load_test_pictures
from kdexplorer.runs.checkpoints import bundled_checkpoints
from tests.pages.reading import VIEWS
from tests.pages.runs import make_run

NETWORKS = ("resnet56", "resnet20-scratch", "resnet20-response")
SLOW = 120_000  # a shared machine may take long
BAD = ("serious", "critical")
RULES = ("heading-order", "region")
"""What is counted too, although it is less severe."""
THEMES = ("light", "dark")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is missing"),
    pytest.mark.skipif(bool(set(NETWORKS) - {c.name for c in bundled_checkpoints()}), reason="networks are missing"),
]


@pytest.fixture(scope="module")
def chromium():
    with browser() as started:
        yield started


def open_tab(chromium, theme):
    context = chromium.new_context(viewport={"width": 1280, "height": 720}, color_scheme=theme)
    context.set_default_timeout(SLOW)
    return context.new_page()


@pytest.fixture(params=THEMES)
def tab(request, chromium):
    opened = open_tab(chromium, request.param)
    yield opened
    opened.context.close()


def find_violations(tab):
    """Rule, place and reason of each violation that is serious or critical, or of `RULES`."""
    script = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    tab.evaluate(script)
    found = tab.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        (violation["id"], node["target"], node["failureSummary"])
        for violation in found
        if violation["impact"] in BAD or violation["id"] in RULES
        for node in violation["nodes"]
    ]


def test_the_pages(tab, app):
    found = []
    for name in ["", *list(TITLES)[1:], *VIEWS]:  # the first is the home page
        tab.goto(f"{app}/{name}", wait_until="domcontentloaded")
        settle(tab)
        tab.wait_for_timeout(300)  # what is wider than its place becomes reachable once the layout has settled
        found += [(name, *violation) for violation in find_violations(tab)]
    assert not found


def test_a_finished_run(chromium, runs_root, tmp_path):
    run = make_run(students=("scratch", "response"))
    with running(tmp_path, KDEXPLORER_RUNS=str(runs_root)) as url:
        for theme in THEMES:
            tab = open_tab(chromium, theme)
            tab.goto(f"{url}/launch?run={run.run_id}", wait_until="domcontentloaded")
            settle(tab)
            assert tab.get_by_role("button", name="Play", exact=True).count() == 1
            assert not find_violations(tab)


def test_a_question_on_the_projector_and_on_a_phone(chromium, tmp_path):
    with running(tmp_path) as url:
        for theme in THEMES:
            tab = open_tab(chromium, theme)
            tab.goto(f"{url}/audience?ask=3,5", wait_until="domcontentloaded")
            tab.get_by_role("button", name="Next question").click()
            tab.get_by_alt_text("The picture of the question").wait_for()  # else the click may not have been sent
            for path in ("audience?ask=3,5", "audience?ask=3,5&view=projector", "vote"):
                tab.goto(f"{url}/{path}", wait_until="domcontentloaded")
                if path == "vote":
                    tab.get_by_role("button", name="ship").click()
                    tab.get_by_text("Counted").wait_for()
                else:
                    tab.get_by_alt_text("The picture of the question").wait_for()
                    settle(tab)
                assert not find_violations(tab), path


def test_the_handout(tab, tmp_path):
    networks = {one.name: one for one in bundled_checkpoints() if one.name in NETWORKS}
    sources = open_sources()
    pictures, address = load_test_pictures([3], networks[NETWORKS[0]], sources), "https://kd.example.org"
    request = HandoutRequest({name: networks[name] for name in NETWORKS}, pictures, experiments=True, address=address)
    (tmp_path / "handout.html").write_text(handout_page.build(request, sources), encoding="utf-8")
    tab.goto((tmp_path / "handout.html").as_uri())
    tab.wait_for_selector("[data-chart=mirrored] svg")
    assert not find_violations(tab)
    assert tab.locator("[tabindex='0']").count()
    assert tab.locator("[tabindex='0']:not([role][aria-label])").count() == 0
