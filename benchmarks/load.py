"""A full lecture room: visitors who join at once and then click, each over a real WebSocket in Streamlit's protocol.

    python -m benchmarks.load --people 100 --minutes 10 --train

Starts the application (or visits `--url`; visitors are spread over several). All visitors come from one public address,
as a class behind a router does (`--no-one-address`: each from their own), which they name like a proxy on this machine.
First a presenter opens three pages of the server that has just started. Then each visitor opens a page, with
`--empty-caches` after all the files that a browser would load first, then the page of the run that trains meanwhile,
and from then on thinks 5 to 15 seconds and changes the image, a network, the pinned temperature or the page, uploads a
photo, or watches the run again. An action lasts from its message to the server's message that the script has finished,
a first page from the request of its document. Prints percentiles, errors, lost connections, the server's memory, its
slope and what is left of it `--linger` seconds after all have left, and how many visitors saw the run's progress move.
Above some 200 visitors this script needs a core of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import os
import random
import re
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil
import streamlit
import websockets
from PIL import Image
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.typing import Origin, Subprotocol

from benchmarks.app import running
from kdexplorer.config import RunConfig
from kdexplorer.runs.launch import launch_run, stop_run
from kdexplorer.runs.run_folder import LIVE, Run

PATIENCE = 120.0
"""Seconds after which a visitor gives up: an error."""

UPLOADER = "Try your photo"
WHOLE_UPLOAD = "upload, all of it"
ROOM = "203.0.113.7"
"""The one public address of a class."""
CHUNKS = (
    "MaterialSymbols-Rounded", "SourceSansVF-Italic", "StreamlitMarkdown", "BidiComponent", "ImageList", "Button",
    "Html", "ArrowVegaLiteChart", "embed", "ButtonGroup", "DownloadButton", "Checkbox", "rehype-katex",
)  # fmt: skip
"""Streamlit's files that a page with a chart needs beside those of the first document and their imports."""
FIRST = ("overview", "soft_labels", "attention")
"""The pages that visitors open first."""
BY_ITSELF = "a fragment by itself"
"""What a page does while something runs."""

TRAINING = {
    "name": "load", "dataset": "synthetic", "epochs": 1000, "batch_size": 64,
    "students": [{"name": "student", "architecture": "resnet8"}],
}  # fmt: skip


@dataclass
class Tally:
    """What all visitors experienced; times in seconds since the start."""

    begin: float = field(default_factory=time.perf_counter)
    joined_until: float = 0.0
    actions: list[tuple[float, float, str]] = field(default_factory=list)
    first_pages: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    left_at: float = 0.0
    lost: int = 0
    received: int = 0
    progress: dict[int, set[str]] = field(default_factory=dict)
    memory: list[tuple[float, float]] = field(default_factory=list)
    slowed: list[float] = field(default_factory=list)
    """When a run's page said that visitors slow its training down."""

    def now(self) -> float:
        return time.perf_counter() - self.begin

    def slope(self) -> float:
        """MB a minute by which the servers' memory grows, from half a minute after the last visitor has joined."""
        end = self.left_at or self.now()
        steady = [(at, size) for at, size in self.memory if self.joined_until + 30 < at < end]
        if len(steady) <= 5:
            return float("nan")
        seconds, sizes = np.transpose(steady)
        return 60 * float(np.polyfit(seconds, sizes, 1)[0])


