"""How large a handout is and how soon its first chart stands, on a desktop and on a slow telephone.

    python -m benchmarks.handout --images 12 --networks resnet56 resnet20-scratch resnet20-response
    python -m benchmarks.handout --file handout.html --shots docs

Prints the file's size, and what it is with the networks in it (`--live`). Opens it from the disk in a headless Chromium
that is cut off from the network, each time in a new tab, and prints the median from the start of the navigation to the
first chart: at full speed, and with the processor throttled four times in a telephone's 360 pixels. No debugger keeps a
copy of what the tab loads, as Playwright's does: that alone takes a quarter of a second of the throttled processor.
`--shots` takes pictures in both themes at 1440 and 360 pixels.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.app import browser
from kdexplorer.handout import order, page, sources

OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND"
SCREENS = {"desktop": (1440, 900, 1), "phone": (360, 780, 4)}
"""Width and height in pixels, and how many times slower the processor is made."""
FIRST = "performance.getEntriesByName('first chart')[0]?.startTime"


class Tab:
    """A tab that Playwright knows nothing of: only its processor and its size are set."""

    def __init__(self, session: Any, screen: str) -> None:
        width, height, slower = SCREENS[screen]
        self.session, self.replies = session, {}
        self.context = session.send("Target.createBrowserContext")["browserContextId"]
        place = {"browserContextId": self.context, "width": width, "height": height}
        target = session.send("Target.createTarget", {"url": "about:blank"} | place)["targetId"]
        self.id = session.send("Target.attachToTarget", {"targetId": target, "flatten": False})["sessionId"]
        session.on("Target.receivedMessageFromTarget", self._hear)
        self.ask("Emulation.setCPUThrottlingRate", rate=slower)

    def _hear(self, event: dict[str, Any]) -> None:
        if event["sessionId"] == self.id:
            reply = json.loads(event["message"])
            self.replies[reply.get("id")] = reply.get("result")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """A command of the DevTools protocol, and its result."""
        number = len(self.replies) + 1
        message = json.dumps({"id": number, "method": method, "params": params})
        self.session.send("Target.sendMessageToTarget", {"sessionId": self.id, "message": message})
        while number not in self.replies:
            self.session.send("Browser.getVersion")  # events arrive while something is asked
        return self.replies[number]

    def close(self) -> None:
        """Ends the tab."""
        self.session.send("Target.disposeBrowserContext", {"browserContextId": self.context})


def first_chart(session: Any, path: Path, screen: str) -> float:
    """Milliseconds from the start of the navigation to the first chart, in a new tab."""
    tab = Tab(session, screen)
    tab.ask("Page.navigate", url=path.resolve().as_uri())
    for _ in range(600):
        time.sleep(0.2)  # asking takes time from the page
        value = tab.ask("Runtime.evaluate", expression=FIRST)["result"].get("value")
        if value:
            tab.close()
            return value
    raise TimeoutError(f"{path} showed no chart within two minutes")


def pictured(chromium: Any, path: Path, screen: str, theme: str) -> Any:
    """A tab of Playwright's with the handout, its first charts drawn."""
    width, height, _ = SCREENS[screen]
    tab = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
    tab.goto(path.resolve().as_uri(), timeout=120_000)
    tab.wait_for_function(f"() => {FIRST}", timeout=120_000)
    tab.wait_for_timeout(1000)
    return tab


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, help="a handout; made here if not given")
    parser.add_argument("--networks", nargs="+", default=["resnet56", "resnet20-scratch", "resnet20-response"])
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--shots", type=Path, help="a folder for pictures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, browser(OFFLINE) as chromium:
        session = chromium.new_browser_cdp_session()
        path = options.file or Path(folder) / "handout.html"
        if not options.file:
            given = sources.from_disk()
            wanted = order.ordered(options.networks, options.images, [], [], 4.0, 0.7, given)
            path.write_text(page.build(wanted, given), encoding="utf-8")
            live = len(page.build(dataclasses.replace(wanted, live=True), given).encode())
            print(f"with the networks in it: {live / 1e6:.2f} MB")
        print(f"{path.stat().st_size / 1e6:.2f} MB")
        for screen, (width, _, slower) in SCREENS.items():
            times = [first_chart(session, path, screen) for _ in range(options.repetitions)]
            print(
                f"first chart at {width} px, processor {slower} x slower: median {statistics.median(times):.0f} ms, "
                f"slowest {max(times):.0f} ms of {options.repetitions}"
            )
        if options.shots:
            options.shots.mkdir(parents=True, exist_ok=True)
            for screen in SCREENS:
                for theme in ("light", "dark"):
                    tab = pictured(chromium, path, screen, theme)
                    tab.screenshot(path=options.shots / f"handout-{theme}-{screen}.png")
                    tab.close()


if __name__ == "__main__":
    main()
