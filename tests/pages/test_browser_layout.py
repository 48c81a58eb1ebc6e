"""The first screen of every page in a real browser, on a projector and on a phone: what stands on it, and how large."""

from __future__ import annotations

import pytest

from benchmarks.app import CHROMIUM, settle
from benchmarks.app import browser as chromium_browser
from kdexplorer.app.navigation import TITLES
from kdexplorer.runs.checkpoints import bundled_checkpoints
from tests.pages.reading import VIEWS

BUNDLED = {checkpoint.name for checkpoint in bundled_checkpoints()}
NEEDED = {"resnet56", "resnet20-scratch", "resnet20-response"}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is missing"),
    pytest.mark.skipif(bool(NEEDED - BUNDLED), reason="the bundled networks are missing"),
]

PROJECTOR, PHONE = (1280, 720), (390, 844)
CHART = ".st-key-figure .stVegaLiteChart:has(.vega-bind)"
TABLE = "[data-testid=stDataFrame]:visible"
PARTS = {
    "": [".st-key-picture img", ".st-key-figure .stVegaLiteChart"],
    "soft_labels": [".st-key-picture img", f"{CHART} input", f"{CHART} svg"],
    "attention": [".st-key-picture img", f"{CHART} input", f"{CHART} svg"],
    "methods": [".st-key-picture img", ".st-key-figure [data-testid=stSelectbox]", ".st-key-figure .stVegaLiteChart"],
    "live": [".kd-photo", ".kd-slider input", ".kd-predictions tbody"],
    "launch": [".st-key-starting_points", ".st-key-start button", "[data-testid=stCode]"],
    "compare": [".st-key-pick_show", TABLE],
}
"""A page's picture, main control and main figure; of several matches the first."""
WIDE = {"": ".st-key-figure .stVegaLiteChart >> nth=1", "launch": TABLE, "compare": ".stVegaLiteChart"}
"""What else stands on a projector's first screen."""

SMALL = """([least]) => [...document.querySelectorAll(".stVegaLiteChart svg text")]
  .filter((text) => text.textContent && parseFloat(getComputedStyle(text).fontSize) < least - 0.01)
  .map((text) => text.textContent)"""
CUT = """() => [...document.querySelectorAll(".stVegaLiteChart svg")].flatMap((svg) => {
  const {left, right} = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter((text) => {
    const box = text.getBoundingClientRect();
    return box.width && (box.left < left - 2 || box.right > right + 2 || text.textContent.includes("…"));
  }).map((text) => text.textContent);
})"""
LOW = """() => {
  const kinds = "button, input, a[href], summary, [role=radio], [role=tab], [role=combobox]";
  const shadows = [...document.querySelectorAll("*")].map((one) => one.shadowRoot).filter(Boolean);
  return [document, ...shadows].flatMap((root) => [...root.querySelectorAll(kinds)])
    .map((one) => [one, (one.closest("label") || one).getBoundingClientRect()])
    .filter(([, box]) => box.width > 1 && Math.min(box.width, box.height) < 43.5)
    .map(([one, box]) => [one.tagName, one.ariaLabel || one.textContent || one.name, box.width, box.height]);
}"""
SIDEWAYS = """() => {
  const main = document.querySelector("[data-testid=stMain]") || document.documentElement;
  return Math.max(main.scrollWidth - main.clientWidth, document.documentElement.scrollWidth - innerWidth);
}"""
MAIN_CONTROLS = {
    "": ".st-key-figure",
    "soft_labels": "input[type=range]",
    "attention": "input[type=range]",
    "methods": ".st-key-pick_method",
    "live": "input[type=range]",
    "audience?ask=3": ".st-key-vote_next",
    "launch": ".st-key-starting_points",
    "compare": ".st-key-pick_show",
    "experiments": ".st-key-pick_experiment",
}
IS_IN = """(control) => {
  let active = document.activeElement;
  while (active?.shadowRoot) active = active.shadowRoot.activeElement;
  return Boolean(active?.closest(control));
}"""
NAMELESS = """() => {
  const shadows = [...document.querySelectorAll("*")].map((one) => one.shadowRoot).filter(Boolean);
  return [document, ...shadows].flatMap((root) => [...root.querySelectorAll("input[type=range], [role=slider]")])
    .filter((one) => !(one.ariaLabel || one.labels?.[0]?.innerText) || !one.ariaValueText)
    .map((one) => one.outerHTML);
}"""