class Visitor:
    """A browser without a screen: it keeps the page's widgets and the values that it has set."""

    def __init__(self, number: int, url: str, tally: Tally, run: str | None, address: str = ROOM) -> None:
        """`address`: from which a proxy on this machine says that the visitor comes; "" is this machine's."""
        self.forwarded = {"X-Forwarded-For": address} if address else {}
        self.number, self.url, self.tally, self.run = number, url.rstrip("/"), tally, run
        self.random = random.Random(number)
        self.socket: Any = None
        self.cookie = self.session = self.query = self.page = ""
        self.pages: dict[str, str] = {}
        self.known: dict[str, ForwardMsg] = {}
        self.widgets: dict[str, Any] = {}
        self.values: dict[str, Any] = {}
        self.repeats: dict[str, float] = {}

    # --- The protocol ---

    async def open(self, page: str, empty_cache: bool = False) -> None:
        """Fetches the first document and the cookie, and its files if they are not kept; connects, requests a page."""
        paths, begin = ("/", "/_stcore/host-config", "/_stcore/health"), self.tally.now()
        lines = [line for path in paths for line in (await self._fetch(path)).get_all("Set-Cookie") or []]
        kept = self.cookie.split("; ") if self.cookie else []
        cookies = dict(line.split("=", 1) for line in (*kept, *(line.split(";")[0] for line in lines)))
        self.cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
        if empty_cache:
            self.tally.received += await download(self.url, files_of_page(), self.forwarded)
        self.socket = await websockets.connect(
            self.url.replace("http", "ws", 1) + "/_stcore/stream",
            subprotocols=[Subprotocol("streamlit")], origin=Origin(self.url), max_size=None, open_timeout=PATIENCE,
            additional_headers=self.forwarded | ({"Cookie": self.cookie} if self.cookie else {}),
        )  # fmt: skip
        await self.act(f"join {page}", page_name=page)
        self.tally.first_pages.append(self.tally.now() - begin)

    async def _fetch(self, path: str, method: str = "GET", data: bytes | None = None, **headers: str) -> Any:
        headers |= self.forwarded | {"Cookie": self.cookie}
        request = urllib.request.Request(self.url + path, data, headers, method=method)

        def call() -> Any:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                self.tally.received += len(response.read())
                return response.headers

        return await asyncio.to_thread(call)

    async def act(self, what: str, press: str = "", **changes: Any) -> None:
        """Sends the state of all widgets (and one button pressed), and waits until the script has finished."""
        message = BackMsg()
        state = message.rerun_script
        state.query_string, state.page_script_hash = self.query, self.page
        state.cached_message_hashes.extend(self.known)
        for name, value in changes.items():
            setattr(state, name, value)
        for key, value in self.values.items():
            widget = state.widget_states.widgets.add(id=key)
            if isinstance(value, list):
                widget.string_array_value.data.extend(value)
            elif isinstance(value, (float, bool, str)):
                kind = {float: "double", bool: "bool", str: "string"}[type(value)]
                setattr(widget, f"{kind}_value", value)
            else:
                widget.file_uploader_state_value.CopyFrom(value)
        if press:
            state.widget_states.widgets.add(id=press, trigger_value=True)
        begin = self.tally.now()
        await self._send(message, "script_finished")
        self.tally.actions.append((begin, self.tally.now() - begin, what))

    async def _send(self, message: BackMsg, kind: str) -> ForwardMsg:
        """Sends a message and receives messages up to the response of that kind."""
        await self.socket.send(message.SerializeToString())
        async with asyncio.timeout(PATIENCE):
            while True:
                response = await self._receive()
                early = response.script_finished == ForwardMsg.ScriptFinishedStatus.FINISHED_EARLY_FOR_RERUN
                if response.WhichOneof("type") == kind and not early:
                    return response

    async def _receive(self) -> ForwardMsg:
        data = await self.socket.recv()
        self.tally.received += len(data)
        message = ForwardMsg.FromString(data)
        if message.WhichOneof("type") == "ref_hash":
            message = self.known[message.ref_hash]
        elif message.metadata.cacheable:
            self.known[message.hash] = message
        getattr(self, f"_{message.WhichOneof('type')}", lambda _: None)(message)
        return message

    def _new_session(self, message: ForwardMsg) -> None:
        self.session = message.new_session.initialize.session_id or self.session
        self.page = message.new_session.page_script_hash
        if not message.metadata.run.fragment_ids:
            self.widgets, self.repeats = {}, {}

    def _navigation(self, message: ForwardMsg) -> None:
        self.pages = {
            page.url_pathname or page.page_name: page.page_script_hash for page in message.navigation.app_pages
        }
        self.page = message.navigation.page_script_hash

    def _page_info_changed(self, message: ForwardMsg) -> None:
        self.query = message.page_info_changed.query_string

    def _auto_rerun(self, message: ForwardMsg) -> None:
        self.repeats[message.auto_rerun.fragment_id] = message.auto_rerun.interval

    def _stop_auto_rerun(self, message: ForwardMsg) -> None:
        for key in message.stop_auto_rerun.fragment_ids:
            self.repeats.pop(key, None)

    def _delta(self, message: ForwardMsg) -> None:
        if message.delta.HasField("add_block") and message.delta.add_block.HasField("popover"):
            self.widgets[message.delta.add_block.popover.label] = message.delta.add_block.popover
        element = message.delta.new_element
        kind = element.WhichOneof("type")
        widget: Any = getattr(element, kind) if kind else None
        if kind == "exception":
            self.tally.errors.append(f"{widget.type}: {widget.message[:100]}")
        elif kind == "progress":
            self.tally.progress.setdefault(self.number, set()).add(widget.text)
        elif kind == "markdown" and "the training is slower" in widget.body:
            self.tally.slowed.append(self.tally.now())
        elif kind in ("button", "button_group", "multiselect", "number_input", "file_uploader"):
            self.widgets[widget.label] = widget

    # --- What visitors do ---

    async def stay(self, seconds: float, think: tuple[float, float]) -> None:
        """Thinks and acts until the time is over; the page's fragments rerun by themselves meanwhile."""
        end = self.tally.now() + seconds
        while self.tally.now() < end:
            await self._think(min(self.random.uniform(*think), end - self.tally.now()))
            acts: list[Callable[[], Awaitable[object]]]
            acts = [self.next_image, self.pin, self.network, self.turn_page, self.upload, self.watch]
            await self.random.choices(acts, weights=[4, 4, 2, 2, 1, 2 if self.run else 0])[0]()

    async def _think(self, seconds: float) -> None:
        end, due = self.tally.now() + seconds, dict[str, float]()
        while (now := self.tally.now()) < end:
            due = {key: due.get(key, now + every) for key, every in self.repeats.items()}
            wake = min([end, *due.values()])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._receive(), max(0.01, wake - now))
            for key in [key for key, at in due.items() if at <= self.tally.now()]:
                del due[key]
                await self.act(BY_ITSELF, fragment_id=key, is_auto_rerun=True)

    async def use(self, label: str, what: str, options: list[str] | None = None) -> None:
        """Presses a button or chooses from a list where the page has it; opens the soft labels page where not."""
        widget = self.widgets.get(label)
        if widget is None:
            await self.turn_page("soft_labels")
        elif options is None:
            await self.act(what, press=widget.id)
        else:
            self.values[widget.id] = options
            await self.act(what)

    async def next_image(self) -> None:
        await self.use("Next", "next image")

    async def pin(self) -> None:
        """Moves T: a link with a new one asks the page for the same as its slider."""
        if "Next" not in self.widgets:
            await self.turn_page("soft_labels")
            return
        kept = [part for part in self.query.split("&") if part and not part.startswith("T=")]
        self.query = "&".join([*kept, f"T={self.random.uniform(1, 20):.2f}"])
        await self.act("pin T")

    async def network(self) -> None:
        widget = self.widgets.get("Students")
        names = list(widget.options) if widget else []
        await self.use("Students", "choose networks", self.random.sample(names, min(len(names), 2)))

    async def turn_page(self, page: str = "", query: str = "") -> None:
        """Opens another page, as a link of the navigation does."""
        page = page or self.random.choice(["overview", "soft_labels", "attention", "compare"])
        self.page, self.values, self.query = self.pages.get(page, ""), {}, query
        await self.act(f"open {page}", page_name=page)

    async def watch(self) -> None:
        """Opens the run's page."""
        await self.turn_page("launch", f"run={self.run}")

    async def upload(self, data: bytes | None = None, name: str = "photo.jpg") -> str:
        """Uploads a phone's photo of 12 megapixels, or other data; returns the address it was sent to."""
        await self.turn_page("soft_labels")
        begin, data = self.tally.now(), data or photo()
        place = await self.send_file(data, name)
        state = BackMsg().rerun_script.widget_states.widgets.add().file_uploader_state_value
        state.uploaded_file_info.add(name=name, size=len(data), file_id=place.file_id, file_urls=place)
        self.values[self.widgets[UPLOADER].id] = state
        await self.act("show the upload")
        self.tally.actions.append((begin, self.tally.now() - begin, WHOLE_UPLOAD))
        return place.upload_url

    async def send_file(self, data: bytes, name: str) -> Any:
        """Sends a file's data, which no page shows yet; returns its `FileURLs`."""
        message = BackMsg()
        request = message.file_urls_request
        request.request_id, request.session_id = str(uuid.uuid4()), self.session
        request.file_names.append(name)
        (place,) = (await self._send(message, "file_urls_response")).file_urls_response.file_urls
        border = uuid.uuid4().hex
        head = f'--{border}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n\r\n'
        body = head.encode() + data + f"\r\n--{border}--\r\n".encode()
        token = next((part.partition("=")[2] for part in self.cookie.split("; ") if "xsrf" in part), "")
        kind = f"multipart/form-data; boundary={border}"
        await self._fetch(place.upload_url, "PUT", body, **{"X-Xsrftoken": token, "Content-Type": kind})
        return place


