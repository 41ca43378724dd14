"""What each part of a page view without a session costs: the app with one part taken out, beside the bare page.

    python -m benchmarks.parts [ROUNDS]

Each variant runs in a process of its own, without uvicorn and a network. In each round, each answers a block of
requests, in a new order. The figures are CPU time; the table shows the median of the rounds and its 95 % interval.
"""

import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import uvloop
from jinja2 import FunctionLoader
from litestar import Litestar, MediaType, route
from litestar.di import NamedDependency
from litestar.response import Template

from app.main import TEMPLATES, create_app
from app.quote import routes
from app.sessions import Session
from app.sessions.middleware import KEPT, SessionMiddleware
from app.settings import Settings
from benchmarks.intervals import shown
from benchmarks.peers import flat
from benchmarks.profile import ask
from benchmarks.variants import bare, new_session

REQUESTS = 150  # in a block
INCLUDE = '{%- include "quote/card.html" %}'


def whole() -> Litestar:
    return create_app(Settings(session_store="memory://"))


def without_session_in_handler() -> Litestar:
    @route("/", http_method=routes.PAGE, media_type=MediaType.HTML)
    async def page() -> Template:
        return Template("quote/quote.html", context={"quote": "initial quote"})

    with patch.object(routes, "quote_page", page):
        return whole()


def session_as_parameter() -> Litestar:
    @route("/", http_method=routes.PAGE, media_type=MediaType.HTML)
    async def page(session: NamedDependency[Session]) -> Template:
        return Template("quote/quote.html", context={"quote": session[routes.QUOTE]})

    with patch.object(routes, "quote_page", page):
        return whole()


def edited_template(old: str, new: str) -> Litestar:
    app = whole()
    engine: Any = app.template_engine
    engine.engine.loader = FunctionLoader(lambda name: (TEMPLATES / name).read_text().replace(old, new))
    return app


def without_hooks() -> Litestar:
    app = whole()
    app.before_send.clear()
    return app


def without_middleware() -> Litestar:
    async def call(self: Any, scope: Any, receive: Any, send: Any) -> None:
        scope["session"] = scope[f"{KEPT}session"] = session
        await self.app(scope, receive, send)

    session = new_session()
    SessionMiddleware.__call__ = call  # type: ignore[method-assign]
    return whole()


BARE, WHOLE = "bare Litestar page", "this app"
VARIANTS: dict[str, Callable[[], Litestar]] = {
    BARE: flat,
    WHOLE: whole,
    "without its session layer": bare,
    "without the middleware of the session layer": without_middleware,
    "without the session in the handler": without_session_in_handler,
    "with the parameter `session` in place of `request.session`": session_as_parameter,
    "without the hooks `before_send`": without_hooks,
    "with the card in the page's own template": lambda: edited_template(
        INCLUDE, (TEMPLATES / "quote/card.html").read_text()
    ),
    "without the demo's layout": lambda: edited_template(
        '{% extends "quote/layout.html" %}', '{% extends "base.html" %}'
    ),
}


async def answer_blocks(app: Litestar) -> None:
    """Answer a block of requests for each line of the input, and print the microseconds that a request took."""
    async with app.lifespan():
        for line in sys.stdin:
            started = time.process_time()
            for _ in range(int(line)):
                await ask(app, "GET", "/", [])
            print((time.process_time() - started) / int(line) * 1e6, flush=True)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "page.html").write_text(asyncio.run(page_of(whole())).replace("initial quote", "{{ quote }}"))
        environment = {**os.environ, "PEER_TEMPLATES": folder}
        processes = {
            name: subprocess.Popen(
                [sys.executable, "-m", "benchmarks.parts", "answer", name],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for name in VARIANTS
        }
        times: dict[str, list[float]] = {name: [] for name in VARIANTS}
        for number in range(rounds + 3):  # the first three only warm up
            for name in random.sample(list(VARIANTS), len(VARIANTS)):
                pipe_in, pipe_out = processes[name].stdin, processes[name].stdout
                assert pipe_in
                assert pipe_out
                print(REQUESTS, file=pipe_in, flush=True)
                took = float(pipe_out.readline())
                times[name] += [took] if number >= 3 else []
        for process in processes.values():
            process.communicate()
    print(f"{rounds} rounds of {REQUESTS} requests; CPU in µs\n")
    print("| | fastest | over the bare page | saves |\n|---|---|---|---|")
    for name, own in times.items():
        over = shown([a - b for a, b in zip(own, times[BARE], strict=True)], 0)
        saves = shown([a - b for a, b in zip(times[WHOLE], own, strict=True)], 0)
        print(f"| {name} | {min(own):.0f} | {over} | {saves} |")


async def page_of(app: Litestar) -> str:
    """Return the app's page without a session."""
    body = b""

    async def send(message: Any) -> None:
        nonlocal body
        body += message.get("body", b"")

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope: Any = {"type": "http", "method": "GET", "scheme": "http", "path": "/", "raw_path": b"/", "query_string": b""}
    scope |= {"headers": [], "server": None, "client": None, "http_version": "1.1"}
    await app(scope, receive, send)
    return body.decode()


if __name__ == "__main__":
    if sys.argv[1:2] == ["answer"]:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(answer_blocks(VARIANTS[sys.argv[2]]()))
    else:
        main()
