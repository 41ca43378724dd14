"""Sends ten minutes of mixed traffic, and shows whether anything grows or fails.

python -m benchmarks.soak [seconds] [SQLite] [Redis] [PostgreSQL] runs one server on each of these stores, with short
lifetimes, so that sessions are renewed, expire and are swept all the time.
"""

import random
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from benchmarks.common import machine, memory_mib, open_files
from tests.postgres_server import PostgresServer
from tests.quote.server import UPDATE, QuoteServer
from tests.redis_servers import RedisServer
from tests.support import HTMX, TEXT, HeldRequest, token_of

SECONDS = int(sys.argv[1]) if len(sys.argv) > 1 else 600
STORES = sys.argv[2:] or ["SQLite", "Redis", "PostgreSQL"]
THREADS = 6


def visit(server: QuoteServer, seed: int, until: float) -> Counter[str]:
    chance, statuses = random.Random(seed), Counter[str]()
    client = httpx.Client(base_url=server.url, timeout=20)
    while time.monotonic() < until:
        what = chance.random()
        if what < 0.5:
            response = client.get(chance.choice(["/", "/manage"]))
        elif what < 0.75:
            response = client.put(UPDATE, content=f"{seed} {what}" * chance.choice([1, 100]), headers=TEXT)
        elif what < 0.8:
            response = client.put(UPDATE, content=b"\xff" * 10, headers=TEXT)
        elif what < 0.85:
            response = client.post("/session/destroy", headers=HTMX)
        elif what < 0.9:
            response = httpx.get(server.url, headers={"Cookie": "session=" + chance.choice(["x", "A" * 43])})
        elif what < 0.95:
            client.close()
            client = httpx.Client(base_url=server.url, timeout=20)  # a new visitor; the old session is left to expire
            response = client.get("/")
        elif "session" in client.cookies and what < 0.96:
            HeldRequest(server, "PUT", UPDATE, b"never finished", TEXT, token_of(client)).abort()
            continue
        else:
            response = client.get("/nope")
        statuses[f"{response.status_code // 100}xx"] += 1
    client.close()
    return statuses


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        redis = RedisServer(folder / "redis").start()
        servers = {}
        postgres = PostgresServer(("-c", "fsync=on"))
        if "PostgreSQL" in STORES:
            postgres.create()
        urls = {"SQLite": "", "Redis": redis.url, "PostgreSQL": postgres.url}
        for kind, store in [(kind, urls[kind]) for kind in STORES]:
            (folder / kind).mkdir()
            environment = {"SESSION_LIFETIME": "45", "SESSION_IDLE_TIMEOUT": "20"}
            servers[kind] = QuoteServer(folder / kind, store, environment=environment).start()
        pids = {kind: server.process.pid for kind, server in servers.items() if server.process}
        with ThreadPoolExecutor(len(STORES) * THREADS) as pool:
            until = time.monotonic() + SECONDS
            results = {
                kind: [pool.submit(visit, server, seed, until) for seed in range(THREADS)]
                for kind, server in servers.items()
            }
            warm_up = min(60.0, SECONDS / 4)
            threading.Event().wait(warm_up)
            before = {kind: (memory_mib(pid), open_files(pid)) for kind, pid in pids.items()}
        time.sleep(7)  # uvicorn closes idle connections after 5 s
        print(f"{machine()}; {SECONDS} s, {THREADS} visitors at a time, memory first measured after {warm_up:.0f} s\n")
        print("| store | requests | 5xx | memory, start → end | open files, start → end | sessions left |")
        print("|---|---|---|---|---|---|")
        for kind, server in servers.items():
            statuses = sum((result.result() for result in results[kind]), Counter[str]())
            left = server.rows() if kind == "SQLite" else int(redis.answers("DBSIZE"))
            if kind == "PostgreSQL":
                left = int(postgres.sql("SELECT count(*) FROM sessions"))
            memory, files = memory_mib(pids[kind]), open_files(pids[kind])
            print(
                f"| {kind} | {statuses.total():,} | {statuses['5xx']} | {before[kind][0]:.1f} → {memory:.1f} MiB "
                f"| {before[kind][1]} → {files} | {left:,} |"
            )
        if "Redis" in STORES:
            clients = redis.answers("INFO", "clients").partition("connected_clients:")[2].split()[0]
            print(f"\nRedis had {int(clients) - 1} connections from the app at the end.")
        if "PostgreSQL" in STORES:
            print(f"\nPostgreSQL had {postgres.connections()} connections from the app at the end.")
        assert all("Traceback" not in server.log for server in servers.values())
        for server in servers.values():
            server.close()
        redis.stop()
        postgres.remove()


if __name__ == "__main__":
    main()
