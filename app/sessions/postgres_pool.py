"""Connections to PostgreSQL: opened when they are needed, kept while they work, closed after any error."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from inspect import signature
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import asyncpg  # type: ignore[import-untyped]
from asyncpg.connect_utils import _parse_connect_dsn_and_args as parse_url  # type: ignore[import-untyped]

from .store import StoreUnavailable

T = TypeVar("T")

CONNECT_TIMEOUT = 2.0  # seconds, divided among the hosts of the URL
CHECK_AFTER = 30.0  # seconds without use, after which a firewall or a proxy may have dropped the connection
CHECK_TIMEOUT = 0.5  # seconds
CLOSE_TIMEOUT = 1.0  # seconds
RETRY_PAUSE = 0.05  # seconds

# RuntimeError: uvloop raises it for a write to a connection that was reset.
FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, RuntimeError)

OPTIONS = (
    "application_name, dbname, host, options, password, passfile, port, search_path, service, sslcert, sslcrl, sslkey, "
    "sslmode, sslnegotiation, sslpassword, sslrootcert, ssl_max_protocol_version, ssl_min_protocol_version, "
    "synchronous_commit, target_session_attrs, user"
)


class Connection:
    """A connection, and the statements that were prepared on it."""

    def __init__(self, raw: Any, is_direct: bool) -> None:
        self.raw = raw
        self.is_direct = is_direct  # not through a pooler
        self.used_at = time.monotonic()
        self._prepared: dict[str, Any] = {}

    @classmethod
    async def open(cls, url: str, host: dict[str, Any]) -> "Connection":
        raw = await asyncpg.connect(url, **host, statement_cache_size=0)
        try:
            # A pooler such as PgBouncer may send each statement to another server process, where it is not prepared.
            # A pooler tells the client a made-up process id, so the two ids differ.
            return cls(raw, await raw.fetchval("SELECT pg_backend_pid()") == raw.get_server_pid())
        except BaseException:
            raw.terminate()
            raise

    async def run(self, method: str, statement: str, *arguments: Any) -> list[Any]:
        """Return what asyncpg's `fetch` or `fetchmany` returns."""
        if not self.is_direct:
            return list(await getattr(self.raw, method)(statement, *arguments))  # two round trips instead of one
        if statement not in self._prepared:
            self._prepared[statement] = await self.raw.prepare(statement)
        return list(await getattr(self._prepared[statement], method)(*arguments))

    async def is_alive(self) -> bool:
        """Return whether the connection works. Ask the server only after `CHECK_AFTER` seconds without use."""
        if self.raw.is_closed() or time.monotonic() - self.used_at < CHECK_AFTER:
            return not self.raw.is_closed()
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                await self.raw.execute("SELECT 1")
        except FAILURES:
            return False
        return True

    async def close(self) -> None:
        """Close the connection, and cancel a running statement: it may wait for a lock and occupy a server process."""
        with suppress(*FAILURES):
            await self.raw.close(timeout=CLOSE_TIMEOUT)


