"""Sessions in one SQLite file: they survive a restart and are shared by all worker processes of one machine.

Statements run inline on the event loop, because a read by primary key takes some 5 microseconds and a commit some 25,
while a hop to a thread takes 150. What could take long is waiting for another process's lock. So SQLite itself never
waits (`timeout=0`): it reports the lock at once, and the wait is an `await`, during which other requests are served.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .store import StoreUnavailable

T = TypeVar("T")

SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY NOT NULL, record BLOB NOT NULL, expires_at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS sessions_expires_at ON sessions (expires_at);
"""


class SQLiteStore:
    """A store in the file `path`, in write-ahead-log mode, so that readers never wait for a writer.

    With `synchronous=NORMAL` a commit survives the death of the process, kill -9 included. After a power cut or a
    crash of the operating system the last commits may be missing; the file itself stays consistent
    (https://www.sqlite.org/wal.html#performance_considerations).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def verify(self) -> None:
        """Open the file, or make it. Raises StoreUnavailable if that cannot be done; a locked file is no reason."""
        try:
            self._connect()
        except (sqlite3.Error, OSError) as error:
            if not _is_locked(error):
                raise StoreUnavailable(f"{self._path}: {error}") from error
        finally:
            self._disconnect()

    async def load(self, session_id: str) -> bytes | None:
        def read(db: sqlite3.Connection) -> bytes | None:
            row = db.execute("SELECT record FROM sessions WHERE id = ?", (session_id,)).fetchone()
            return row[0] if row else None

        return await self._run(read)

    async def create(self, session_id: str, record: bytes, expires_at: float) -> bool:
        return await self._write(
            "INSERT INTO sessions (id, record, expires_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (session_id, record, expires_at),
        )

    async def replace(self, session_id: str, old: bytes, new: bytes, expires_at: float) -> bool:
        return await self._write(
            "UPDATE sessions SET record = ?, expires_at = ? WHERE id = ? AND record = ?",
            (new, expires_at, session_id, old),
        )

    async def delete(self, session_id: str, old: bytes | None = None) -> bool:
        return await self._write(
            "DELETE FROM sessions WHERE id = ? AND (? IS NULL OR record = ?)", (session_id, old, old)
        )

    async def sweep(self, now: float, limit: int) -> list[str]:
        def remove(db: sqlite3.Connection) -> list[str]:
            with db:  # one transaction: what another worker's sweep removed is not reported here again
                db.execute("BEGIN IMMEDIATE")
                rows = db.execute(
                    "SELECT id FROM sessions WHERE expires_at <= ? ORDER BY expires_at LIMIT ?", (now, limit)
                ).fetchall()
                db.executemany("DELETE FROM sessions WHERE id = ?", rows)
            return [session_id for (session_id,) in rows]

        return await self._run(remove)

    async def count(self) -> int:
        def count(db: sqlite3.Connection) -> int:
            (number,) = db.execute("SELECT count(*) FROM sessions").fetchone()
            return int(number)

        return await self._run(count)

    async def check(self) -> None:
        await self._run(lambda db: db.execute("SELECT 1 FROM sessions LIMIT 1").fetchone())

    async def close(self) -> None:
        self._disconnect()

    async def _write(self, sql: str, parameters: tuple[object, ...]) -> bool:
        return await self._run(lambda db: db.execute(sql, parameters).rowcount == 1)

    async def _run(self, statement: Callable[[sqlite3.Connection], T]) -> T:
        pause = 0.001
        while True:
            try:
                return statement(self._connect())
            except (sqlite3.Error, OSError) as error:
                if not _is_locked(error):
                    self._disconnect()  # the next request tries anew, so recovery needs no restart
                    raise StoreUnavailable(f"{self._path}: {error}") from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.05)

    def _connect(self) -> sqlite3.Connection:
        # A file that was deleted or replaced under a running process would go on accepting writes that nobody will
        # ever see again. One stat (a microsecond) notices, and the next statement goes to the file that is there.
        if self._connection is not None and self._file == _identity(self._path):
            return self._connection
        self._disconnect()
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(self._path, timeout=0, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(SCHEMA)
        except sqlite3.Error:
            connection.close()
            raise
        self._connection, self._file = connection, _identity(self._path)
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _is_locked(error: Exception) -> bool:
    # The low byte is the primary code: SQLITE_BUSY has variants for recovery and for snapshots.
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
