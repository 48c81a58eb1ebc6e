"""One hostile guest beside a class, its presenter and a run, on two cores: what does the guest cost the others?

    python -m benchmarks.guest [--same-address] [--only handouts attention_studies]

Starts the application with a presenter token and a run that trains (`--no-train`: without), and 20 visitors from one
address: three of four change the pinned temperature or the image every few seconds, the others watch the run. The
presenter, from the same address, does the same, and enters the token again and again in new tabs, now and then in
another browser, whose page and login together are a number of their own. First nobody else is
there; then for `--seconds` a guest does everything at once that an audit found to be costly (`ATTACKS`), or only what
is named, from another address or with `--same-address` from the class's; then the guest leaves, and after `--recovery`
seconds everything is measured again. Prints the visitors' and the presenter's times, the server's memory and the
training's speed for each part, and whether they are within the budget: of the training's speed more may be lost where
the run's page says that visitors slow it down, as the class comes first. The guest is a process of its own with the
run's priority; its processor time is printed, because on two cores it is taken from the others.
The server and the run get two cores; with more, visitors and guest have the others.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import websockets
from PIL import Image
from streamlit.proto.BackMsg_pb2 import BackMsg

from benchmarks.app import ROOT, running
from benchmarks.load import BY_ITSELF, ROOM, Tally, Visitor, percentiles, training, watch_memory
from kdexplorer.runs.run_folder import Run

ADDRESS = "203.0.113.66"
TOKEN = "the presenter's token of this benchmark"
P95, PRESENTER, MEMORY, LOSS = 1.5, 0.6, 1500.0, 0.2
"""The budget: seconds for visitors and for the presenter, MB, share of the training's speed."""
FAILURES = (OSError, TimeoutError, KeyError, ValueError, websockets.WebSocketException)


class Guest(Visitor):
    """A visitor who also sends what no browser would."""

    def __init__(self, url: str, run: str, address: str = ADDRESS, tally: Tally | None = None) -> None:
        super().__init__(random.randrange(10**6), url, tally or Tally(), run, address)
        self.handout = ""

    def _delta(self, message: Any) -> None:
        super()._delta(message)
        element = message.delta.new_element
        kind = element.WhichOneof("type")
        if kind in ("checkbox", "text_input"):
            self.widgets[element.checkbox.label or element.text_input.label] = getattr(element, kind)
        elif kind == "download_button" and element.download_button.deferred_file_id:
            self.handout = element.download_button.deferred_file_id

    async def say(self, message: BackMsg) -> None:
        """Sends a message and waits for nothing."""
        await self.socket.send(message.SerializeToString())

    def find(self, begin: str) -> str:
        """The id of the widget whose label begins so; a forged one where the page does not show it to guests."""
        for label, widget in self.widgets.items():
            if label.startswith(begin):
                return widget.id
        return f"$$ID-forged-{begin}"


async def empty_rows(guest: Guest) -> None:
    """1,300 empty rows for a table that the page does not have."""
    await guest.turn_page("launch", "customize=true")
    guest.values["$$ID-forged-table"] = json.dumps({"added_rows": [{}] * 1300})
    await guest.act("rows")


async def huge_grid(guest: Guest) -> None:
    """A sweep of 600 × 600, and the largest that is allowed."""
    await guest.turn_page("launch", "customize=true")
    guest.values[guest.find("Sweep")] = True
    await guest.act("sweep")
    for count in (600, 32):
        for label, most in (("Temperatures", 100.0), ("Weights", 1.0)):
            guest.values[guest.find(label)] = [f"{most * (n + 1) / count:g}" for n in range(count)]
        with contextlib.suppress(TimeoutError):  # a message that is dropped has no answer
            await asyncio.wait_for(guest.act("grid"), 5)


async def large_pictures(guest: Guest) -> None:
    """Pictures of 16 megapixels, each another file."""
    await guest.upload(large_picture() + random.randbytes(8), "large.webp")


async def many_uploads(guest: Guest) -> None:
    """Files of almost 5 MB that no page shows."""
    await guest.send_file(random.randbytes(4_900_000), "x.png")


async def wrong_tokens(guest: Guest) -> None:
    """Attempts to enter the presenter token."""
    if guest.page != guest.pages.get("launch"):
        await guest.turn_page("launch")
    guest.values = {guest.find("Presenter token"): f"a wrong token {random.random()}"}
    await guest.act("token", press=guest.find("Enter"))


