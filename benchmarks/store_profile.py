"""Shows where the time of a save goes on PostgreSQL, compared with Redis, with 32 requests at once.

python -m benchmarks.store_profile [view|save] [rounds]

It calls the apps in this process, without uvicorn and the network, which cost both the same. It shows the plain CPU
time in interleaved rounds first, then the figures of cProfile, whose own cost makes short functions look longer.
"""

import asyncio
import cProfile
import gc
import pstats
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

import uvloop
from litestar import Litestar

from app.main import create_app
from app.settings import Settings
from benchmarks.common import machine
from benchmarks.intervals import shown
from benchmarks.profile import ask, new_session
from tests.postgres_server import PostgresServer
from tests.quote.server import UPDATE
from tests.redis_servers import RedisServer

LOAD = sys.argv[1] if len(sys.argv) > 1 else "save"
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 100
PROFILED = 2  # rounds
AT_ONCE, REQUESTS, SHOWN = 32, 8, 20  # requests that each visitor sends in a round

Apps = dict[str, Litestar]


async def visit(app: Litestar, cookie: bytes, label: str) -> None:
    for number in range(REQUESTS):
        if LOAD == "view":
            await ask(app, "GET", "/", [(b"cookie", cookie)])
            continue
        body = f"{label}, text {number}".encode()
        headers = [(b"cookie", cookie), (b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
        await ask(app, "PUT", UPDATE, headers, body)


async def round_of_requests(app: Litestar, cookies: list[bytes], number: int) -> float:
    """Return the CPU time of a request, in microseconds."""
    started = time.process_time()
    await asyncio.gather(*(visit(app, cookie, f"round {number}") for cookie in cookies))
    return (time.process_time() - started) / AT_ONCE / REQUESTS * 1e6


def functions(profile: cProfile.Profile, requests: int) -> dict[str, tuple[float, float]]:
    """Return for each function how often a request calls it, and its own time there in microseconds."""
    times: dict[str, tuple[float, float]] = {}
    for (file, line, function), (_, calls, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        name = f"{'/'.join(Path(file).parts[-2:])}:{line} {function}" if line else function
        before = times.get(name, (0.0, 0.0))
        times[name] = before[0] + calls / requests, before[1] + own / requests * 1e6
    return times


async def run(apps: Apps) -> None:
    async with AsyncExitStack() as stack:
        for app in apps.values():
            await stack.enter_async_context(app.lifespan())
        cookies = {name: [await new_session(app) for _ in range(AT_ONCE)] for name, app in apps.items()}
        times: dict[str, list[float]] = {name: [] for name in apps}
        for number in range(ROUNDS):
            for name, app in apps.items():
                gc.collect()
                times[name].append(await round_of_requests(app, cookies[name], number))
        print(f"{LOAD}, {AT_ONCE} at once, {ROUNDS} interleaved rounds of {AT_ONCE * REQUESTS} requests\n")
        print("| | CPU µs per request | relative to Redis |\n|---|---|---|")
        for name in apps:
            ratios = [own / redis for own, redis in zip(times[name], times["Redis"], strict=True)]
            print(f"| {name} | {median(times[name]):.0f} | {'1' if name == 'Redis' else shown(ratios)} |")
        profiles = {}
        for name, app in list(apps.items())[-2:]:
            with cProfile.Profile(time.process_time) as profile:  # not the time in which other processes had the core
                for number in range(PROFILED):
                    await round_of_requests(app, cookies[name], 1000 + number)
            profiles[name] = functions(profile, PROFILED * AT_ONCE * REQUESTS)
        report(profiles["PostgreSQL"], profiles["Redis"])


def report(own: dict[str, tuple[float, float]], redis: dict[str, tuple[float, float]]) -> None:
    print("\ncProfile: own time in µs of a request, PostgreSQL against Redis; what differs the most\n")
    print("| function | calls | own time | Redis: calls | own time | difference |\n|---|---|---|---|---|---|")
    rows = [(name, own.get(name, (0.0, 0.0)), redis.get(name, (0.0, 0.0))) for name in own.keys() | redis.keys()]
    rows.sort(key=lambda row: abs(row[1][1] - row[2][1]), reverse=True)
    for name, (calls, mine), (calls_redis, theirs) in rows[:SHOWN]:
        print(f"| `{name}` | {calls:.1f} | {mine:.1f} | {calls_redis:.1f} | {theirs:.1f} | {mine - theirs:+.1f} |")


def main() -> None:
    print(f"{machine()}\n")
    postgres = PostgresServer(("-c", "fsync=on")).create()
    try:
        with tempfile.TemporaryDirectory() as name:
            redis = RedisServer(Path(name) / "redis").start()
            urls = {"SQLite": f"sqlite:///{name}/s.sqlite3", "Redis": redis.url, "PostgreSQL": postgres.url}
            apps = {kind: create_app(Settings(session_store=url)) for kind, url in urls.items()}
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(run(apps))
            redis.stop()
    finally:
        postgres.remove()


if __name__ == "__main__":
    main()
