"""Shared helpers of the benchmarks: millions of made-up sessions, and the CPU time and memory of a process."""

import base64
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

from app.sessions.records import digest
from app.sessions.sqlite import SCHEMA
from tests.redis_servers import RedisServer

FAR = 4_000_000_000.0  # a Unix time far in the future


def token(n: int) -> str:
    """The token of the n-th made-up session."""
    return base64.urlsafe_b64encode(hashlib.sha256(str(n).encode()).digest()).decode().rstrip("=")


def padding(size: int, keys: int) -> dict[str, str]:
    """Return values for a session: about `size` bytes in all, spread over this many keys."""
    return {f"key {n}": "x" * (size // keys) for n in range(keys)}


def rows(numbers: range, expires_at: float, more: dict[str, str] | None = None) -> Iterator[tuple[str, bytes, float]]:
    for n in numbers:
        values = {"quote": f"the quote of visitor {n}"} | (more or {})
        instants = {"created_at": time.time() - 100, "expires_at": expires_at, "deadline": expires_at}
        yield digest(token(n)), json.dumps(instants | {"values": values}).encode(), expires_at


def fill_sqlite(path: Path, numbers: range, expires_at: float, more: dict[str, str] | None = None) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(SCHEMA.format(table="sessions"))
        db.executemany("INSERT INTO sessions VALUES (?, ?, ?)", rows(numbers, expires_at, more))
        db.commit()


def fill_redis(
    server: RedisServer, numbers: range, expires_at: float, more: dict[str, str] | None = None, database: int = 0
) -> None:
    import redis

    with redis.Redis(port=server.port, db=database) as client:
        for start in range(numbers.start, numbers.stop, 10_000):
            pipeline = client.pipeline(transaction=False)
            for session_id, record, _ in rows(range(start, min(start + 10_000, numbers.stop)), expires_at, more):
                pipeline.set(f"session:{session_id}", record, pxat=int(expires_at * 1000))
            pipeline.execute()


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, including its threads."""
    return sum(map(int, _stat(Path(f"/proc/{pid}"))[11:13])) / os.sysconf("SC_CLK_TCK")


def cpu_seconds_of_group(pid: int) -> float:
    """Return the CPU time of a process group. `pid` is its leader."""
    used = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = _stat(folder)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        if fields[2] == str(pid):
            used += int(fields[11]) + int(fields[12])
    return used / os.sysconf("SC_CLK_TCK")


def _stat(folder: Path) -> list[str]:
    return (folder / "stat").read_text().rpartition(")")[2].split()


def memory_mib(pid: int) -> float:
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def machine() -> str:
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")), "CPU")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    redis_version = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=False).stdout
    return (
        f"{time.strftime('%Y-%m-%d')}, {model}, {os.cpu_count()} cores, {memory:.0f} GiB, "
        f"Linux {os.uname().release.partition('-')[0]}, Python {sys.version.split()[0]}, "
        f"Litestar {version('litestar')}, uvicorn {version('uvicorn')} with uvloop {version('uvloop')} "
        f"and httptools {version('httptools')}, SQLite {sqlite3.sqlite_version}, "
        f"redis-py {version('redis')}, Redis {(redis_version.split() + ['v=?'] * 3)[2].removeprefix('v=')}"
    )
