"""What only PostgreSQL can show: its failures, a failover, PgBouncer, its cost in statements, the rights it needs."""

import asyncio
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from unittest.mock import ANY

import httpx
import pytest

from app.sessions import SessionManager, Store, StoreUnavailable, postgres_pool
from app.sessions.postgres import MAX_SHARED, READERS, WRITERS, PostgresStore
from app.sessions.postgres_batch import MAX_BATCH
from app.sessions.records import digest
from app.sessions.store import TIMEOUT
from app.settings import PROJECT
from tests.postgres_server import USER, PgBouncer, PostgresServer
from tests.sessions.helpers import QUOTE, answered_within, assert_the_contracts_answer, stored, values_of
from tests.store_contract import FAR, A, B, StoreContract, id_of
from tests.support import (
    DEFAULT,
    END,
    FORM,
    HOME,
    TEXT,
    UPDATE,
    HeldRequest,
    Server,
    require,
    shown_text,
    token_of,
    wait_until,
)

pytestmark = pytest.mark.full

StartServer = Callable[..., Server]


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """An empty server that a test may pause and stop. Afterwards it runs again."""
    postgres_server.empty()
    yield postgres_server
    if not postgres_server.process:
        postgres_server.start()


@pytest.fixture
async def store(postgres: PostgresServer) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(postgres.url)
    yield store
    await store.close()


class Firewall:
    """Stands between the app and the server. It can forget its connections, or reset them when they are used again."""

    def __init__(self, target: PostgresServer) -> None:
        self.target = target
        self.lose_answer_to: bytes | None = None
        self._streams: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []
        self._lost: dict[asyncio.StreamWriter, str] = {}

    async def __aenter__(self) -> "Firewall":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for streams in self._streams:
            for stream in streams:
                stream.transport.abort()
        await asyncio.sleep(0.05)

    @property
    def url(self) -> str:
        port = self._server.sockets[0].getsockname()[1]
        return self.target.url.replace(f":{self.target.port}/", f":{port}/")

    def drop(self, how: str) -> None:
        """Ignore all data on the existing connections ("forgotten"), or answer it with a "reset"."""
        self._lost.update({client: how for client, _ in self._streams})

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection("127.0.0.1", self.target.port)
        self._streams.append((to_client, to_server))

        async def forward(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError):
                while data := await source.read(65_536):
                    if self.lose_answer_to and self.lose_answer_to in data:
                        self.lose_answer_to = None
                        self._lost[to_client] = "forgotten"
                        target.write(data)
                        await asyncio.sleep(0.2)  # meanwhile the server carries it out
                        to_client.transport.abort()
                        return
                    match self._lost.get(to_client):
                        case "forgotten":
                            continue
                        case "reset":
                            to_client.transport.abort()
                            return
                    target.write(data)
            target.close()

        await asyncio.gather(forward(client, to_server), forward(server, to_client), return_exceptions=True)


# Failures of the server


def test_rule_12_the_app_starts_while_the_server_is_down(start_server: StartServer, postgres: PostgresServer) -> None:
    postgres.stop()
    server = start_server(store=postgres.url)
    stranger = server.client()
    assert stranger.get(HOME).status_code == 200
    with answered_within(1):
        assert stranger.put(UPDATE, content="x", headers=TEXT).status_code == 503
    postgres.start()
    assert stranger.put(UPDATE, content="x", headers=TEXT).status_code == 200
    assert "Traceback" not in server.log


def test_rule_12_the_app_recovers_when_the_server_comes_back(
    start_server: StartServer, postgres: PostgresServer
) -> None:
    server = start_server(store=postgres.url)
    visitor = server.visitor("old")
    postgres.stop()
    assert_the_contracts_answer(server, visitor, seconds=1)
    postgres.start()
    assert shown_text(visitor.get(HOME).text) == "old"
    assert visitor.put(UPDATE, content="new", headers=TEXT).status_code == 200
    server.wait_for_log("The session store fails")
    assert server.log.count("The session store fails") == 1, "one line per outage, not per request"
    assert "Traceback" not in server.log


