"""Every page in a real browser, on a projector, on a large one and on a phone: what stands on its first screen, how
large, whether the keyboard and a finger reach it, and what axe-core says of it in both themes."""

from importlib import resources

import pytest

from benchmarks.app import settle
from kdexplorer.app.audience import votes
from kdexplorer.vote.questions import SoftLabel
from kdexplorer.vote.store import open_store
from tests.pages.runs import make_run
from tests.tab import LARGE, PHONE, PROJECTOR
from tests.vote.conftest import ask

pytestmark = pytest.mark.browser

BAD, RULES = ("serious", "critical"), ("heading-order", "region")
"""What axe-core finds that is severe, and what is counted although it is less so."""
ASKED = "audience?ask=3,5"
CHART = ".st-key-figure .stVegaLiteChart:has(.vega-bind)"
TABLE = "[data-testid=stDataFrame]:visible"
PARTS = {
    "": [".st-key-picture img", f"{CHART} input", f"{CHART} svg"],
    "soft_labels": [".st-key-picture img", f"{CHART} input", f"{CHART} svg"],
    "attention": [".st-key-picture img", f"{CHART} input", f"{CHART} svg"],
    "methods": [".st-key-picture img", ".st-key-figure [data-testid=stSelectbox]", ".st-key-figure .stVegaLiteChart"],
    "live": [".kd-photo", ".kd-slider input", ".kd-predictions tbody"],
    ASKED: [".st-key-question img", ".st-key-vote_next", ".st-key-chart_room svg.marks"],
    "launch": [".st-key-train_now button", "[data-testid=stMetricValue]"],
    "compare": [".st-key-show", TABLE],
    "experiments": [".st-key-experiment", ".stVegaLiteChart svg.marks"],
}
"""A page's picture, main control and main figure; of several matches the first."""
WIDE = {
    "": [".st-key-ways_on button >> nth=1", ".st-key-photo_input button"],
    "attention": [".st-key-figure .stVegaLiteChart svg text:text('attention (1 = even)')"],
    ASKED: ["[alt^='QR code of']"],
    "compare": [".stVegaLiteChart"],
}
"""What else stands on a projector's first screen."""

VIEWS = ("?story=1", "?story=notes", "?figure=gradient", "?figure=temperature_curves", "?figure=method", "?figure=vote")
"""Addresses of what is no page: a step of the lecture, its notes, and figures alone, one for each kind of control."""
DRAWN = ".stVegaLiteChart svg text, .kd-predictions :is(th, td, label, span, small)"
SMALL = """(all, least) =>
  all.filter((text) => text.textContent && parseFloat(getComputedStyle(text).fontSize) < least - 0.01)
    .map((text) => text.textContent)"""
CUT = """() => [...document.querySelectorAll(".stVegaLiteChart svg")].flatMap((svg) => {
  const {left, right} = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter((text) => {
    const box = text.getBoundingClientRect(), more = parseFloat(getComputedStyle(text).fontSize) / 6;
    return box.width && (box.left < left - more || box.right > right + more || text.textContent.includes("…"));
  }).map((text) => text.textContent);
})"""
"""Texts that are not whole. A text's box is higher than its letters, or wider where it is turned: by a sixth."""
OVERLAPPING = """() => [...document.querySelectorAll(".stVegaLiteChart svg")].flatMap((svg) => {
  const texts = [...svg.querySelectorAll("text:not([transform*=rotate])")].filter((text) => text.textContent.trim());
  const boxes = texts.map((text) => text.getBoundingClientRect());
  const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > Math.min(a.height, b.height) / 2;
  const stands = (_, k) => boxes.some((box, other) => other < k && meet(box, boxes[k]));
  return texts.filter(stands).map((text) => text.textContent);
})"""
"""Texts that stand in one another."""
TOUCHED = "button, input, a[href], summary, [role=radio], [role=tab], [role=combobox]"
LOW = """(all) => all
  .map((one) => [one, ((one.type !== "range" && one.closest("label")) || one).getBoundingClientRect()])
  .filter(([, box]) => box.width > 1 && Math.min(box.width, box.height) < 43.5)
  .map(([one, box]) => [one.tagName, one.ariaLabel || one.textContent || one.name, box.width, box.height])"""
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
PERCENTAGES = """(bars) => bars.filter((bar) => bar.innerText.trim()).map((bar) => {
  const range = document.createRange();
  range.selectNodeContents(bar.querySelector("span"));
  const text = range.getBoundingClientRect(), own = bar.querySelector("i").getBoundingClientRect();
  const size = parseFloat(getComputedStyle(bar).fontSize), middle = (text.top + text.bottom) / 2;
  return [(text.left - own.right) / size, text.right <= bar.getBoundingClientRect().right,
    own.top < middle && middle < own.bottom];
})"""
"""Of each bar of the live view: how far right of it its percentage begins, in sizes of the text, and whether this ends
in the bar's own column and stands in its row."""
RIGHT = """Math.max(0, ...[...document.querySelectorAll(".stVegaLiteChart svg")]
  .map((svg) => Math.round(svg.getBoundingClientRect().right)))"""