async def stay_connected(guest: Guest) -> None:
    """A connection that does nothing."""
    await guest._think(3600)


async def handouts(guest: Guest) -> None:
    """A handout with networks for another temperature."""
    await guest.turn_page("soft_labels", f"T={random.uniform(1, 20):.4f}")
    for label in ("Handout", "Include the networks"):
        guest.values[guest.find(label)] = True
        await guest.act("include")
    message = BackMsg()
    request = message.backend_operation_request
    request.request_id, request.session_id = "1", guest.session
    request.deferred_file.file_id = guest.handout
    await guest._send(message, "backend_operation_response")


async def attention_studies(guest: Guest) -> None:
    """Attention over 1,000 images for two random networks."""
    await guest.turn_page("attention")
    await guest.network()
    await guest.act("study", press=guest.find("Compare "))


async def watch_run(guest: Guest) -> None:
    """The page of the run, which looks for news by itself."""
    await guest.watch()
    await guest._think(10)


async def come_and_go(guest: Guest) -> None:
    """Another connection in place of this one."""
    guest.socket.transport.abort()
    await guest.open("soft_labels")


async def clear_caches(guest: Guest) -> None:
    """Clears everybody's caches."""
    await guest.say(BackMsg(clear_cache=True))
    await asyncio.sleep(0.1)


async def run_again(guest: Guest) -> None:
    """Runs a page again before it has finished."""
    message = BackMsg()
    message.rerun_script.page_name = "soft_labels"
    await guest.say(message)
    await asyncio.sleep(0.01)


async def hold_turns(guest: Guest) -> None:
    """Asks for a run that never begins, and for answers that are no sign of one, with pauses."""
    message = BackMsg()
    message.rerun_script.fragment_id = "gone"
    await guest.say(message)
    await guest.say(BackMsg(app_heartbeat=True))
    message = BackMsg()
    message.backend_operation_request.request_id = "x" * 5000
    message.backend_operation_request.deferred_file.file_id = "none"
    await guest.say(message)
    await asyncio.sleep(1.2)


ATTACKS: dict[Callable[[Guest], Awaitable[None]], int] = {
    empty_rows: 2, huge_grid: 2, large_pictures: 6, many_uploads: 3, wrong_tokens: 8, handouts: 2, attention_studies: 2,
    watch_run: 4, come_and_go: 2, clear_caches: 1, run_again: 2, hold_turns: 12, stay_connected: 200,
}  # fmt: skip
"""What the guest does, over how many connections each; the last begins later, to leave room for the others."""


@cache
def large_picture() -> bytes:
    """A small WebP file of 16 megapixels, made once."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4000, 4000, 3), np.uint8)).save(buffer, "WEBP", quality=20, method=0)
    return buffer.getvalue()


async def attack(
    url: str, run: str, address: str, names: Collection[str], seconds: float, counts: dict[str, int]
) -> None:
    """These attacks at once until the time is over; `counts` says how often what was done and what failed."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(64))
    large_picture()

    async def repeat(what: Callable[[Guest], Awaitable[None]]) -> None:
        if what is stay_connected:
            await asyncio.sleep(seconds / 4)
        while True:
            guest = Guest(url, run, address)
            try:
                await guest.open("overview")
                while True:
                    await what(guest)
                    counts[what.__name__] = counts.get(what.__name__, 0) + 1
                    guest.known.clear()
            except FAILURES as error:
                name = f"{what.__name__}: {type(error).__name__}"
                counts[name] = counts.get(name, 0) + 1
                await asyncio.sleep(0.5)
            finally:
                if guest.socket is not None:
                    guest.socket.transport.abort()

    chosen = [what for what in ATTACKS if what.__name__ in names for _ in range(ATTACKS[what])]
    tasks = [asyncio.create_task(repeat(what)) for what in chosen]
    await asyncio.wait(tasks, timeout=seconds)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=5)


