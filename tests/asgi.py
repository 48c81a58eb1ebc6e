"""A request to an ASGI application, without a server."""


class Answer:
    """What an application sends for one request."""

    def __init__(self, events):
        self.events, start = events, events[0]
        self.status = start.get("status")
        self.headers = {name.decode().lower(): text.decode() for name, text in start.get("headers", ())}
        self.body = b"".join(event.get("body", b"") for event in events[1:])
        self.text = self.body.decode(errors="replace")


async def receive_nothing():
    """The end of a request without a body."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def fetch(
    app, path="/", method="GET", receive=receive_nothing, address="203.0.113.7", scheme="http", kind="http", **headers
):
    """The `Answer` of an application; names of headers have underscores instead of hyphens."""
    events = []

    async def send(event):
        events.append(event)

    path, _, query = path.partition("?")
    scope = {
        "type": kind, "method": method, "path": path, "query_string": query.encode(), "root_path": "",
        "headers": [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()],
        "client": (address, 1), "scheme": scheme,
    }  # fmt: skip
    await app(scope, receive, send)
    return Answer(events)
