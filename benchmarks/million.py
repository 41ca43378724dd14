"""A million sessions: what a page view costs against a thousand, and what a sweep of a million does to requests.

python -m benchmarks.million [SQLite] [Redis] [PostgreSQL]
"""

import asyncio
import http.client
import random
import sqlite3
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from statistics import median

import asyncpg  # type: ignore[import-untyped]

from app.sessions.postgres import SCHEMA
from benchmarks.common import FAR, cpu_seconds, fill_redis, fill_sqlite, machine, rows, token
from tests.postgres_server import PostgresServer
from tests.quote.server import QuoteServer
from tests.redis_servers import RedisServer

FEW, MANY = 1_000, 1_000_000
ROUNDS, REQUESTS = 7, 4_000
STORES = sys.argv[1:] or ["SQLite", "Redis", "PostgreSQL"]


def fill_postgres(server: PostgresServer, numbers: range, expires_at: float) -> None:
    async def fill() -> None:
        connection = await asyncpg.connect(server.url)
        await connection.execute(SCHEMA.format(table="sessions"))
        await connection.copy_records_to_table("sessions", records=rows(numbers, expires_at))
        await connection.close()

    asyncio.run(fill())
    server.sql("VACUUM ANALYZE sessions")  # as autovacuum does, in its own time


def page_view_cpu(server: QuoteServer, sessions: int, seed: int) -> float:
    """Return the server's CPU seconds for one page view, with a random one of this many sessions."""
    chance = random.Random(seed)
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    assert server.process
    before = cpu_seconds(server.process.pid)
    for _ in range(REQUESTS):
        n = chance.randrange(sessions)
        connection.request("GET", "/", headers={"Cookie": f"session={token(n)}"})
        body = connection.getresponse().read()
        assert f"the quote of visitor {n}<".encode() in body
    connection.close()
    return (cpu_seconds(server.process.pid) - before) / REQUESTS


def compare(kind: str, few: QuoteServer, many: QuoteServer) -> None:
    costs: dict[int, list[float]] = {FEW: [], MANY: []}
    for round_number in range(ROUNDS):  # A B A B, so other work on the machine disturbs both
        costs[FEW].append(page_view_cpu(few, FEW, round_number))
        costs[MANY].append(page_view_cpu(many, MANY, round_number))
    ratios = sorted(many / few for few, many in zip(costs[FEW], costs[MANY], strict=True))
    print(f"| {kind} | {median(ratios):.2f} | {ratios[0]:.2f} to {ratios[-1]:.2f} |", flush=True)


def slowest_while_expiring(kind: str, server: QuoteServer, expired: float, finished: object) -> None:
    """Send requests to living sessions while a million others expire and are removed."""
    times: dict[str, list[float]] = {"GET": [], "PUT": []}
    over = threading.Event()

    def visit(n: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        headers = {"Cookie": f"session={token(MANY + n)}", "Content-Type": "text/plain"}
        turn = 0
        while not over.is_set():
            turn += 1
            method, path, body = ("PUT", "/session/quote/update", f"{turn}") if turn % 5 == 0 else ("GET", "/", None)
            started = time.monotonic()
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            response.read()
            times[method].append(time.monotonic() - started)
            assert response.status == 200, response.status
            time.sleep(0.005)

    visitors = [threading.Thread(target=visit, args=(n,)) for n in range(4)]
    for visitor in visitors:
        visitor.start()
    assert callable(finished)
    while not finished():
        time.sleep(0.2)
    took = time.time() - expired
    over.set()
    for visitor in visitors:
        visitor.join()
    slowest = " | ".join(
        f"{median(times[method]) * 1000:.1f} | {max(times[method]) * 1000:.0f}" for method in ("GET", "PUT")
    )
    print(f"| {kind} | {took:.0f} | {sum(map(len, times.values())):,} | {slowest} |", flush=True)


def expired_rows(server: QuoteServer) -> bool:
    """Return whether there are any. Uses the index: counting a million rows would block the checkpoint of the log."""
    with closing(sqlite3.connect(server.database)) as db:
        return bool(db.execute("SELECT 1 FROM sessions WHERE expires_at < ? LIMIT 1", (FAR,)).fetchall())


def compare_costs(folder: Path) -> None:
    for kind in STORES:
        apps, stops = [], []
        for number in (FEW, MANY):
            own = folder / f"{kind} {number}"
            own.mkdir()
            if kind == "SQLite":
                fill_sqlite(own / "sessions.sqlite3", range(number), FAR)
                apps.append(QuoteServer(own).start())
            elif kind == "Redis":
                redis = RedisServer(own / "redis").start()
                stops.append(redis.stop)
                fill_redis(redis, range(number), FAR)
                apps.append(QuoteServer(own, redis.url).start())
            else:
                postgres = PostgresServer(("-c", "fsync=on")).create()
                stops.append(postgres.remove)
                fill_postgres(postgres, range(number), FAR)
                apps.append(QuoteServer(own, postgres.url).start())
        compare(kind, *apps)
        for app in apps:
            app.close()
        for stop in stops:
            stop()


def sweep_sqlite(folder: Path) -> None:
    expired = time.time()
    fill_sqlite(folder / "sessions.sqlite3", range(MANY), expired)
    fill_sqlite(folder / "sessions.sqlite3", range(MANY, MANY + 4), FAR)
    server = QuoteServer(folder).start()
    slowest_while_expiring("SQLite", server, time.time() + FIRST_SWEEP, lambda: not expired_rows(server))
    stopping = time.monotonic()
    server.close()
    print(f"stopped in {time.monotonic() - stopping:.1f} s", file=sys.stderr)


def sweep_redis(folder: Path) -> None:
    store = RedisServer(folder / "redis").start()
    expired = time.time() + 60
    fill_redis(store, range(MANY), expired)
    fill_redis(store, range(MANY, MANY + 4), FAR)
    server = QuoteServer(folder, store.url).start()
    time.sleep(max(0.0, expired - time.time() - 1))
    slowest_while_expiring("Redis", server, expired, lambda: store.answers("DBSIZE") == "4")
    server.close()
    store.stop()


def sweep_postgres(folder: Path) -> None:
    store = PostgresServer(("-c", "fsync=on")).create()
    fill_postgres(store, range(MANY), time.time())
    fill_postgres(store, range(MANY, MANY + 4), FAR)
    server = QuoteServer(folder, store.url).start()
    left = "SELECT 1 FROM sessions WHERE deadline < 4e9 LIMIT 1"  # FAR
    slowest_while_expiring("PostgreSQL", server, time.time() + FIRST_SWEEP, lambda: not store.sql(left))
    server.close()
    store.remove()


FIRST_SWEEP = 60  # seconds after the start of the app
SWEEPS = {"SQLite": sweep_sqlite, "Redis": sweep_redis, "PostgreSQL": sweep_postgres}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{machine()}, asyncpg {asyncpg.__version__}\n")
        print("| store | page view with a million sessions, of the cost with a thousand | spread |\n|---|---|---|")
        compare_costs(folder)
        print(
            "\n| store | seconds until a million were gone | requests meanwhile | GET, median ms | slowest | ", end=""
        )
        print("PUT, median ms | slowest |\n|---|---|---|---|---|---|---|")
        for kind in STORES:
            own = folder / f"sweep {kind}"
            own.mkdir()
            SWEEPS[kind](own)


if __name__ == "__main__":
    main()
