"""The first screen of every page in a real browser, on a projector and on a phone: what stands on it, and how large."""

from __future__ import annotations

import pytest

from benchmarks.app import CHROMIUM, settle
from benchmarks.app import browser as chromium_browser
from kdexplorer.runs.checkpoints import bundled_checkpoints
from tests.pages.reading import VIEWS

BUNDLED = {checkpoint.name for checkpoint in bundled_checkpoints()}
NEEDED = {"resnet56", "resnet20-scratch", "resnet20-response"}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is missing"),
    pytest.mark.skipif(bool(NEEDED - BUNDLED), reason="the bundled networks are missing"),
]

PROJECTOR, PHONE, LARGE = (1280, 720), (390, 844), (3840, 2160)
ASKED = "audience?ask=3,5"
CHART = ".st-key-figure .stVegaLiteChart:has(.vega-bind)"
TABLE = "[data-testid=stDataFrame]:visible"
PARTS = {
    "": [".st-key-picture img", ".st-key-figure .stVegaLiteChart"],
    "soft_labels": [".st-key-picture img", f"{CHART} input", f"{CHART} svg"],
    "attention": [".st-key-picture img", f"{CHART} input", f"{CHART} svg"],
    "methods": [".st-key-picture img", ".st-key-figure [data-testid=stSelectbox]", ".st-key-figure .stVegaLiteChart"],
    "live": [".kd-photo", ".kd-slider input", ".kd-predictions tbody"],
    ASKED: [".st-key-question img", ".st-key-vote_next", ".st-key-chart_room svg.marks"],
    "launch": [".st-key-starting_points", ".st-key-start button", "[data-testid=stCode]"],
    "compare": [".st-key-show", TABLE],
    "experiments": [".st-key-experiment_page", ".stVegaLiteChart svg.marks"],
}
"""A page's picture, main control and main figure; of several matches the first."""
WIDE = {
    "": ".st-key-figure .stVegaLiteChart >> nth=1",
    ASKED: "[alt^='QR code of']",
    "launch": TABLE,
    "compare": ".stVegaLiteChart",
}
"""What else stands on a projector's first screen."""

