"""Connections to Redis that notice when they are dead, and the client that uses them.

A connection may die while it is idle: the server or a proxy closes or resets it, or a firewall forgets it, so commands
sent over it get no answer. While Redis itself is healthy, visitors must not see an error because of that:

1. A connection that is known to be dead is replaced before a command is sent.
2. A connection that was idle for 30 s (`health_check_interval` in the URL) is checked with a PING first.
3. After any idle time, a connection has `FIRST_ANSWER` seconds for its first answer; then it counts as lost.
4. If a connection is lost, `repeat_once` sends the command again, on a connection made after the loss.

TCP keepalive also makes most firewalls remember the connection.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, TypeVar

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .redis_url import BadURL, RedisURL

T = TypeVar("T")

IDLE = 0.1  # seconds without use after which a connection counts as idle
FIRST_ANSWER = 0.7  # seconds that a connection has for its first answer after it was idle
FAREWELL = 0.1  # seconds to wait for a connection to close
KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # seconds, seconds, probes
MAX_CONNECTIONS = 50  # per process
DEFAULTS: dict[str, Any] = {
    "protocol": 2,
    "max_connections": MAX_CONNECTIONS,
    "socket_connect_timeout": 1.0,  # seconds
    "socket_keepalive": True,
    "socket_keepalive_options": {getattr(socket, key): n for key, n in KEEPALIVE.items() if hasattr(socket, key)},
    "health_check_interval": 30,  # seconds without use after which a connection is checked
}
LOST = (RedisConnectionError, RedisTimeoutError, OSError)
# Connections made before this instant are not used: one of them was lost, so the others may be dead too.
_trusted_since: ContextVar[float] = ContextVar("_trusted_since", default=float("-inf"))


class CannotConnect(RedisConnectionError):
    """No connection could be made, so no command was sent."""


class CheckedConnection(Connection):
    """A connection that replaces itself if it died while it was idle. redis-py calls the methods below."""

    # set by redis-py; None while there is no connection
    _reader: Any
    _writer: Any

    made_at = used_at = float("-inf")
    was_idle = False

    async def connect_check_health(self, *args: Any, **options: Any) -> None:
        """Connect, unless that was done already."""
        if not self.is_connected:
            self.made_at = self.used_at = time.monotonic()
        try:
            await super().connect_check_health(*args, **options)
        except LOST as error:
            raise CannotConnect(str(error)) from error

    async def check_health(self) -> None:
        """Replace the connection if it is dead. Called before every command."""
        now = time.monotonic()
        idle, self.used_at = now - self.used_at, now
        self.was_idle = idle > IDLE
        check_is_due = 0 < self.health_check_interval < idle
        if self._is_known_to_be_dead() or (check_is_due and not await self._answers()):
            await self.disconnect(nowait=True)
            await self.connect_check_health(check_health=False)
            self.was_idle = False

    async def send_packed_command(self, *args: Any, **options: Any) -> None:
        """Send a command."""
        try:
            await super().send_packed_command(*args, **options)
        except RuntimeError as error:  # uvloop raises it for a reset connection; asyncio raises a ConnectionError
            raise RedisConnectionError(str(error)) from error

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Return the server's next answer."""
        if not self.was_idle:
            return await super().read_response(*args, **options)
        self.was_idle = False
        try:
            async with asyncio.timeout(FIRST_ANSWER):
                return await super().read_response(*args, **options)
        except TimeoutError as error:
            raise RedisTimeoutError(f"no answer within {FIRST_ANSWER} s over a connection that was idle") from error

    async def disconnect(self, *args: Any, **options: Any) -> None:
        """Close the connection. Do not wait long, because the peer of a dead TLS connection never confirms it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await super().disconnect(*args, **options)

    def _is_known_to_be_dead(self) -> bool:
        closed = self._writer.is_closing() or self._reader.at_eof() or self._reader.exception()
        return bool(closed) or self.made_at < _trusted_since.get()

    async def _answers(self) -> bool:
        try:
            await self.send_command("PING", check_health=False)
            await self.read_response()
        except LOST:
            return False
        return True


class CheckedTLSConnection(CheckedConnection, SSLConnection):
    """A checked connection over TLS. All connections share one context."""

    def __init__(self, *, tls: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = tls


class KeyFinder:
    """Knows where our commands have their key, for redis-py's cluster client.

    redis-py's own parser fetches the server's list of commands each time the client explores the cluster, which it does
    after each lost connection. Reading the list blocks the event loop for 35 ms. If connections are lost one after the
    other, requests would wait too long.
    """

    async def initialize(self, node: Any) -> None:
        """Nothing to do."""

    async def get_keys(self, _command: str, key: bytes, *_arguments: Any) -> list[bytes]:
        """Return the key of GET, SET or DEL. redis-py finds the key of EVAL itself."""
        return [key]


async def repeat_once(send: Callable[[bool], Awaitable[T]]) -> T:
    """Return `await send(False)`; if its connection is lost, `await send(True)` over connections made from then on."""
    try:
        return await send(False)
    except CannotConnect:
        raise
    except LOST:
        context = _trusted_since.set(time.monotonic())
    try:
        return await send(True)
    finally:
        _trusted_since.reset(context)


def make_client(url: RedisURL) -> Any:
    """Return a `Redis` or `RedisCluster` that connects on first use. Raises ValueError if redis-py refuses the URL."""
    options = DEFAULTS | {"retry": Retry(NoBackoff(), 0)} | url.options  # no retries: `repeat_once` does that
    connection: dict[str, Any] = {"connection_class": CheckedConnection}
    if url.tls:
        connection = {"connection_class": CheckedTLSConnection, "tls": url.tls}
    try:
        return (_make_cluster_client if url.cluster else _make_single_client)(options, connection)
    except Exception as error:  # its message may show a part of the URL
        problem = f"redis-py refuses it ({type(error).__name__})"
    raise BadURL(problem)


def _make_single_client(options: dict[str, Any], connection: dict[str, Any]) -> Any:
    # No time limit for a single read: the store limits the whole command, which costs less.
    no_limit: dict[str, Any] = {"socket_timeout": None}
    pool: Any = ConnectionPool(**no_limit | options | connection)
    pool.make_connection()  # not used: raises an error if the options do not fit together
    return Redis.from_pool(pool)


def _make_cluster_client(options: dict[str, Any], connection: dict[str, Any]) -> Any:
    # Slots whose primary is down must not block the other slots. If a primary hangs, the client looks for its successor
    # only after a time limit for a single read.
    options = {"require_full_coverage": False, "socket_timeout": 1.0} | options
    # Connections that are being closed still count, so allow twice as many.
    client: Any = RedisCluster(**options | {"max_connections": 2 * options["max_connections"]})
    # RedisCluster has no parameter for this. The first line is for nodes found later, the loop for the node in the URL.
    client.get_connection_kwargs().update(connection)
    client.commands_parser = KeyFinder()
    for node in client.startup_nodes:
        node.connection_class = connection["connection_class"]
        node.connection_kwargs |= {name: value for name, value in connection.items() if name == "tls"}
    return client
