"""Sessions in Redis or Valkey, one server or a cluster, shared by any number of machines.

Each session is one key, so every command works on a cluster. Redis removes expired keys by itself, so there is nothing
to sweep. It does not report which sessions have expired.

If a connection is lost, Redis may or may not have run the command. The store sends the command again once, on a new
connection, in a form that finds out what the first try did:

| command | sent again as | if the first try was run, it finds | it cannot tell, and fails, if |
|---|---|---|---|
| load | the same | - | - |
| create | CREATE_AGAIN | exactly this record. Nobody else has its token, so it is ours: True | - |
| replace | REPLACE_AGAIN | exactly `new`: True, also if another request wrote the same bytes | the record is neither |
| delete | DELETE_AGAIN | nothing | there is nothing: this call or another removed it |
| delete, with `old` | DELETE_OLD_AGAIN | nothing | there is nothing |
| count | the same | - | - |

If `end_all` removes the record between the two tries, CREATE_AGAIN stores it again. `owners.create` expects that.

If a call fails, Redis may still have run the command.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from redis.asyncio.cluster import RedisCluster
from redis.exceptions import ClusterError, ReadOnlyError, RedisClusterException, RedisError

from .redis_connection import DEFAULTS, make_client, repeat_once
from .redis_url import parse
from .store import TIMEOUT, StoreUnavailable

# Redis runs a script as one step: no other write comes between the comparison and the change.
REPLACE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
return 1
"""
DELETE_OLD = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
# GET returns false for a missing key.
CREATE_AGAIN = """
local held = redis.call('GET', KEYS[1])
if held then return held == ARGV[1] and 1 or 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[2])
return 1
"""
REPLACE_AGAIN = """
local held = redis.call('GET', KEYS[1])
if not held then return 0 end
if held == ARGV[2] then return 1 end
if held ~= ARGV[1] then return -1 end
redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
return 1
"""
DELETE_AGAIN = "return redis.call('DEL', KEYS[1]) == 1 and 1 or -1"
DELETE_OLD_AGAIN = """
local held = redis.call('GET', KEYS[1])
if not held then return -1 end
if held ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
UNKNOWN = -1
MAX_BATCH = 16  # commands sent together; each may carry 1 MiB, and the others wait for it
COUNT_TIMEOUT = 60.0  # seconds, to walk through all keys
SCAN_STEP = 1000  # keys per command
VERSION_TIMEOUT = 0.5  # seconds
MINIMUM_VERSION = (6, 2)  # the first with PXAT
Command = tuple[bytes | str | int, ...]
Pair = tuple[Command, Command]  # a command, and its form for the second try
# AttributeError: redis-py's cluster client raises it for an unknown node (redis-py's issues 3835 and 4214).
FAILURES = (RedisError, RedisClusterException, OSError, AttributeError)


class RedisStore:
    """A store at a URL: redis://, rediss:// (TLS), valkey://, valkeys://, redis+cluster:// or rediss+cluster://.

    Its keys begin with `prefix`. The first call connects. Replication is asynchronous, so a failover can lose the last
    writes, including the end of a session. docs/stores.md has settings that make this less likely.
    """

    def __init__(self, url: str, prefix: str = "session:") -> None:
        """Raises ValueError for an unusable URL; the message shows no part of it. Never connects."""
        parsed = parse(url)
        self._client = make_client(parsed)
        self._prefix = prefix
        self._turns = asyncio.Semaphore((DEFAULTS | parsed.options)["max_connections"])
        self._batch: list[Pair] = []  # the commands of this turn of the event loop
        self._answers: asyncio.Task[list[Any]]  # the answers to `_batch`

    async def load(self, session_id: str) -> bytes | None:
        command = "GET", self._key(session_id)
        record: bytes | None = await self._run(command, command)
        return record

    async def check(self, session_id: str) -> None:
        """Raise StoreUnavailable unless the server can write: it may be too old, or a replica. Writes nothing."""
        command = "SET", self._key(session_id), b"", "XX", "PXAT", 1  # XX: only if the key exists, and it does not
        await self._run(command, command)

    async def create(self, session_id: str, record: bytes, deadline: float) -> bool:
        key, until = self._key(session_id), _milliseconds(deadline)
        first = "SET", key, record, "NX", "PXAT", until
        return bool(await self._run(first, ("EVAL", CREATE_AGAIN, 1, key, record, until)))

    async def replace(self, session_id: str, old: bytes, new: bytes, deadline: float) -> bool:
        arguments = 1, self._key(session_id), old, new, _milliseconds(deadline)
        return bool(await self._run(("EVAL", REPLACE, *arguments), ("EVAL", REPLACE_AGAIN, *arguments)))

    async def delete(self, session_id: str, old: bytes | None = None) -> bool:
        key = self._key(session_id)
        if old is None:
            return bool(await self._run(("DEL", key), ("EVAL", DELETE_AGAIN, 1, key)))
        return bool(await self._run(("EVAL", DELETE_OLD, 1, key, old), ("EVAL", DELETE_OLD_AGAIN, 1, key, old)))

    async def sweep(self, now: float, limit: int) -> list[str]:  # noqa: ARG002 - Redis removes expired keys itself
        return []

    async def count(self) -> int:
        try:
            async with asyncio.timeout(COUNT_TIMEOUT), self._turns:
                return await repeat_once(self._count)
        except FAILURES as error:
            raise StoreUnavailable(str(error) or f"no answer within {COUNT_TIMEOUT} s") from error

    async def count_in_steps(self) -> AsyncIterator[int]:
        """Raises StoreUnavailable."""
        number = 0
        try:
            async for number in self._numbers():
                if number % SCAN_STEP == 0:
                    yield number
        except FAILURES as error:
            raise StoreUnavailable(str(error) or "no answer") from error
        yield number

    async def close(self) -> None:
        with suppress(*FAILURES):  # a connection may be dead
            await self._client.aclose()

    def _key(self, session_id: str) -> bytes:
        return f"{self._prefix}{session_id}".encode()

    async def _count(self, _again: bool) -> int:
        number = 0
        async for number in self._numbers():  # noqa: B007 - the last number counts
            pass
        return number

    async def _numbers(self) -> AsyncIterator[int]:
        """Yield 1, 2, 3 and so on: the number of sessions found so far."""
        await self._client.initialize()
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", self._prefix) + "[0-9a-f]*"  # skips the lists of owners
        number = 0
        async for _ in self._client.scan_iter(match=pattern, count=SCAN_STEP):
            number += 1
            yield number

    async def _run(self, first: Command, again: Command) -> Any:
        """Return what Redis answers to `first`, or to `again` if the connection is lost. Raises StoreUnavailable."""
        try:
            run = self._run_alone if isinstance(self._client, RedisCluster) else self._run_in_batch
            answer = await run((first, again))
        except FAILURES as error:
            answer = error
        if answer == UNKNOWN:
            raise StoreUnavailable("a connection was lost before the answer came; the command may have run")
        if not isinstance(answer, Exception):
            return answer
        if "WRONGTYPE" in str(answer):
            return b""  # the key holds a list, for example: treat it as a corrupt record
        raise StoreUnavailable(await self._explain(answer)) from answer

    async def _run_alone(self, pair: Pair) -> Any:
        async with asyncio.timeout(TIMEOUT), self._turns:
            return await repeat_once(lambda again: self._execute(pair[again]))

    async def _execute(self, command: Command) -> Any:
        await self._client.initialize()  # finds the nodes of a cluster, once
        return await self._client.execute_command(*command)

    async def _run_in_batch(self, pair: Pair) -> Any:
        """Send a command together with the others of this turn of the event loop: ten cost little more than one."""
        if not self._batch or len(self._batch) == MAX_BATCH or self._answers.done():
            self._batch = []
            self._answers = asyncio.create_task(self._run_batch(self._batch))
        self._batch.append(pair)
        number, answers = len(self._batch) - 1, self._answers
        return (await asyncio.shield(answers))[number]  # shielded: a cancelled request must not cancel the others

    async def _run_batch(self, batch: list[Pair]) -> list[Any]:
        """Return for each command what Redis answered, or the error."""
        if self._batch is batch:
            self._batch = []
        try:
            async with asyncio.timeout(TIMEOUT), self._turns:
                return await repeat_once(lambda again: self._execute_all([pair[again] for pair in batch]))
        except FAILURES as error:
            return [error] * len(batch)

    async def _execute_all(self, commands: list[Command]) -> list[Any]:
        async with self._client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
        if any(isinstance(answer, ReadOnlyError) for answer in answers):
            # This server is no longer the primary. A new connection may reach the new primary.
            await self._client.connection_pool.disconnect(inuse_connections=False)
        return answers

    async def _explain(self, error: Exception) -> str:
        """Return a reason for the log."""
        if type(error) in (AttributeError, ClusterError):  # ClusterError: two nodes redirect to each other
            return "a slot of the cluster seems to be moving to or from a node that this client does not know yet"
        if isinstance(error, TimeoutError):  # asyncio's has no text; redis-py's own has one
            return f"no answer within {TIMEOUT} s"
        if "syntax error" in str(error):
            return await self._explain_version(str(error))
        return str(error) or repr(error)

    async def _explain_version(self, error: str) -> str:
        needed = "Redis {}.{} or newer is needed".format(*MINIMUM_VERSION)
        try:
            async with asyncio.timeout(VERSION_TIMEOUT):
                version = str((await self._client.info("server"))["redis_version"])
        except (*FAILURES, LookupError):
            return f"{needed}; this server answered: {error}"
        if tuple(map(int, re.findall(r"\d+", version)[:2])) < MINIMUM_VERSION:
            return f"{needed}, this is {version}"
        return error


def _milliseconds(instant: float) -> int:
    return int(instant * 1000)
