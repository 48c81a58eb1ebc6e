"""A store with an open question, and the routes that phones load, asked in process with every middleware."""

import asyncio
from dataclasses import dataclass, field

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware

from kdexplorer.app.server.guard import Guard
from kdexplorer.app.server.headers import COOKIE, Gate, _sign, visitor_of
from kdexplorer.vote.questions import make_question
from kdexplorer.vote.routes import PATH, build_routes
from kdexplorer.vote.store import Store

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def ask(label=3, index=7, seed=0, classes=CLASSES):
    """A question about a random picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (3, 32, 32), np.uint8)
    return make_question(pixels, classes, "cifar10", index, label)


def browser(number):
    """A cookie's value."""
    return f"browser-{number:014d}.{_sign(f'browser-{number:014d}')}"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "vote")


@pytest.fixture
def question(store):
    """The store's open question."""
    asked = ask()
    store.start(asked)
    return asked


def identify(request):
    return visitor_of(request.cookies), request.client.host


@dataclass
class Answer:
    """A response."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def text(self):
        return self.body.decode()


class Phones:
    """What stands between phones and the store; every request comes from one address, as behind a router."""

    def __init__(self, store):
        middleware = [Middleware(Gate), Middleware(Guard)]
        self.app = Starlette(routes=build_routes(PATH, identify, lambda: store), middleware=middleware)

    async def request(self, method, path=PATH, body=b"", number=None, address="203.0.113.9", ends=True, **headers):
        answer, parts = Answer(), [body[:100], body[100:]]
        if number is not None:
            headers["cookie"] = f"{COOKIE}={browser(number)}"

        async def receive():
            await asyncio.sleep(0 if parts else 3600)
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts) or not ends}

        async def send(event):
            if event["type"] == "http.response.start":
                answer.status = event["status"]
                answer.headers = {name.decode().lower(): value.decode() for name, value in event["headers"]}
            else:
                answer.body += event.get("body", b"")

        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http", "http_version": "1.1", "method": method, "path": path, "raw_path": path.encode(),
            "query_string": b"", "headers": raw, "client": (address, 1), "server": ("localhost", 80),
            "scheme": "http", "root_path": "",
        }  # fmt: skip
        await self.app(scope, receive, send)
        return answer

    def ask(self, *arguments, **options):
        return asyncio.run(self.request(*arguments, **options))

    def vote(self, question, choice, number=1):
        return self.ask("POST", body=f"question={question.key}&choice={choice}".encode(), number=number)


@pytest.fixture
def phones(store):
    return Phones(store)