async def look(visitor: Visitor, wait: float) -> None:
    """An ordinary visitor, who stays until the task is canceled."""
    await asyncio.sleep(wait)
    try:
        await visitor.open("soft_labels")
        watches = visitor.number % 4 == 3 and bool(visitor.run)
        if watches:
            await visitor.watch()
        while True:
            await visitor._think(visitor.random.uniform(2, 8))
            if not watches:
                await visitor.random.choice([visitor.pin, visitor.next_image])()
    except websockets.ConnectionClosed as error:
        visitor.tally.lost += 1
        visitor.tally.errors.append(f"connection lost: {error}")
    except FAILURES as error:
        visitor.tally.errors.append(f"{type(error).__name__}: {error}"[:200])


LOGIN = "login in a new browser"


async def present(url: str, run: str, tally: Tally) -> None:
    """The presenter: in new tabs enters the token and changes what is shown, until the task is canceled.

    The first tab, and every third, is that of another browser, which the server does not know yet.
    """
    cookie, number = "", 0
    while True:
        presenter = Guest(url, run, ROOM, tally if cookie else Tally(tally.begin))
        presenter.cookie, begin = cookie, tally.now()
        try:
            await presenter.open("launch")
            presenter.values = {presenter.find("Presenter token"): TOKEN}
            await presenter.act("token", press=presenter.find("Enter"))
            presenter.tally, number = tally, number + 1
            if not cookie:
                tally.actions.append((begin, tally.now() - begin, LOGIN))
            cookie = presenter.cookie if number % 3 else ""
            await presenter.turn_page("soft_labels")
            for _ in range(10):
                await presenter._think(1)
                await presenter.random.choice([presenter.pin, presenter.next_image])()
        except FAILURES as error:
            tally.errors.append(f"presenter: {type(error).__name__}: {error}"[:200])
            await asyncio.sleep(0.5)
        finally:
            if presenter.socket is not None:
                await presenter.socket.close()


def steps_of(run: Run | None) -> float:
    """Steps that the run has trained."""
    if run is None:
        return float("nan")
    status = run.status()
    return (status.epoch or 0) * (status.steps_per_epoch or 0) + (status.step or 0)


class Measured:
    """What happened in one part of the benchmark."""

    def __init__(self, name: str, tally: Tally, presenter: Tally, run: Run | None) -> None:
        self.name, self.tally, self.presenter, self.run = name, tally, presenter, run
        self.begin, self.steps = tally.now(), steps_of(run)

    def finish(self) -> Measured:
        """Ends it, prints it and returns it."""
        until = self.tally.now()
        self.speed = (steps_of(self.run) - self.steps) / (until - self.begin)
        self.says_slow = any(self.begin <= at <= until for at in self.tally.slowed)
        self.times = [took for at, took, what in self.tally.actions if at + took > self.begin and "join" not in what]
        self.memory = max((size for at, size in self.tally.memory if self.begin <= at <= until), default=float("nan"))
        print(f"{self.name:<20} {percentiles(self.times)}  memory {self.memory:5.0f} MB  {self.speed:6.1f} steps/s")
        looks = [took for at, took, what in self.tally.actions if at + took > self.begin and what == BY_ITSELF]
        print(f"{'  a look at the run':<20} {percentiles(looks)}")
        recent = [(took, what) for at, took, what in self.presenter.actions if at + took > self.begin]
        self.presented = [took for took, what in recent if what != LOGIN]
        print(f"{'  the presenter':<20} {percentiles(self.presented)}")
        print(f"{'  ' + LOGIN:<20} {percentiles([took for took, what in recent if what == LOGIN])}")
        self.p95, self.presenter_p95 = (
            float(np.percentile(times, 95)) if times else float("nan") for times in (self.times, self.presented)
        )
        return self


