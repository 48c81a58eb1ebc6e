"""How fast the application responds and how much it sends: one visitor with a real browser, nothing else running.

    python -m benchmarks.pages [--repetitions 20]
    python -m benchmarks.pages --first-visits 0 100

Prints the time from the server's start to the first page's heading (a fresh browser each time), and the time from
opening each page to its first figure. Then for each page and interaction the time from the browser's message to the
last message of the server's response, and the bytes received: median and 95th percentile. Dragging the temperature is
included: what it sends and receives while it lasts, and once the slider rests at another value. `--first-visits` opens
one page with an empty cache instead, alone or beside as many people as given who do the same.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.app import browser, running, settle

QUIET = 1.0
"""Seconds without a message after which a response counts as complete; longer than a slider rests before it reports."""

PAGES = ("soft_labels", "attention", "compare", "launch")


CHART = ".stVegaLiteChart svg.marks"
FIRST_FIGURES = {
    "": CHART, "soft_labels": CHART, "attention": CHART, "methods": CHART, "live": ".kd-bar", "compare": CHART,
    "audience": ".st-key-audience img", "launch": ".st-key-train_now", "experiments": CHART,
}  # fmt: skip
"""A page's first figure: a chart, Live's bars, Audience's QR code or picture, Launch's button that starts the demo."""


class Wire:
    """The WebSocket between a tab and the server: when messages passed, and how many bytes were received."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.sent: list[float] = []
        self.received: list[tuple[float, int]] = []
        page.on("websocket", self._watch)

    def _watch(self, socket: Any) -> None:
        socket.on("framesent", lambda _: self.sent.append(time.perf_counter()))
        socket.on("framereceived", lambda data: self.received.append((time.perf_counter(), len(data))))

    def measure(self, act: Any) -> tuple[float, int]:
        """Seconds from the first message to the last one of the response, and bytes received."""
        self.sent.clear()
        self.received.clear()
        act()
        ended = time.perf_counter()
        while time.perf_counter() - max([ended, *self.sent, *(at for at, _ in self.received)]) <= QUIET:
            self.page.wait_for_timeout(100)
        if not self.sent or not self.received:
            return 0.0, 0
        return self.received[-1][0] - self.sent[0], sum(size for _, size in self.received)

    def count(self) -> tuple[int, int]:
        """How many messages were sent and received since the measurement began."""
        return len(self.sent), len(self.received)


def row(name: str, seconds: list[float], sizes: list[int]) -> str:
    """A line of the table."""
    ordered = sorted(seconds)
    worst = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    return (
        f"{name:<34} {1000 * statistics.median(seconds):6.0f} ms  {1000 * worst:6.0f} ms"
        f"  {statistics.median(sizes) / 1000:8.1f} kB"
    )


def first_page(chromium: Any, repetitions: int) -> None:
    """Prints the time from the process's start to the first heading."""
    served, seen = [], []
    for _ in range(repetitions):
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            with running(Path(folder)) as url:
                served.append(time.perf_counter() - begin)
                page = chromium.new_page()
                begin = time.perf_counter()
                page.goto(url, wait_until="commit")
                page.wait_for_selector("[data-testid=stMain] h1", timeout=60_000)
                seen.append(time.perf_counter() - begin)
                page.close()
    print(
        f"server responds after {statistics.median(served):.2f} s; first heading {statistics.median(seen):.2f} s later"
    )
    print(f"  (medians of {repetitions}; the slowest first heading {max(seen):.2f} s)")


def first_figures(chromium: Any, url: str, repetitions: int) -> None:
    """Prints the time from opening each page, in a tab of its own, to its first figure; the first time apart."""
    print(f"\n{'page opened, until its first figure':<34} {'first':>9}  {'median':>9}")
    for name, figure in FIRST_FIGURES.items():
        seconds = []
        for _ in range(repetitions + 1):
            page = chromium.new_page(viewport={"width": 1440, "height": 900})
            begin = time.perf_counter()
            page.goto(f"{url}/{name}", wait_until="commit")
            page.locator(figure).first.wait_for(timeout=120_000)
            seconds.append(time.perf_counter() - begin)
            page.close()
        first, *others = seconds
        print(
            f"{name or 'overview':<34} {1000 * first:6.0f} ms  {1000 * statistics.median(others):6.0f} ms", flush=True
        )


def first_visits(chromium: Any, url: str, repetitions: int, people: int) -> None:
    """Opens Soft labels with an empty cache, while so many other people join with empty caches too."""
    load = [sys.executable, "-m", "benchmarks.load", "--empty-caches", "--join", "30", "--minutes", "1", "--url", url]
    others = subprocess.Popen([*load, "--people", str(people)]) if people else None
    seconds, sizes = [], []
    for _ in range(repetitions):
        page = chromium.new_page()  # in a context of its own, which has nothing in its cache
        network, received = page.context.new_cdp_session(page), list[float]()
        network.send("Network.enable")
        network.on(
            "Network.loadingFinished", lambda event, received=received: received.append(event["encodedDataLength"])
        )
        begin = time.perf_counter()
        page.goto(f"{url}/soft_labels", wait_until="commit")
        page.locator(CHART).first.wait_for(timeout=120_000)
        seconds.append(time.perf_counter() - begin)
        sizes.append(int(sum(received)))
        page.close()
    print(row(f"empty cache, beside {people} people", seconds, sizes), flush=True)
    if others is not None:
        others.wait()


