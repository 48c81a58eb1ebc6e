"""A full lecture room votes: phones that load the page and its picture and send a vote, all within seconds.

    python -m benchmarks.vote --devices 1000 --seconds 10 --train

Starts the application, opens the projector's view over a real WebSocket, and starts a question there. Then each phone,
over an HTTP connection of its own and all from one public address, loads the page and the picture, votes after a
moment, is shown the page again, and from then on asks for the next question as the page's script does. A quarter of
them changes the vote. At the end the question is closed, and the totals on the disk are compared with the confirmation
that every phone received. Prints percentiles by request, errors and lost votes. The phones are this process, the server
is another; on two cores both share them. With `--train` a run trains meanwhile. With `--stuffing` a client makes up
phones as fast as it can, from the room's address (`same`) or from another one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.app import running
from benchmarks.load import BY_ITSELF, Tally, Visitor, training
from kdexplorer.vote.routes import PATH
from kdexplorer.vote.store import Store

ADDRESS, ANOTHER = "203.0.113.10", "203.0.113.11"
BUDGET = 0.5
"""Seconds: the 95th percentile over all requests."""


@dataclass
class Room:
    """What all phones experienced."""

    url: str
    address: str = ADDRESS
    times: dict[str, list[float]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    told: Counter[int] = field(default_factory=Counter)
    """Votes that the server has confirmed, by class, the last of each phone."""


class Phone:
    """A browser with one connection that it keeps."""

    def __init__(self, room: Room, number: int) -> None:
        self.room, self.random, self.cookie = room, random.Random(number), ""
        self.writer: asyncio.StreamWriter | None = None

    async def request(self, what: str, method: str, path: str, body: str = "") -> str:
        """Sends a request, reads the response and returns its body. Raises OSError for an unexpected status."""
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"X-Forwarded-For: {self.room.address}"]
        lines += [f"Cookie: {self.cookie}"] if self.cookie else []
        lines += [f"Content-Length: {len(body)}", "Content-Type: application/x-www-form-urlencoded"] if body else []
        begin, data = time.perf_counter(), "\r\n".join([*lines, "", body]).encode()
        try:
            received = await self._send(data)
        except (asyncio.IncompleteReadError, ConnectionError):
            if method == "POST" or self.writer is None:
                raise
            self.writer.close()  # the server has closed the idle connection meanwhile: browsers open another one
            self.writer = None
            received = await self._send(data)
        head = received.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        text = (await self.reader.readexactly(int(headers.get("content-length", 0)))).decode(errors="replace")
        self.room.times.setdefault(what, []).append(time.perf_counter() - begin)
        status = int(head[0].split()[1])
        if status != (303 if method == "POST" else 200):
            raise OSError(f"{what}: status {status}")
        if "set-cookie" in headers:
            self.cookie = headers["set-cookie"].split(";")[0]
        return text

    async def _send(self, data: bytes) -> bytes:
        """Sends a request, over a new connection where there is none; returns the response's head."""
        if self.writer is None:
            host, port = self.room.url.removeprefix("http://").split(":")
            self.reader, self.writer = await asyncio.open_connection(host, port)
        self.writer.write(data)
        return await self.reader.readuntil(b"\r\n\r\n")

    async def visit(self, arrival: float, until: float) -> None:
        """Loads, votes, perhaps votes again, and waits for the next question until the end."""
        begin, voted = time.perf_counter(), None
        await asyncio.sleep(arrival)
        try:
            key = (await self.request("page", "GET", PATH)).split('name="question" value="')[1][:8]
            await self.request("picture", "GET", f"{PATH}/{key}.png")
            for _ in range(1 if self.random.random() < 0.75 else 2):
                await asyncio.sleep(self.random.uniform(0.2, 1.0))
                choice = self.random.choices(range(10), range(1, 11))[0]
                await self.request("vote", "POST", PATH, f"question={key}&choice={choice}")
                voted = choice
                await self.request("page again", "GET", PATH)
            while time.perf_counter() - begin < until - 5:
                await asyncio.sleep(4 * self.random.uniform(0.75, 1.25))
                await self.request("next question?", "GET", f"{PATH}/state")
        except (OSError, EOFError, IndexError) as error:
            self.room.errors.append(f"{type(error).__name__}: {error}"[:200])
        finally:
            if self.writer is not None:
                self.writer.close()
        if voted is not None:
            self.room.told[voted] += 1


