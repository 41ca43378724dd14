"""Measure what grows while the app runs for a long time: the SQLite file, its write-ahead log, memory, the app's log.

.venv/bin/python -m scripts.long_lives

Takes about a minute. docs/operating.md has the figures and the remedies.
"""

import asyncio
import http.client
import re
import socket
import sqlite3
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

from app.sessions import SessionManager
from app.sessions.sqlite import SQLiteStore
from tests.support import HOME, Server

RECORDS = 20_000
SIZE = 2_000  # bytes per record
CONNECTIONS = 500
BAD_COOKIES = 10_000


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asyncio.run(measure_file(folder / "file.sqlite3"))
        asyncio.run(measure_wal(folder / "wal.sqlite3"))
        server = Server(folder, options=("--timeout-keep-alive", "95")).start()
        try:
            measure_connections(server)
            measure_log(server)
        finally:
            server.close()


async def measure_file(path: Path) -> None:
    """Show the size of the file before and after a sweep, after new sessions, and after it was shrunk."""
    sessions = SessionManager(SQLiteStore(path))
    await create(sessions, "a", deadline=time.time() - 1)
    show(f"SQLite file with {RECORDS:,} expired sessions of {SIZE:,} bytes", size_of(path))
    started = time.monotonic()
    assert await sessions.flush() == RECORDS
    show(f"  after the sweep, which took {time.monotonic() - started:.1f} s", size_of(path))
    await create(sessions, "b", deadline=time.time() + 1000)
    show(f"  after {RECORDS:,} new sessions, which use the space again", size_of(path))
    await sessions.store.sweep(time.time() + 2000, RECORDS)
    shrink(path)
    show("  after a sweep and VACUUM", size_of(path))
    await sessions.store.close()


async def create(sessions: SessionManager, prefix: str, deadline: float) -> None:
    for n in range(RECORDS):
        await sessions.store.create(f"{prefix}{n:063}", b"x" * SIZE, deadline)


async def measure_wal(path: Path) -> None:
    """Show the size of the write-ahead log after many saves: alone, during a long read, and after the read."""
    wal, store = path.with_name(f"{path.name}-wal"), SQLiteStore(path)
    await store.create("a" * 64, b"0" * SIZE, time.time() + 1000)
    await save(store)
    show(f"WAL after {RECORDS:,} saves", size_of(wal))
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sessions").fetchone()
        await save(store)
        show("  as many beside one long read transaction", size_of(wal))
    await save(store)
    show("  as many after the reader has ended", size_of(wal))
    with closing(sqlite3.connect(path)) as shell:
        shell.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    show("  after wal_checkpoint(TRUNCATE)", size_of(wal))
    await store.close()


async def save(store: SQLiteStore) -> None:
    old = await store.load("a" * 64)
    for n in range(RECORDS):
        assert old is not None
        new = str(n).encode().ljust(SIZE, b"-" if old[-1:] == b"+" else b"+")
        assert await store.replace("a" * 64, old, new, time.time() + 1000)
        old = new


def measure_connections(server: Server) -> None:
    """Show what an idle keep-alive connection costs."""
    with ExitStack() as stack:
        open_connection(server, stack)  # makes the process allocate what it needs only once, such as the template
        before = memory(server)
        for _ in range(CONNECTIONS):
            open_connection(server, stack)
        used = memory(server) - before
    show(f"Memory for each of {CONNECTIONS} idle connections", f"{used / CONNECTIONS / 1024:.1f} KiB")


def open_connection(server: Server, stack: ExitStack) -> None:
    """Send one request, read the answer, and leave the connection open."""
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
    connection.sendall(f"GET {HOME} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    connection.recv(65_536)


def measure_log(server: Server) -> None:
    """Show how many lines the log has after many requests with bad cookies."""
    before = len(server.log)
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
        for n in range(BAD_COOKIES):
            connection.request("GET", HOME, headers={"Cookie": f"session={n:043}"})
            connection.getresponse().read()
    log = server.log[before:]
    warnings = len(re.findall(r"WARNING .* A cookie opened no session", log))
    show(
        f"Log lines for {BAD_COOKIES:,} bad cookies", f"{warnings} of the app, {log.count('uvicorn.access')} of access"
    )
    show("  their size", f"{len(log) / 1e6:.1f} MB")


def shrink(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as shell:
        shell.execute("VACUUM")
        shell.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def size_of(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"


def memory(server: Server) -> int:
    """Return the resident memory of the server, in bytes."""
    assert server.process
    if sys.platform != "linux":
        raise SystemExit("only Linux shows the memory of another process in /proc")
    (line,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{server.process.pid}/status").read_text())
    return int(line) * 1024


def show(what: str, figure: str) -> None:
    print(f"{what:75} {figure:>12}", flush=True)


if __name__ == "__main__":
    main()
