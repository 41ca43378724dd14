"""Every store keeps the contract: ours, and the example of a custom store."""

import asyncio
import fcntl
import signal
import sqlite3
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.sessions import Session, SessionManager, Store, StoreUnavailable, open_store
from app.sessions.memory import MemoryStore
from app.sessions.store import TIMEOUT, within_limit
from tests.folder_store import FolderStore
from tests.postgres_server import PostgresServer
from tests.redis_servers import RedisCluster, RedisServer
from tests.sessions.helpers import QUOTE
from tests.store_contract import FAR, A, StoreContract


class TestOurStores(StoreContract):
    @pytest.fixture
    def kind(self, request: pytest.FixtureRequest) -> str:
        kind: str = request.node.callspec.params["store_url"]
        return kind

    @pytest.fixture(autouse=True)
    def _expiry(self, kind: str) -> None:
        self.expires_by_itself = kind in ("redis", "cluster")
        if kind == "cluster":
            self.cold_stores = 4  # each explores all nodes, which takes much CPU time in the one process of this test

    @pytest.fixture
    async def store(self, store_url: str) -> AsyncIterator[Store]:
        store = open_store(store_url)
        yield store
        await store.close()

    @pytest.fixture
    def another(self, kind: str, store_url: str) -> Callable[[], Store]:
        if kind == "memory":
            pytest.skip("the memory of a process belongs to one store")
        return lambda: open_store(store_url)

    @pytest.fixture
    def named(self, kind: str, store_url: str) -> Callable[[str], Store]:
        if kind == "memory":
            pytest.skip("the memory of a process belongs to one store")
        return lambda name: open_store(store_url, name=name)

    @pytest.fixture
    def hang(
        self, kind: str, request: pytest.FixtureRequest, tmp_path: Path
    ) -> Callable[[], AbstractContextManager[None]]:
        if kind == "memory":
            pytest.skip("memory cannot hang")
        if kind == "sqlite":
            return lambda: locked_database(tmp_path / "sessions.sqlite3")
        if kind == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            return server.paused
        redis: RedisServer | RedisCluster = request.getfixturevalue(f"redis_{'server' if kind == 'redis' else kind}")
        return lambda: stopped(redis.servers if isinstance(redis, RedisCluster) else [redis])

    @pytest.fixture
    def disconnect(self, kind: str, request: pytest.FixtureRequest) -> Callable[[], None]:
        if kind in ("memory", "sqlite"):
            pytest.skip("this store has no connections")
        if kind == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            return server.disconnect
        redis: RedisServer | RedisCluster = request.getfixturevalue(f"redis_{'server' if kind == 'redis' else kind}")
        servers = redis.servers if isinstance(redis, RedisCluster) else [redis]
        return lambda: disconnect_clients(servers)


def disconnect_clients(servers: list[RedisServer]) -> None:
    for server in servers:
        server.answers("CLIENT", "KILL", "TYPE", "normal")