async def stuff(client: Room) -> None:
    """Pretends to be one phone after the other until the task is canceled; `client.told` counts those with a vote."""
    while True:
        phone = Phone(client, 0)
        with contextlib.suppress(OSError, EOFError, IndexError):
            key = (await phone.request("page", "GET", PATH)).split('name="question" value="')[1][:8]
            await phone.request("vote", "POST", PATH, f"question={key}&choice=0")
            client.told[0] += 1
        if phone.writer is not None:
            phone.writer.close()


async def run(url: str, options: argparse.Namespace) -> tuple[Room, Tally]:
    """The presenter starts a question, the room votes, the presenter closes it."""
    room, tally = Room(url), Tally()
    presenter = Visitor(0, url, tally, None, address="")  # on this machine: it needs no token
    presenter.query = "ask=25"
    await presenter.open("audience")
    await presenter.use("Next question", "start the question")
    client = Room(url, ADDRESS if options.stuffing == "same" else ANOTHER)
    inventing = [asyncio.create_task(stuff(client)) for _ in range(8 if options.stuffing else 0)]
    watching = asyncio.create_task(presenter._think(options.seconds))
    phones = [Phone(room, number) for number in range(options.devices)]
    latest = max(0.0, options.seconds - 2.0)  # who arrives last has time to vote
    arrivals = [latest * number / options.devices for number in range(options.devices)]
    await asyncio.gather(*(phone.visit(at, options.seconds) for phone, at in zip(phones, arrivals, strict=True)))
    await watching
    for task in inventing:
        task.cancel()
    if inventing:
        print(f"made-up votes counted {client.told[0]}")
    await presenter.act("look at the result")
    await presenter.use("Close and reveal", "close the question")
    await presenter.socket.close()
    return room, tally


def report(room: Room, tally: Tally, counts: tuple[int, ...]) -> bool:
    """Prints the figures; whether the budget was kept, without an error and with every vote."""
    everything = [took for times in room.times.values() for took in times]
    for what, times in [*room.times.items(), ("all requests", everything)]:
        if not times:
            print(f"{what:<16} none")
            continue
        median, worst = 1000 * np.percentile(times, (50, 95))
        print(f"{what:<16} {len(times):6d}  p50 {median:6.0f} ms  p95 {worst:6.0f} ms  max {1000 * max(times):6.0f} ms")
    shown = [took for _, took, what in tally.actions if what == BY_ITSELF]
    if shown:
        print(f"projector: {len(shown)} updates, p95 {1000 * np.percentile(shown, 95):.0f} ms")
    lost = sum(max(0, told - sum(counts[k : k + 1])) for k, told in room.told.items())
    print(f"votes counted {sum(counts)}, confirmed {sum(room.told.values())}, lost {lost}")
    print(f"errors {len(room.errors) + len(tally.errors)}")
    for sentence, count in Counter(room.errors + tally.errors).most_common(10):
        print(f"  {count} × {sentence}")
    kept = bool(everything) and float(np.percentile(everything, 95)) < BUDGET
    return kept and not lost and not room.errors and not tally.errors


def main(arguments: list[str] | None = None) -> bool:
    """Parses the command line and simulates the room; whether the budget was kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10.0, help="within which all load the page and vote")
    parser.add_argument("--train", action="store_true", help="a run trains meanwhile")
    parser.add_argument("--stuffing", choices=("same", "other"), help="a client makes up phones, from which address")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        url = stack.enter_context(running(folder))
        if options.train:
            stack.enter_context(training(folder))
        room, tally = asyncio.run(run(url, options))
        question = Store(folder / "runs" / ".vote").current()
        return report(room, tally, question.totals if question else ())


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
