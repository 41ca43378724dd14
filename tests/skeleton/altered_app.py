"""The sample app behind a layer that alters its answers and counts requests.

A test that shows what a measure is good for takes it out here, while the server runs, and sees the page go stale.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any, cast

from tests.skeleton.sample_app import app as unaltered_app

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Message, Receive, Send], Awaitable[None]]


class AlteredApp:
    """GET /alterations tells what was asked for, static files apart. POST with JSON sets what is altered from now on:

    `ignore`: request headers that the app does not get to see. `headers`: response headers to set on pages, or to
    remove where the value is null. `replace`: texts to replace in pages. `answers`: for a path, the status, media type
    and content to answer with.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.alterations: dict[str, Any] = {}
        self.seen: list[str] = []

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        if path == "/alterations":
            seen = json.dumps(self.seen)
            if scope["method"] == "POST":
                self.alterations, self.seen = json.loads((await receive())["body"]), []
            await answer(send, 200, "application/json", seen)
            return
        if not path.startswith("/static/"):
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            self.seen.append(f"{scope['method']} {path} {headers.get('sec-purpose', '')}".strip())
        if path in self.alterations.get("answers", {}):
            await answer(send, *self.alterations["answers"][path])
            return
        ignored = self.alterations.get("ignore", [])
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name.decode() not in ignored]
        await self.app(scope, receive, self.altering(send))

    def altering(self, send: Send) -> Send:
        start: Message | None = None

        async def alter(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                headers = dict(message["headers"])
                # A stream has no length. Its head must not wait for its body.
                if not headers.get(b"content-type", b"").startswith(b"text/html") or b"content-length" not in headers:
                    await send(message)
                    return
                start = message
                return
            if start is not None:
                assert message["type"] == "http.response.body"
                body = message["body"].decode()
                for old, new in self.alterations.get("replace", {}).items():
                    body = body.replace(old, new)
                message["body"] = body.encode()
                changes = self.alterations.get("headers", {})
                if not message.get("more_body"):
                    changes = changes | {"content-length": str(len(message["body"]))}
                kept = [(name, value) for name, value in start["headers"] if name.decode().lower() not in changes]
                added = [(name.encode(), value.encode()) for name, value in changes.items() if value is not None]
                await send({**start, "headers": [*kept, *added]})
                start = None
            await send(message)

        return alter


async def answer(send: Send, status: int, media_type: str, content: str) -> None:
    headers = [(b"content-type", media_type.encode()), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content.encode(), "more_body": False})


app = AlteredApp(cast("ASGIApp", unaltered_app))
