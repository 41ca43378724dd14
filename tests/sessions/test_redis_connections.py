"""Connections to Redis that die while they are idle or while a command is under way; and too few connections."""

import asyncio
import socket
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvloop

from app.sessions import StoreUnavailable
from app.sessions.records import digest
from app.sessions.redis import RedisStore
from app.sessions.redis_connection import DEFAULTS, repeat_once
from app.sessions.store import TIMEOUT
from tests.redis_servers import Proxy, RedisServer, start_cluster_of_one
from tests.support import free_port, require

pytestmark = pytest.mark.full

FAR = 4e9
IDS = [digest(str(number)) for number in range(20)]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    command = [require("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "key"), "-out", str(folder / "pem")]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "pem", folder / "key"


@dataclass
class Place:
    """A Redis of one kind, behind a proxy."""

    server: RedisServer
    kind: str
    target: int
    proxy_port: int
    certificate: Path

    def url(self, options: str = "") -> str:
        secure = self.target != self.server.port
        scheme = ("rediss" if secure else "redis") + ("+cluster" if self.kind == "cluster" else "")
        # Where other tests use the cores, twenty handshakes on both sides may take longer than the usual second.
        tls = f"&ssl_ca_certs={self.certificate}&socket_connect_timeout=2" if secure else ""
        return f"{scheme}://127.0.0.1:{self.proxy_port}/0?socket_keepalive=true{tls}{options}"

    @asynccontextmanager
    async def store(self, options: str = "") -> AsyncIterator[tuple[Proxy, RedisStore]]:
        self.server.answers("FLUSHALL")
        async with Proxy(self.target, self.proxy_port) as proxy:
            store = RedisStore(self.url(options))
            yield proxy, store
            await store.close()


@pytest.fixture(
    scope="module", params=[(kind, tls) for kind in ("single", "cluster") for tls in ("TCP", "TLS")], ids="-".join
)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, certificate: tuple[Path, Path]
) -> Iterator[Place]:
    kind, tls = request.param
    folder, proxy_port, tls_port = tmp_path_factory.mktemp("redis") / "server", free_port(), free_port()
    pem, key = map(str, certificate)
    options: tuple[str, ...] = ()
    if tls == "TLS":
        options = ("--tls-port", str(tls_port), "--tls-cert-file", pem, "--tls-key-file", key)
        options += ("--tls-auth-clients", "no")
    if kind == "cluster":
        server = start_cluster_of_one(folder, proxy_port, options)
    else:
        server = RedisServer(folder, options).start()
    yield Place(server, kind, tls_port if tls == "TLS" else server.port, proxy_port, certificate[0])
    server.stop()


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Run a coroutine in a loop of one kind: they report a dead connection in different ways."""

    def run(coroutine: Coroutine[Any, Any, None]) -> None:
        factory = asyncio.new_event_loop if request.param == "asyncio" else uvloop.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(coroutine)

    return run


@pytest.mark.parametrize("how", ["reset", "close", "forget"])
def test_rule_12_connections_that_died_while_idle_cause_no_error(
    place: Place, run: Callable[[Coroutine[Any, Any, None]], None], how: str
) -> None:
    async def use_the_store() -> None:
        async with place.store() as (proxy, store):

            async def die() -> None:
                # More than one batch, so that there are several connections.
                assert await asyncio.gather(*map(store.load, IDS)) == [None] * len(IDS)
                await asyncio.sleep(0.15)
                await getattr(proxy, how)()
                await asyncio.sleep(0.05)

            await die()
            started = time.monotonic()
            assert await asyncio.gather(*map(store.load, IDS)) == [None] * len(IDS)
            assert time.monotonic() - started < TIMEOUT
            await die()
            assert await store.create("a", b"1", FAR)
            await die()
            assert await store.replace("a", b"1", b"2", FAR)
            await die()
            assert not await store.create("a", b"3", FAR)
            await die()
            assert await store.count() == 1
            await die()
            assert await store.delete("a", b"2")
            assert await store.create("a", b"1", FAR)
            await die()
            assert await store.delete("a")

    run(use_the_store())


def test_rule_12_dead_connections_that_are_noticed_one_by_one_cause_no_error(
    place: Place, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    """The client explores the cluster again for each. That must be quick, because the requests wait for it in turn."""

    async def use_the_store() -> None:
        async with place.store() as (proxy, store):

            async def load(number: int) -> bytes | None:
                await asyncio.sleep(number * 0.02)
                return await store.load(IDS[number])

            assert await asyncio.gather(*map(store.load, IDS)) == [None] * len(IDS)
            await asyncio.sleep(0.15)
            await proxy.forget()
            assert await asyncio.gather(*map(load, range(len(IDS)))) == [None] * len(IDS)
        assert "cmdstat_command:" not in place.server.answers("INFO", "commandstats"), "its answer takes long to read"

    place.server.answers("CONFIG", "RESETSTAT")
    run(use_the_store())


def test_rule_12_a_connection_that_dies_when_it_is_used_causes_no_error(
    place: Place, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    """The event loop does not run in between, so it cannot notice the loss."""

    async def use_the_store() -> None:
        async with place.store() as (proxy, store):
            for _ in range(5):
                await asyncio.gather(*map(store.load, IDS))
                closing = asyncio.create_task(proxy.reset())
                assert await asyncio.gather(*map(store.load, IDS)) == [None] * len(IDS)
                await closing

    run(use_the_store())


@pytest.mark.parametrize("how", ["reset", "close", "forget"])
def test_rule_12_a_dead_connection_is_noticed_before_a_command_is_sent(
    place: Place, run: Callable[[Coroutine[Any, Any, None]], None], how: str
) -> None:
    """The command is sent only once, so even a delete knows what it did."""

    async def use_the_store() -> None:
        async with place.store("&health_check_interval=1") as (proxy, store):
            assert await store.create("a", b"1", FAR)
            await asyncio.sleep(1.1 if how == "forget" else 0)
            await getattr(proxy, how)()
            await asyncio.sleep(0.05)
            place.server.answers("CONFIG", "RESETSTAT")
            started = time.monotonic()
            assert await store.delete("a")
            assert time.monotonic() - started < TIMEOUT
            assert "cmdstat_eval" not in place.server.answers("INFO", "commandstats"), "nothing was repeated"

    run(use_the_store())


def test_rule_15_a_connection_is_checked_only_after_30_seconds_without_use(place: Place) -> None:
    assert DEFAULTS["health_check_interval"] == 30

    def pings() -> int:
        line = place.server.answers("INFO", "commandstats").partition("cmdstat_ping:calls=")[2]
        return int(line.partition(",")[0] or 0)

    async def use_the_store() -> None:
        async with place.store() as (_, store):
            await store.load("a")
            place.server.answers("CONFIG", "RESETSTAT")
            await asyncio.sleep(0.3)
            await store.load("a")
            assert pings() == 0
        async with place.store("&health_check_interval=1") as (_, store):
            await store.load("a")
            await asyncio.sleep(1.1)
            await store.load("a")
            await store.load("a")
            assert pings() == 1

    asyncio.run(use_the_store())


def test_rule_12_a_server_that_resets_every_connection_counts_as_a_failed_store(
    run: Callable[[Coroutine[Any, Any, None]], None],
) -> None:
    """This includes every moment of the handshake, and every error that the reset causes."""

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if number := len(resets) % 3:
            await reader.read(number * 10)
        resets.append(number)
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    resets: list[int] = []

    async def use_the_store() -> None:
        async with await asyncio.start_server(reset, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            for scheme in ("redis", "redis+cluster"):
                store = RedisStore(f"{scheme}://:password@127.0.0.1:{port}/0?client_name=app")
                for _ in range(9):
                    results = await asyncio.gather(*map(store.load, IDS), return_exceptions=True)
                    assert {type(result) for result in results} == {StoreUnavailable}, results
                await store.close()

    run(use_the_store())


# A command whose answer is lost


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis").start()
    yield server
    server.stop()


async def test_rule_12_a_command_is_repeated_on_a_new_connection(redis: RedisServer) -> None:
    """The new connection is not one that was idle beside the lost one, because it may be dead too."""
    async with Proxy(redis.port) as proxy:
        store = RedisStore(proxy.url)
        await store.load("a")
        await asyncio.sleep(0.15)
        await proxy.forget()

        async def send(again: bool) -> list[Any]:
            if not again:
                raise ConnectionResetError
            return await store._execute_all([("GET", b"session:a")])

        assert await repeat_once(send) == [None]
        await store.close()


@asynccontextmanager
async def losing(redis: RedisServer, command: bytes) -> AsyncIterator[RedisStore]:
    """A store that holds "a", and loses the first answer to a command. The server carries it out."""
    async with Proxy(redis.port) as proxy:
        store = RedisStore(proxy.url)
        assert await store.create("a", b"1", FAR)
        proxy.lose_answer_to = command
        yield store
        assert proxy.lose_answer_to is None
        await store.close()


async def test_rule_12_the_second_try_finds_out_what_the_first_did(redis: RedisServer) -> None:
    async with losing(redis, b"GET") as store:
        assert await store.load("a") == b"1"
    redis.answers("FLUSHALL")
    async with losing(redis, b"SET") as store:
        assert await store.create("b", b"1", FAR)
        assert await store.load("b") == b"1"
    redis.answers("FLUSHALL")
    async with losing(redis, b"SET") as store:
        assert not await store.create("a", b"other", FAR)
        assert await store.load("a") == b"1"
    redis.answers("FLUSHALL")
    async with losing(redis, b"EVAL") as store:
        assert await store.replace("a", b"1", b"2", FAR)
        assert await store.load("a") == b"2"
    redis.answers("FLUSHALL")
    async with losing(redis, b"EVAL") as store:
        assert not await store.replace("missing", b"1", b"2", FAR)
    redis.answers("FLUSHALL")
    async with losing(redis, b"EVAL") as store:
        assert not await store.delete("a", b"other")
        assert await store.load("a") == b"1"


@pytest.mark.parametrize("old", [None, b"1"])
async def test_rule_12_a_delete_whose_answer_was_lost_does_not_claim_success(
    redis: RedisServer, old: bytes | None
) -> None:
    """The store cannot know whether this call or another removed the record."""
    async with losing(redis, b"EVAL" if old else b"DEL") as store:
        with pytest.raises(StoreUnavailable, match="the command may have run"):
            await store.delete("a", old)
        assert await store.load("a") is None


async def test_rule_5_a_repeated_replace_does_not_undo_a_later_one(redis: RedisServer) -> None:
    """The first try replaces 1 by 2, another request replaces 2 by 3, and then the first try's answer is lost."""
    async with Proxy(redis.port) as proxy:
        store, other = RedisStore(proxy.url), RedisStore(redis.url)
        assert await store.create("a", b"1", FAR)
        await asyncio.sleep(0.15)
        proxy.changes = {b"\r\n$1\r\n2\r\n": b"\r\n$1\r\n3\r\n"}  # what the server now holds, seen from here
        proxy.lose_answer_to = b"EVAL"
        replacing = asyncio.create_task(store.replace("a", b"1", b"2", FAR))
        while proxy.lose_answer_to:
            await asyncio.sleep(0)
        proxy.changes = {}
        with pytest.raises(StoreUnavailable, match="the command may have run"):
            await replacing
        assert await other.load("a") == b"3"
        await store.close()
        await other.close()


async def test_rule_12_no_message_rules_out_a_save_that_may_have_happened(redis: RedisServer) -> None:
    """Redis runs the save, and then hangs."""
    async with Proxy(redis.port) as proxy:
        store = RedisStore(proxy.url)
        assert await store.create("a", b"1", FAR)
        await proxy.forget()
        proxy.target = free_port()  # nothing listens there, so the second try fails too
        await asyncio.sleep(0.15)
        with pytest.raises(StoreUnavailable) as failure:
            await store.replace("a", b"1", b"2", FAR)
        assert "nothing" not in str(failure.value)
        assert "not saved" not in str(failure.value)
        await store.close()


# Few connections


@pytest.mark.parametrize("number", [1, 3])
async def test_rule_12_requests_wait_for_a_free_connection(redis: RedisServer, number: int) -> None:
    store = RedisStore(f"{redis.url}?max_connections={number}")

    async def save(name: str) -> None:
        assert await store.create(name, b"1", FAR)
        assert await store.replace(name, b"1", b"2", FAR)

    for first in range(0, 200, 40):
        await asyncio.gather(*(save(str(n)) for n in range(first, first + 40)), store.count())
    assert await store.count() == 200
    clients = int(redis.answers("INFO", "clients").partition("connected_clients:")[2].split()[0])
    assert clients - 1 <= number
    await store.close()


async def test_rule_12_requests_wait_for_a_free_connection_to_a_cluster(place: Place) -> None:
    if place.kind == "cluster":
        async with place.store("&max_connections=3") as (_, store):
            assert await asyncio.gather(*(store.create(str(n), b"1", FAR) for n in range(200))) == [True] * 200
            assert await store.count() == 200