@contextmanager
def locked_database(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        yield
        db.execute("ROLLBACK")


@contextmanager
def stopped(servers: list[RedisServer]) -> Iterator[None]:
    processes = [server.process for server in servers if server.process]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


@pytest.mark.full
class TestTheExample(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FolderStore:
        return FolderStore(tmp_path)

    @pytest.fixture
    def another(self, tmp_path: Path) -> Callable[[], Store]:
        return lambda: FolderStore(tmp_path / "new")

    @pytest.fixture
    def named(self, tmp_path: Path) -> Callable[[str], Store]:
        return lambda name: FolderStore(tmp_path / name)

    @pytest.fixture
    def hang(self, tmp_path: Path) -> Callable[[], AbstractContextManager[None]]:
        @contextmanager
        def locked() -> Iterator[None]:
            with (tmp_path / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield

        return locked

    async def test_sessions_work_on_the_folder_store(self, store: Store) -> None:
        sessions = SessionManager(store)
        session: Session = await sessions.start()
        session[QUOTE] = "in a file"
        await session.save()
        assert session.cookie
        assert dict(await sessions.start(session.cookie[0])) == {"quote": "in a file"}


# Bad stores fail the suite. Each of them seems to work at first sight.


class NarrowColumn(MemoryStore):
    """Keeps the deadline in 32 bits, as PostgreSQL's REAL does: today that means steps of 128 s."""

    async def create(self, session_id: str, record: bytes, deadline: float) -> bool:
        return await super().create(session_id, record, struct.unpack("f", struct.pack("f", deadline))[0])


class WholeSeconds(MemoryStore):
    async def create(self, session_id: str, record: bytes, deadline: float) -> bool:
        return await super().create(session_id, record, float(int(deadline)))


class SlowToCancel(MemoryStore):
    """Its client library, like some real ones, waits for the server when it is cancelled."""

    hangs = False

    async def load(self, session_id: str) -> bytes | None:
        if not self.hangs:
            return await super().load(session_id)
        async with asyncio.timeout(TIMEOUT):
            return await self.wait_for_the_server()

    async def wait_for_the_server(self) -> bytes | None:
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(2 * TIMEOUT)
        return None

    @contextmanager
    def hang(self) -> Iterator[None]:
        self.hangs = True
        yield
        self.hangs = False


class WithTheHelper(SlowToCancel):
    async def load(self, session_id: str) -> bytes | None:
        return await within_limit(self.wait_for_the_server() if self.hangs else MemoryStore.load(self, session_id))


class OneConnection(MemoryStore):
    """Sends commands over one connection, and goes on using it after a cancelled call: the answers get out of step."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: asyncio.Queue[Any] = asyncio.Queue()

    async def load(self, session_id: str) -> bytes | None:
        self.answers.put_nowait(await super().load(session_id))
        await asyncio.sleep(0.0001)
        record: bytes | None = await self.answers.get()
        return record


class KeepsItsLock(MemoryStore):
    """Releases its lock only if the call succeeds. After a failure, the next call waits for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = asyncio.Lock()

    async def replace(self, session_id: str, old: bytes, new: bytes, deadline: float) -> bool:
        async with asyncio.timeout(TIMEOUT):
            await self.lock.acquire()
        await asyncio.sleep(0)
        replaced = await super().replace(session_id, old, new, deadline)
        self.lock.release()
        return replaced


class SweepsTwice(MemoryStore):
    """Looks first and removes later, so two sweeps report the same record."""

    async def sweep(self, now: float, limit: int) -> list[str]:
        expired = [session_id for session_id, (_, deadline) in self._records.items() if deadline <= now][:limit]
        await asyncio.sleep(0)
        for session_id in expired:
            self._records.pop(session_id, None)
        return expired


async def test_a_column_that_is_too_narrow_fails_the_suite() -> None:
    with pytest.raises(AssertionError):
        await StoreContract().test_a_sweep_never_removes_a_record_with_5_seconds_left(NarrowColumn())


@pytest.mark.parametrize("store", [NarrowColumn(), WholeSeconds()])
async def test_a_column_that_rounds_fails_the_suite(store: Store) -> None:
    with pytest.raises(AssertionError):
        await StoreContract().test_a_deadline_is_kept_to_the_millisecond(store)


@pytest.mark.full
async def test_a_store_that_hangs_fails_the_suite() -> None:
    store = SlowToCancel()
    with pytest.raises(AssertionError):
        await StoreContract().test_a_store_that_hangs_answers_within_the_limit(store, store.hang)


@pytest.mark.full
async def test_within_limit_keeps_the_limit_even_if_cancelling_takes_long() -> None:
    store = WithTheHelper()
    await StoreContract().test_a_store_that_hangs_answers_within_the_limit(store, store.hang)


@pytest.mark.full
@pytest.mark.parametrize("store", [OneConnection(), KeepsItsLock()])
async def test_a_store_that_is_out_of_step_after_a_cancelled_call_fails_the_suite(store: Store) -> None:
    with pytest.raises((AssertionError, OSError)):
        await StoreContract().test_a_cancelled_call_leaves_nothing_behind(store)


async def test_a_store_that_sweeps_twice_fails_the_suite() -> None:
    store = SweepsTwice()
    with pytest.raises(AssertionError):
        await StoreContract().test_many_concurrent_sweeps_return_each_id_once(lambda: store)


# The helper for the time limit


async def test_within_limit_returns_what_the_call_returns_or_raises() -> None:
    async def fail() -> None:
        raise ConnectionError("refused")

    assert await within_limit(MemoryStore().create(A, b"x", FAR)) is True
    with pytest.raises(ConnectionError, match="refused"):
        await within_limit(fail())


async def test_within_limit_does_not_wait_for_a_cancelled_call() -> None:
    ended = asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.2)
            ended.set()
            raise ConnectionError("nobody may be told of this")  # an error that nobody retrieves fails the test

    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"no answer within 0\.05 s"):
        await within_limit(stubborn(), 0.05)
    assert not ended.is_set()
    caller = asyncio.create_task(within_limit(stubborn(), 30))
    await asyncio.sleep(0.01)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await asyncio.wait_for(ended.wait(), 5)
    assert time.monotonic() - started < 5
