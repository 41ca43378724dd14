"""What only Redis can show: its failures, its cost in commands, several machines, a failover."""

import asyncio
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from app.sessions import SessionManager, StoreUnavailable
from app.sessions.records import digest
from app.sessions.redis import MAX_BATCH, RedisStore
from app.sessions.redis_connection import MAX_CONNECTIONS
from app.settings import PROJECT
from tests.redis_servers import Proxy, RedisCluster, RedisServer, cluster_ports, start_cluster_of_one
from tests.sessions.helpers import QUOTE, answered_within, assert_the_contracts_answer, stored, values_of
from tests.stores import empty_store
from tests.support import (
    DEFAULT,
    END,
    FORM,
    HOME,
    TEXT,
    UPDATE,
    HeldRequest,
    Server,
    free_port,
    require,
    shown_text,
    token_of,
    wait_until,
)

pytestmark = pytest.mark.full

StartServer = Callable[..., Server]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that a test may break."""
    server = RedisServer(tmp_path / "redis").start()
    yield server
    server.stop()


def test_rule_12_the_app_starts_while_redis_is_down(start_server: StartServer, tmp_path: Path) -> None:
    redis = RedisServer(tmp_path / "redis")
    server = start_server(store=redis.url)
    stranger = server.client()
    assert stranger.get(HOME).status_code == 200
    with answered_within(1):
        assert stranger.put(UPDATE, content="x", headers=TEXT).status_code == 503
    redis.start()
    assert stranger.put(UPDATE, content="x", headers=TEXT).status_code == 200
    redis.stop()


def test_rule_12_the_app_recovers_when_redis_comes_back(start_server: StartServer, redis: RedisServer) -> None:
    server = start_server(store=redis.url)
    visitor = server.visitor("old")
    record = redis.answers("--raw", "GET", f"session:{digest(token_of(visitor))}")
    redis.stop()
    assert_the_contracts_answer(server, visitor, seconds=1)
    redis.start()
    redis.answers("SET", f"session:{digest(token_of(visitor))}", record)
    assert shown_text(visitor.get(HOME).text) == "old"
    assert visitor.put(UPDATE, content="new", headers=TEXT).status_code == 200
    server.wait_for_log("The session store fails")
    assert server.log.count("The session store fails") == 1, "one line per outage, not per request"
    assert token_of(visitor) not in server.log
    assert "Traceback" not in server.log


def test_rule_12_a_redis_that_hangs_causes_503_within_the_limit(start_server: StartServer, redis: RedisServer) -> None:
    server = start_server(store=redis.url)
    visitor = server.visitor("old")
    assert redis.process
    redis.process.send_signal(19)  # SIGSTOP: it accepts and never answers
    try:
        assert server.client().get("/health").status_code == 503
        server.wait_for_log("The session store fails")
        assert server.log.count("The session store fails") == 1, "even if only the load balancer has asked"
        assert_the_contracts_answer(server, visitor)
        # Many waiting requests do not delay each other.
        others = [server.client(token_of(visitor)) for _ in range(60)]
        with ThreadPoolExecutor(60) as pool, answered_within(6):
            statuses = {response.status_code for response in pool.map(lambda client: client.get(HOME), others)}
        assert statuses == {503}
    finally:
        redis.process.send_signal(18)
    wait_until(lambda: visitor.get(HOME).status_code == 200)
    assert shown_text(visitor.get(HOME).text) == "old"


def test_rule_12_an_address_that_never_answers_causes_503_within_the_limit(start_server: StartServer) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as silent:
        server = start_server(store=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        with answered_within(5):
            assert server.client("A" * 43).get(HOME).status_code == 503


@pytest.mark.parametrize(
    ("spoil", "restore"),
    [
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
        ("ACL SETUSER default -set -eval -del", "ACL SETUSER default +set +eval +del"),
        ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
    ],
    ids=["OOM", "READONLY", "NOPERM", "NOREPLICAS"],
)
def test_rule_12_a_redis_that_refuses_writes_causes_503_only_for_saves(
    start_server: StartServer, redis: RedisServer, spoil: str, restore: str
) -> None:
    server = start_server(store=redis.url)
    visitor = server.visitor("old")
    assert redis.answers(*spoil.split()) == "OK"
    assert shown_text(visitor.get(HOME).text) == "old", "reading still works"
    with answered_within(2):
        assert visitor.put(UPDATE, content="new", headers=TEXT).status_code == 503
    stranger = server.client()
    refused = stranger.put(UPDATE, content="new", headers=TEXT)
    assert (refused.status_code, refused.headers.get("set-cookie")) == (503, None)
    if "maxmemory" not in spoil:  # a Redis that is full still deletes
        assert visitor.post(END).status_code == 503
    assert shown_text(visitor.get(HOME).text) == "old", "the answer claims nothing, and nothing was done"
    assert redis.answers(*restore.split()) == "OK"
    assert visitor.put(UPDATE, content="new", headers=TEXT).status_code == 200
    assert "Traceback" not in server.log


def test_rule_12_visitors_who_return_at_once_do_not_flood_redis(start_server: StartServer, redis: RedisServer) -> None:
    server = start_server(store=redis.url)
    visitor = server.visitor("old")
    redis.stop()
    assert visitor.get(HOME).status_code == 503
    redis.start()
    clients = [server.client(token_of(visitor)) for _ in range(100)]
    with ThreadPoolExecutor(100) as pool:
        assert {r.status_code for r in pool.map(lambda client: client.get(HOME), clients)} == {200}
    assert connections_of(redis) <= MAX_CONNECTIONS


def connections_of(redis: RedisServer) -> int:
    """Return how many connections the server has, except the one that asks."""
    return int(redis.answers("INFO", "clients").partition("connected_clients:")[2].split()[0]) - 1


async def test_commands_from_one_turn_of_the_event_loop_are_sent_together(redis: RedisServer) -> None:
    store = RedisStore(redis.url)
    ids = [digest(str(number)) for number in range(3 * MAX_BATCH)]
    assert all(await asyncio.gather(*(store.create(name, name.encode(), time.time() + 60) for name in ids)))
    assert connections_of(redis) == 3, "each has carried as many commands as one batch may have"
    assert await asyncio.gather(*map(store.load, ids)) == [name.encode() for name in ids]
    assert connections_of(redis) == 3
    await store.close()


async def test_commands_sent_together_fail_separately(redis: RedisServer) -> None:
    store = RedisStore(redis.url)
    good, other = digest("good"), digest("other")
    await store.create(good, b"old", time.time() + 60)
    redis.answers("LPUSH", f"session:{other}", "x")
    redis.answers("CONFIG", "SET", "maxmemory", "1")
    answers = await asyncio.gather(
        store.load(other),
        store.create(digest("too much"), b"x", time.time() + 60),
        store.load(good),
        return_exceptions=True,
    )
    assert answers[0] == b"", "a list is not one of our records"
    assert isinstance(answers[1], StoreUnavailable)
    assert answers[2] == b"old"
    odd, even = await asyncio.gather(store.load("\udcff"), store.load(good), return_exceptions=True)
    assert isinstance(odd, UnicodeError)
    assert even == b"old"
    await store.close()


async def test_no_command_joins_a_batch_that_was_cancelled_before_it_was_sent(redis: RedisServer) -> None:
    """This happens when an event loop ends and another one uses the store."""
    store = RedisStore(redis.url)
    await store.create(digest("good"), b"old", time.time() + 60)
    before = asyncio.all_tasks()
    waiting = asyncio.create_task(store.load(digest("good")))
    await asyncio.sleep(0)
    for task in asyncio.all_tasks() - before:
        task.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    assert await store.load(digest("good")) == b"old"
    await store.close()


async def test_a_cancelled_command_does_not_cancel_the_commands_sent_with_it(redis: RedisServer) -> None:
    store = RedisStore(redis.url)
    good = digest("good")
    await store.create(good, b"old", time.time() + 60)
    redis.answers("CLIENT", "PAUSE", "300", "ALL")
    impatient, patient = asyncio.create_task(store.load(good)), asyncio.create_task(store.load(good))
    await asyncio.sleep(0.1)
    impatient.cancel()
    assert await patient == b"old"
    await store.close()


@pytest.mark.parametrize("record", ["garbage", "{}", "LIST"])
def test_rule_11_garbage_in_redis_counts_as_no_session_and_is_replaced(
    start_server: StartServer, redis: RedisServer, record: str
) -> None:
    server = start_server(store=redis.url)
    visitor = server.visitor("old")
    old = token_of(visitor)
    key = f"session:{digest(old)}"
    if record == "LIST":
        redis.answers("DEL", key)
        redis.answers("LPUSH", key, "x")
    else:
        redis.answers("SET", key, record)
    assert shown_text(visitor.get(HOME).text) == DEFAULT
    assert visitor.put(UPDATE, content="new", headers=TEXT).status_code == 200
    assert token_of(visitor) != old
    assert redis.answers("DBSIZE") == "1"


def test_rule_11_a_save_to_a_key_that_changed_its_type_gets_409(start_server: StartServer, redis: RedisServer) -> None:
    server = start_server(store=redis.url)
    visitor = server.visitor("old")
    key = f"session:{digest(token_of(visitor))}"
    held = HeldRequest(server, "PUT", UPDATE, b"new", TEXT, token_of(visitor))
    redis.answers("DEL", key)
    redis.answers("LPUSH", key, "x")
    assert held.finish().status == 409


def test_rule_15_each_request_sends_the_expected_commands(start_server: StartServer, redis: RedisServer) -> None:
    server = start_server(store=redis.url)
    visitor = server.visitor("old")
    stranger = server.client()

    def commands(respond: Callable[[], httpx.Response]) -> dict[str, int]:
        redis.answers("CONFIG", "RESETSTAT")
        assert respond().status_code == 200
        sent = redis.commands()
        if "eval" in sent:  # calls inside a script are not round trips
            for inner in ("get", "set"):
                sent[inner] = sent.get(inner, 0) - sent["eval"]
        return {name: count for name, count in sent.items() if count}

    assert commands(lambda: visitor.get(HOME)) == {"get": 1}
    assert commands(lambda: visitor.get("/sample/saved")) == {"get": 1}
    assert commands(lambda: stranger.get(HOME)) == {}
    assert commands(lambda: stranger.get("/sample/public")) == {}
    assert commands(lambda: stranger.put(UPDATE, content="x", headers=TEXT)) == {"set": 1}
    assert commands(lambda: visitor.put(UPDATE, content="x", headers=TEXT)) == {"get": 1, "eval": 1}
    assert commands(lambda: visitor.put(UPDATE, content="x", headers=TEXT)) == {"get": 1}, "unchanged, so not written"
    static = stranger.get(HOME).text.partition('href="/static/')[2].partition('"')[0]
    assert commands(lambda: visitor.get(f"/static/{static}")) == {}
    assert commands(lambda: visitor.post(END)) == {"get": 1, "del": 1}


@pytest.mark.parametrize("what", ["save", "rotate", "destroy"])
async def test_rule_12_a_lost_answer_loses_no_session(redis: RedisServer, what: str) -> None:
    """The server ran the command, and the answer was lost. The second try recognizes a save, but not a delete."""
    ended: list[str] = []

    async def note(_: str, reason: str, _new_id: str | None) -> None:
        ended.append(reason)

    async with Proxy(redis.port) as proxy:
        store = RedisStore(proxy.url)
        sessions = SessionManager(store)
        sessions.events.listeners.append(note)
        token = await stored(sessions, quote="x")
        session = await sessions.start(token)
        proxy.lose_answer_to = b"EVAL" if what != "destroy" else b"DEL"
        if what == "save":
            session[QUOTE] = "y"
            await session.save()
            assert await values_of(sessions, token) == {"quote": "y"}
        else:
            with pytest.raises(StoreUnavailable, match="the command may have run"):
                await getattr(session, what)()
        assert proxy.lose_answer_to is None
        assert ended == []
        if what == "rotate":
            assert session.cookie
            assert await values_of(sessions, session.cookie[0]) == {"quote": "x"}
            assert await sessions.count() == 1
        else:
            assert session.cookie is None
        await store.close()


@pytest.mark.parametrize("kind", ["redis", "cluster"])
async def test_stores_with_different_prefixes_share_a_server(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    url = empty_store(kind, request, tmp_path)
    stores = [RedisStore(url), RedisStore(url, prefix="shop:"), RedisStore(url, prefix="[*?]\\:")]
    for number, store in enumerate(stores):
        assert await store.create("a", str(number).encode(), 4e9)
        assert await store.create(f"b{number}", b"x", 4e9)
    for number, store in enumerate(stores):
        assert await store.load("a") == str(number).encode()
        assert await store.count() == 2
    assert await stores[0].delete("a")
    assert await stores[1].replace("a", b"1", b"new", 4e9)
    assert (await stores[0].count(), await stores[1].load("a")) == (1, b"new")
    if kind == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        assert server.answers("EXISTS", "shop:a") == "1"
    for store in stores:
        await store.close()


async def test_a_health_check_writes_nothing(redis: RedisServer) -> None:
    store = RedisStore(redis.url)
    before = redis.answers("DBSIZE")
    await SessionManager(store).check()
    assert redis.answers("DBSIZE") == before
    await store.close()


async def test_the_error_names_a_redis_that_is_too_old(redis: RedisServer) -> None:
    """Redis 6.0 lacks PXAT. Here a proxy replaces that word, and changes the version."""
    async with Proxy(redis.port) as proxy:
        version = redis.answers("INFO", "server").partition("redis_version:")[2].split()[0].encode()
        proxy.changes = {
            b"PXAT": b"PXAX",
            b"redis_version:" + version: b"redis_version:6.0." + b"1" * (len(version) - 4),
        }
        store = RedisStore(proxy.url)
        assert await store.load("a") is None
        message = r"^Redis 6\.2 or newer is needed, this is 6\.0\.1+$"
        with pytest.raises(StoreUnavailable, match=message):
            await store.create("a", b"1", 4e9)
        with pytest.raises(StoreUnavailable, match=message):
            await SessionManager(store).check()
        redis.answers("SET", "session:a", "1")
        with pytest.raises(StoreUnavailable, match=message):
            await store.replace("a", b"1", b"2", 4e9)
        proxy.changes = {b"PXAT": b"PXAX"}
        with pytest.raises(StoreUnavailable, match="syntax error"):
            await store.create("b", b"1", 4e9)
        redis.answers("ACL", "SETUSER", "default", "-info")
        with pytest.raises(
            StoreUnavailable, match=r"Redis 6\.2 or newer is needed; this server answered: .*syntax error"
        ):
            await store.create("b", b"1", 4e9)
        await store.close()


async def test_the_error_explains_a_slot_that_moves_to_a_new_node(tmp_path: Path) -> None:
    """redis-py does not know such a node (its issue 4214). The error must say what is going on."""
    (port, new_port) = cluster_ports(2)
    node = start_cluster_of_one(tmp_path / "node", port, port=port)
    new = RedisServer(tmp_path / "new", ("--cluster-enabled", "yes"), new_port).start()
    try:
        store = RedisStore(f"redis+cluster://127.0.0.1:{port}")
        assert await store.load("a") is None
        node.answers("CLUSTER", "MEET", "127.0.0.1", str(new_port))
        node_id, new_id = (server.answers("CLUSTER", "MYID") for server in (node, new))
        wait_until(lambda: new_id in node.answers("CLUSTER", "NODES") and node_id in new.answers("CLUSTER", "NODES"))
        slot = node.answers("CLUSTER", "KEYSLOT", "session:a")
        assert new.answers("CLUSTER", "SETSLOT", slot, "IMPORTING", node_id) == "OK"
        assert node.answers("CLUSTER", "SETSLOT", slot, "MIGRATING", new_id) == "OK"
        with pytest.raises(StoreUnavailable, match="a slot of the cluster seems to be moving"):
            await store.load("a")
        for server in (new, node):
            server.answers("CLUSTER", "SETSLOT", slot, "NODE", new_id)
        answers: list[bytes | None] = []
        async with asyncio.timeout(20):
            while not answers:  # until the nodes agree on which of them has the slot
                with suppress(StoreUnavailable):
                    answers.append(await store.load("a"))
        assert answers == [None]
        await store.close()
    finally:
        node.stop()
        new.stop()


async def test_rule_12_the_app_moves_from_a_demoted_server_to_the_new_primary(
    redis: RedisServer, tmp_path: Path
) -> None:
    """One address moves from one server to the other, as with managed Redis."""
    new_primary = RedisServer(tmp_path / "new").start()
    async with Proxy(redis.port) as proxy:
        store = RedisStore(proxy.url)
        assert await store.create("a", b"1", 4e9)
        assert redis.answers("REPLICAOF", "127.0.0.1", str(new_primary.port)) == "OK"
        proxy.target = new_primary.port
        with pytest.raises(StoreUnavailable):
            await store.create("b", b"1", 4e9)
        assert await store.create("b", b"1", 4e9)
        await store.close()
    new_primary.stop()


@pytest.mark.parametrize("kind", ["redis", "cluster"])
async def test_rule_12_hundreds_at_once_wait_their_turn(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """All load one session, so from one server of a cluster, and start before the client has explored the cluster."""
    store = RedisStore(empty_store(kind, request, tmp_path))
    for _ in range(2):
        assert await asyncio.gather(*(store.load(digest("one")) for _ in range(300))) == [None] * 300
    await store.close()


def test_rule_10_the_key_expires_with_the_session(start_server: StartServer, redis: RedisServer) -> None:
    server = start_server(store=redis.url, environment={"SESSION_IDLE_TIMEOUT": "600"})
    key = f"session:{digest(token_of(server.visitor('x')))}"
    assert 590 <= int(redis.answers("TTL", key)) <= 600
    lasting = start_server(store=redis.url)
    visitor = lasting.visitor("x")
    visitor.put(UPDATE, content="changed", headers=TEXT)
    key = f"session:{digest(token_of(visitor))}"
    assert 604_790 <= int(redis.answers("TTL", key)) <= 604_800


@pytest.fixture(params=["redis", "cluster"])
def two_machines(request: pytest.FixtureRequest, start_server: StartServer, tmp_path: Path) -> tuple[Server, Server]:
    url = empty_store(request.param, request, tmp_path)
    return start_server(store=url), start_server(store=url)


def test_sessions_roam_between_machines(two_machines: tuple[Server, Server]) -> None:
    one, other = two_machines
    visitor = one.visitor("from one")
    roaming = other.client(token_of(visitor))
    assert shown_text(roaming.get(HOME).text) == "from one"
    roaming.put(UPDATE, content="from the other", headers=TEXT)
    assert shown_text(visitor.get(HOME).text) == "from the other"
    held = HeldRequest(one, "PUT", UPDATE, b"too late", TEXT, token_of(visitor))
    roaming.post(END)
    answer = held.finish()
    assert (answer.status, answer.set_cookie) == (409, None)
    assert shown_text(visitor.get(HOME).text) == DEFAULT


def test_two_machines_lose_no_update(two_machines: tuple[Server, Server]) -> None:
    """Both write the same session as fast as they can; every acknowledged save was once the last."""
    token = token_of(two_machines[0].visitor("start"))

    def write(machine: int) -> list[int]:
        client = two_machines[machine].client(token)
        return [client.put(UPDATE, content=f"{machine}.{n}", headers=TEXT).status_code for n in range(50)]

    with ThreadPoolExecutor(2) as pool:
        statuses = list(pool.map(write, range(2)))
    assert statuses == [[200] * 50] * 2
    assert shown_text(two_machines[0].client(token).get(HOME).text) in ("0.49", "1.49")


@pytest.mark.parametrize("ends", ["dies", "hangs"])
def test_rule_12_the_app_recovers_when_a_primary_of_the_cluster_fails(
    start_server: StartServer, tmp_path: Path, ends: str
) -> None:
    cluster = RedisCluster(tmp_path).start()
    primary = None
    try:
        server = start_server(store=cluster.url)
        visitor = server.visitor("before")
        key = f"session:{digest(token_of(visitor))}"
        time.sleep(0.5)  # let the replica catch up
        stop = threading.Event()

        def load() -> set[int]:
            client, statuses = server.client(token_of(visitor)), set()
            while not stop.is_set():
                statuses.add(client.get(HOME).status_code)
            return statuses

        with ThreadPoolExecutor(4) as pool:
            loads = [pool.submit(load) for _ in range(4)]
            primary = cluster.primary_of(key)
            assert primary.process
            if ends == "dies":
                primary.stop()
            else:
                primary.process.send_signal(signal.SIGSTOP)
            try:
                wait_until(lambda: visitor.put(UPDATE, content="after", headers=TEXT).status_code == 200, 30)
            finally:
                stop.set()
        assert set().union(*(done.result() for done in loads)) <= {200, 503}
        assert shown_text(visitor.get(HOME).text) == "after"
        assert "Traceback" not in server.log
    finally:
        if ends == "hangs" and primary and primary.process:
            primary.process.send_signal(signal.SIGCONT)
        cluster.stop()


@pytest.mark.parametrize("url", ["valkey://127.0.0.1:{}/0", "redis://127.0.0.1:{}"])
def test_other_schemes_and_spellings_of_the_address_work(
    start_server: StartServer, redis: RedisServer, url: str
) -> None:
    server = start_server(store=url.format(redis.port))
    assert shown_text(server.visitor("x").get(HOME).text) == "x"


def test_a_password_never_shows(start_server: StartServer, redis: RedisServer) -> None:
    assert redis.answers("CONFIG", "SET", "requirepass", "s3cret") == "OK"
    server = start_server(store=f"redis://:s3cret@127.0.0.1:{redis.port}/0")
    assert shown_text(server.visitor("x").get(HOME).text) == "x"
    wrong = start_server(store=f"redis://:wr0ng@127.0.0.1:{redis.port}/0")
    assert wrong.client().post(UPDATE, content=b"text=x", headers=FORM).status_code == 503
    for log in (server.log, wrong.log):
        assert "s3cret" not in log
        assert "wr0ng" not in log


@pytest.mark.parametrize("kind", ["redis", "cluster"])
async def test_the_rights_in_the_docs_are_enough(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    url = empty_store(kind, request, tmp_path)
    guide = (PROJECT / "docs/stores.md").read_text()
    commands = guide.partition("```acl\n")[2].partition("\n```")[0].splitlines()
    servers = (
        [request.getfixturevalue("redis_server")]
        if kind == "redis"
        else request.getfixturevalue("redis_cluster").servers
    )
    try:
        for server in servers:
            for command in commands[: 1 if kind == "redis" else None]:
                assert server.answers(*command.split()) == "OK"
        store = RedisStore(url.replace("://", "://app:password@") + "?health_check_interval=1")
        assert await store.create("a", b"1", 4e9)
        assert await store.replace("a", b"1", b"2", 4e9)
        await asyncio.sleep(1.1)
        assert await store.load("a") == b"2"
        assert await store.count() == 1
        assert await store.delete("a", b"2")
        assert not await store.delete("a")
        other = RedisStore(url.replace("://", "://app:password@"), prefix="other:")
        with pytest.raises(StoreUnavailable):
            await other.load("a")
        await other.close()
        await store.close()
    finally:
        for server in servers:
            server.answers("ACL", "DELUSER", "app")


def test_the_store_connects_to_redis_over_tls(start_server: StartServer, tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = [
        require("openssl"),
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
    ]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command, "-out", str(certificate), "-keyout", str(key)], check=True, capture_output=True)
    tls_port = str(free_port())
    options = ("--tls-port", tls_port, "--tls-cert-file", str(certificate), "--tls-key-file", str(key))
    redis = RedisServer(tmp_path / "redis", (*options, "--tls-auth-clients", "no")).start()
    try:
        server = start_server(store=f"rediss://localhost:{tls_port}/0?ssl_ca_certs={certificate}")
        assert shown_text(server.visitor("encrypted").get(HOME).text) == "encrypted"
        suspicious = start_server(store=f"rediss://localhost:{tls_port}/0")
        assert suspicious.client().put(UPDATE, content="x", headers=TEXT).status_code == 503, "an unknown certificate"
    finally:
        redis.stop()
