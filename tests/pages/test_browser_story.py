"""The lecture in a real browser: by keyboard on two projectors, the speaker's notes beside it, figures in frames."""

from __future__ import annotations

import re

import pytest

from benchmarks.app import CHROMIUM, settle
from benchmarks.app import browser as chromium_browser
from kdexplorer.runs.checkpoints import bundled_checkpoints
from kdexplorer.story.lecture import read_lecture

NEEDED = {"resnet56", "resnet20-scratch", "resnet20-response"}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is missing"),
    pytest.mark.skipif(
        bool(NEEDED - {checkpoint.name for checkpoint in bundled_checkpoints()}),
        reason="the bundled networks are missing",
    ),
]

STEPS = read_lecture().steps
SIZES = [(1280, 720), (1920, 1080)]
BELOW = """() => {
  const main = document.querySelector("[data-testid=stMain]");
  const footer = document.querySelector(".st-key-story_footer").getBoundingClientRect();
  const figure = document.querySelector(".st-key-kd_figure");
  const parts = [...figure.querySelectorAll("svg text, button, p")];
  const lowest = Math.max(...parts.map((part) => part.getBoundingClientRect().bottom));
  return Math.max(main.scrollHeight - main.clientHeight, document.documentElement.scrollHeight - innerHeight,
    footer.bottom - innerHeight, lowest - footer.top, main.scrollWidth - main.clientWidth);
}"""
"""Pixels by which a step does not fit: a page that scrolls, or a figure behind the footer."""
WORDS = (
    """() => [...document.querySelectorAll(".stVegaLiteChart svg text")].map((text) => text.textContent).join(" ")"""
)


@pytest.fixture(scope="module")
def context():
    with chromium_browser() as chromium:
        yield chromium.new_context()


@pytest.fixture
def open_tab(context):
    """Opens tabs of one browser; at the end none has had an error."""
    errors, tabs = [], []

    def open_tab(url, size=SIZES[0]):
        page = context.new_page()
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.set_default_timeout(120_000)  # a shared machine may take long
        page.on("pageerror", lambda error: errors.append(str(error)))
        tabs.append(page)
        page.goto(url, wait_until="domcontentloaded")
        settle(page)
        return page

    yield open_tab
    for page in tabs:
        page.close()
    assert not errors


def at_step(page, number):
    page.wait_for_url(re.compile(rf"story={number}(&|$)"))
    page.get_by_role("heading", name=STEPS[number - 1].title, exact=True).wait_for()
    settle(page)


@pytest.mark.parametrize("size", SIZES, ids=["1280", "1920"])
def test_the_whole_lecture_by_keyboard_fits_the_projector(app, open_tab, size):
    page = open_tab(f"{app}/soft_labels?image=3&T=2", size)
    page.get_by_role("button", name="Present").click()
    for number in range(1, len(STEPS) + 1):
        at_step(page, number)
        assert page.evaluate(BELOW) <= 1, number
        assert not page.locator("[data-testid=stHeader]").is_visible()
        if STEPS[number - 1].figure == "soft_labels":
            assert "T = 2.00" in page.evaluate(WORDS)
        page.keyboard.press(["PageDown", "ArrowRight", "Space"][number % 3])
    at_step(page, len(STEPS))  # the last key has nowhere to go
    page.keyboard.press("PageUp")
    at_step(page, len(STEPS) - 1)
    page.keyboard.press("Escape")
    page.wait_for_url(re.compile("/experiments"))
    settle(page)
    assert "story" not in page.url
    page.get_by_role("link", name="Soft labels").first.click()
    page.get_by_text("Test image 3:").wait_for()
    page.wait_for_url(re.compile("T=2(&|$)"))


def test_an_open_question_with_everything_shown_fits_the_projector(app, open_tab):
    number = 1 + [step.figure for step in STEPS].index("vote")
    page = open_tab(f"{app}/?story={number}&answer=all&image=15")
    page.get_by_role("button", name="Ask about this picture").click()
    bars = page.locator(".st-key-kd_figure svg.marks")
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        bars.get_by_text("teacher", exact=False).first.wait_for()
        page.wait_for_timeout(1500)  # the chart follows the window; an open question is drawn again every second
        assert page.evaluate(BELOW) <= 1, width
    page.goto(f"{app}/audience", wait_until="domcontentloaded")
    page.get_by_role("button", name="Delete all questions").click()
    page.get_by_role("button", name="Yes, delete").click()
    page.get_by_text("No question yet").wait_for()


def test_keys_move_the_figure_and_a_focused_slider_keeps_its_own(app, open_tab):
    page = open_tab(f"{app}/?story=3&image=3&T=4")
    page.keyboard.press("ArrowUp")
    page.wait_for_url(re.compile("T=4.76(&|$)"))
    slider = page.get_by_role("slider", name="Temperature T")
    slider.focus()
    page.keyboard.press("ArrowRight")  # the slider's own
    page.wait_for_url(re.compile("T=4.79(&|$)"))
    assert "story=3" in page.url
    page.keyboard.press(".")
    page.get_by_text("Test image 4:").wait_for()
    slider.focus()
    page.keyboard.press("PageDown")  # a clicker's
    at_step(page, 4)
    page.goto(f"{app}/?story=6")
    settle(page)
    before = page.url
    page.keyboard.press("ArrowDown")
    page.wait_for_url(re.compile("method=(?!kd)"))
    assert page.url != before
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()
    page.keyboard.press("PageDown")  # not while the list is open
    page.keyboard.press("Escape")
    assert "story=6" in page.url


def test_the_notes_follow_and_lead(app, open_tab):
    page = open_tab(f"{app}/?story=2")
    assert STEPS[1].notes[:30].strip() not in page.inner_text("body")
    with page.expect_popup() as popup:
        page.get_by_role("button", name="Notes").click()
    notes = popup.value
    notes.set_default_timeout(120_000)
    notes.get_by_text(STEPS[1].notes.split("\n")[0][:40]).wait_for()
    notes.get_by_text(f"Next: {STEPS[2].title}").wait_for()
    page.keyboard.press("PageDown")
    notes.get_by_text(f"Step 3 of {len(STEPS)}").wait_for()
    notes.keyboard.press("PageDown")
    at_step(page, 4)
    notes.get_by_text(f"Step 4 of {len(STEPS)}").wait_for()
    notes.get_by_role("button", name="Back").click()
    at_step(page, 3)
    notes.locator("output", has_text=re.compile(r"0:00:0[1-9]")).wait_for()
    notes.close()


def test_a_figure_in_a_frame_has_no_menu(app, open_tab):
    page = open_tab(f"{app}/soft_labels?embed=1")  # a page of the same origin
    assert "embed=true" in page.url
    assert page.get_by_role("link", name="Attention").count() == 0
    assert page.get_by_role("button", name="Share").count() == 0
    page = open_tab(f"{app}/soft_labels?hide=menu")
    assert page.get_by_role("link", name="Attention").count() == 0
    page.evaluate(
        """(url) => {
          const frame = Object.assign(document.createElement("iframe"), {src: url, width: 900, height: 600});
          document.body.prepend(frame);
        }""",
        f"{app}/?figure=soft_labels&embed=1&image=3&T=8",
    )
    frame = page.frame_locator("iframe")
    frame.locator(".stVegaLiteChart svg").wait_for()
    frame.get_by_text("Soft labels at T = 8.00").wait_for()
    assert frame.get_by_role("link", name="Attention").count() == 0
    assert frame.get_by_role("button", name="Share").count() == 0