SMALL = """([least]) => {
  const shadows = [...document.querySelectorAll("*")].map((one) => one.shadowRoot).filter(Boolean);
  const drawn = ".stVegaLiteChart svg text, .kd-predictions :is(th, td, label, span, small)";
  return [document, ...shadows].flatMap((root) => [...root.querySelectorAll(drawn)])
    .filter((text) => text.textContent && parseFloat(getComputedStyle(text).fontSize) < least - 0.01)
    .map((text) => text.textContent);
}"""
CUT = """() => [...document.querySelectorAll(".stVegaLiteChart svg")].flatMap((svg) => {
  const {left, right} = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter((text) => {
    const box = text.getBoundingClientRect(), more = parseFloat(getComputedStyle(text).fontSize) / 6;
    return box.width && (box.left < left - more || box.right > right + more || text.textContent.includes("…"));
  }).map((text) => text.textContent);
})"""
"""Texts that are not whole. A text's box is higher than its letters, or wider where it is turned: by a sixth."""
LOW = """() => {
  const kinds = "button, input, a[href], summary, [role=radio], [role=tab], [role=combobox]";
  const shadows = [...document.querySelectorAll("*")].map((one) => one.shadowRoot).filter(Boolean);
  return [document, ...shadows].flatMap((root) => [...root.querySelectorAll(kinds)])
    .map((one) => [one, ((one.type !== "range" && one.closest("label")) || one).getBoundingClientRect()])
    .filter(([, box]) => box.width > 1 && Math.min(box.width, box.height) < 43.5)
    .map(([one, box]) => [one.tagName, one.ariaLabel || one.textContent || one.name, box.width, box.height]);
}"""
BAND = """() => {
  const main = document.querySelector("[data-testid=stMain]"), range = document.createRange();
  const bottom = document.querySelector("[data-testid=stHeader]").getBoundingClientRect().bottom;
  const walker = document.createTreeWalker(main, NodeFilter.SHOW_TEXT), tops = [];
  while (walker.nextNode()) {
    range.selectNodeContents(walker.currentNode);
    const box = range.getBoundingClientRect();
    if (walker.currentNode.textContent.trim() && box.height > 1 && box.bottom > bottom) tops.push(box.top - bottom);
  }
  return Math.min(...tops) / parseFloat(getComputedStyle(document.documentElement).fontSize);
}"""
"""From the menu's bottom to the page's first text, in sizes of the page's text."""
PERCENTAGES = """() => {
  const views = [...document.querySelectorAll("*")].map((one) => one.shadowRoot).filter(Boolean);
  const bars = views.flatMap((view) => [...view.querySelectorAll(".kd-bar")]);
  return bars.filter((bar) => bar.innerText.trim()).map((bar) => {
    const range = document.createRange();
    range.selectNodeContents(bar.querySelector("span"));
    const text = range.getBoundingClientRect(), own = bar.querySelector("i").getBoundingClientRect();
    const size = parseFloat(getComputedStyle(bar).fontSize), middle = (text.top + text.bottom) / 2;
    return [(text.left - own.right) / size, text.right <= bar.getBoundingClientRect().right,
      own.top < middle && middle < own.bottom];
  });
}"""
"""Of each bar of the live view: how far right of it its percentage begins, in sizes of the text, and whether this ends
in the bar's own column and stands in its row."""
RAGGED = """() => [...document.querySelectorAll(".role-legend-symbol path[stroke-dasharray]")]
  .filter((one) => !["", "1,0"].includes(one.getAttribute("stroke-dasharray")))
  .map((one) => one.getAttribute("d")).filter((path) => !/^M-[0-9.]+,0L[0-9.]+,0$/.test(path))"""
"""Markers in legends with a dashed outline: dashes belong to lines."""
SIDEWAYS = """() => {
  const main = document.querySelector("[data-testid=stMain]") || document.documentElement;
  return Math.max(main.scrollWidth - main.clientWidth, document.documentElement.scrollWidth - innerWidth);
}"""
MAIN_CONTROLS = {
    "": ".st-key-figure",
    "soft_labels": "input[type=range]",
    "attention": "input[type=range]",
    "methods": ".st-key-method",
    "live": "input[type=range]",
    ASKED: ".st-key-vote_next",
    "launch": ".st-key-starting_points",
    "compare": ".st-key-show",
    "experiments": ".st-key-experiment_page",
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


def go_to(page, app, name):
    """Opens a page and waits until it is drawn; one with an open question is drawn again every second."""
    page.goto(f"{app}/{name}", wait_until="domcontentloaded")
    if name == ASKED:
        page.locator(PARTS[ASKED][-1]).wait_for()
    else:
        settle(page)


def open_tab(browser, size, **options):
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, **options)
    page.set_default_timeout(120_000)  # a shared machine may take long
    return page


@pytest.fixture(scope="module")
def question(browser, app):
    """A question that is open while these tests run."""
    page = open_tab(browser, PROJECTOR)
    page.goto(f"{app}/{ASKED}", wait_until="domcontentloaded")
    page.get_by_role("button", name="Next question").click()
    page.get_by_alt_text("The picture of the question").wait_for()
    yield
    page.get_by_role("button", name="Delete all questions").click()
    page.get_by_role("button", name="Yes, delete").click()
    page.get_by_text("No question yet").wait_for()
    page.close()


