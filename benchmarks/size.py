"""Measures how much space a session takes in each store, with a million sessions that each hold a short text.

python -m benchmarks.size [NUMBER]
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import redis

from app.sessions.memory import MemoryStore
from benchmarks.common import FAR, fill_redis, fill_sqlite, machine, memory_mib, rows
from benchmarks.million import fill_postgres
from tests.postgres_server import PostgresServer
from tests.redis_servers import RedisServer

NUMBER = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000


def record_size() -> float:
    return sum(len(record) for _, record, _ in rows(range(1000), FAR)) / 1000


def memory() -> float:
    """Return the bytes by which this process grows."""
    store, before = MemoryStore(), memory_mib(os.getpid())

    async def fill() -> None:
        for row in rows(range(NUMBER), FAR):
            await store.create(*row)

    asyncio.run(fill())
    return (memory_mib(os.getpid()) - before) * 2**20


def sqlite() -> float:
    """Return the size of the file in bytes, with its index."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sessions.sqlite3")
        fill_sqlite(path, range(NUMBER), FAR)
        return path.stat().st_size


def redis_memory() -> float:
    """Return the bytes of memory that Redis uses beyond those of an empty server."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder) / "redis").start()
        try:
            with redis.Redis(port=server.port) as client:
                before = client.info("memory")["used_memory"]
                fill_redis(server, range(NUMBER), FAR)
                return float(client.info("memory")["used_memory"] - before)
        finally:
            server.stop()


def postgres() -> float:
    """Return the size of the table in bytes, with its indexes."""
    server = PostgresServer().create()
    try:
        fill_postgres(server, range(NUMBER), FAR)
        return float(server.sql("SELECT pg_total_relation_size('sessions')"))
    finally:
        server.remove()


STORES: dict[str, Callable[[], float]] = {
    "memory": memory,
    "SQLite (disk)": sqlite,
    "Redis (memory)": redis_memory,
    "PostgreSQL (disk)": postgres,
}


def main() -> None:
    print(f"{machine()}\n\n{NUMBER:,} sessions, records of {record_size():.0f} bytes\n")
    print("| store | bytes a session |\n|---|---|")
    for name, measure in STORES.items():
        print(f"| {name} | {measure() / NUMBER:.0f} |", flush=True)


if __name__ == "__main__":
    main()