def test_rule_12_a_server_that_hangs_causes_503_within_the_limit(
    start_server: StartServer, postgres: PostgresServer
) -> None:
    server = start_server(store=postgres.url)
    visitor = server.visitor("old")
    with postgres.paused():
        assert server.client().get("/health").status_code == 503
        assert_the_contracts_answer(server, visitor)
        others = [server.client(token_of(visitor)) for _ in range(60)]
        with ThreadPoolExecutor(60) as pool, answered_within(6):
            assert {answer.status_code for answer in pool.map(lambda other: other.get(HOME), others)} == {503}
    assert visitor.put(UPDATE, content="new", headers=TEXT).status_code == 200
    assert "Traceback" not in server.log
    assert "exception" not in server.log.lower()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGQUIT], ids=["restart", "crash"])
def test_rule_12_a_restart_between_two_requests_causes_no_error(
    start_server: StartServer, postgres: PostgresServer, end: signal.Signals
) -> None:
    server = start_server(store=postgres.url)
    visitors = [server.visitor(f"{n}") for n in range(5)]
    postgres.stop(end)
    postgres.start()
    assert [visitor.put(UPDATE, content="new", headers=TEXT).status_code for visitor in visitors] == [200] * 5
    postgres.disconnect()
    time.sleep(0.1)
    assert [shown_text(visitor.get(HOME).text) for visitor in visitors] == ["new"] * 5
    assert "The session store fails" not in server.log


