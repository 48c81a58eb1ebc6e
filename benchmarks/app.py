"""The application as a process, and a headless Chromium: for benchmarks and browser tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
UNUSED = ("gpu", "quic", "background-networking", "component-update", "sync")
FLAGS = ["--headless", "--no-sandbox", "--no-first-run", *(f"--disable-{feature}" for feature in UNUSED)]


@contextlib.contextmanager
def running(
    folder: Path,
    port: int = 0,
    command: Sequence[str] = ("streamlit", "run", "streamlit_app.py"),
    cwd: Path = ROOT,
    **environment: str,
) -> Iterator[str]:
    """Starts the application, without CIFAR-10 unless the environment names it, and yields its URL.

    Runs, an empty data folder and the log (`log.txt`) are in `folder`. The port is a free one if not given. At the end
    an error in the log is printed.
    """
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = port or probe.getsockname()[1]
    defaults = {"KDEXPLORER_DATA": str(folder / "data"), "KDEXPLORER_RUNS": str(folder / "runs")}
    with open(folder / "log.txt", "wb") as log:
        words = [sys.executable, "-m", *command, f"--server.port={port}", "--server.headless=true"]
        process = subprocess.Popen(words, cwd=cwd, env=os.environ | defaults | environment, stdout=log, stderr=log)
    try:
        for _ in range(1200):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://localhost:{port}/_stcore/health"):
                break
            if process.poll() is not None:
                raise RuntimeError(f"the application has ended: {(folder / 'log.txt').read_text()[-2000:]}")
            time.sleep(0.1)
        else:
            raise RuntimeError(f"the application did not start within two minutes: see {folder / 'log.txt'}")
        yield f"http://localhost:{port}"
    finally:
        process.terminate()
        process.wait(20)
        _, found, trace = (folder / "log.txt").read_text(errors="replace").partition("Traceback")
        print((found + trace)[:3000], end="")


FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
"""Chromium's test picture as a camera, which pages may use without asking."""


@contextlib.contextmanager
def browser(*flags: str) -> Iterator[Any]:
    """A headless Chromium, driven by Playwright, with additional flags."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])
        try:
            yield chromium
        finally:
            chromium.close()


SETTLED = """async ([quiet, limit]) => {
  const begin = performance.now();
  const all = (selector) => [...document.querySelectorAll(selector)];
  for (let since = begin; performance.now() - since < quiet;) {
    await new Promise((again) => setTimeout(again, 20));
    const still =
      all("[data-testid=stMain] h1, .st-key-kd_figure").length &&
      document.getElementById("kd-help") && // the page's keys work
      all("[data-testid=stApp][data-test-script-state=notRunning]").length &&
      !all("[data-testid=stSkeleton]").length &&
      [...document.images].every((image) => image.complete) &&
      document.fonts.status === "loaded" && // a formula is as wide as it stays
      all(".stVegaLiteChart").every((chart) => chart.querySelector("svg"));
    if (!still) since = performance.now();
    if (performance.now() - begin > limit) throw new Error("the page did not settle");
  }
}"""


def settle(page: Any) -> None:
    """Waits until no script has run, and every chart and picture has been drawn, for a quarter of a second."""
    page.evaluate(SETTLED, [250, 120_000])