class Pool:
    """The connections of one process. The caller must limit their number and the waiting time."""

    def __init__(self, url: str) -> None:
        """Raise ValueError for an unusable URL."""
        self._url = url
        self._hosts = hosts(url)
        self._idle: list[Connection] = []  # the most recently used is at the end, and is taken first
        self._open: set[Connection] = set()
        self._tasks: set[asyncio.Task[Any]] = set()  # they open and close connections

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection. Close it if the body fails or is cancelled, because an answer may still arrive on it."""
        connection = await self._take()
        try:
            yield connection
        except BaseException:
            self._discard(connection)
            raise
        if connection not in self._open:  # discard_all was called meanwhile
            self._discard(connection)
            return
        connection.used_at = time.monotonic()
        self._idle.append(connection)

    def discard_all(self) -> None:
        """Close the idle connections now, and those in use when they come back."""
        while self._idle:
            self._discard(self._idle.pop())
        self._open.clear()

    async def close(self) -> None:
        self.discard_all()
        while self._tasks:
            await asyncio.wait(self._tasks)
            self.discard_all()

    async def _take(self) -> Connection:
        while True:
            while self._idle:
                connection = self._idle.pop()
                try:
                    alive = await connection.is_alive()
                except BaseException:
                    self._discard(connection)
                    raise
                if alive:
                    return connection
                self._discard(connection)
                self.discard_all()  # what ended this connection has probably ended the others too
            try:
                return await self._connect()
            except FAILURES as error:
                if not (self._open and isinstance(error, asyncpg.TooManyConnectionsError)):
                    raise StoreUnavailable(str(error) or "no server has answered in time") from error
                await asyncio.sleep(RETRY_PAUSE)  # by then another call may have returned its connection

    async def _connect(self) -> Connection:
        """Return a new connection. If the caller is cancelled, keep the connection for the next caller."""
        connecting = self._start(self._connect_to_a_host())
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            connecting.add_done_callback(self._keep)
            raise

    def _keep(self, connecting: asyncio.Task[Connection]) -> None:
        if not connecting.cancelled() and not connecting.exception():
            self._idle.append(connecting.result())

    async def _connect_to_a_host(self) -> Connection:
        """Connect to the first host that answers and is suitable. Try the host that last succeeded first."""
        failure: Exception = OSError("no host")
        for host in self._hosts:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT / len(self._hosts)):
                    connection = await Connection.open(self._url, host)
            except FAILURES as error:
                failure = error
            else:
                self._hosts = sorted(self._hosts, key=lambda other: other != host)
                self._open.add(connection)
                return connection
        raise failure

    def _discard(self, connection: Connection) -> None:
        """Close a connection in the background, so no visitor waits for it."""
        self._open.discard(connection)
        if connection.is_direct:
            self._start(connection.close())
        else:
            # PgBouncer 1.18 exits ("bad client state") if a client asks it to cancel while its server does not answer.
            connection.raw.terminate()

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def hosts(url: str) -> list[dict[str, Any]]:
    """Return the addresses in a URL, as arguments of asyncpg.connect. Raise ValueError for an unusable URL.

    The message shows no part of the URL: a password in which `/` or `?` is not escaped looks like a port or an option.
    """
    try:
        options = _options(url)
        # asyncpg has no public function that checks a URL without connecting. pyproject.toml pins its minor version.
        addresses, _ = parse_url(**dict.fromkeys(signature(parse_url).parameters) | {"dsn": url})
        found: list[dict[str, Any]] = [
            {"host": a} if isinstance(a, str) else {"host": a[0], "port": a[1]} for a in addresses
        ]
        if not all("@" not in host["host"] and _is_possible(**host) for host in found):
            raise ValueError
    except (asyncpg.InterfaceError, ValueError, OSError):
        raise ValueError(
            "the address, the value of an option or a PG… environment variable, such as PGPORT, cannot be used, "
            "or it names a file that cannot be read. "
            "In a password, write special characters as %XX"
        ) from None
    if not options <= set(OPTIONS.split(", ")):
        raise ValueError(f"it has an unknown option. The known options are: {OPTIONS}")
    return found


def _options(url: str) -> set[str]:
    """Return the names of the options. Raise ValueError for parts that asyncpg would ignore or misread."""
    parts = urlsplit(url)
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)]
    if "#" in url or "@" in parts.path or "\0" in unquote(url, errors="strict"):
        raise ValueError
    ignored = {"host", "port"} if parts.netloc.rpartition("@")[2] else set()
    if len(set(names)) < len(names) or ignored & set(names):
        raise ValueError
    return set(names)


def _is_possible(host: str, port: int | None = None) -> bool:
    """Return whether these can be a host's name or IP address and its port. Without a port, `host` is a path."""
    if port is None:
        return True
    host.encode("idna")  # every connection does this
    return 0 < port < 65_536 and re.fullmatch(r"[\w.:%-]*\w\.?", host) is not None
