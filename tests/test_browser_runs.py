"""In a real browser: runs from the form to Compare with a reload in the middle, and the download of the table."""

from __future__ import annotations

import csv
import re

import pytest

from benchmarks.app import CHROMIUM, browser, running
from kdexplorer import runs

MINUTES = 60_000
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]


@pytest.fixture(scope="module")
def chromium():
    with browser() as running_browser:
        yield running_browser


@pytest.fixture
def server(runs_root, tmp_path):
    """The application without CIFAR-10 and without bundled networks; its trainers leave a core to others."""
    here = {"KDEXPLORER_RUNS": str(runs_root), "KDEXPLORER_CHECKPOINTS": str(tmp_path / "bundled")}
    with running(tmp_path, OMP_NUM_THREADS="1", **here) as url:
        yield url
    for run in runs.list_runs(runs_root):  # a run outlives the application: not this one
        if run.status()["state"] in ("queued", "running"):
            runs.stop(run)


@pytest.fixture
def page(chromium, server):
    """A page that may ask no other host for anything and may log no error of ours."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(5 * MINUTES)  # a shared machine may take long
    foreign, errors = [], []
    page.on(
        "request",
        lambda request: foreign.append(request.url) if not request.url.startswith((server, "data:", "blob:")) else None,
    )
    page.on(
        "console",
        lambda message: (
            # On a deep link Streamlit probes two addresses of its own and gets 404.
            errors.append(message.text) if message.type == "error" and "404" not in message.text else None
        ),
    )
    yield page
    context.close()
    assert foreign == []
    assert errors == []


def number(page, label):
    """A number field, by its label."""
    return page.get_by_role("spinbutton", name=label).or_(page.get_by_label(label, exact=True)).first


def fill(page, **fields):
    """Types into number fields of the form."""
    for label, value in fields.items():
        field = number(page, label.replace("_", " "))
        field.fill(str(value))
        field.press("Enter")


def start(page):
    """Starts what the form says and returns the run's id."""
    page.get_by_role("button", name=re.compile("Start training|Add to the queue")).click()
    page.get_by_role("button", name="New experiment").wait_for()
    page.wait_for_url(re.compile(r"[?&]run="))
    return page.url.split("run=")[1].split("&")[0]


def state(page, words):
    """Waits for the open run's state."""
    page.get_by_role("paragraph").filter(has_text=re.compile(rf"(^|\W){words}")).first.wait_for()


@pytest.mark.parametrize("resumed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_two_runs_take_turns_one_ends_in_compare_and_the_other_is_deleted(page, server, runs_root, tmp_path, resumed):
    from playwright.sync_api import expect

    page.goto(server)
    page.get_by_role("link", name="Launch").click()
    page.get_by_role("heading", name="Launch", exact=True).wait_for()
    fill(page, Training_images=2000, Epochs=500)
    page.get_by_text("--epochs 500").wait_for()
    first = start(page)
    state(page, "Training")
    page.get_by_role("button", name="New experiment").click()
    fill(page, Training_images=100, Epochs=2, Batch_size=50)
    page.get_by_text("--epochs 2 ").wait_for()
    page.get_by_text("--batch-size 50").wait_for()
    second = start(page)
    state(page, "Waiting")
    link = page.url

    page.goto(f"{server}/launch?run={first}")
    page.get_by_role("button", name="Stop").click()
    state(page, "Stopped")
    page.goto(link)
    page.get_by_role("button", name="New experiment").wait_for()
    page.reload()
    page.get_by_role("button", name="New experiment").wait_for()
    assert page.url == link
    page.get_by_text("trained network: on every page now").wait_for()
    state(page, "Finished")
    page.get_by_text("Watch it learn").wait_for()
    expect(page.locator("[data-testid=stVegaLiteChart]")).to_have_count(3, timeout=5 * MINUTES)
    assert runs.Run(runs_root / second).status()["state"] == "finished"

    page.get_by_role("link", name="Compare them").click()
    page.get_by_role("heading", name="Compare", exact=True).wait_for()
    page.get_by_text("Measured on 2,000 test images of synthetic shapes").wait_for()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download CSV").click()
    waiting.value.save_as(tmp_path / "table.csv")
    with open(tmp_path / "table.csv", encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["Network"] == "resnet20"
    assert 0 <= float(row["Accuracy"]) <= 1

    page.goto(f"{server}/launch?run={first}")
    if resumed:
        page.get_by_role("button", name="Resume").click()
        state(page, "Training")
        page.get_by_role("button", name="Stop").click()
    state(page, "Stopped")
    page.get_by_role("button", name="Discard").click()
    page.get_by_role("button", name="Yes, delete it").click()
    page.get_by_role("heading", name="Runs").wait_for()
    page.wait_for_url(re.compile(r"launch/?$"))
    assert [run.run_id for run in runs.list_runs(runs_root)] == [second]


@pytest.mark.slow
def test_the_one_minute_demo_on_real_images_ends_in_compare(chromium, runs_root, tmp_path, real_root):
    with running(tmp_path, KDEXPLORER_DATA=str(real_root.resolve()), KDEXPLORER_RUNS=str(runs_root)) as url:
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(5 * MINUTES)  # a shared machine may take long
        page.goto(f"{url}/launch")
        page.get_by_role("button", name="One-minute demo").click()
        page.get_by_role("button", name="Start training").click()
        page.get_by_text("Watch it learn").wait_for(timeout=5 * MINUTES)
        page.get_by_text("trained networks: on every page now").wait_for(timeout=10 * MINUTES)
        page.get_by_role("link", name="Compare them").click()
        page.get_by_text("test images of CIFAR-10. Objective").wait_for()
        page.close()
    (run,) = runs.list_runs(runs_root)
    assert [path.name for path in runs.students(run)] == ["resnet8-scratch", "resnet8-combined"]
