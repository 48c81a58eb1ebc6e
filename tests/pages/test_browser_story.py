"""The lecture in a real browser: by keyboard on two projectors, the speaker's notes beside it, figures in frames."""

import re

import pytest

from kdexplorer.story import read_lecture
from tests.tab import PROJECTOR, SLOW

pytestmark = pytest.mark.browser

STEPS = read_lecture().steps
BELOW = """() => {
  const main = document.querySelector("[data-testid=stMain]");
  const footer = document.querySelector(".st-key-story_footer").getBoundingClientRect();
  const figure = document.querySelector("[class*=st-key-story_figure]");
  const parts = [...figure.querySelectorAll("svg text, button, p")];
  const lowest = Math.max(...parts.map((part) => part.getBoundingClientRect().bottom));
  return Math.max(main.scrollHeight - main.clientHeight, document.documentElement.scrollHeight - innerHeight,
    footer.bottom - innerHeight, lowest - footer.top, main.scrollWidth - main.clientWidth);
}"""
"""Pixels by which a step does not fit: a page that scrolls, or a figure behind the footer."""
SMALLEST = """() => Math.min(...[...document.querySelectorAll(
  ".st-key-story_words *, [class*=st-key-story_figure] :is(svg text, p, .vega-bind-name), .st-key-story_footer p")]
  .filter((one) => one.textContent.trim() && one.getBoundingClientRect().height > 1)
  .map((one) => parseFloat(getComputedStyle(one).fontSize)))"""
"""The size of a step's smallest text, in pixels."""


def at_step(tab, number):
    tab.page.wait_for_url(re.compile(rf"story={number}(&|$)"))
    tab.page.get_by_role("heading", name=STEPS[number - 1].title, exact=True).wait_for()
    tab.settle()


def check_fit(tab, *sizes):
    """What is shown fits the projector, after others of these sizes: the chart follows the window."""
    for size in (*sizes, PROJECTOR):
        tab.resize(size).settle()
        assert tab.page.evaluate(BELOW) <= 1, size


def test_the_whole_lecture_by_keyboard_fits_the_projector(tab):
    page = tab.resize(PROJECTOR).open("soft_labels?image=3&T=2").page
    page.get_by_role("button", name="Present").click()
    passed = [number for number, step in enumerate(STEPS, start=1) if not step.optional]
    for number in passed:
        at_step(tab, number)
        check_fit(tab, *[(1920, 1080)] * (number % 4 == 0))
        assert not page.locator("[data-testid=stHeader]").is_visible()
        if STEPS[number - 1].figure == "soft_labels":
            page.get_by_text("Temperature T = 1.00").wait_for()
        if STEPS[number - 1].figure:
            assert page.evaluate(SMALLEST) >= 23.9
        page.keyboard.press(["PageDown", "ArrowRight", "Space"][number % 3])
    at_step(tab, len(STEPS))  # the last key has nowhere to go
    page.keyboard.press("PageUp")
    at_step(tab, len(STEPS) - 1)
    page.keyboard.press("Escape")
    page.wait_for_url(re.compile("/experiments"))
    tab.settle()
    assert "story" not in page.url
    page.get_by_role("link", name="Soft labels").first.click()
    page.get_by_text("Test image 3:").wait_for()
    page.wait_for_url(re.compile("T=2(&|$)"))


@pytest.mark.usefixtures("app_runs")
def test_an_open_question_with_everything_shown_fits_the_projector(tab):
    number = 1 + [step.figure for step in STEPS].index("vote")
    tab.resize(PROJECTOR).open(f"?story={number}&answer=all&image=15")
    tab.page.get_by_role("button", name="Ask about this picture").click()
    tab.page.locator(".st-key-kd_figure svg.marks").get_by_text("teacher", exact=False).first.wait_for()
    check_fit(tab)


def test_keys_move_the_figure_and_a_focused_slider_keeps_its_own(tab):
    page = tab.open("?story=5&image=3&T=4").page
    page.keyboard.press("ArrowUp")
    page.wait_for_url(re.compile("T=4.76(&|$)"))
    slider = page.get_by_role("slider", name="Temperature T")
    slider.focus()
    page.keyboard.press("ArrowRight")  # the slider's own
    page.wait_for_url(re.compile("T=4.79(&|$)"))
    assert "story=5" in page.url
    page.keyboard.press(".")
    page.get_by_text("Test image 4:").wait_for()
    slider.focus()
    page.keyboard.press("PageDown")  # a clicker's
    at_step(tab, 7)
    page.keyboard.press("m")
    at_step(tab, 8)
    page.keyboard.press("ArrowDown")
    page.wait_for_url(re.compile("method=(?!kd)"))
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()
    page.keyboard.press("PageDown")  # not while the list is open
    page.keyboard.press("Escape")
    assert "story=8" in page.url
    tab.open("?story=12")
    page.keyboard.press("Enter")
    page.get_by_text(STEPS[11].answer).wait_for()


def test_the_notes_follow_and_lead(tab):
    page = tab.open("?story=2").page
    assert STEPS[1].notes[:30].strip() not in page.inner_text("body")
    with page.expect_popup() as popup:
        page.get_by_role("button", name="Notes").click()
    notes = popup.value
    notes.set_default_timeout(SLOW)
    notes.get_by_text(STEPS[1].notes.split("\n")[0][:40]).wait_for()
    notes.get_by_text(f"Next: {STEPS[2].title}").wait_for()
    page.keyboard.press("PageDown")
    notes.get_by_text(f"Step 3 of {len(STEPS)}").wait_for()
    notes.keyboard.press("PageDown")
    at_step(tab, 4)
    notes.get_by_text(f"Step 4 of {len(STEPS)}").wait_for()
    notes.get_by_role("button", name="Back").click()
    at_step(tab, 3)
    tab.open("?story=12")
    notes.get_by_text(f"Step 12 of {len(STEPS)}").wait_for()
    notes.keyboard.press("Enter")  # not Back again, which was clicked
    page.get_by_text(STEPS[11].answer).wait_for()
    notes.locator("time", has_text=re.compile(r"0:00:0[1-9]")).wait_for()
    notes.close()


def test_a_figure_in_a_frame_has_no_menu(tab):
    page = tab.open("soft_labels?hide=menu").page
    assert page.get_by_role("link", name="Attention").count() == 0
    tab.open("soft_labels?embed=1")  # a page of the same origin
    assert "embed=true" in page.url
    assert page.get_by_role("link", name="Attention").count() == 0
    assert page.get_by_role("button", name="Share").count() == 0
    page.evaluate(
        """(url) => {
          const frame = Object.assign(document.createElement("iframe"), {src: url, width: 900, height: 600});
          document.body.prepend(frame);
        }""",
        f"{tab.url}/?figure=soft_labels&embed=1&image=3&T=8",
    )
    frame = page.frame_locator("iframe")
    frame.locator(".stVegaLiteChart svg").wait_for()
    frame.get_by_text("Soft labels at T = 8.00").wait_for()
    assert frame.get_by_role("link", name="Attention").count() == 0
    assert frame.get_by_role("button", name="Share").count() == 0
