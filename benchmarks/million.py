"""A million sessions: what a page view costs against a thousand, and what a sweep of a million does to requests.

python -m benchmarks.million
"""

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

from benchmarks.common import FAR, cpu_seconds, fill_redis, fill_sqlite, machine, token
from tests.quote.server import QuoteServer
from tests.redis_servers import RedisServer

FEW, MANY = 1_000, 1_000_000
ROUNDS, REQUESTS = 7, 4_000


def page_view_cpu(server: QuoteServer, sessions: int, seed: int) -> float:
    """CPU seconds of the server for one page view of a random one among so many sessions."""
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
    for round_number in range(ROUNDS):  # A B A B, so that whatever else the machine does hits both
        costs[FEW].append(page_view_cpu(few, FEW, round_number))
        costs[MANY].append(page_view_cpu(many, MANY, round_number))
    ratios = sorted(many / few for few, many in zip(costs[FEW], costs[MANY], strict=True))
    print(f"| {kind} | {median(ratios):.2f} | {ratios[0]:.2f} to {ratios[-1]:.2f} |", flush=True)


def slowest_while_expiring(kind: str, server: QuoteServer, expired: float, finished: object) -> None:
    """Requests to living sessions while a million others expire and are removed."""
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
    """Whether there are any. By the index: who counts a million rows keeps the log from being carried over."""
    with closing(sqlite3.connect(server.database)) as db:
        return bool(db.execute("SELECT 1 FROM sessions WHERE expires_at < ? LIMIT 1", (FAR,)).fetchall())


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{machine()}\n")
        print("| store | page view with a million sessions, of the cost with a thousand | spread |\n|---|---|---|")
        servers: dict[str, list[QuoteServer]] = {"SQLite": [], "Redis": []}
        redis = []
        for number in (FEW, MANY):
            own = folder / str(number)
            own.mkdir()
            fill_sqlite(own / "sessions.sqlite3", range(number), FAR)
            servers["SQLite"].append(QuoteServer(own).start())
            redis.append(RedisServer(own / "redis").start())
            fill_redis(redis[-1], range(number), FAR)
            (own / "on-redis").mkdir()
            servers["Redis"].append(QuoteServer(own / "on-redis", redis[-1].url).start())
        for kind, (few, many) in servers.items():
            compare(kind, few, many)
        for server in [*servers["SQLite"], *servers["Redis"]]:
            server.close()
        for instance in redis:
            instance.stop()

        print(
            "\n| store | seconds until a million were gone | requests meanwhile | GET, median ms | slowest | ", end=""
        )
        print("PUT, median ms | slowest |\n|---|---|---|---|---|---|---|")
        sweep = folder / "sweep"
        sweep.mkdir()
        expired = time.time()
        fill_sqlite(sweep / "sessions.sqlite3", range(MANY), expired)
        fill_sqlite(sweep / "sessions.sqlite3", range(MANY, MANY + 4), FAR)
        server = QuoteServer(sweep).start()
        wait_for_first = 60
        slowest_while_expiring("SQLite", server, time.time() + wait_for_first, lambda: not expired_rows(server))
        stopping = time.monotonic()
        server.close()
        print(f"stopped in {time.monotonic() - stopping:.1f} s", file=sys.stderr)
        store = RedisServer(sweep / "redis").start()
        expired = time.time() + 60
        fill_redis(store, range(MANY), expired)
        fill_redis(store, range(MANY, MANY + 4), FAR)
        (sweep / "on-redis").mkdir()
        server = QuoteServer(sweep / "on-redis", store.url).start()
        time.sleep(max(0.0, expired - time.time() - 1))
        slowest_while_expiring("Redis", server, expired, lambda: store.answers("DBSIZE") == "4")
        server.close()
        store.stop()


if __name__ == "__main__":
    main()
