"""Sessions in PostgreSQL: one table, shared by any number of processes and machines.

Every operation is one statement, which PostgreSQL commits by itself. Concurrent loads share a statement, because ten
ids in one statement cost little more than one.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg  # type: ignore[import-untyped]

from .postgres_pool import FAILURES, Pool
from .store import ID_RANGES, TIMEOUT, StoreUnavailable

# Without the lock, CREATE TABLE IF NOT EXISTS fails if another process creates the table at the same moment.
SCHEMA = """
SELECT pg_advisory_xact_lock(hashtext('app.sessions'));
CREATE TABLE IF NOT EXISTS {table} (id text PRIMARY KEY, record bytea NOT NULL, deadline double precision NOT NULL);
CREATE INDEX IF NOT EXISTS {table}_deadline ON {table} (deadline);
"""
LOAD = "SELECT id, record FROM {table} WHERE id = ANY ($1::text[])"
CREATE = "INSERT INTO {table} (id, record, deadline) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING 1"
REPLACE = "UPDATE {table} SET record = $3, deadline = $4 WHERE id = $1 AND record = $2 RETURNING 1"
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
MAX_BATCH = 16  # ids per statement; a record may be 1 MiB, and small records wait for large ones
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
        self._batch: list[str] | None = None  # the ids of the next LOAD
        self._loading: asyncio.Task[dict[str, bytes] | StoreUnavailable]

    async def load(self, session_id: str) -> bytes | None:
        if self._batch is None or len(self._batch) == MAX_BATCH:
            self._batch = []
            self._loading = asyncio.create_task(self._load_all(self._batch))
        self._batch.append(session_id)
        records = await asyncio.shield(self._loading)  # if one caller is cancelled, the others still get their records
        if isinstance(records, StoreUnavailable):
            raise StoreUnavailable(str(records)) from records
        return records.get(session_id)

    async def create(self, session_id: str, record: bytes, deadline: float) -> bool:
        return bool(await self._write(CREATE, session_id, record, deadline))

    async def replace(self, session_id: str, old: bytes, new: bytes, deadline: float) -> bool:
        return bool(await self._write(REPLACE, session_id, old, new, deadline))

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
        async with self._turn(self._readers, COUNT_TIMEOUT):
            [(number,)] = await self._run(statement, *arguments, may_repeat=True)
            return int(number)

    async def _load_all(self, batch: list[str]) -> dict[str, bytes] | StoreUnavailable:
        """Return records by id, or the error. After all callers are cancelled, asyncio would log a raised error."""
        try:
            async with self._turn(self._readers):
                self._seal(batch)
                return dict(await self._run(LOAD, batch, may_repeat=True))
        except StoreUnavailable as error:
            return error
        finally:
            self._seal(batch)

    def _seal(self, batch: list[str]) -> None:
        """Let the next load begin a new batch."""
        if self._batch is batch:
            self._batch = None

    async def _write(self, statement: str, *arguments: Any) -> list[Any]:
        async with self._turn(self._writers):
            return await self._run(statement, *arguments)

    @asynccontextmanager
    async def _turn(self, turns: asyncio.Semaphore, seconds: float = TIMEOUT) -> AsyncIterator[None]:
        """Wait for a turn, and limit the time for the wait and the body together. Raises StoreUnavailable."""
        try:
            async with asyncio.timeout(seconds), turns:
                yield
        except FAILURES as error:
            raise StoreUnavailable(str(error) or f"no answer within {seconds} s") from error

    async def _run(self, statement: str, *arguments: Any, may_repeat: bool = False) -> list[Any]:
        """Return the rows of a statement. Send it again after an error that allows it."""
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._run_once(statement, *arguments)
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
        return await self._run_once(statement, *arguments)

    async def _run_once(self, statement: str, *arguments: Any) -> list[Any]:
        async with self._pool.connection() as connection:
            return await connection.fetch(statement.format(table=self._table), *arguments)

    async def _create_table(self) -> None:
        async with self._pool.connection() as connection:
            await connection.raw.execute(SCHEMA.format(table=self._table))