@pytest.mark.parametrize("how", ["forgotten", "reset"])
async def test_rule_12_connections_that_died_while_idle_cause_no_error(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    async with Firewall(postgres) as firewall:
        store = PostgresStore(firewall.url)
        await asyncio.gather(*(store.create(id_of(n), b"x", FAR) for n in range(20)))
        for number in range(2):
            firewall.drop(how)
            monkeypatch.setattr(postgres_pool, "CHECK_AFTER", 0.0)
            if number == 0:
                assert await store.load(id_of(0)) == b"x"
            else:
                assert await store.replace(id_of(0), b"x", b"y", FAR)
            monkeypatch.undo()
            assert await asyncio.gather(*(store.load(id_of(n)) for n in range(1, 20))) == [b"x"] * 19
        await store.close()


async def test_rule_12_a_connection_that_the_server_has_just_ended_causes_no_error(
    postgres: PostgresServer, store: Store
) -> None:
    """A busy event loop has read the server's error message, but not yet the end of the connection."""
    for n in range(10):
        pair = [id_of(n), id_of(n + 100)]
        assert all(await asyncio.gather(*(store.create(session_id, b"x", FAR) for session_id in pair)))
        postgres.disconnect()
        wait_until(lambda: postgres.connections() == 0)
        time.sleep(0.1)
        for _ in range(2 + n % 3):  # turns of the event loop: one polls, the next reads
            await asyncio.sleep(0)
        assert all(await asyncio.gather(*(store.replace(session_id, b"x", b"y", FAR) for session_id in pair)))


async def test_rule_12_a_load_is_repeated_if_its_connection_dies(postgres: PostgresServer) -> None:
    async with Firewall(postgres) as firewall:
        store = PostgresStore(firewall.url)
        await store.create(A, b"x", FAR)
        firewall.drop("reset")
        assert await store.load(A) == b"x"
        await store.close()


@pytest.mark.parametrize("what", ["save", "destroy"])
async def test_rule_12_a_lost_answer_causes_503_and_loses_no_session(postgres: PostgresServer, what: str) -> None:
    """The server did it, but the answer was lost. A second try would find nothing there."""
    ended: list[str] = []

    async def note(_: str, reason: str, _new_id: str | None) -> None:
        ended.append(reason)

    async with Firewall(postgres) as firewall:
        store = PostgresStore(firewall.url)
        sessions = SessionManager(store)
        sessions.events.listeners.append(note)
        token = await stored(sessions, quote="x")
        session = await sessions.start(token)
        if what == "save":
            session[QUOTE] = "y"
        firewall.lose_answer_to = digest(token).encode()
        with pytest.raises(StoreUnavailable):
            await getattr(session, what)()
        assert firewall.lose_answer_to is None
        assert ended == []
        assert session.cookie is None
        assert await values_of(sessions, token) == ({"quote": "y"} if what == "save" else {}), "the server did it"
        await store.close()


def test_rule_12_requests_wait_for_a_free_connection_of_the_server(
    start_server: StartServer, postgres: PostgresServer
) -> None:
    """As long as the app has one connection, its requests wait for their turn. Without any, they get 503."""
    try:
        postgres.sql(f"ALTER ROLE {USER} CONNECTION LIMIT 1")
        server = start_server(store=postgres.url)
        tokens = [token_of(server.visitor(f"{n}")) for n in range(20)]
        with ThreadPoolExecutor(20) as pool:
            clients = [server.client(token) for token in tokens]
            saves = list(pool.map(lambda client: client.put(UPDATE, content="new", headers=TEXT), clients))
        assert {save.status_code for save in saves} == {200}
        postgres.sql(f"ALTER ROLE {USER} CONNECTION LIMIT 0")
        postgres.disconnect()
        with answered_within(1):
            assert clients[0].get(HOME).status_code == 503
    finally:
        postgres.sql(f"ALTER ROLE {USER} CONNECTION LIMIT -1")
    assert shown_text(clients[0].get(HOME).text) == "new"
    server.wait_for_log("too many connections")


def test_rule_12_a_read_only_server_causes_503_only_for_saves(
    start_server: StartServer, postgres: PostgresServer
) -> None:
    server = start_server(store=postgres.url)
    visitor = server.visitor("old")
    try:
        postgres.sql("ALTER DATABASE app SET default_transaction_read_only = on")
        postgres.disconnect()
        assert shown_text(visitor.get(HOME).text) == "old"
        with answered_within(1):
            assert visitor.put(UPDATE, content="new", headers=TEXT).status_code == 503
    finally:
        postgres.sql("ALTER DATABASE app RESET default_transaction_read_only")
    assert visitor.put(UPDATE, content="new", headers=TEXT).status_code == 200, "without a restart of the app"
    server.wait_for_log("read-only transaction")


async def count_with_a_cold_store(url: str) -> int:
    """The first call of a process gets its answer within the limit, although the first host never answers."""
    store = PostgresStore(url)
    await store.delete(A)
    try:
        return await store.count()
    finally:
        await store.close()


@pytest.mark.parametrize("end", ["dies", "hangs"])
def test_rule_12_the_app_follows_a_failover(start_server: StartServer, end: str) -> None:
    """The URL names both hosts. The primary is gone, or accepts connections and never answers."""
    primary = PostgresServer(("-c", "wal_level=replica")).create()
    replica = primary.replica()
    try:
        hosts = f"127.0.0.1:{primary.port},127.0.0.1:{replica.port}"
        url = primary.url.replace(f"127.0.0.1:{primary.port}", hosts) + "?target_session_attrs=read-write"
        server = start_server(store=url)
        visitor = server.visitor("before")
        wait_until(lambda: replica.sql("SELECT count(*) FROM sessions", check=False) == "1")
        if end == "dies":
            primary.stop(signal.SIGQUIT)
            replica.sql("SELECT pg_promote()")
            wait_until(lambda: visitor.put(UPDATE, content="after", headers=TEXT).status_code == 200, 30)
        else:
            with primary.paused():
                replica.sql("SELECT pg_promote()")
                wait_until(lambda: visitor.put(UPDATE, content="after", headers=TEXT).status_code == 200, 30)
                assert asyncio.run(count_with_a_cold_store(url)) == 1
        assert shown_text(visitor.get(HOME).text) == "after"
        assert "Traceback" not in server.log
    finally:
        replica.remove()
        primary.remove()


async def test_rule_12_the_app_moves_from_a_demoted_server_to_the_new_primary(postgres: PostgresServer) -> None:
    """One address moves to the new primary, as with managed servers. Connections to the old one stay open."""
    other = PostgresServer().create()
    try:
        async with Firewall(postgres) as firewall:
            store = PostgresStore(firewall.url)
            await asyncio.gather(*(store.create(id_of(n), b"x", FAR) for n in range(20)))
            # Open connections get what a demoted server answers, and stay open.
            postgres.sql("ALTER SYSTEM SET default_transaction_read_only = on")
            postgres.sql("SELECT pg_reload_conf()")
            await asyncio.sleep(0.5)
            firewall.target = other
            assert await store.create(B, b"x", FAR), "repeated on a new connection, because nothing was changed"
            assert other.sql("SELECT count(*) FROM sessions") == "1"
            await store.close()
    finally:
        postgres.sql("ALTER SYSTEM RESET default_transaction_read_only")
        postgres.sql("SELECT pg_reload_conf()")
        other.remove()


def test_rule_12_a_locked_table_delays_only_saves(start_server: StartServer, postgres: PostgresServer) -> None:
    server = start_server(store=postgres.url)
    visitor = server.visitor("old")
    clients = [server.client(token_of(visitor)) for _ in range(12)]
    with ThreadPoolExecutor(12) as pool, postgres.holding("LOCK TABLE sessions IN EXCLUSIVE MODE"):
        large = "x" * MAX_SHARED  # so that each takes a connection
        saves = [pool.submit(client.put, UPDATE, content=large, headers=TEXT) for client in clients]
        wait_until(lambda: postgres.waiting() == WRITERS)
        for _ in range(20):
            with answered_within(1):
                assert shown_text(visitor.get(HOME).text) == "old"
        assert {save.result().status_code for save in saves} == {503}
        # A statement that nobody waits for does not occupy a server process until the lock is released.
        wait_until(lambda: postgres.waiting() == 0)
        assert postgres.connections() <= READERS + WRITERS
    assert visitor.put(UPDATE, content="newer", headers=TEXT).status_code == 200
    assert shown_text(visitor.get(HOME).text) == "newer"


async def test_rule_10_a_sweep_skips_locked_rows(postgres: PostgresServer, store: Store) -> None:
    """A sweep never waits, so two sweeps and an open transaction do not delay each other."""
    for n in range(5):
        await store.create(id_of(n), b"x", FAR + n)
    with postgres.holding(f"SELECT FROM sessions WHERE id IN ('{id_of(0)}', '{id_of(3)}') FOR UPDATE"):
        assert sorted(await store.sweep(FAR + 9, 10)) == sorted(id_of(n) for n in (1, 2, 4))
    assert sorted(await store.sweep(FAR + 9, 10)) == sorted(id_of(n) for n in (0, 3))


def test_rule_7_every_acknowledged_save_survives_kill_9(start_server: StartServer, postgres: PostgresServer) -> None:
    """Kills the app's two workers and the server in turn."""
    server = start_server(store=postgres.url, workers=2)
    tokens = [token_of(server.visitor("start")) for _ in range(6)]
    acknowledged, tried = ["start"] * len(tokens), [{"start"} for _ in tokens]
    for round_number in range(6):
        saves = [0] * len(tokens)

        def storm(n: int, round_number: int = round_number, saves: list[int] = saves) -> None:
            with server.client(tokens[n]) as client:
                while True:
                    text = f"{round_number}.{saves[n]}"
                    tried[n].add(text)
                    try:
                        answer = client.put(UPDATE, content=text, headers=TEXT, timeout=6)
                    except httpx.TransportError:
                        break
                    if answer.status_code != 200:
                        break
                    acknowledged[n], tried[n] = text, set()
                    saves[n] += 1

        with ThreadPoolExecutor(len(tokens)) as pool:
            storms = [pool.submit(storm, n) for n in range(len(tokens))]
            wait_until(lambda saves=saves: sum(saves) >= 60)  # type: ignore[misc]
            if round_number % 2:
                postgres.kill()
            else:
                server.stop(signal.SIGKILL)
            for done in storms:
                done.result()
        if round_number % 2:
            postgres.start()
        else:
            server.start()
        for n, token in enumerate(tokens):
            shown = shown_text(server.client(token).get(HOME).text)
            assert shown in {acknowledged[n], *tried[n]}
            acknowledged[n], tried[n] = shown, set()


# Its table, its rights, its cost


async def test_the_store_creates_only_its_own_table(postgres: PostgresServer, store: Store) -> None:
    await store.create(A, b"x", FAR)
    kinds = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    assert postgres.sql(kinds) == "sessions sessions_deadline sessions_pkey"


async def test_the_rights_in_the_docs_are_enough(postgres: PostgresServer) -> None:
    """Another user creates the table of the docs. The app's user has only the rights granted there."""
    guide = (PROJECT / "docs/stores.md").read_text()
    (script,) = re.findall(r"```sql\n(CREATE TABLE.*?)```", guide, re.DOTALL)
    script = re.sub(r"\bapp\b", "tenant", script)
    postgres.sql("DROP ROLE IF EXISTS tenant; CREATE ROLE tenant LOGIN PASSWORD 'x'")
    url = postgres.url.replace("app:s3cret-word@", "tenant:x@")
    bare = PostgresStore(url)
    with pytest.raises(StoreUnavailable, match="permission denied for schema public"):
        await bare.create(A, b"x", FAR)
    try:
        postgres.sql(script)
        assert await bare.create(A, b"x", FAR), "the failed store works as soon as it has the rights"
        for name in dir(StoreContract):
            if name in (
                "test_count_leaves_out_deleted_records",
                "test_sweep_removes_only_expired_records",
                "test_no_increment_is_lost",
            ):
                postgres.sql("TRUNCATE sessions")
                await getattr(StoreContract(), name)(bare)
        made = postgres.sql("SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'sessions'::regclass")
    finally:
        await bare.close()
        postgres.sql("DROP TABLE IF EXISTS sessions; DROP ROLE tenant")
    store = PostgresStore(postgres.url)
    await store.load(A)
    own = postgres.sql("SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'sessions'::regclass")
    await store.close()
    assert sorted(made.splitlines()) == sorted(own.splitlines()), "the docs and the code create the same table"


def test_a_table_dropped_under_the_running_app_is_created_again(
    start_server: StartServer, postgres: PostgresServer
) -> None:
    server = start_server(store=postgres.url)
    visitor = server.visitor("old")
    postgres.sql("DROP TABLE sessions")
    assert shown_text(visitor.get(HOME).text) == DEFAULT
    assert visitor.put(UPDATE, content="new", headers=TEXT).status_code == 200
    assert shown_text(visitor.get(HOME).text) == "new"
    assert "The session store fails" not in server.log


@pytest.mark.parametrize("name", ["", "Sessions", "a-b", "a;b", 'a"b', "1a", "x" * 51])
def test_a_table_with_another_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name of the table"):
        PostgresStore("postgresql://localhost/app", name)


@pytest.mark.parametrize("record", [b"garbage", b"{}", b"", b"\xff\x00"])
def test_rule_11_a_corrupt_record_counts_as_no_session_and_is_replaced(
    start_server: StartServer, postgres: PostgresServer, record: bytes
) -> None:
    server = start_server(store=postgres.url)
    visitor = server.visitor("old")
    old = token_of(visitor)
    postgres.sql(f"UPDATE sessions SET record = '\\x{record.hex()}'")  # noqa: S608
    assert shown_text(visitor.get(HOME).text) == DEFAULT
    assert visitor.put(UPDATE, content="new", headers=TEXT).status_code == 200
    assert token_of(visitor) != old
    assert postgres.sql("SELECT count(*) FROM sessions") == "1"


def test_rule_15_each_request_sends_the_expected_statements(start_server: StartServer) -> None:
    postgres = PostgresServer(("-c", "log_statement=all")).create()
    try:
        server = start_server(store=postgres.url)
        visitor, stranger = server.visitor("old"), server.client()
        stranger.put(UPDATE, content="x", headers=TEXT)

        def statements(respond: Callable[[], httpx.Response]) -> list[str]:
            log = postgres.folder / "postgres.log"
            before = log.stat().st_size
            assert respond().status_code == 200
            time.sleep(0.1)
            return re.findall(r"execute \S+: (\w+)|statement: (?:(\w+))", log.read_bytes()[before:].decode())

        def kinds(respond: Callable[[], httpx.Response]) -> list[str]:
            return ["".join(found) for found in statements(respond)]

        visitor.put(UPDATE, content="warm", headers=TEXT)  # opens the connection for saves, and prepares the statement
        assert kinds(lambda: visitor.get(HOME)) == ["SELECT"]
        assert kinds(lambda: stranger.get("/sample/public")) == []
        assert kinds(lambda: server.client().get(HOME)) == []
        assert kinds(lambda: server.client().put(UPDATE, content="x", headers=TEXT)) == ["INSERT"]
        assert kinds(lambda: visitor.put(UPDATE, content="x", headers=TEXT)) == ["SELECT", "UPDATE"]
        assert kinds(lambda: visitor.put(UPDATE, content="x", headers=TEXT)) == ["SELECT"], "unchanged, so not written"
        assert kinds(lambda: visitor.post(END)) == ["SELECT", "DELETE"]
    finally:
        postgres.remove()


async def test_concurrent_loads_share_a_statement(postgres: PostgresServer, store: Store) -> None:
    await asyncio.gather(*(store.create(id_of(n), str(n).encode(), FAR) for n in range(100)))
    wanted = [*range(100), "missing"]
    for _ in range(2):
        records = await asyncio.gather(*(store.load(id_of(n)) for n in wanted))
        assert records == [*(str(n).encode() for n in range(100)), None]
    assert postgres.connections() <= READERS + WRITERS
    assert MAX_BATCH < 100


async def test_a_cancelled_load_does_not_cancel_the_loads_that_share_its_statement(
    postgres: PostgresServer, store: Store
) -> None:
    await store.create(A, b"x", FAR)
    with postgres.paused():
        impatient, patient = asyncio.create_task(store.load(A)), asyncio.create_task(store.load(A))
        await asyncio.sleep(0.1)
        impatient.cancel()
    assert await patient == b"x"


async def test_a_closed_store_leaves_no_connection(postgres: PostgresServer) -> None:
    """This includes the connection of a call that ends later."""
    store = PostgresStore(postgres.url)
    await asyncio.gather(*(store.create(id_of(n), b"x", FAR) for n in range(20)))
    with postgres.paused():
        under_way = asyncio.create_task(store.load(id_of(1)))
        await asyncio.sleep(0.1)
        await store.close()
    assert await under_way == b"x"
    for _ in range(100):
        if postgres.connections() == 0:
            return
        await asyncio.sleep(0.05)
    pytest.fail("a connection is still open")


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
async def test_another_isolation_level_turns_no_lost_race_into_an_error(
    postgres: PostgresServer, isolation: str
) -> None:
    """At these levels a statement that had to wait for another transaction fails instead of checking again."""
    postgres.sql(f"ALTER ROLE {USER} SET default_transaction_isolation = '{isolation}'")
    try:
        store = PostgresStore(postgres.url)
        await store.create(A, b"old", FAR)
        with postgres.holding("UPDATE sessions SET deadline = deadline + 1", end="COMMIT"):
            replacing = asyncio.create_task(store.replace(A, b"old", b"new", FAR))
            while postgres.waiting() == 0:
                await asyncio.sleep(0.01)
        assert await replacing
        assert await store.load(A) == b"new"
        await store.close()
    finally:
        postgres.sql(f"ALTER ROLE {USER} RESET default_transaction_isolation")


# Saves that share a round trip


async def save_all(store: Store, numbers: Iterable[int], old: bytes, new: bytes) -> list[bool | BaseException]:
    saves = (store.replace(id_of(n), old, new, FAR) for n in numbers)
    return await asyncio.gather(*saves, return_exceptions=True)


async def test_saves_at_the_same_time_share_a_transaction(postgres: PostgresServer, store: Store) -> None:
    await asyncio.gather(*(store.create(id_of(n), b"x", FAR) for n in range(97)))
    assert await save_all(store, range(97), b"x", b"y") == [True] * 97
    transactions = int(postgres.sql("SELECT count(DISTINCT xmin::text) FROM sessions WHERE record = 'y'"))
    assert transactions == 1 + 96 / MAX_BATCH, "the first was alone"


async def test_a_locked_row_delays_only_its_own_save(postgres: PostgresServer, store: Store) -> None:
    await asyncio.gather(*(store.create(id_of(n), b"x", FAR) for n in range(20)))
    lock = f"SELECT FROM sessions WHERE id = '{id_of(10)}' FOR UPDATE"
    with postgres.holding(lock):
        locked = asyncio.create_task(save_all(store, range(9, 12), b"x", b"y"))
        with answered_within(1):
            others = [n for n in range(20) if n not in (9, 10, 11)]
            assert await save_all(store, others, b"x", b"y") == [True] * 17
            assert await store.replace(id_of(11), b"y", b"z", FAR)
        assert not locked.done()
    assert await locked == [True] * 3
    with postgres.holding(lock), answered_within(TIMEOUT + 0.8):
        with postgres.paused():
            saves = asyncio.create_task(save_all(store, range(9, 11), b"y", b"z"))
            await asyncio.sleep(1.5)
        answers = await saves
    assert answers[0] is True
    assert str(answers[1]) == f"no answer within {TIMEOUT} s"


async def test_saves_in_two_orders_neither_deadlock_nor_lose_anything(postgres: PostgresServer) -> None:
    stores = [PostgresStore(postgres.url) for _ in range(4)]
    await asyncio.gather(*(stores[0].create(id_of(n), b"0", FAR) for n in range(16)))

    async def increment(store: Store, session_id: str) -> None:
        while True:
            old = await store.load(session_id)
            assert old is not None
            if await store.replace(session_id, old, str(int(old) + 1).encode(), FAR):
                return

    for _ in range(5):
        orders = [range(16), range(15, -1, -1)] * 2
        pairs = [(store, n) for store, order in zip(stores, orders, strict=True) for n in order]
        await asyncio.gather(*(increment(store, id_of(n)) for store, n in pairs))
    assert {await stores[0].load(id_of(n)) for n in range(16)} == {b"20"}
    for store in stores:
        await store.close()
    assert "deadlock" not in (postgres.folder / "postgres.log").read_text()


async def test_a_save_that_the_server_refuses_fails_alone(postgres: PostgresServer, store: Store) -> None:
    await asyncio.gather(*(store.create(id_of(n), b"x", FAR) for n in range(9)))
    postgres.sql(f"ALTER TABLE sessions ADD CHECK (id <> '{id_of(4)}' OR record = 'x')")
    answers = await save_all(store, range(9), b"x", b"y")
    assert isinstance(answers.pop(4), StoreUnavailable)
    assert answers == [True] * 8


async def test_rule_12_a_lost_answer_fails_all_that_shared_it(postgres: PostgresServer) -> None:
    """None is sent again, because the server may have done them."""
    async with Firewall(postgres) as firewall:
        store = PostgresStore(firewall.url)
        await asyncio.gather(*(store.create(id_of(n), b"x", FAR) for n in range(4)))
        firewall.lose_answer_to = id_of(2).encode()
        first, *others = await save_all(store, range(4), b"x", b"y")
        assert first is True
        assert [type(answer) for answer in others] == [StoreUnavailable] * 3
        assert [await store.load(id_of(n)) for n in range(4)] == [b"y"] * 4
        await store.close()


async def test_large_records_do_not_share(postgres: PostgresServer, store: Store) -> None:
    """asyncpg would wait until it can send the rest of them, and not notice the end of the time limit."""
    large = b"x" * 1_000_000
    await asyncio.gather(*(store.create(id_of(n), large, FAR) for n in range(16)))
    assert await save_all(store, range(16, 116), b"x", b"y") == [False] * 100, "all connections know the statement now"
    with postgres.paused():
        saves = asyncio.create_task(save_all(store, range(16), large, b"y"))
        done, _ = await asyncio.wait([saves], timeout=TIMEOUT + 1)
        assert done
    assert {type(answer) for answer in await saves} == {StoreUnavailable}


async def test_a_cancelled_save_leaves_the_others_their_answers(postgres: PostgresServer, store: Store) -> None:
    await asyncio.gather(*(store.create(id_of(n), b"x", FAR) for n in range(4)))
    with postgres.paused():
        saves = [asyncio.create_task(store.replace(id_of(n), b"x", b"y", FAR)) for n in range(4)]
        await asyncio.sleep(0.1)
        saves[1].cancel()
    assert await asyncio.gather(*saves, return_exceptions=True) == [True, ANY, True, True]
    assert saves[1].cancelled()


# Its address


def test_a_password_never_shows(start_server: StartServer, postgres: PostgresServer) -> None:
    wrong = start_server(store=postgres.url.replace("s3cret-word", "wr0ng-word"))
    assert wrong.client().post(UPDATE, content=b"text=x", headers=FORM).status_code == 503
    assert "password authentication failed" in wrong.log
    right = start_server(store=postgres.url.replace("postgresql://", "postgres://"))
    assert shown_text(right.visitor("x").get(HOME).text) == "x"
    for log in (wrong.log, right.log):
        assert "s3cret" not in log
        assert "wr0ng" not in log


async def test_options_in_the_url_work(postgres: PostgresServer) -> None:
    postgres.sql(f"CREATE SCHEMA IF NOT EXISTS own AUTHORIZATION {USER}")
    options = "application_name=texts&search_path=own&synchronous_commit=off&sslmode=disable&options=-c%20work_mem=1MB"
    store = PostgresStore(f"{postgres.url}?{options}")
    await store.create(A, b"x", FAR)
    assert postgres.sql("SELECT count(*) FROM own.sessions") == "1"
    assert "texts" in postgres.sql("SELECT DISTINCT application_name FROM pg_stat_activity")
    await store.close()
    socket = PostgresStore(f"postgresql://{USER}@/app?host={postgres.folder}&port={postgres.port}")
    assert await socket.load(A) is None
    await socket.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s3cret@localhost:port/app",
        "postgresql://me:s3cret@localhost:0/app",
        "postgresql://me:s3cret@localhost:99999/app",
        "postgresql://me:s3/cret@localhost/app",
        "postgresql://me:s3?cret@localhost/app",
        "postgresql://me:s3#cret@localhost/app",
        "postgresql://me:s3@cret@localhost/app",
        "postgresql://me:s3cret@[::1/app",
        "postgresql://localhost/app?password=s3cret&s3cret=1",
        "postgresql://localhost/app?s3cret",
        "postgresql://localhost/app?password=s3cret&connect_timeout=5",
        "postgresql://localhost/app?password=s3cret&sslmode=maybe",
        "postgresql://localhost/app?password=s3cret&target_session_attrs=fast",
        "postgresql://localhost/app?password=s3cret&sslmode=verify-full&sslrootcert=/no/such/file",
        f"postgresql://localhost/app?password=s3cret&sslmode=verify-full&sslrootcert={__file__}",
    ],
)
def test_the_error_for_an_unusable_address_shows_no_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"option|address") as refusal:
        PostgresStore(url)
    assert not re.search("s3|cret", str(refusal.value))
    assert refusal.value.__cause__ is None