def actions_on(name: str, page: Any, times: int) -> dict[str, list[Callable[[], Any]]]:
    """What a visitor changes on a page, each as often as it is timed."""

    def typed(box: Any, text: str) -> Callable[[], None]:
        def act() -> None:
            box.fill(text)
            page.keyboard.press("Enter")
            page.keyboard.press("Escape")  # an open list hides the rest of the page

        return act

    def turns(*each: Callable[[], Any]) -> list[Callable[[], Any]]:
        return list(itertools.islice(itertools.cycle(each), times))

    def choice(label: str) -> Callable[[], Any]:
        return page.get_by_text(label, exact=True).click

    def tick(name: str) -> Callable[[], Any]:
        return page.get_by_role("button", name=name, exact=True).first.click

    box = {label: page.get_by_role("combobox", name=label) for label in ("Students", "Networks", "Baseline")}
    epochs = page.get_by_role("spinbutton", name="Epochs")
    change = page.get_by_role("button", name="Change networks")

    def opened(act: Callable[[], Any]) -> Callable[[], None]:
        def act_inside() -> None:
            change.click()
            act()
            page.keyboard.press("Escape")

        return act_inside

    more, less = typed(box["Students"], "resnet8-combined"), lambda: box["Students"].press("Backspace")
    either = [opened(more), opened(less)]
    next_image = page.get_by_role("button", name="Next").click
    return {
        "soft_labels": {
            "next image": turns(next_image),
            "a network more or less": turns(*either),
            "a tick of T, which rests 0.5 s": turns(*(tick(f"T = {T}") for T in (1, 2, 8, 20, 4))),
        },
        "attention": {
            "next image": turns(next_image),
            "a network more or less": turns(*either),
            "difference or map": turns(choice("difference"), choice("map")),
        },
        "compare": {
            "a network less or more": turns(
                opened(lambda: box["Networks"].press("Backspace")),
                opened(typed(box["Networks"], "resnet8-combined")),
            ),
            "baseline": turns(*(opened(typed(box["Baseline"], f"resnet20-{name}")) for name in ("feature", "scratch"))),
            "section": turns(choice("Calibration"), choice("Classes"), choice("Confusion")),
        },
        "launch": {"a field of the form": turns(typed(epochs, "11"), typed(epochs, "12"))},
    }[name]


def interactions(chromium: Any, url: str, repetitions: int, names: list[str]) -> None:
    """Prints a line for each page and change."""
    print(f"\n{'page, what changes':<34} {'median':>9}  {'95th':>9}  {'received':>11}")
    for name in names:
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        wire = Wire(page)
        students = "?students=resnet20-scratch"
        query = {"soft_labels": students, "attention": students, "launch": "?customize=true"}.get(name, "")
        page.goto(f"{url}/{name}{query}", wait_until="domcontentloaded")
        settle(page)
        for what, each in actions_on(name, page, repetitions).items():
            seconds, sizes = zip(*(wire.measure(act) for act in each), strict=True)
            print(row(f"{name}, {what}", list(seconds), list(sizes)), flush=True)
        if name == "soft_labels":
            print(f"{'soft_labels, dragging T':<34} {drag(page, wire)}")
        page.close()


def drag(page: Any, wire: Wire) -> str:
    """Moves the temperature's slider by 50 steps; the messages that passed meanwhile, and once it rests."""
    while_dragging = []

    def move() -> None:
        page.locator(".stVegaLiteChart input[type=range]").first.focus()
        for _ in range(50):
            page.keyboard.press("ArrowLeft")
        while_dragging.append(wire.count())

    size = wire.measure(move)[1]
    (sent, received), (all_sent, _) = while_dragging[0], wire.count()
    return f"sent {sent}, received {received}; at rest sent {all_sent - sent}, received {size / 1000:.1f} kB"


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--pages", nargs="+", choices=PAGES, default=list(PAGES))
    parser.add_argument(
        "--first-visits", type=int, nargs="+", metavar="PEOPLE", help="with an empty cache, beside so many"
    )
    options = parser.parse_args()
    with browser() as chromium:
        if not options.first_visits:
            first_page(chromium, 5)
        with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as url:
            for people in options.first_visits or ():
                first_visits(chromium, url, options.repetitions, people)
            if options.first_visits:
                return
            first_figures(chromium, url, 3)
            interactions(chromium, url, options.repetitions, options.pages)


if __name__ == "__main__":
    main()
