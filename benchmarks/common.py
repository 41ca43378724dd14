"""What the benchmarks share: sessions by the million, and what a process has used."""

import base64
import hashlib
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

from app.sessions.record import Record
from app.sessions.session import digest
from app.sessions.sqlite import SCHEMA
from tests.redis_servers import RedisServer


def token(n: int) -> str:
    """The token of the n-th made-up session."""
    return base64.urlsafe_b64encode(hashlib.sha256(str(n).encode()).digest()).decode().rstrip("=")


def rows(numbers: range, expires_at: float) -> Iterator[tuple[str, bytes, float]]:
    for n in numbers:
        record = Record(time.time() - 100, expires_at, expires_at, {"quote": f"the quote of visitor {n}"})
        yield digest(token(n)), record.encode(), expires_at


def fill_sqlite(path: Path, numbers: range, expires_at: float) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(SCHEMA)
        db.executemany("INSERT INTO sessions VALUES (?, ?, ?)", rows(numbers, expires_at))
        db.commit()


def fill_redis(server: RedisServer, numbers: range, expires_at: float) -> None:
    import redis

    with redis.Redis(port=server.port) as client:
        for start in range(numbers.start, numbers.stop, 10_000):
            pipeline = client.pipeline(transaction=False)
            for session_id, record, _ in rows(range(start, min(start + 10_000, numbers.stop)), expires_at):
                pipeline.set(f"session:{session_id}", record, pxat=int(expires_at * 1000))
            pipeline.execute()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int) -> float:
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def machine() -> str:
    redis_version = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=False).stdout
    return (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, Python {sys.version.split()[0]}, "
        f"Litestar {version('litestar')}, uvicorn {version('uvicorn')}, SQLite {sqlite3.sqlite_version}, "
        f"redis-py {version('redis')}, Redis {(redis_version.split() + ['v=?'] * 3)[2].removeprefix('v=')}"
    )
