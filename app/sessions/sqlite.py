"""Sessions in one SQLite file: they survive a restart and are shared by all worker processes of one machine.

Statements run directly on the event loop: a read by primary key takes about 5 microseconds and a commit about 25, but a
hop to a thread takes 150. Two things can take longer, and neither blocks the loop. If another process holds the lock,
SQLite reports it at once (`timeout=0`), and the store waits with `await`. A sync to the disk runs in a thread.
"""

import asyncio
import errno
import os
import re
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from .sqlite_file import Database, Identity, Locked, exclusive, sync
from .store import ID_RANGES, TIMEOUT, StoreUnavailable

SCHEMA = """
CREATE TABLE IF NOT EXISTS "{table}" (id TEXT PRIMARY KEY NOT NULL, record BLOB NOT NULL, expires_at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS "{table}_expires_at" ON "{table}" (expires_at);
"""
LOAD = 'SELECT CAST(record AS BLOB) FROM "{table}" WHERE id = :id'
INSERT = 'INSERT INTO "{table}" (id, record, expires_at) VALUES (:id, :new, :deadline) ON CONFLICT DO NOTHING'
UPDATE_RECORD = """
UPDATE "{table}" SET record = :new
WHERE id = :id AND CAST(record AS BLOB) = :old AND expires_at = :deadline
"""
UPDATE_BOTH = """
UPDATE "{table}" SET record = :new, expires_at = :deadline
WHERE id = :id AND CAST(record AS BLOB) = :old
"""
DELETE = 'DELETE FROM "{table}" WHERE id = :id AND (:old IS NULL OR CAST(record AS BLOB) = :old)'
SWEEP = """
DELETE FROM "{table}"
WHERE id IN (SELECT id FROM "{table}" WHERE expires_at <= :now ORDER BY expires_at LIMIT :limit)
RETURNING id
"""
# All rows except those whose id begins with OTHER_PREFIX. The index on the ids makes it cheap to find these.
COUNT = """
SELECT count(*) - (SELECT count(*) FROM "{table}" WHERE id >= 'other:' AND id < 'other:g') FROM "{table}"
"""
COUNT_RANGE = 'SELECT count(*) FROM "{table}" WHERE id >= :first AND id < :end'

NOT_WRITABLE = (sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)

_one_thread = threading.Lock()  # a test client may serve each request in a new thread, with an event loop of its own


