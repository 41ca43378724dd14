"""How long one worker takes to its first response, and how much memory it has then: this app and its peers.

    python -m benchmarks.startup [ROUNDS]

pydantic is hidden from all of them, as in a deployment of this app (tests/deployed). The machine's file cache is warm.
"""

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import httpx

from benchmarks.common import cpu_seconds_of_group, machine, memory_mib
from benchmarks.compare import BARE, WITHOUT_LAYER
from benchmarks.intervals import shown
from tests.postgres_server import PostgresServer
from tests.quote.server import QuoteServer
from tests.redis_servers import RedisServer

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 10

Figures = tuple[float, float, float]  # seconds to the first response, CPU seconds until then, memory in MiB


def start(folder: Path, store: str, app: str, environment: dict[str, str]) -> Figures:
    options = ("--no-access-log", *(["--factory"] if app != "app.main:app" else []))
    server = QuoteServer(folder, store, app, options=options, environment=environment)
    started = time.monotonic()
    server.launch()
    assert server.process
    try:
        while True:
            try:
                assert httpx.get(server.url).status_code == 200
                break
            except httpx.TransportError:
                time.sleep(0.005)
        took = time.monotonic() - started
        return took, cpu_seconds_of_group(server.process.pid), memory_mib(server.process.pid)
    finally:
        server.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        redis = RedisServer(folder / "redis").start()
        stack.callback(redis.stop)
        postgres = PostgresServer().create()
        stack.callback(postgres.remove)
        (folder / "page.html").write_text("<!doctype html><title>{{ quote }}</title>")
        peer = {"PEER_TEMPLATES": str(folder), "PEER_STORE": redis.url}
        variants: dict[str, tuple[str, str, dict[str, str]]] = {
            BARE: ("memory://", "benchmarks.peers:flat", peer),
            "Litestar's own sessions, Redis": ("memory://", "benchmarks.peers:stock", peer),
            "Starlette with starsessions, Redis": ("memory://", "benchmarks.peers:starsessions", peer),
            WITHOUT_LAYER: ("memory://", "benchmarks.variants:bare", {}),
            "this app, memory": ("memory://", "app.main:app", {}),
            "this app, SQLite": (f"sqlite:///{folder}/sessions.sqlite3", "app.main:app", {}),
            "this app, Redis": (redis.url, "app.main:app", {}),
            "this app, PostgreSQL": (postgres.url, "app.main:app", {}),
        }
        figures: dict[str, list[Figures]] = {variant: [] for variant in variants}
        for _ in range(ROUNDS):
            for variant, (store, app, environment) in variants.items():
                figures[variant].append(start(folder, store, app, environment))
    print(f"{machine()}\n\n{ROUNDS} rounds, all variants in turn; median and 95 % interval\n")
    print("| | first response after, s | CPU until then, s | memory, MiB |\n|---|---|---|---|")
    for variant, found in figures.items():
        seconds, cpu, memory = ([values[n] for values in found] for n in range(3))
        print(f"| {variant} | {shown(seconds)} | {shown(cpu)} | {shown(memory, 0)} |")


if __name__ == "__main__":
    main()