"""Where the charts end."""
SIDEWAYS = """() => {
  const main = document.querySelector("[data-testid=stMain]") || document.documentElement;
  return Math.max(main.scrollWidth - main.clientWidth, document.documentElement.scrollWidth - innerWidth);
}"""
BELOW = """() => {
  const end = document.querySelector(".st-key-story_footer, .st-key-figure_leave")?.getBoundingClientRect().top;
  return [...document.querySelectorAll(".st-key-kd_figure :is(svg.marks, img, p, button)")]
    .filter((one) => one.checkVisibility({opacityProperty: true}) && one.getBoundingClientRect().bottom > end + 4)
    .map((one) => one.outerHTML.slice(0, 80));
}"""
"""What a figure alone, or a lecture's, shows below its place, where the buttons are."""
SHIFT = """() => new Promise((tell) => new PerformanceObserver((list) =>
  tell(list.getEntries().reduce((sum, one) => sum + (one.hadRecentInput ? 0 : one.value), 0))
).observe({type: "layout-shift", buffered: true}))"""
"""How much of the page has moved since it was opened."""
FAINT = """() => {
  const body = getComputedStyle(document.querySelector("[data-testid=stMain] h1")).color;
  return [...document.querySelectorAll("svg :is(.role-axis-label, .role-axis-title, .role-legend-label) text")]
    .filter((one) => getComputedStyle(one).fill !== body && one.getAttribute("fill") !== "currentColor")
    .map((one) => one.textContent);
}"""
"""Texts of axes and legends that have another color than the page's."""
NAMELESS = """(all) =>
  all.filter((one) => !(one.ariaLabel || one.labels?.[0]?.innerText) || !one.ariaValueText)
    .map((one) => one.outerHTML)"""
"""Sliders without a name or without their value as text."""


def find_violations(page, **only):
    """Rule, place and reason of each violation that is serious or critical, or of `RULES`."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("(only) => axe.run(document, {resultTypes: ['violations'], ...only})", only)["violations"]
    return [
        (violation["id"], node["target"], node["failureSummary"])
        for violation in found
        if violation["impact"] in BAD or violation["id"] in RULES
        for node in violation["nodes"]
    ]


def check_themes(page, wait=settle):
    """axe-core on the open page in the light theme, then on its colors in the dark one."""
    assert not find_violations(page)
    page.emulate_media(color_scheme="dark")
    wait(page)
    assert not find_violations(page, runOnly={"type": "rule", "values": ["color-contrast"]})
    page.emulate_media(color_scheme="light")


def check_parts(page, name, size):
    """The page's picture, control and figure stand on its first screen, which begins at its top."""
    (width, height), wide = size, WIDE.get(name, []) if size == PROJECTOR else []
    for part in [*PARTS[name], *wide]:
        found = page.locator(part).first
        found.wait_for()
        box = found.bounding_box()
        assert min(box["x"], box["y"]) >= 0, (part, box)
        assert box["y"] + box["height"] <= height, (part, box)
        assert box["x"] + box["width"] <= width, (part, box)
    assert -0.5 < page.evaluate(BAND) < 1  # a line is higher than its letters


def check_texts(page, least):
    """Texts are whole, at least so many pixels high, and nothing is wider than the screen."""
    assert page.locator(DRAWN).evaluate_all(SMALL, least) == []
    assert page.evaluate(CUT) == []
    assert page.evaluate(SIDEWAYS) <= 0


@pytest.fixture
def question(app_runs):
    """A question that is open."""
    asked = ask().model_copy(update={"teacher": SoftLabel(name="teacher", temperature=4, shares=(0.1,) * 10)})
    open_store().start(asked)
    for voter in range(votes.FEW):
        open_store().vote(asked.key, 0, f"somebody {voter}")


@pytest.mark.usefixtures("question")
@pytest.mark.parametrize("name", PARTS)
def test_a_page_on_projectors(tab, name):
    has_slider_view_or_table = name in ("soft_labels", "live", "compare")
    for size in (LARGE, PROJECTOR) if has_slider_view_or_table else (PROJECTOR,):
        page = tab.resize(size).open(name).page
        page.locator(PARTS[name][-1]).first.wait_for()
        assert page.evaluate(SHIFT) < 0.1
        assert page.evaluate(FAINT) == []
        check_texts(page, max(12, 0.014 * size[0]))
        if name == "live":
            page.locator(".kd-bar", has_text="%").first.wait_for()
            bars = page.locator(".kd-bar").evaluate_all(PERCENTAGES)
            assert len(bars) >= 3  # one for each network
            assert [(far, *rest) for far, *rest in bars if not 0 < far < 0.5 or not all(rest)] == []
    check_parts(page, name, PROJECTOR)
    check_themes(page)
    control, stops = ".st-key-stage" if name == "attention" else PARTS[name][-2], 0
    while not page.locator(f"{control}:focus, {control} :focus").count():  # a few stops lead to the main control
        page.keyboard.press("Tab")
        stops += 1
        assert stops < 10
    assert page.locator("input[type=range], [role=slider]").evaluate_all(NAMELESS) == []


