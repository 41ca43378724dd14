"""Sessions in Redis or Valkey, alone or as a cluster: shared by any number of machines.

One key a session, so every command is at home on a cluster; the key's own expiry ends it, so there is nothing to sweep.
"""

import asyncio
import re
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, RedisClusterException, RedisError

from .store import StoreUnavailable

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
CONNECT_TIMEOUT = 1.0  # seconds
SOCKET_TIMEOUT = 3.5  # seconds; less than a request's patience, so that the error says what was waited for
OPTIONS: dict[str, Any] = {
    "protocol": 2,
    "socket_connect_timeout": CONNECT_TIMEOUT,
    "socket_timeout": SOCKET_TIMEOUT,
    # One more try, at once: it finds out that the server has closed a pooled connection. To wait for a server that is
    # down is not for us: the visitor gets a 503 and tries again.
    "retry": Retry(NoBackoff(), 1),
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
                # Slots whose primary is down must not keep the others from being served.
                self._client: Any = RedisCluster.from_url(
                    address, max_connections=MAX_CONNECTIONS, require_full_coverage=False, **OPTIONS
                )
            else:
                pool = BlockingConnectionPool.from_url(
                    address, max_connections=MAX_CONNECTIONS, timeout=SOCKET_TIMEOUT, **OPTIONS
                )
                # Connects to nothing yet, but finds an unknown option in the URL.
                pool.make_connection()  # type: ignore[no-untyped-call]
                self._client = Redis.from_pool(pool)
        except (RedisClusterException, TypeError) as error:
            raise ValueError(str(error)) from error
        self._exploring = asyncio.Lock()

    async def load(self, session_id: str) -> bytes | None:
        record: bytes | None = await self._run("GET", _key(session_id))
        return record

    async def create(self, session_id: str, record: bytes, expires_at: float) -> bool:
        return bool(await self._run("SET", _key(session_id), record, "NX", "PXAT", _milliseconds(expires_at)))

    async def replace(self, session_id: str, old: bytes, new: bytes, expires_at: float) -> bool:
        return bool(await self._run("EVAL", REPLACE, 1, _key(session_id), old, new, _milliseconds(expires_at)))

    async def delete(self, session_id: str, old: bytes | None = None) -> bool:
        if old is None:
            return bool(await self._run("DEL", _key(session_id)))
        return bool(await self._run("EVAL", DELETE_IF_SAME, 1, _key(session_id), old))

    async def sweep(self, now: float, limit: int) -> list[str]:  # noqa: ARG002 - Redis does it by itself
        return []

    async def count(self) -> int:
        await self.check()  # a cluster has to be explored first
        try:
            return sum([1 async for _ in self._client.scan_iter(match=_key("*"), count=1000)])
        except (RedisError, OSError) as error:
            raise StoreUnavailable(str(error)) from error

    async def check(self) -> None:
        await self._run("EXISTS", _key("health"))

    async def close(self) -> None:
        await self._client.aclose()

    async def _run(self, *command: bytes | str | int) -> Any:
        try:
            # Costs nothing once it is done. Without the lock, the first requests would all start to explore the
            # cluster at once, and redis-py would close the connections of one under the feet of another.
            async with self._exploring:
                await self._client.initialize()
            return await self._client.execute_command(*command)
        # AttributeError: what redis-py's cluster client raises if a node vanishes in mid-command (its issue 3835).
        except (RedisError, RedisClusterException, OSError, AttributeError) as error:
            if str(error).startswith("WRONGTYPE"):
                return b""  # a list, say: no record of ours, so it counts as a corrupt one
            if isinstance(error, ReadOnlyError):
                # This server was the primary once. A new connection may find the one that is it now.
                await self._client.aclose()
            raise StoreUnavailable(str(error) or type(error).__name__) from error


def _key(session_id: str) -> str:
    return f"session:{session_id}"


def _milliseconds(instant: float) -> int:
    return int(instant * 1000)