@pytest.mark.usefixtures("question")
@pytest.mark.parametrize("size", [PROJECTOR, PHONE], ids=["projector", "phone"])
def test_picture_control_and_figure_stand_on_the_first_screen(browser, app, size):
    width, height = size
    page = open_tab(browser, size)
    for name, parts in PARTS.items():
        go_to(page, app, name)
        for part in [*parts, *([WIDE[name]] if size == PROJECTOR and name in WIDE else [])]:
            found = page.locator(part).first
            found.wait_for()
            box = found.bounding_box()
            assert min(box["x"], box["y"]) >= 0, (name, part, box)
            assert box["y"] + box["height"] <= height, (name, part, box)
            assert box["x"] + box["width"] <= width, (name, part, box)
        assert page.evaluate(SMALL, [max(12, 0.014 * width)]) == [], name
        assert page.evaluate(CUT) == [], name
        assert page.evaluate(RAGGED) == [], name
        assert page.evaluate(SIDEWAYS) <= 0, name
        assert -0.5 < page.evaluate(BAND) < 1, name  # a line is higher than its letters
    page.close()


@pytest.mark.usefixtures("question")
@pytest.mark.parametrize("name", PARTS)
def test_text_grows_with_a_large_projector(browser, app, name):
    page = open_tab(browser, LARGE)
    go_to(page, app, name)
    page.locator(PARTS[name][-1]).first.wait_for()
    assert page.evaluate(SMALL, [0.014 * LARGE[0]]) == []
    assert page.evaluate(CUT) == []
    assert page.evaluate(SIDEWAYS) <= 0
    page.close()


@pytest.mark.parametrize("size", [PROJECTOR, LARGE], ids=["projector", "large"])
def test_a_percentage_of_the_live_view_stands_beside_its_own_bar(browser, app, size):
    page = open_tab(browser, size)
    page.goto(f"{app}/live", wait_until="domcontentloaded")
    page.locator(".kd-bar", has_text="%").first.wait_for()
    found = page.evaluate(PERCENTAGES)
    assert len(found) >= 3  # one for each network
    assert [(far, *rest) for far, *rest in found if not 0 < far < 0.5 or not all(rest)] == []
    page.close()


def test_compare_has_the_columns_that_fit(browser, app):
    shown = {}
    for width, height in (PHONE, PROJECTOR, (1920, 1080), LARGE):
        page = open_tab(browser, (width, height))
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


@pytest.mark.usefixtures("question")
def test_a_finger_can_press_everything_on_a_phone_and_nothing_is_wider(browser, app):
    page = open_tab(browser, PHONE, has_touch=True, is_mobile=True)
    for name in [*PARTS, *VIEWS]:
        go_to(page, app, name)
        assert page.evaluate(LOW) == [], name
        assert page.evaluate(SIDEWAYS) <= 0, name
    page.goto(f"{app}/vote")
    assert page.evaluate(LOW) == []
    assert page.evaluate(SIDEWAYS) <= 0
    page.close()


@pytest.mark.usefixtures("question")
def test_the_keyboard_reaches_the_main_control_soon(browser, app):
    """Without the skip link; and every slider has a name and its value as text."""
    page = open_tab(browser, PROJECTOR)
    for name, control in MAIN_CONTROLS.items():
        go_to(page, app, name)
        page.locator(control).first.wait_for()
        tabs = 0
        while not page.evaluate(IS_IN, control):
            page.keyboard.press("Tab")
            tabs += 1
            assert tabs < 10, name
        assert page.evaluate(NAMELESS) == [], name
    page.close()


def test_the_menu_is_one_stop_with_arrow_keys(browser, app):
    page = open_tab(browser, PROJECTOR)
    page.goto(f"{app}/methods", wait_until="domcontentloaded")
    settle(page)
    page.get_by_role("link", name="Methods", exact=True).focus()
    for key, name in (("ArrowLeft", "Attention"), ("End", "Experiments"), ("ArrowRight", "Overview")):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.innerText.trim()") == name
    page.keyboard.press("Tab")
    assert not page.evaluate("document.activeElement.closest('[data-testid=stTopNav]')")
    page.close()
