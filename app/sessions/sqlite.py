"""Sessions in one SQLite file: they survive a restart and are shared by all worker processes of one machine.

Statements run inline on the event loop, because a read by primary key takes some 5 microseconds and a commit some 25,
while a hop to a thread takes 150. What could take long is waiting for another process's lock. So SQLite itself never
waits (`timeout=0`): it reports the lock at once, and the wait is an `await`, during which other requests are served.
"""

import asyncio
import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from .store import TIMEOUT, StoreUnavailable

SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY NOT NULL, record BLOB NOT NULL, expires_at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS sessions_expires_at ON sessions (expires_at);
"""


class SQLiteStore:
    """A store in the file `path`, in write-ahead-log mode, so that readers never wait for a writer.

    A record is read and compared as a BLOB, because whoever edits one by hand leaves a TEXT.

    With `synchronous=NORMAL` a commit survives the death of the process, kill -9 included. After a power cut or a
    crash of the operating system the last commits may be missing; the file itself stays consistent
    (https://www.sqlite.org/wal.html#performance_considerations).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def verify(self) -> None:
        """Open the file, or make it. Raises StoreUnavailable if it cannot be written; a locked file is no reason."""
        self._try(("BEGIN IMMEDIATE",), {})
        self._disconnect()

    async def load(self, session_id: str) -> bytes | None:
        rows, _ = await self._run("SELECT CAST(record AS BLOB) FROM sessions WHERE id = :id", id=session_id)
        return rows[0][0] if rows else None

    async def create(self, session_id: str, record: bytes, deadline: float) -> bool:
        insert = "INSERT INTO sessions (id, record, expires_at) VALUES (:id, :new, :until) ON CONFLICT DO NOTHING"
        _, changed = await self._run(insert, id=session_id, new=record, until=deadline)
        return changed == 1

    async def replace(self, session_id: str, old: bytes, new: bytes, deadline: float) -> bool:
        # Most saves leave the instant as it is. Then its index need not be touched, and half as much is written.
        same = (
            "UPDATE sessions SET record = :new WHERE id = :id AND CAST(record AS BLOB) = :old AND expires_at = :until"
        )
        other = "UPDATE sessions SET record = :new, expires_at = :until WHERE id = :id AND CAST(record AS BLOB) = :old"
        _, changed = await self._run(same, other, id=session_id, old=old, new=new, until=deadline)
        return changed == 1

    async def delete(self, session_id: str, old: bytes | None = None) -> bool:
        delete = "DELETE FROM sessions WHERE id = :id AND (:old IS NULL OR CAST(record AS BLOB) = :old)"
        _, changed = await self._run(delete, id=session_id, old=old)
        return changed == 1

    async def sweep(self, now: float, limit: int) -> list[str]:
        delete = """
        DELETE FROM sessions
        WHERE id IN (SELECT id FROM sessions WHERE expires_at <= :now ORDER BY expires_at LIMIT :limit)
        RETURNING id
        """
        rows, _ = await self._run(delete, now=now, limit=limit)
        return [session_id for (session_id,) in rows]

    async def count(self) -> int:
        rows, _ = await self._run("SELECT count(*) FROM sessions")
        return int(rows[0][0])

    async def close(self) -> None:
        self._disconnect()

    async def _run(self, *statements: str, **parameters: object) -> tuple[list[Any], int]:
        """Return the rows of a result, and how many were changed. Each statement is for what the last one left."""
        pause, deadline = 0.001, time.monotonic() + TIMEOUT
        while (result := self._try(statements, parameters)) is None:
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"{self._path} was locked for {TIMEOUT} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.05)
        return result

    def _try(self, statements: tuple[str, ...], parameters: dict[str, object]) -> tuple[list[Any], int] | None:
        """Like `_run`, but without waiting: None if another process has locked the file."""
        try:
            connection = self._connect()
            for statement in statements:
                cursor = connection.execute(statement, parameters)
                if cursor.rowcount:
                    break
            return cursor.fetchall(), cursor.rowcount
        except (sqlite3.Error, OSError) as error:
            # The low byte is the primary code: SQLITE_BUSY has variants for recovery and for snapshots.
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                return None
            self._disconnect()  # the next request tries anew, so recovery needs no restart
            raise StoreUnavailable(f"{self._path}: {error}") from error

    def _connect(self) -> sqlite3.Connection:
        # A file that was deleted under a running process would go on accepting writes that nobody will ever see again.
        # One stat (a microsecond) notices, and the next statement goes to the file that is there, or to a new one.
        if self._connection is not None and self._file == _identity(self._path):
            return self._connection
        self._disconnect()
        # Made here for its mode. One that is there must not be opened: to close it again would drop the locks that
        # SQLite holds on it in this process (https://www.sqlite.org/howtocorrupt.html, 2.2).
        with suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL, 0o600))
        connection = sqlite3.connect(self._path, timeout=0, isolation_level=None)
        try:
            connection.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; {SCHEMA}")
        except sqlite3.Error:
            connection.close()
            raise
        self._connection, self._file = connection, _identity(self._path)
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
