"""The sample app behind a layer that alters its answers and counts requests.

To show that a protection works, a test removes it here while the server runs, and sees the page go stale.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from http.cookies import SimpleCookie
from typing import Any, cast

from app.sessions.records import digest
from tests.skeleton.sample_app import app as unaltered_app

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Message, Receive, Send], Awaitable[None]]


class AlteredApp:
    """GET /alterations returns the requests, except those for static files. POST with JSON sets the alterations:

    `ignore`: request headers to hide from the app. `headers`: response headers to set on pages, or to
    remove where the value is null. `replace`: texts to replace in pages. `answers`: for a path, the status, media type
    and content to answer with. `hold`: paths whose answers are held back until the next alteration. `slow`: ends of
    paths whose answers take 0.3 seconds. `end_session`: paths to which the next request loses its session while its
    body is read. `script`: a script that pages run before their own.

    This works in all browsers, whatever the program that drives them can do.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.alterations: dict[str, Any] = {}
        self.seen: list[str] = []
        self.answered: list[str] = []
        self.script = ""
        self.altered = asyncio.Event()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        if path == "/alterations":
            seen = json.dumps({"asked": self.seen, "answered": self.answered})
            if scope["method"] == "POST":
                self.alterations, self.seen, self.answered = json.loads((await receive())["body"]), [], []
                self.script = self.alterations.get("script", self.script)
                self.altered.set()
                self.altered = asyncio.Event()
            await answer(send, 200, "application/json", seen)
            return
        if path == "/alterations.js":
            await answer(send, 200, "text/javascript", self.script, cache_control="max-age=60")
            return
        if not path.startswith("/static/"):
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            self.seen.append(f"{scope['method']} {path} {headers.get('sec-purpose', '')}".strip())
        if path.endswith(tuple(self.alterations.get("slow", []))):
            await asyncio.sleep(0.3)
        if path in self.alterations.get("answers", {}):
            await answer(send, *self.alterations["answers"][path])
            return
        ignored = self.alterations.get("ignore", [])
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name.decode() not in ignored]
        if path in self.alterations.get("end_session", []):
            receive = self.ending_session(scope, receive)
        await self.app(scope, receive, self.altering(send, path))

    def ending_session(self, scope: Message, receive: Receive) -> Receive:
        async def end_session_first() -> Message:
            """End the session once the app has loaded it and before it has read the request's body."""
            if self.alterations.pop("end_session", None):
                token = SimpleCookie(dict(scope["headers"])[b"cookie"].decode())["session"].value
                await unaltered_app.state.sessions.destroy(digest(token))
            return await receive()

        return end_session_first

    def altering(self, send: Send, path: str) -> Send:
        start: Message | None = None

        async def alter(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                if path in self.alterations.get("hold", []):
                    await self.altered.wait()
                self.answered.append(f"{message['status']} {path}")
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
                replace = self.alterations.get("replace", {})
                if self.script:  # each has its own address, and a page that fetched it may be cached for Back
                    replace = replace | {"<head>": f'<head><script src="/alterations.js?{hash(self.script)}"></script>'}
                for old, new in replace.items():
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


async def answer(send: Send, status: int, media_type: str, content: str, cache_control: str = "no-store") -> None:
    headers = [(b"content-type", media_type.encode()), (b"cache-control", cache_control.encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content.encode(), "more_body": False})


app = AlteredApp(cast("ASGIApp", unaltered_app))
