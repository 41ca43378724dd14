"""Sessions in PostgreSQL: one table, shared by any number of processes and machines.

Every operation is one statement, which PostgreSQL commits by itself. Concurrent loads share a statement. Concurrent
saves of small records share a round trip and a transaction.

Such a transaction must not wait for a row that somebody else has locked: all its saves would wait, and two processes
could deadlock. So it skips a locked row, and the save of that row waits for the lock alone.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg  # type: ignore[import-untyped]

from .postgres_batch import Batches, turn
from .postgres_pool import Pool
from .store import ID_RANGES, TIMEOUT

# Without the lock, CREATE TABLE IF NOT EXISTS fails if another process creates the table at the same moment.
SCHEMA = """
SELECT pg_advisory_xact_lock(hashtext('app.sessions'));
CREATE TABLE IF NOT EXISTS {table} (id text PRIMARY KEY, record bytea NOT NULL, deadline double precision NOT NULL);
CREATE INDEX IF NOT EXISTS {table}_deadline ON {table} (deadline);
"""
LOAD = "SELECT id, record FROM {table} WHERE id = ANY ($1::text[])"
CREATE = "INSERT INTO {table} (id, record, deadline) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING 1"
REPLACE = "UPDATE {table} SET record = $3, deadline = $4 WHERE id = $1 AND record = $2 RETURNING 1"
# Returns whether it replaced the record, or NULL if the row is locked or missing.
REPLACE_UNLESS_LOCKED = """
WITH held AS (SELECT record = $2 AS is_same FROM {table} WHERE id = $1 FOR NO KEY UPDATE SKIP LOCKED),
replaced AS (UPDATE {table} SET record = $3, deadline = $4 FROM held WHERE id = $1 AND is_same)
SELECT (SELECT is_same FROM held)
"""
DELETE = "DELETE FROM {table} WHERE id = $1 RETURNING 1"
DELETE_IF_SAME = "DELETE FROM {table} WHERE id = $1 AND record = $2 RETURNING 1"
# PostgreSQL computes an ARRAY once. For `id IN (…)` it may run the inner statement again, and exceed the limit.
SWEEP = """
DELETE FROM {table} WHERE id = ANY (ARRAY(
    SELECT id FROM {table} WHERE deadline <= $1 ORDER BY deadline LIMIT $2 FOR UPDATE SKIP LOCKED
)) RETURNING id
"""
COUNT = "SELECT count(*) FROM {table} WHERE id NOT LIKE 'other:%'"  # OTHER_PREFIX
COUNT_RANGE = "SELECT count(*) FROM {table} WHERE id >= $1 AND id < $2"

READERS, WRITERS = 2, 4  # connections per process; separate, so saves that wait for a lock do not delay page views
# Bytes of the old and the new record together. Larger ones are saved alone: if a batch is larger than 128 KiB, asyncpg
# sends it in parts, and ignores a cancellation while it waits for the network in between.
MAX_SHARED = 6000
COUNT_TIMEOUT = 60.0  # seconds

ATTEMPTS = 3
# After CONFLICTS and REFUSED nothing was changed, so any statement may be sent again. CONFLICTS: transactions collided.
CONFLICTS = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
# REFUSED: the server has become a replica, or asyncpg sent nothing because the server has ended the connection.
REFUSED = (asyncpg.ReadOnlySQLTransactionError, asyncpg.InterfaceError, asyncpg.InternalClientError)
# After LOST the server may or may not have run the statement, so only a read may be sent again.
LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    ConnectionError,
    RuntimeError,
)

Save = tuple[str, bytes, bytes, float]  # what REPLACE takes


class PostgresStore:
    """A store at a URL: postgresql:// or postgres://, with one host or several, directly or through PgBouncer.

    A save is as durable as the server's `synchronous_commit` makes it. With the default, `on`, the save is on the
    server's disk before it is confirmed, and survives a power cut. A failover to a replica can lose the last saves,
    unless the replica is a synchronous standby (`synchronous_standby_names`).
    """

    def __init__(self, url: str, table: str = "sessions") -> None:
        """Raise ValueError for an unusable URL. The first call creates the table if it is missing."""
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,49}", table):
            raise ValueError("the name of the table must have only a-z, 0-9 and _, and start with a letter")
        self._table = table
        self._pool = Pool(url)
        self._readers, self._writers = asyncio.Semaphore(READERS), asyncio.Semaphore(WRITERS)
        self._loads = Batches(self._load_all, self._readers)
        self._saves = Batches(self._replace_all, self._writers)
        self._saving = 0  # calls of `replace` that are under way

    async def load(self, session_id: str) -> bytes | None:
        return await self._loads.answer(session_id)

    async def create(self, session_id: str, record: bytes, deadline: float) -> bool:
        return bool(await self._write(CREATE, session_id, record, deadline))

    async def replace(self, session_id: str, old: bytes, new: bytes, deadline: float) -> bool:
        save = session_id, old, new, deadline
        started, is_alone = time.monotonic(), self._saving == 0
        self._saving += 1
        try:
            replaced = None
            if not is_alone and len(old) + len(new) <= MAX_SHARED:  # alone, a batch would cost more than it saves
                replaced = await self._saves.answer(save)
            if replaced is not None:
                return replaced
            return bool(await self._write(REPLACE, *save, seconds=TIMEOUT - (time.monotonic() - started)))
        finally:
            self._saving -= 1

    async def delete(self, session_id: str, old: bytes | None = None) -> bool:
        if old is None:
            return bool(await self._write(DELETE, session_id))
        return bool(await self._write(DELETE_IF_SAME, session_id, old))

    async def sweep(self, now: float, limit: int) -> list[str]:
        return [session_id for (session_id,) in await self._write(SWEEP, now, limit)]

    async def count(self) -> int:
        return await self._count(COUNT)

    async def count_in_steps(self) -> AsyncIterator[int]:
        number = 0
        for ids in ID_RANGES:
            number += await self._count(COUNT_RANGE, *ids)
            yield number

    async def close(self) -> None:
        await self._pool.close()

    async def _count(self, statement: str, *arguments: Any) -> int:
        async with turn(self._readers, COUNT_TIMEOUT):
            [(number,)] = await self._run(statement, *arguments, may_repeat=True)
            return int(number)

    async def _load_all(self, session_ids: list[str]) -> list[bytes | None]:
        records = dict(await self._run(LOAD, session_ids, may_repeat=True))
        return [records.get(session_id) for session_id in session_ids]

    async def _replace_all(self, saves: list[Save]) -> list[bool | None]:
        """Return for each save whether it replaced the record, or None if it must be tried alone."""
        try:
            return [replaced for (replaced,) in await self._run(REPLACE_UNLESS_LOCKED, saves, method="fetchmany")]
        except (*REFUSED, *LOST):
            raise
        except asyncpg.PostgresError:  # one save failed, so PostgreSQL has undone all
            return [None] * len(saves)

    async def _write(self, statement: str, *arguments: Any, seconds: float = TIMEOUT) -> list[Any]:
        async with turn(self._writers, seconds):
            return await self._run(statement, *arguments)

    async def _run(self, statement: str, *arguments: Any, may_repeat: bool = False, method: str = "fetch") -> list[Any]:
        """Return the rows of a statement. Send it again after an error that allows it.

        `method` is one of asyncpg's: `fetch`, or `fetchmany`, which takes a list of arguments and runs the statement
        with each, all in one transaction and one round trip.
        """
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._run_once(method, statement, *arguments)
            except asyncpg.UndefinedTableError:
                await self._create_table()
            except CONFLICTS:
                pass
            except REFUSED:
                self._pool.discard_all()  # a new connection may reach a server that works
            except LOST:
                if not may_repeat:
                    raise
                self._pool.discard_all()
        return await self._run_once(method, statement, *arguments)

    async def _run_once(self, method: str, statement: str, *arguments: Any) -> list[Any]:
        async with self._pool.connection() as connection:
            return await connection.run(method, statement.format(table=self._table), *arguments)

    async def _create_table(self) -> None:
        async with self._pool.connection() as connection:
            await connection.raw.execute(SCHEMA.format(table=self._table))