@cache
def photo() -> bytes:
    """A JPEG of 4000 × 3000 pixels."""
    blocks = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.kron(blocks, np.ones((100, 100, 1), np.uint8))).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


@cache
def files_of_page() -> tuple[str, ...]:
    """The paths of the files that a browser without any loads for a page with a chart."""
    folder = Path(streamlit.__file__).parent / "static"
    index = (folder / "index.html").read_text()
    found = [name for name in re.findall(r'(?:src|href)="\./(static/[^"]+)"', index) if (folder / name).is_file()]
    wanted = [path for name in CHUNKS for path in sorted((folder / "static").glob(f"*/{name}.*"))[:1]]
    found += [str(path.relative_to(folder)) for path in wanted]
    for name in found:  # grows: what a module imports
        if name.endswith(".js"):
            imports = re.findall(r'(?:from|import)"\./([^"]+)"', (folder / name).read_text())
            found += [path for one in dict.fromkeys(imports) if (path := f"static/js/{one}") not in found]
    return tuple(f"/{name}" for name in found)


async def download(url: str, paths: Sequence[str], headers: dict[str, str]) -> int:
    """Loads these files over six connections, as a browser does; returns how many bytes. Raises OSError."""
    place, waiting = urlsplit(url), list(reversed(paths))
    lines = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
    secure = True if place.scheme == "https" else None

    async def load() -> int:
        reader, writer = await asyncio.open_connection(
            place.hostname, place.port or (443 if secure else 80), ssl=secure
        )
        received = 0
        while waiting:
            request = f"GET {waiting.pop()} HTTP/1.1\r\nHost: {place.netloc}\r\nAccept-Encoding: gzip\r\n{lines}\r\n"
            writer.write(request.encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            if head.split()[1] != "200":
                raise OSError(f"{request.split()[1]}: status {head.split()[1]}")
            length = re.search(r"\ncontent-length: (\d+)", head)
            chunk = int(length[1]) if length else int(await reader.readline(), 16)
            while chunk:
                received += len(await reader.readexactly(chunk))
                if not length:
                    await reader.readline()
                chunk = 0 if length else int(await reader.readline(), 16)
            if not length:
                await reader.readline()
        writer.close()
        return received

    async with asyncio.timeout(PATIENCE):
        return sum(await asyncio.gather(*(load() for _ in range(6))))


async def visit(visitor: Visitor, wait: float, options: argparse.Namespace) -> None:
    """One visitor's whole visit; an error is recorded and ends only this visit."""
    await asyncio.sleep(wait)
    try:
        await visitor.open(visitor.random.choice(FIRST), options.empty_caches)
        visitor.tally.joined_until = max(visitor.tally.joined_until, visitor.tally.now())
        if visitor.run:
            await visitor.watch()
        await visitor.stay(60 * options.minutes, tuple(options.think))
    except websockets.ConnectionClosed as error:
        visitor.tally.lost += 1
        visitor.tally.errors.append(f"connection lost: {error}")
    except (OSError, TimeoutError, KeyError) as error:
        visitor.tally.errors.append(f"{type(error).__name__}: {error}"[:200])
    finally:
        if visitor.socket is not None:
            await visitor.socket.close()


async def watch_memory(servers: list[psutil.Process], tally: Tally, every: float = 5.0) -> None:
    """Records the servers' memory every few seconds."""
    while servers:
        with contextlib.suppress(psutil.Error):
            tally.memory.append((tally.now(), sum(server.memory_info().rss for server in servers) / 1e6))
        await asyncio.sleep(every)


async def look_first(urls: list[str]) -> None:
    """A presenter opens the pages before the class comes; prints how long a server that has just started takes."""
    tally = Tally()
    for url in urls:
        for page in FIRST:
            presenter = Visitor(0, url, tally, None)
            await presenter.open(page)
            await presenter.socket.close()
    print(f"the presenter's first pages: {', '.join(f'{took:.2f}' for took in tally.first_pages)} s")


async def run_visits(
    urls: list[str], run: str | None, servers: list[psutil.Process], options: argparse.Namespace
) -> Tally:
    """All visits at once."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(32))
    await look_first(urls)
    tally, wait = Tally(), options.join / options.people
    watcher = asyncio.create_task(watch_memory(servers, tally))
    visits = []
    for n in range(options.people):
        address = ROOM if options.one_address else f"198.51.{100 + n // 250}.{1 + n % 250}"
        visits.append(visit(Visitor(n, urls[n % len(urls)], tally, run, address), wait * n, options))
    await asyncio.gather(*visits)
    tally.left_at = tally.now()
    await asyncio.sleep(options.linger)
    watcher.cancel()
    return tally


def percentiles(times: list[float]) -> str:
    """Count, median, 95th percentile and the longest."""
    if not times:
        return "none"
    median, worst = np.percentile(times, (50, 95))
    return f"{len(times):6d}  median {median:6.2f} s  95th {worst:6.2f} s  longest {max(times):6.2f} s"


def report(tally: Tally, options: argparse.Namespace) -> None:
    """Prints the figures."""
    mine = [one for one in tally.actions if one[2] != WHOLE_UPLOAD]
    print(f"{options.people} visitors joined within {options.join:g} s, the last after {tally.joined_until:.1f} s")
    print(f"{'first page':<24} {percentiles(tally.first_pages)}, {len(tally.first_pages)} of {options.people}")
    print(f"{'while they join':<24} {percentiles([took for at, took, _ in mine if at <= tally.joined_until])}")
    print(f"{'after':<24} {percentiles([took for at, took, _ in mine if at > tally.joined_until])}")
    for what in sorted({what for _, _, what in tally.actions}):
        print(f"  {what:<22} {percentiles([took for _, took, name in tally.actions if name == what])}")
    print(f"errors {len(tally.errors)}, connections lost {tally.lost}, received {tally.received / 1e6:.1f} MB")
    for sentence in sorted(set(tally.errors))[:10]:
        print(f"  {tally.errors.count(sentence)} × {sentence}")
    if tally.memory:
        sizes = [size for _, size in tally.memory]
        print(f"memory {min(sizes):.0f} to {max(sizes):.0f} MB, slope {tally.slope():+.2f} MB/min once all have joined")
        if options.linger:
            print(f"memory {sizes[-1]:.0f} MB {options.linger:g} s after all have left")
    if options.train:
        moved = sum(len(texts) > 1 for texts in tally.progress.values())
        print(f"the run's progress was seen by {len(tally.progress)}, and seen to move by {moved}")


def main(arguments: list[str] | None = None) -> Tally:
    """Parses the command line, runs the visits and returns the tally."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long each stays after joining")
    parser.add_argument("--join", type=float, default=30.0, help="seconds within which all join")
    parser.add_argument("--think", type=float, nargs=2, default=(5.0, 15.0), metavar=("LEAST", "MOST"))
    parser.add_argument("--one-address", action=argparse.BooleanOptionalAction, default=True, help="as a class has")
    parser.add_argument("--empty-caches", action="store_true", help="each loads the page's files first")
    parser.add_argument("--linger", type=float, default=0.0, help="seconds to watch the memory after all have left")
    parser.add_argument("--train", action="store_true", help="a run trains meanwhile, and visitors watch it")
    parser.add_argument("--processes", type=int, default=1, help="applications to start; visitors are spread over them")
    parser.add_argument("--url", nargs="+", help="running applications; without memory figures and --train")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder, run, servers, urls = Path(name), None, [], options.url or []
        if not options.url:
            before = set(psutil.Process().children())
            for number in range(options.processes):
                place = folder / f"app{number}"
                place.mkdir()
                urls.append(stack.enter_context(running(place, KDEXPLORER_RUNS=str(folder / "runs"))))
            servers = [child for child in psutil.Process().children() if child not in before]
            run = stack.enter_context(training(folder)) if options.train else None
        tally = asyncio.run(run_visits(urls, run.run_id if run else None, servers, options))
    report(tally, options)
    return tally


@contextlib.contextmanager
def training(folder: Path) -> Iterator[Run]:
    """A run that trains meanwhile; at the end it is stopped and has saved its state."""
    os.environ.pop("KDEXPLORER_DATA", None)
    os.environ["KDEXPLORER_RUNS"] = str(folder / "runs")
    run = launch_run(RunConfig(**TRAINING))
    try:
        yield run
    finally:
        stop_run(run)
        for _ in range(600):
            if run.status().state not in LIVE:
                break
            time.sleep(0.1)


if __name__ == "__main__":
    main()
