"""Sessions in Redis or Valkey, alone or as a cluster: shared by any number of machines.

One key a session, so every command is at home on a cluster; the key's own expiry ends it, so there is nothing to sweep.
"""

import asyncio
import re
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, RedisClusterException, RedisError

from .store import TIMEOUT, StoreUnavailable

# The server runs a script as one step: nobody can write between the comparison and what follows it.
REPLACE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
return 1
"""
DELETE_IF_SAME = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
MAX_CONNECTIONS = 50  # a process; requests beyond wait their turn, also when all come back after an outage
MAX_BATCH = 16  # commands sent together; each may be about a mebibyte of session, and a small one waits for the others
COUNT_TIMEOUT = 60.0  # seconds, to walk through all keys
Command = tuple[bytes | str | int, ...]
# AttributeError: what redis-py's cluster client raises if a node vanishes in mid-command (its issue 3835).
FAILURES = (RedisError, RedisClusterException, OSError, AttributeError)
OPTIONS: dict[str, Any] = {
    "protocol": 2,
    "max_connections": MAX_CONNECTIONS + 1,
    "socket_connect_timeout": 1.0,  # seconds
    "socket_timeout": None,  # TIMEOUT is for all that a command waits for, and costs less
    # Not once more: a command whose answer was lost may have been carried out, and would then seem to have failed.
    "retry": Retry(NoBackoff(), 0),
}


class RedisStore:
    """A store at a URL: redis://, rediss:// (TLS), valkey://, valkeys://, redis+cluster:// or rediss+cluster://.

    Nothing is connected before the first call, and a lost connection is made anew by the next one. Replication is
    asynchronous: a failover can lose the last writes (see the README for what to set if that is not good enough).
    """

    def __init__(self, url: str) -> None:
        """Raises ValueError for a URL that cannot be right."""
        scheme, _, address = url.partition("://")
        parts = urlsplit(f"//{address}")
        if not parts.hostname or not re.fullmatch(r"(/\d*)?", parts.path):
            raise ValueError("it needs a host, and after a slash only the number of a database")
        address = f"{'rediss' if scheme.startswith(('rediss', 'valkeys')) else 'redis'}://{address}"
        try:
            if scheme.endswith("+cluster"):
                # Slots whose primary is down must not keep the others from being served. And only a time limit of its
                # own makes the client look for the primary that has taken over from one that hangs.
                options = OPTIONS | {"require_full_coverage": False, "socket_timeout": 1.0}
                self._client: Any = RedisCluster.from_url(address, **options)
            else:
                self._client = Redis.from_url(address, **OPTIONS)
                self._client.connection_pool.make_connection()  # not to be used: it finds an unknown option
        except (RedisClusterException, TypeError) as error:
            raise ValueError(str(error)) from error
        self._turns = asyncio.Semaphore(MAX_CONNECTIONS)
        self._batch: list[Command] = []  # what was asked so far in this turn of the event loop
        self._answers: asyncio.Task[list[Any]]  # to all that

    async def load(self, session_id: str) -> bytes | None:
        record: bytes | None = await self._run("GET", _key(session_id))
        return record

    async def create(self, session_id: str, record: bytes, deadline: float) -> bool:
        return bool(await self._run("SET", _key(session_id), record, "NX", "PXAT", _milliseconds(deadline)))

    async def replace(self, session_id: str, old: bytes, new: bytes, deadline: float) -> bool:
        return bool(await self._run("EVAL", REPLACE, 1, _key(session_id), old, new, _milliseconds(deadline)))

    async def delete(self, session_id: str, old: bytes | None = None) -> bool:
        if old is None:
            return bool(await self._run("DEL", _key(session_id)))
        return bool(await self._run("EVAL", DELETE_IF_SAME, 1, _key(session_id), old))

    async def sweep(self, now: float, limit: int) -> list[str]:  # noqa: ARG002 - Redis does it by itself
        return []

    async def count(self) -> int:
        try:
            async with asyncio.timeout(COUNT_TIMEOUT):
                await self._client.initialize()
                return sum([1 async for _ in self._client.scan_iter(match=_key("*"), count=1000)])
        except FAILURES as error:
            raise StoreUnavailable(str(error) or f"no answer within {COUNT_TIMEOUT} s") from error

    async def close(self) -> None:
        await self._client.aclose()

    async def _run(self, *command: bytes | str | int) -> Any:
        try:
            answer = await (self._alone(command) if isinstance(self._client, RedisCluster) else self._together(command))
        except FAILURES as error:
            answer = error
        if not isinstance(answer, Exception):
            return answer
        if str(answer).startswith("WRONGTYPE"):
            return b""  # a list, say: no record of ours, so it counts as a corrupt one
        overdue = isinstance(answer, TimeoutError)  # ours: redis-py has one of its own
        raise StoreUnavailable(f"no answer within {TIMEOUT} s" if overdue else str(answer) or repr(answer)) from answer

    async def _alone(self, command: Command) -> Any:
        async with asyncio.timeout(TIMEOUT), self._turns:
            await self._client.initialize()  # explores a cluster; nothing to do once that is done
            return await self._client.execute_command(*command)

    async def _together(self, command: Command) -> Any:
        """Send a command with all that others ask in this turn of the event loop: ten cost little more than one."""
        if not self._batch or len(self._batch) == MAX_BATCH or self._answers.done():
            self._batch = []
            self._answers = asyncio.create_task(self._send(self._batch))
        self._batch.append(command)
        number, answers = len(self._batch) - 1, self._answers
        return (await asyncio.shield(answers))[number]  # shielded: who gives up must not take it from the others

    async def _send(self, batch: list[Command]) -> list[Any]:
        """Return for each command what Redis answered, or the error."""
        if self._batch is batch:
            self._batch = []
        try:
            async with asyncio.timeout(TIMEOUT), self._turns:
                async with self._client.pipeline(transaction=False) as pipeline:
                    for command in batch:
                        pipeline.execute_command(*command)
                    answers: list[Any] = await pipeline.execute(raise_on_error=False)
                if any(isinstance(answer, ReadOnlyError) for answer in answers):
                    # This server was the primary once. A new connection may find the one that is it now.
                    await self._client.connection_pool.disconnect(inuse_connections=False)
                return answers
        except FAILURES as error:
            return [error] * len(batch)


def _key(session_id: str) -> bytes:
    return f"session:{session_id}".encode()


def _milliseconds(instant: float) -> int:
    return int(instant * 1000)