@pytest.fixture(scope="module")
def browser():
    with chromium_browser() as chromium:
        yield chromium


@pytest.mark.parametrize("size", [PROJECTOR, PHONE], ids=["projector", "phone"])
def test_picture_control_and_figure_stand_on_the_first_screen(browser, app, size):
    width, height = size
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(120_000)  # a shared machine may take long
    for name, parts in PARTS.items():
        page.goto(f"{app}/{name}", wait_until="domcontentloaded")
        settle(page)
        for part in [*parts, *([WIDE[name]] if size == PROJECTOR and name in WIDE else [])]:
            found = page.locator(part).first
            found.wait_for()
            box = found.bounding_box()
            assert min(box["x"], box["y"]) >= 0, (name, part, box)
            assert box["y"] + box["height"] <= height, (name, part, box)
            assert box["x"] + box["width"] <= width, (name, part, box)
        assert page.evaluate(SMALL, [max(12, 0.014 * width)]) == [], name
        assert page.evaluate(CUT) == [], name
        assert page.evaluate(SIDEWAYS) <= 0, name
    page.close()


def test_compare_has_the_columns_that_fit(browser, app):
    shown = {}
    for width, height in (PHONE, PROJECTOR, (1920, 1080), (3840, 2160)):
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(120_000)
        page.goto(f"{app}/compare", wait_until="domcontentloaded")
        settle(page)
        table = page.locator(f".st-key-summary {TABLE}")
        assert table.count() == 1
        table.locator("th", has_text="Accuracy").first.wait_for(state="attached")
        headings = table.locator("th").all_text_contents()
        scroller = table.locator(".dvn-scroller").first
        assert scroller.evaluate("one => one.scrollWidth - one.clientWidth") <= 1, (width, headings)
        shown[width] = len(headings)
        page.close()
    assert shown[390] < shown[1280] < shown[1920] < shown[3840]


def test_a_finger_can_press_everything_on_a_phone_and_nothing_is_wider(browser, app):
    page = browser.new_page(viewport={"width": PHONE[0], "height": PHONE[1]}, has_touch=True, is_mobile=True)
    page.set_default_timeout(120_000)
    for name in ["", *list(TITLES)[1:], "vote", *VIEWS]:  # the first is the home page
        page.goto(f"{app}/{name}", wait_until="domcontentloaded")
        if name != "vote":
            settle(page)
        assert page.evaluate(LOW) == [], name
        assert page.evaluate(SIDEWAYS) <= 0, name
    page.close()


def test_the_keyboard_reaches_the_main_control_soon(browser, app):
    """Without the skip link; and every slider has a name and its value as text."""
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.set_default_timeout(120_000)
    for name, control in MAIN_CONTROLS.items():
        page.goto(f"{app}/{name}", wait_until="domcontentloaded")
        settle(page)
        page.locator(control).first.wait_for()
        tabs = 0
        while not page.evaluate(IS_IN, control):
            page.keyboard.press("Tab")
            tabs += 1
            assert tabs < 10, name
        assert page.evaluate(NAMELESS) == [], name
    page.close()


def test_the_menu_is_one_stop_with_arrow_keys(browser, app):
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.goto(f"{app}/methods", wait_until="domcontentloaded")
    settle(page)
    page.get_by_role("link", name="Methods", exact=True).focus()
    for key, name in (("ArrowLeft", "Attention"), ("End", "Experiments"), ("ArrowRight", "Overview")):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.innerText.trim()") == name
    page.keyboard.press("Tab")
    assert not page.evaluate("document.activeElement.closest('[data-testid=stTopNav]')")
    page.close()
