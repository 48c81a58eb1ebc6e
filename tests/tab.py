"""A tab of a headless Chromium, as the browser tests drive it, and what they share."""

import base64
import contextlib
import re

from benchmarks.app import settle

DESKTOP, PROJECTOR, PHONE, LARGE = (1440, 900), (1280, 720), (390, 844), (3840, 2160)
SLOW = 120_000  # milliseconds: a shared machine may take long


class Shared:
    """A Chromium and its tabs, which the tests in the browser share."""

    def __init__(self):
        self.open, self.used_in, self._made = contextlib.ExitStack(), None, {}

    def get(self, name, make):
        """What `make()` returned the first time."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def close(self):
        self._made.clear()
        self.open.close()


shared = Shared()


class Tab:
    """A tab that remembers errors, Vega's warnings, requests, those to other hosts, and how many messages it sent.

    Tests share it: a page that is opened where another was costs half of one in a new tab.
    """

    def __init__(self, context, url=""):
        self.url = url
        self.page = context.new_page()
        self.page.set_default_timeout(SLOW)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._console)
        self.page.on("request", self._request)
        self.page.on("websocket", lambda socket: socket.on("framesent", self._frame))
        self.forget()

    def _console(self, message):
        if message.type == "error" and "404" not in message.text:  # Streamlit probes two addresses on a deep link
            self.errors.append(message.text)
        if message.type == "warning" and message.text.startswith("WARN"):  # as Vega's do
            self.warnings.append(message.text)

    def _request(self, request):
        self.requested.append(request.url)
        if not re.match(r"((https?|wss?)://localhost:|data:|blob:|about:|file:)", request.url):
            self.other_hosts.append(request.url)

    def _frame(self, _):
        self.sent += 1

    def forget(self):
        """Begins anew, for the next test."""
        self.errors, self.warnings, self.requested, self.other_hosts, self.sent = [], [], [], [], 0

    def check(self):
        """No script failed, and nothing was asked of another host."""
        assert not self.errors, self.errors
        assert not self.other_hosts, self.other_hosts

    def resize(self, size):
        self.page.set_viewport_size({"width": size[0], "height": size[1]})
        return self

    def go(self, path):
        """Goes to a page without waiting for it."""
        self.page.goto(f"{self.url}/{path}", wait_until="domcontentloaded")
        return self

    def open(self, path):
        """Opens a page and waits until all of it is drawn."""
        return self.go(path).settle()

    def settle(self):
        settle(self.page)
        return self

    def chart(self, words):
        """The chart that contains these words."""
        found = self.page.locator(".stVegaLiteChart", has_text=words).first
        found.wait_for()
        return found


GIVE = """(place, [way, name, type, text]) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)), given = new DataTransfer();
  given.items.add(new File([bytes], name, {type}));
  const options = {bubbles: true, composed: true, cancelable: true, clipboardData: given, dataTransfer: given};
  place.dispatchEvent(way === "paste" ? new ClipboardEvent("paste", options) : new DragEvent("drop", options));
}"""


def give(place, name, content, way="drop"):
    """Drops a file on a part of a page, or pastes it there."""
    kind = "application/pdf" if name.endswith("pdf") else f"image/{name.rpartition('.')[2]}"
    place.evaluate(GIVE, [way, name, kind, base64.b64encode(content).decode()])


def drag(slider, *values):
    """Drags a range input over these values."""
    slider.evaluate(
        """(slider, values) => {
          const tell = (kind) => slider.dispatchEvent(new Event(kind, {bubbles: true}));
          for (slider.value of values) tell("input");
          tell("change");
        }""",
        values,
    )