async def measure(url: str, run: Run | None, server: psutil.Process, options: argparse.Namespace) -> list[Measured]:
    """Before, during, and after."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(32))
    begin, run_id, parts = time.perf_counter(), run.run_id if run else "", list[Measured]()
    tally, presenter = Tally(begin), Tally(begin)
    tasks = [asyncio.create_task(watch_memory([server], tally, 0.25))]
    tasks.append(asyncio.create_task(present(url, run_id, presenter)))
    for number in range(options.visitors):
        visitor = Visitor(number, url, tally, run_id, ROOM)
        tasks.append(asyncio.create_task(look(visitor, options.join * number / options.visitors)))
    await asyncio.sleep(options.join + 3)
    parts.append(Measured("before", tally, presenter, run))
    await asyncio.sleep(options.seconds / 2)
    parts[-1].finish()
    parts.append(Measured("beside the guest", tally, presenter, run))
    command = [sys.executable, "-m", "benchmarks.guest", "--attack", url, "--run", run_id]
    command += ["--same-address"] if options.same_address else []
    command += ["--seconds", str(options.seconds), "--only", *options.only]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, preexec_fn=lambda: os.nice(10))
    await process.wait()
    parts[-1].finish()
    await asyncio.sleep(options.recovery)
    parts.append(Measured(f"{options.recovery:g} s later", tally, presenter, run))
    await asyncio.sleep(options.seconds / 2)
    parts[-1].finish()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(f"visitors: errors {len(tally.errors)}, connections lost {tally.lost}; presenter: {len(presenter.errors)}")
    for sentence in sorted({*tally.errors, *presenter.errors})[:10]:
        print(f"  {sentence}")
    return parts


def judge(before: Measured, beside: Measured, after: Measured) -> bool:
    """Prints each number of the budget; whether all are within it."""
    lost = "training's speed lost to the guest, share"
    measured = [
        ("visitors' 95th percentile beside the guest, s", beside.p95, P95),
        ("presenter's 95th percentile beside the guest, s", beside.presenter_p95, PRESENTER),
        ("server's memory at most, MB", max(part.memory for part in (before, beside, after)), MEMORY),
        (lost, 1 - beside.speed / before.speed, LOSS),
        ("visitors' 95th percentile later, s", after.p95, float(np.nanmax((1.5 * before.p95, 0.5)))),
        ("training's speed lost later, share", 1 - after.speed / before.speed, LOSS),
    ]
    measured = [  # without a run there is no speed; where nothing was answered, no budget is kept
        (name, np.inf if np.isnan(number) else number, most)
        for name, number, most in measured
        if not (np.isnan(number) and "speed" in name)
    ]
    is_kept = True
    for name, number, most in measured:
        is_said = name == lost and beside.says_slow
        is_kept &= number < most or is_said
        verdict = "kept" if number < most else "EXCEEDED, as the run's page says" if is_said else "EXCEEDED"
        print(f"{name:<48} {number:8.2f}  budget {most:8.2f}  {verdict}")
    return is_kept


@contextlib.contextmanager
def two_cores() -> Iterator[None]:
    """What is started inside has two cores; with more, this process has the others afterwards."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:2])
    yield
    os.sched_setaffinity(0, cores[2:] or cores)


def main(arguments: list[str] | None = None) -> bool:
    """Parses the command line and simulates the guest; whether the budget was kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the guest stays")
    parser.add_argument("--visitors", type=int, default=20)
    parser.add_argument("--join", type=float, default=10.0, help="seconds within which the visitors join")
    parser.add_argument(
        "--recovery", type=float, default=30.0, help="seconds between the guest's end and the last part"
    )
    parser.add_argument("--same-address", action="store_true", help="the guest has the address of the class")
    parser.add_argument("--train", action=argparse.BooleanOptionalAction, default=True, help="a run trains meanwhile")
    names = [what.__name__ for what in ATTACKS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="ATTACK", help=", ".join(names))
    parser.add_argument("--attack", metavar="URL", help="only play the guest, against a running application of yours")
    parser.add_argument("--run", default="", metavar="ID", help="the run that a guest of --attack watches")
    options = parser.parse_args(arguments)
    if options.attack:
        counts: dict[str, int] = {}
        address = ROOM if options.same_address else ADDRESS
        asyncio.run(attack(options.attack, options.run, address, options.only, options.seconds, counts))
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(f"the guest itself used {used.ru_utime + used.ru_stime:.0f} s of processor time")
        for name in sorted(counts):
            print(f"  {counts[name]:6d} × {name}")
        return True
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        with two_cores():
            before = set(psutil.Process().children())
            started = running(folder, KDEXPLORER_RUNS=str(folder / "runs"), KDEXPLORER_PRESENTER_TOKEN=TOKEN)
            url = stack.enter_context(started)
            (server,) = (child for child in psutil.Process().children() if child not in before)
            run = stack.enter_context(training(folder)) if options.train else None
        for _ in range(600):
            if run is None or steps_of(run):
                break
            time.sleep(0.1)
        parts = asyncio.run(measure(url, run, server, options))
    return judge(*parts)


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
