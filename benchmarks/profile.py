"""Shows where the time of a request goes, compared with the app without sessions, function by function.

python -m benchmarks.profile [memory|SQLite|Redis] [view|without|save]

It calls the apps in this process, one request after the other, without uvicorn and the network, which cost all of them
the same. It shows the plain CPU time first, then the figures of cProfile, whose own cost makes short functions look
longer.
"""

import asyncio
import cProfile
import gc
import pstats
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any

import uvloop
from litestar import Litestar

from app.main import create_app
from app.settings import Settings
from benchmarks.common import machine
from benchmarks.variants import bare
from tests.quote.server import UPDATE
from tests.redis_servers import RedisServer

STORE = sys.argv[1] if len(sys.argv) > 1 else "SQLite"
LOAD = sys.argv[2] if len(sys.argv) > 2 else "view"
ROUNDS, REQUESTS, SHOWN = 60, 100, 30  # short rounds, so some of them run undisturbed

Headers = list[tuple[bytes, bytes]]
Times = dict[str, tuple[float, float]]  # for each function: how often a request calls it, and microseconds
numbers = count()


async def ask(app: Litestar, method: str, path: str, headers: Headers, body: bytes = b"") -> Headers:
    """Send one request in the form in which uvicorn passes it on. Return the response's headers."""
    answer: Headers = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200, message
            answer.extend(message["headers"])

    scope: Any = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "method": method,
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:8000"), *headers],
        "state": {},
    }
    await app(scope, receive, send)
    return answer


async def send_requests(app: Litestar, load: str, cookie: bytes) -> None:
    for _ in range(REQUESTS):
        if load == "save":
            body = f"the text of save {next(numbers)}".encode()
            headers = [(b"cookie", cookie), (b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
            await ask(app, "PUT", UPDATE, headers, body)
        else:
            await ask(app, "GET", "/", [(b"cookie", cookie)] if load == "view" else [])


async def new_session(app: Litestar) -> bytes:
    headers = await ask(app, "PUT", UPDATE, [(b"content-type", b"text/plain")], b"a quote")
    cookies = [value.partition(b";")[0] for name, value in headers if name.lower() == b"set-cookie"]
    return cookies[0] if cookies else b"session=" + b"x" * 43


async def cpu_times(apps: dict[str, Litestar], cookies: dict[str, bytes]) -> None:
    print(f"CPU in µs per request, the best of {ROUNDS} interleaved rounds of {REQUESTS} requests; ratio to bare\n")
    print("| | view | without | save |\n|---|---|---|---|")
    best: dict[str, list[float]] = {name: [] for name in apps}
    for load in ("view", "without", "save"):
        rounds: dict[str, list[float]] = {name: [] for name in apps}
        for _ in range(ROUNDS):
            for name, app in apps.items():
                gc.collect()
                started = time.process_time()
                await send_requests(app, load, cookies[name])
                rounds[name].append((time.process_time() - started) / REQUESTS * 1e6)
        for name in apps:
            best[name].append(min(rounds[name]))
    for name, times in best.items():
        cells = [f"{own:.0f} ({own / base:.2f})" for own, base in zip(times, best["bare"], strict=True)]
        print(f"| {name} | {' | '.join(cells)} |")


async def own_times(app: Litestar, load: str, cookie: bytes) -> Times:
    """Return for each function, how often a request calls it and its own time there, in microseconds."""
    profile = cProfile.Profile()
    with profile:
        await send_requests(app, load, cookie)
    times: Times = {}
    statistics: dict[tuple[str, int, str], tuple[int, int, float, float, object]]
    statistics = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for (file, line, function), (_, calls, own, _, _) in statistics.items():
        name = f"{'/'.join(Path(file).parts[-2:])}:{line} {function}" if line else function
        before = times.get(name, (0.0, 0.0))
        times[name] = (before[0] + calls / REQUESTS, before[1] + own / REQUESTS * 1e6)
    return times


def fastest(rounds: list[Times]) -> Times:
    """Return the lowest time of each function, because cProfile also counts the machine's other work."""
    return {
        name: min((times.get(name, (0.0, 0.0)) for times in rounds), key=lambda pair: pair[1]) for name in rounds[0]
    }


async def difference(app: Litestar, base: Litestar, cookies: dict[str, bytes]) -> None:
    rounds = [
        (await own_times(app, LOAD, cookies[STORE]), await own_times(base, LOAD, cookies["bare"]))
        for _ in range(ROUNDS)
    ]
    own, other = (fastest(list(times)) for times in zip(*rounds, strict=True))
    total, total_base = (sum(time for _, time in times.values()) for times in (own, other))
    print(f"\ncProfile, {STORE}, {LOAD}: {total:.0f} µs a request, bare {total_base:.0f} µs; what differs the most:\n")
    print("| function | calls | own time | bare: calls | own time | difference |\n|---|---|---|---|---|---|")
    rows = [(name, own.get(name, (0.0, 0.0)), other.get(name, (0.0, 0.0))) for name in own.keys() | other.keys()]
    for name, (calls, mine), (calls_base, base_time) in sorted(rows, key=lambda row: row[2][1] - row[1][1])[:SHOWN]:
        print(f"| `{name}` | {calls:.1f} | {mine:.1f} | {calls_base:.1f} | {base_time:.1f} | {mine - base_time:+.1f} |")


async def run(folder: Path, redis_url: str) -> None:
    urls = {"memory": "memory://", "SQLite": f"sqlite:///{folder}/sessions.sqlite3", "Redis": redis_url}
    apps = {"bare": bare()} | {name: create_app(Settings(session_store=url)) for name, url in urls.items()}
    async with AsyncExitStack() as stack:
        for app in apps.values():
            await stack.enter_async_context(app.lifespan())
        cookies = {name: await new_session(app) for name, app in apps.items()}
        await cpu_times(apps, cookies)
        await difference(apps[STORE], apps["bare"], cookies)


def main() -> None:
    print(f"{machine()}\n")
    with tempfile.TemporaryDirectory() as name:
        redis = RedisServer(Path(name) / "redis").start()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(Path(name), redis.url))
        redis.stop()


if __name__ == "__main__":
    main()