class SQLiteStore:
    """A store in the file `path`, in write-ahead-log mode. Readers never wait for a writer.

    `table` is the name of the SQL table: several stores can share a file. Raises ValueError if it is not a plain name.
    Records are read and compared as BLOBs, because editing a record by hand turns it into TEXT.

    With `synchronous=NORMAL` a commit survives the death of the process, even by kill -9. After a power cut or a crash
    of the operating system the last saves may be missing; the file itself stays consistent
    (https://www.sqlite.org/wal.html, "Performance Considerations"). `delete` returns when the removal is on the disk,
    so a power cut does not revive a destroyed session.
    """

    def __init__(self, path: Path, table: str = "sessions") -> None:
        if not re.fullmatch(r"(?!sqlite_)[a-z][a-z0-9_]{0,60}", table):
            raise ValueError(f"{table!r} cannot be the name of a table: use a-z, 0-9 and _, such as 'sessions'")
        self._path = path
        self._table = table
        self._database: Database | None = None
        self._lost = False  # whether the file was deleted or replaced, and the new file is not open yet

    def verify(self) -> None:
        """Open the file, or create it, and check that it can be written. A locked file is not an error.

        Raises StoreUnavailable with a message that ends in a remedy.
        """
        deadline = time.monotonic() + 0.5
        while self._try(("BEGIN IMMEDIATE",), {}) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        with _one_thread:
            self._disconnect()

    async def load(self, session_id: str) -> bytes | None:
        rows, _ = await self._run(LOAD, id=session_id)
        return rows[0][0] if rows else None

    async def create(self, session_id: str, record: bytes, deadline: float) -> bool:
        _, changed = await self._run(INSERT, id=session_id, new=record, deadline=deadline)
        return changed == 1

    async def replace(self, session_id: str, old: bytes, new: bytes, deadline: float) -> bool:
        # Most saves keep the deadline. Leaving the deadline's index alone then halves the bytes written.
        _, changed = await self._run(UPDATE_RECORD, UPDATE_BOTH, id=session_id, old=old, new=new, deadline=deadline)
        return changed == 1

    async def delete(self, session_id: str, old: bytes | None = None) -> bool:
        started = time.monotonic()
        _, changed = await self._run(DELETE, id=session_id, old=old)
        if changed and (database := self._database):
            await self._sync(database.wal, TIMEOUT - (time.monotonic() - started))
        return changed == 1

    async def sweep(self, now: float, limit: int) -> list[str]:
        rows, _ = await self._run(SWEEP, now=now, limit=limit)
        return [session_id for (session_id,) in rows]

    async def count(self) -> int:
        rows, _ = await self._run(COUNT)
        return int(rows[0][0])

    async def count_in_steps(self) -> AsyncIterator[int]:
        number = 0
        for first, end in ID_RANGES:
            rows, _ = await self._run(COUNT_RANGE, first=first, end=end)
            number += rows[0][0]
            yield number
            await asyncio.sleep(0)  # `_run` itself may never wait, and then Ctrl+C could not stop this

    async def close(self) -> None:
        with _one_thread:
            self._disconnect()

    async def _sync(self, wal: tuple[str, Identity | None], seconds: float) -> None:
        """Sync this store's commits to the disk, while other requests are served. Raises StoreUnavailable."""
        try:
            async with asyncio.timeout(seconds):
                await asyncio.to_thread(sync, *wal)
        except OSError as error:  # a TimeoutError is an OSError
            reason = str(error) or f"the disk did not answer within {TIMEOUT} s"
            raise StoreUnavailable(f"{self._path}: could not sync a removal to the disk: {reason}") from error

    async def _run(self, *statements: str, **parameters: object) -> tuple[list[Any], int]:
        """Execute the statements until one of them changes or returns a row. Return the rows and the number changed."""
        pause, deadline = 0.001, time.monotonic() + TIMEOUT
        while (result := self._try(statements, parameters)) is None:
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"{self._path} was locked for {TIMEOUT} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.05)
        return result

    def _try(self, statements: tuple[str, ...], parameters: dict[str, object]) -> tuple[list[Any], int] | None:
        """Like `_run`, but without waiting: None if another process has locked the file."""
        with _one_thread:
            try:
                if self._database is None or not self._database.is_unchanged():
                    self._database = self._open(self._database)
                result: tuple[list[Any], int] = [], 0
                for statement in statements:
                    cursor = self._database.connection.execute(statement.format(table=self._table), parameters)
                    result = cursor.fetchall(), cursor.rowcount
                    if cursor.rowcount:
                        break
                return result
            except Locked:
                return None
            except (sqlite3.Error, OSError) as error:
                # The low byte is the primary code: SQLITE_BUSY has variants for recovery and for snapshots.
                if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                    return None
                self._disconnect()  # the next request opens the file again, so recovery needs no restart
                reason = str(error).rstrip(".")
                raise StoreUnavailable(f"{self._path}: {reason}. {_remedy(self._path, error)}") from error

    def _open(self, lost: Database | None) -> Database:
        # Resolve symbolic links here: O_EXCL, which is needed to set the file's mode, does not follow them.
        path = os.path.realpath(self._path)
        with exclusive(path):
            if lost is not None:
                self._lost = True
                self._leave(lost)
            database = Database(str(self._path), path, SCHEMA.format(table=self._table), adopt=self._lost)
        self._lost = False
        return database

    def _leave(self, database: Database) -> None:
        try:
            database.close()
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(
                f"{self._path}, its -wal or its -shm was replaced while the app was running, and its last saves "
                f"could not be kept yet: {error}. Check that the disk works and is not full; then the app recovers. "
                f"To give up those saves: stop the app, remove {self._path}-wal and {self._path}-shm, and start it"
            ) from error
        self._database = None

    def _disconnect(self) -> None:
        if self._database is not None:
            with suppress(Locked, StoreUnavailable):
                self._leave(self._database)


def _remedy(path: Path, error: Exception) -> str:
    """Return what to do about an error, in a sentence."""
    folder, code = path.parent, getattr(error, "sqlite_errorcode", 0) & 0xFF
    if os.path.isdir(path):
        return f"It is a directory. Name a file in it, such as {path / 'sessions.sqlite3'}"
    if not os.path.isfile(path) and (os.path.exists(path) or os.path.islink(os.path.realpath(path))):
        return "It is not a regular file. Name another file"
    if file := next((parent for parent in path.parents if os.path.isfile(parent)), None):
        return f"{file} is a file. Name another folder"
    if not os.path.isdir(folder):
        return f"Its folder does not exist. Try: mkdir -p {folder}"
    if code == sqlite3.SQLITE_ERROR:
        return "Its tables are not those that this app creates. Name another file"
    if code == sqlite3.SQLITE_NOTADB:
        return "It belongs to something else. Move it away, or name another file"
    if code == sqlite3.SQLITE_CORRUPT:
        return f"Stop the app, move {path}, {path}-wal and {path}-shm away or restore a backup, and start the app again"
    number = getattr(error, "errno", 0)
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR) or number in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
        return "Check that the disk works and is not full"
    if code not in NOT_WRITABLE and number not in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "Remove the cause; then a running app recovers without a restart"
    return f"The file and its folder {folder} must be writable by the user that runs the app"
