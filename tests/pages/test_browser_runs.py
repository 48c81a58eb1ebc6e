"""In a real browser, without CIFAR-10: from the form to Compare, as a new user goes."""

import re
import time

import numpy as np
import pytest

from kdexplorer.runs.launch import stop_run
from kdexplorer.runs.run_folder import LIVE, Run, list_runs

MINUTES = 60_000
pytestmark = pytest.mark.browser


@pytest.fixture
def runs(app_runs):
    yield app_runs
    for run in list_runs(app_runs):  # a run outlives the application
        if run.status().state in LIVE:
            stop_run(run)


def fill(page, **fields):
    """Types into number fields of the form, by their labels."""
    for name, value in fields.items():
        label = name.replace("_", " ")
        field = page.get_by_role("spinbutton", name=label).or_(page.get_by_label(label, exact=True)).first
        field.fill(str(value))
        field.press("Enter")


def start(page):
    """Starts the form's experiment and returns the run's id."""
    page.get_by_role("button", name=re.compile("Start training|Add to the queue")).click()
    page.get_by_role("button", name="New run").wait_for()
    page.wait_for_url(re.compile(r"[?&]run="))
    return page.url.split("run=")[1].split("&")[0]


def state(page, words):
    """Waits for the open run's state."""
    page.get_by_role("paragraph").filter(has_text=re.compile(rf"(^|\W){words}")).first.wait_for()


def test_a_run_is_stopped_and_the_demo_ends_in_compare_with_a_verdict(tab, runs):
    page = tab.open("launch?customize=true").page
    page.get_by_role("button", name="A teacher from scratch").click()
    page.get_by_text("--name teacher").wait_for()  # the form is filled
    fill(page, Training_images=2000, Epochs=500)
    page.get_by_text("--epochs 500").wait_for()
    first = start(page)
    state(page, "Running")
    page.get_by_role("button", name="New run").click()
    page.get_by_role("button", name="One-minute demo").click()
    page.get_by_text("--name one-minute-demo").wait_for()
    assert page.get_by_role("radio", name="5,000 CIFAR-10 images (included)").is_checked()
    fill(page, Training_images=100, Epochs=2, Batch_size=50)
    page.get_by_text("--epochs 2 ").wait_for()
    page.get_by_text("--batch-size 50").wait_for()
    second = start(page)
    state(page, "Queued")
    link = page.url
    page.get_by_role("button", name=f"Open {first}").click()
    page.wait_for_url(re.compile(f"[?&]run={first}"))
    page.get_by_role("button", name="Stop").click()
    state(page, "Stopped")
    page.goto(link)
    page.get_by_role("button", name="New run").wait_for()
    assert page.url == link
    page.get_by_text("air_16-response against air_16-scratch").wait_for()
    state(page, "Finished")
    page.get_by_text("Soft labels, epoch by epoch").wait_for()
    from playwright.sync_api import expect

    expect(page.locator("[data-testid=stVegaLiteChart]")).to_have_count(2, timeout=5 * MINUTES)
    assert Run(runs / second).status().state == "finished"
    tab.settle()
    replay = page.locator(".vega-bindings input[name=epoch]")
    assert [slider.input_value() for slider in replay.all()] == ["2"] * 2
    page.get_by_role("button", name="Play", exact=True).click()  # from the first epoch on
    page.get_by_role("slider", name="Epoch").and_(page.locator("[aria-valuetext='Epoch 1']")).wait_for()
    page.get_by_role("slider", name="Epoch").and_(page.locator("[aria-valuetext='Epoch 2']")).wait_for()
    assert [slider.input_value() for slider in replay.all()] == ["2"] * 2
    page.get_by_role("link", name="Compare them").click()
    page.get_by_role("heading", name="Compare", exact=True).wait_for()
    page.get_by_text("All numbers, files, and what they mean").click()
    page.get_by_text("Evaluated on 2,000 test images").wait_for()
    page.get_by_text(re.compile("air_16-response .* its scratch baseline air_16-scratch.*McNemar")).first.wait_for()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download CSV").click()
    assert "air_16-response" in waiting.value.path().read_text()


@pytest.mark.slow
def test_the_whole_demo_shows_progress_at_once_moves_and_ends_with_a_result(tab, runs):
    """Progress within three seconds of the start, a chart that changes at least every two seconds while it trains."""
    page = tab.go("launch").page
    page.get_by_text("Measured once").wait_for()
    page.get_by_role("button", name="Train now").click()
    page.locator("[data-testid=stProgress]").wait_for(timeout=3000)
    chart = page.locator("[data-testid=stVegaLiteChart]").first
    chart.wait_for()
    (run,) = list_runs(runs)
    changes, seen = [time.monotonic()], None
    while run.status().state in LIVE and run.status().message == "training":
        drawn = chart.screenshot()
        if drawn != seen:
            changes.append(time.monotonic())
            seen = drawn
        page.wait_for_timeout(50)
    pauses = np.diff(changes)
    print(f"pauses between changes of the chart: median {np.median(pauses):.1f} s, longest {pauses.max():.1f} s")
    assert len(changes) > 10
    page.get_by_text("air_16-response against air_16-scratch").wait_for(timeout=10 * MINUTES)
