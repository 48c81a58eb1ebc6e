"""How large a handout is and how soon its first chart stands, on a desktop and on a slow telephone.

    python -m benchmarks.handout --images 12 --networks resnet56 resnet20-scratch resnet20-response
    python -m benchmarks.handout --file handout.html --shots docs

Prints the file's size, and what it is with the networks in it (`--live`). Opens it from the disk in a headless Chromium
that is cut off from the network, each time in a new tab, and prints the median from the start of the navigation to the
first chart: at full speed, and with the processor throttled four times in a telephone's 360 pixels. `--shots` takes
pictures in both themes at 1440 and 360 pixels.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.app import browser
from kdexplorer.handout import order, page, sources

SCREENS = {"desktop": (1440, 900, 1), "phone": (360, 780, 4)}
"""Width and height in pixels, and how many times slower the processor is made."""
FIRST = "() => performance.getEntriesByName('first chart')[0]?.startTime"


def opened(chromium: Any, path: Path, screen: str, theme: str = "light", throttle: bool = True) -> tuple[Any, float]:
    """A tab with the handout, and milliseconds to its first chart."""
    width, height, slower = SCREENS[screen]
    tab = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
    if throttle:
        tab.context.new_cdp_session(tab).send("Emulation.setCPUThrottlingRate", {"rate": slower})
    tab.context.set_offline(True)
    tab.goto(path.resolve().as_uri(), timeout=120_000)
    tab.wait_for_function(FIRST, timeout=120_000)
    return tab, tab.evaluate(FIRST)


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, help="a handout; made here if not given")
    parser.add_argument("--networks", nargs="+", default=["resnet56", "resnet20-scratch", "resnet20-response"])
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--shots", type=Path, help="a folder for pictures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, browser() as chromium:
        path = options.file or Path(folder) / "handout.html"
        if not options.file:
            given = sources.from_disk()
            wanted = order.ordered(options.networks, options.images, [], [], 4.0, 0.7, given)
            path.write_text(page.build(wanted, given), encoding="utf-8")
            live = len(page.build(dataclasses.replace(wanted, live=True), given).encode())
            print(f"with the networks in it: {live / 1e6:.2f} MB")
        print(f"{path.stat().st_size / 1e6:.2f} MB")
        for screen, (width, _, slower) in SCREENS.items():
            times = []
            for _ in range(options.repetitions):
                tab, milliseconds = opened(chromium, path, screen)
                times.append(milliseconds)
                tab.close()
            print(
                f"first chart at {width} px, processor {slower} x slower: median {statistics.median(times):.0f} ms, "
                f"slowest {max(times):.0f} ms of {options.repetitions}"
            )
        if options.shots:
            options.shots.mkdir(parents=True, exist_ok=True)
            for screen in SCREENS:
                for theme in ("light", "dark"):
                    tab, _ = opened(chromium, path, screen, theme, throttle=False)
                    tab.wait_for_timeout(1000)
                    tab.screenshot(path=options.shots / f"handout-{theme}-{screen}.png")
                    tab.close()


if __name__ == "__main__":
    main()