def test_the_attention_maps_are_large(tab):
    page = tab.resize(PROJECTOR).open("attention").page
    page.locator(f"{CHART} svg image").first.wait_for()
    sides = sorted(one.bounding_box()["width"] for one in page.locator(f"{CHART} svg image").all())
    assert len(sides) == 6  # the photo and the map of a teacher and two students
    assert sides[0] >= 240
    page.get_by_role("button", name="Full screen").click()
    page.locator(".st-key-figure_leave").wait_for()
    tab.settle()
    assert min(one.bounding_box()["width"] for one in page.locator("svg image").all()) >= 280
    assert page.get_by_role("button", name="Leave").bounding_box()["y"] < 720


@pytest.mark.usefixtures("question")
@pytest.mark.parametrize("name", [*PARTS, *VIEWS, f"{ASKED}&view=projector", "methods?method=at"])
def test_a_page_on_a_phone(phone, name):
    page = phone.open(name).page
    if name in PARTS:
        page.locator(PARTS[name][-1]).first.wait_for()
        assert page.evaluate(SHIFT) < 0.1
        check_parts(page, name, PHONE)
        check_texts(page, 12)
    else:
        check_themes(page)
    assert page.locator(TOUCHED).evaluate_all(LOW) == []
    assert page.evaluate(BELOW) == []
    assert page.evaluate(OVERLAPPING) == []
    assert page.evaluate(SIDEWAYS) <= 0
    assert page.evaluate(RIGHT) <= PHONE[0]


def test_the_tabs_and_the_menu_of_a_phone(phone):
    page = phone.open("soft_labels").page
    page.get_by_role("tab").first.wait_for()
    wide = "all => all.map((one) => one.scrollWidth - one.clientWidth)"
    assert max(page.get_by_role("tab").evaluate_all(wide)) <= 1  # no name in the next tab
    page.get_by_role("button", name="Expand sidebar").click()
    page.get_by_role("button", name="Collapse sidebar").click()  # nothing lies over it
    page.get_by_role("button", name="Present").wait_for()


@pytest.mark.usefixtures("question")
def test_the_page_of_the_vote(phone):
    page = phone.go("vote").page
    assert page.locator(TOUCHED).evaluate_all(LOW) == []
    assert page.evaluate(SIDEWAYS) <= 0
    page.get_by_role("button", name="ship").click()
    page.get_by_text("Counted").wait_for()
    open_store().close()
    page.get_by_text("Voting is closed").wait_for()
    assert page.evaluate(SIDEWAYS) <= 0
    check_themes(page, lambda _: None)


def test_compare_has_the_columns_that_fit(tab):
    shown = []
    for size in (PHONE, PROJECTOR, (1920, 1080), LARGE):
        tab.resize(size).open("compare")
        table = tab.page.locator(f".st-key-summary {TABLE}")
        table.locator("th", has_text="Accuracy").first.wait_for(state="attached")
        assert table.locator(".dvn-scroller").first.evaluate("one => one.scrollWidth - one.clientWidth") <= 1, size
        shown.append(table.locator("th").count())
    assert shown == sorted(set(shown))


def test_the_menu_has_three_groups_and_is_one_stop_with_arrow_keys(tab):
    page = tab.resize(PROJECTOR).open("methods").page
    links = page.locator("[data-testid=stTopNav] a:visible")
    groups = links.evaluate_all("all => all.map((one) => getComputedStyle(one, '::before').content.slice(1, -1))")
    assert groups == ["on", "Explain", "on", "on", "on", "Do", "on", "Evidence", "on"]
    assert page.locator("[data-testid=stTopNav] p").first.evaluate("one => getComputedStyle(one).fontSize") == "16px"
    page.get_by_role("link", name="Methods", exact=True).focus()
    for key, name in (("ArrowLeft", "Attention"), ("End", "Experiments"), ("ArrowRight", "Overview")):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.innerText.trim()") == name
    page.keyboard.press("Tab")
    assert not page.evaluate("document.activeElement.closest('[data-testid=stTopNav]')")


def test_a_finished_run(tab, app_runs):
    run = make_run(students=("scratch", "response"))
    page = tab.resize(PROJECTOR).open(f"launch?run={run.run_id}").page
    assert page.get_by_role("button", name="Play", exact=True).count() == 1
    picture = page.get_by_alt_text("Evaluation image").bounding_box()
    chart = page.locator(".stVegaLiteChart", has_text="Soft labels after epoch")
    drawn = [one.bounding_box() for one in (chart, *chart.locator("svg text").all())]
    assert picture["width"] > 100
    assert picture["x"] + picture["width"] <= min(box["x"] for box in drawn if box and box["width"])
    assert max(box["x"] + box["width"] for box in drawn if box) <= PROJECTOR[0]
    check_themes(page)
