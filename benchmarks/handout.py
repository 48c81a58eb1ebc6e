"""How large a handout is and how soon its first chart is drawn, on a desktop and on a slow phone.

    python -m benchmarks.handout --images 12 --networks resnet56 resnet20-scratch resnet20-response
    python -m benchmarks.handout --file handout.html --shots docs

Prints the file's size, without and with embedded networks (`--live`). Opens it from the disk in a headless Chromium
without network access, each time in a new tab, and prints the median from the start of the navigation to the first
chart: at full speed, and with the processor slowed down four times at a phone's 360 pixels. The tab has no Playwright
debugger, whose copy of what is loaded takes a quarter of a second of the slowed processor. `--shots` takes screenshots
in both themes at 1440 and 360 pixels.
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
from kdexplorer.handout.page import build
from kdexplorer.handout.request import make_request

OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND"
SCREENS = {"desktop": (1440, 900, 1), "phone": (360, 780, 4)}
"""Width and height in pixels, and how many times slower the processor is."""
FIRST = "performance.getEntriesByName('first chart')[0]?.startTime"


class Tab:
    """A tab without Playwright's debugger; only its processor and its size are set."""

    def __init__(self, session: Any, screen: str) -> None:
        width, height, slower = SCREENS[screen]
        self.session, self.replies = session, dict[int, Any]()
        self.context = session.send("Target.createBrowserContext")["browserContextId"]
        place = {"browserContextId": self.context, "width": width, "height": height}
        target = session.send("Target.createTarget", {"url": "about:blank"} | place)["targetId"]
        self.id = session.send("Target.attachToTarget", {"targetId": target, "flatten": False})["sessionId"]
        session.on("Target.receivedMessageFromTarget", self._store_reply)
        self.send("Emulation.setCPUThrottlingRate", rate=slower)

    def _store_reply(self, event: dict[str, Any]) -> None:
        if event["sessionId"] == self.id:
            reply = json.loads(event["message"])
            self.replies[reply.get("id")] = reply.get("result")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Sends a command of the DevTools protocol and returns its result."""
        number = len(self.replies) + 1
        message = json.dumps({"id": number, "method": method, "params": params})
        self.session.send("Target.sendMessageToTarget", {"sessionId": self.id, "message": message})
        while number not in self.replies:
            self.session.send("Browser.getVersion")  # events arrive during another command
        return self.replies[number]

    def close(self) -> None:
        """Closes the tab."""
        self.session.send("Target.disposeBrowserContext", {"browserContextId": self.context})


def first_chart(session: Any, path: Path, screen: str) -> float:
    """Milliseconds from the start of the navigation to the first chart, in a new tab."""
    tab = Tab(session, screen)
    tab.send("Page.navigate", url=path.resolve().as_uri())
    for _ in range(600):
        time.sleep(0.2)  # each evaluation takes time from the page
        value = tab.send("Runtime.evaluate", expression=FIRST)["result"].get("value")
        if value:
            tab.close()
            return value
    raise TimeoutError(f"{path} showed no chart within two minutes")


def open_tab(chromium: Any, path: Path, screen: str, theme: str) -> Any:
    """A Playwright tab with the handout and its first charts."""
    width, height, _ = SCREENS[screen]
    tab = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
    tab.goto(path.resolve().as_uri(), timeout=120_000)
    tab.wait_for_function(f"() => {FIRST}", timeout=120_000)
    tab.wait_for_timeout(1000)
    return tab


def main() -> None:
    """Parses the command line and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, help="a handout; written to a temporary folder if not given")
    parser.add_argument("--networks", nargs="+", default=["resnet56", "resnet20-scratch", "resnet20-response"])
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--shots", type=Path, help="a folder for screenshots")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, browser(OFFLINE) as chromium:
        session = chromium.new_browser_cdp_session()
        path = options.file or Path(folder) / "handout.html"
        if not options.file:
            request = make_request(options.networks, options.images, alpha=0.7)
            path.write_text(build(request), encoding="utf-8")
            live = len(build(dataclasses.replace(request, live=True)).encode())
            print(f"with embedded networks: {live / 1e6:.2f} MB")
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
                    tab = open_tab(chromium, path, screen, theme)
                    tab.screenshot(path=options.shots / f"handout-{theme}-{screen}.png")
                    tab.close()


if __name__ == "__main__":
    main()
