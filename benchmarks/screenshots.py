"""Takes screenshots of the pages in a headless Chromium: both themes, from a phone to a projector of 3840 pixels.

    python -m benchmarks.screenshots --out shots                 # starts the application without CIFAR-10
    python -m benchmarks.screenshots --url http://localhost:8501 --pages overview attention

Without `--url` the application runs with an empty data folder, so that only the bundled images are shown.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.app import browser, running, settle

SIZES = {"projector": (1280, 720), "desktop": (1440, 900), "phone": (390, 844), "4k": (3840, 2160)}
PAGES = ("overview", "soft_labels", "attention", "methods", "live", "audience", "launch", "compare", "experiments")


def take(url: str, out: Path, pages: list[str], sizes: list[str], themes: list[str], whole: bool) -> None:
    """Writes `<page>-<theme>-<size>.png` for each combination."""
    out.mkdir(parents=True, exist_ok=True)
    with browser() as chromium:
        for size in sizes:
            width, height = SIZES[size]
            for theme in themes:
                page = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
                for name in pages:
                    page.goto(f"{url}/{'' if name == 'overview' else name}", wait_until="domcontentloaded")
                    settle(page)
                    if name == "live":  # its networks run in the browser, after the page has settled
                        page.locator(".kd-bar", has_text="%").first.wait_for()
                    if whole:
                        tall = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight") + 80
                        page.set_viewport_size({"width": width, "height": min(tall, 6000)})
                        settle(page)
                    target = out / f"{name}-{theme}-{size}.png"
                    page.screenshot(path=target)
                    page.set_viewport_size({"width": width, "height": height})
                    print(target)
                page.close()


def main() -> None:
    """Parses the command line and takes the screenshots."""
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
    with tempfile.TemporaryDirectory() as empty, running(Path(empty)) as url:
        take(url, given.out, given.pages, given.sizes, given.themes, given.whole)


if __name__ == "__main__":
    main()