def test_the_error_names_an_unusable_variable_of_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "abc")
    with pytest.raises(ValueError, match="PGPORT"):
        PostgresStore("postgresql://me@localhost/app")


def test_the_store_connects_over_tls(
    start_server: StartServer, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    postgres = PostgresServer().create()
    try:
        certificate, key = postgres.folder / "server.crt", postgres.folder / "server.key"
        command = [require("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=x"]
        command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
        subprocess.run(command, check=True, capture_output=True)
        postgres.own(key)
        trusted = tmp_path / "trusted.crt"
        trusted.write_bytes(certificate.read_bytes())
        postgres.stop()
        postgres.options = ("-c", "ssl=on", "-c", f"ssl_cert_file={certificate}", "-c", f"ssl_key_file={key}")
        postgres.start()
        server = start_server(store=f"{postgres.url}?sslmode=verify-full&sslrootcert={trusted}")
        assert shown_text(server.visitor("encrypted").get(HOME).text) == "encrypted"
        assert "t" in postgres.sql("SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)").split()
        # A server without TLS is refused.
        plain = start_server(store=f"{postgres_server.url}?sslmode=verify-full&sslrootcert={trusted}")
        assert plain.client().put(UPDATE, content="x", headers=TEXT).status_code == 503
    finally:
        postgres.remove()


# Through PgBouncer, and from two machines


@pytest.fixture(scope="class")  # not longer: its connections to the server would count in other tests
def pgbouncer(postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    bouncer = PgBouncer(postgres_server).start()
    yield bouncer
    bouncer.remove()


class TestThroughPgBouncer(StoreContract):
    """PgBouncer runs in transaction mode, with 3 connections to the server in turn."""

    @pytest.fixture
    def url(self, postgres: PostgresServer, pgbouncer: PgBouncer) -> str:
        assert postgres is pgbouncer.server
        return pgbouncer.url

    @pytest.fixture
    async def store(self, url: str) -> AsyncIterator[Store]:
        store = PostgresStore(url)
        yield store
        await store.close()

    @pytest.fixture
    def another(self, url: str) -> Callable[[], Store]:
        return lambda: PostgresStore(url)

    @pytest.fixture
    def named(self, url: str) -> Callable[[str], Store]:
        return lambda name: PostgresStore(url, f"{name}_sessions")

    @pytest.fixture
    def hang(self, postgres: PostgresServer) -> Callable[[], object]:
        return postgres.paused

    @pytest.fixture
    def disconnect(self, postgres: PostgresServer) -> Callable[[], None]:
        return postgres.disconnect


def test_two_workers_share_sessions_through_pgbouncer(
    start_server: StartServer, postgres: PostgresServer, pgbouncer: PgBouncer
) -> None:
    assert postgres is pgbouncer.server
    server = start_server(store=pgbouncer.url, workers=2)
    tokens = [token_of(server.visitor("start")) for _ in range(8)]

    def write(token: str) -> set[int]:
        with server.client(token) as client:
            return {client.put(UPDATE, content=f"{n}", headers=TEXT).status_code for n in range(30)}

    with ThreadPoolExecutor(8) as pool:
        assert set().union(*pool.map(write, tokens)) == {200}
    assert {shown_text(server.client(token).get(HOME).text) for token in tokens} == {"29"}
    assert "The session store fails" not in server.log


def test_sessions_roam_between_machines(start_server: StartServer, postgres: PostgresServer) -> None:
    one, other = start_server(store=postgres.url), start_server(store=postgres.url)
    visitor = one.visitor("from one")
    roaming = other.client(token_of(visitor))
    assert shown_text(roaming.get(HOME).text) == "from one"
    held = HeldRequest(one, "PUT", UPDATE, b"too late", TEXT, token_of(visitor))
    roaming.post(END)
    answer = held.finish()
    assert (answer.status, answer.set_cookie) == (409, None)
    assert shown_text(visitor.get(HOME).text) == DEFAULT
