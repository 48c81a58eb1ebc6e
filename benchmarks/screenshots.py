"""Takes pictures of the pages in a headless Chromium: both themes, a desktop and a telephone.

    python benchmarks/screenshots.py --out shots                 # starts the application without CIFAR-10
    python benchmarks/screenshots.py --url http://localhost:8501 --pages overview attention

Without `--url` the application runs with an empty data folder, so that only the bundled sample images are shown.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"desktop": (1440, 900), "phone": (390, 844)}
PAGES = ("overview", "soft_labels", "attention", "launch", "compare")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_app(data: Path, port: int) -> subprocess.Popen:
    """Starts the application and waits until it answers."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "streamlit",
            "run",
            "streamlit_app.py",
            "--server.port",
            str(port),
            "--server.headless=true",
        ],
        cwd=ROOT,
        env=os.environ | {"KDEXPLORER_DATA": str(data)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=1):
                return process
        except OSError:
            time.sleep(0.1)
    process.terminate()
    raise SystemExit("the application did not start within 30 seconds")


def take(url: str, out: Path, pages: list[str], sizes: list[str], themes: list[str], whole: bool) -> None:
    """Writes `<page>-<theme>-<size>.png` for each combination."""
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        for size in sizes:
            width, height = SIZES[size]
            for theme in themes:
                page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
                for name in pages:
                    page.goto(f"{url}/{'' if name == 'overview' else name}", wait_until="domcontentloaded")
                    settle(page)
                    if whole:
                        tall = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight") + 80
                        page.set_viewport_size({"width": width, "height": min(tall, 6000)})
                        settle(page)
                    target = out / f"{name}-{theme}-{size}.png"
                    page.screenshot(path=target)
                    page.set_viewport_size({"width": width, "height": height})
                    print(target)
                page.close()
        browser.close()


def settle(page) -> None:
    """Waits until the script has run and the charts have been drawn."""
    page.wait_for_selector("[data-testid=stMain] h1", timeout=60_000)
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=120_000)
    page.wait_for_timeout(1500)


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a running application; started here if not given")
    parser.add_argument("--out", type=Path, default=Path("screenshots"))
    parser.add_argument("--pages", nargs="+", default=list(PAGES))
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--themes", nargs="+", choices=("light", "dark"), default=["light", "dark"])
    parser.add_argument("--whole", action="store_true", help="the whole page instead of the first screen")
    given = parser.parse_args()
    if given.url:
        take(given.url, given.out, given.pages, given.sizes, given.themes, given.whole)
        return
    with tempfile.TemporaryDirectory() as empty:
        port = free_port()
        process = start_app(Path(empty), port)
        try:
            take(f"http://localhost:{port}", given.out, given.pages, given.sizes, given.themes, given.whole)
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
