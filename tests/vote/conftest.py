"""A store with an open question, and the routes that phones load, asked in process with every middleware."""

import asyncio

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware

from kdexplorer.app import audience
from kdexplorer.app.server.guard import Guard
from kdexplorer.app.server.headers import COOKIE, Gate, _sign
from kdexplorer.app.server.page_files import PageFiles
from kdexplorer.datasets import get_dataset
from kdexplorer.images.picture import Picture
from kdexplorer.vote.questions import make_question
from kdexplorer.vote.routes import PATH
from kdexplorer.vote.store import open_store
from tests.asgi import fetch

CLASSES = get_dataset("cifar10").classes


def ask(label=3, index=7, seed=0, classes=CLASSES):
    """A question about a random picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (3, 32, 32), np.uint8)
    return make_question(Picture(pixels, index, label, dataset="cifar10"), classes)


def browser(number):
    """A cookie's value."""
    return f"browser-{number:014d}.{_sign(f'browser-{number:014d}')}"


@pytest.fixture
def store():
    return open_store()


@pytest.fixture
def question(store):
    """The store's open question."""
    asked = ask()
    store.start(asked)
    return asked


def ballot(question, choice):
    """The body of a vote."""
    return f"question={question.key}&choice={choice}".encode()


class Phones:
    """What stands between phones and the store; every request comes from one address, as behind a router."""

    def __init__(self):
        self.app = Starlette(routes=audience.routes(), middleware=[Middleware(one) for one in (Gate, Guard, PageFiles)])

    async def request(self, method, path=PATH, body=b"", number=None, **headers):
        parts = [body[:100], body[100:]]
        if number is not None:
            headers["cookie"] = f"{COOKIE}={browser(number)}"

        async def receive():
            await asyncio.sleep(0)
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

        return await fetch(self.app, path, method, receive, "203.0.113.9", **headers)

    def ask(self, *arguments, **options):
        return asyncio.run(self.request(*arguments, **options))

    def vote(self, question, choice, number=1, **headers):
        return self.ask("POST", body=ballot(question, choice), number=number, **headers)


@pytest.fixture
def phones():
    return Phones()
