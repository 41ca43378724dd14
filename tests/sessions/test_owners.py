"""Owners (rule 22) and last seen (rule 10), one request after the other. `test_owners_races.py` has the races."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from litestar import get, post
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException
from litestar.types import Empty

from app.sessions import (
    InvalidValue,
    Key,
    Session,
    SessionEnded,
    SessionManager,
    SessionReadOnly,
    SessionTooLarge,
    Store,
    StoreUnavailable,
    open_store,
)
from app.sessions.litestar import SessionRequest
from app.sessions.memory import MemoryStore
from app.sessions.owners import OwnerList
from app.sessions.records import MAX_RECORD_SIZE, SEEN_INTERVAL, digest
from tests.sessions.helpers import KEY, VALUE, CountingStore, site, stored, values_of
from tests.sessions.stepping import FailingStore, listed


def list_id(owner: str) -> str:
    return f"other:{digest(f'owner:{owner}')}"


async def log_in(sessions: SessionManager, owner: str, token: str = "", **values: Any) -> str:
    """Log in as an app does, and return the new token."""
    session = await sessions.start(*filter(None, [token]))
    session.owner = owner
    await session.rotate()
    session.update({Key(name, object): value for name, value in values.items()})
    await session.save()
    assert session.cookie
    return session.cookie[0]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Move the clock that sessions read."""
    moved = 0.0
    now = time.time

    def move(seconds: float) -> None:
        nonlocal moved
        moved += seconds

    monkeypatch.setattr(time, "time", lambda: now() + moved)
    return move


# What an app does


async def test_rule_22_an_owner_is_saved_like_a_value(sessions: SessionManager) -> None:
    session = await sessions.start()
    assert session.owner is None
    session.owner = "ada"
    assert (session.owner, session.id) == ("ada", None)
    assert await sessions.list("ada") == []
    await session.save()
    assert session.cookie
    assert (await sessions.start(session.cookie[0])).owner == "ada"
    assert dict(await sessions.start(session.cookie[0])) == {}
    assert [each.id for each in await sessions.list("ada")] == [session.id]


async def test_rule_22_a_listed_session_has_its_id_times_and_values(sessions: SessionManager) -> None:
    token = await log_in(sessions, "ada", cart=["tea"])
    (device,) = await sessions.list("ada")
    assert device.id == digest(token)
    assert device.created_at == pytest.approx(time.time(), abs=10)
    assert device.last_seen == pytest.approx(time.time(), abs=10)
    assert device.expires_at == pytest.approx(time.time() + sessions.lifetime, abs=10)
    assert dict(device) == {"cart": ["tea"]}
    assert device.owner == "ada"


async def test_rule_22_owners_do_not_see_each_other(sessions: SessionManager) -> None:
    owners = ["ada", "Ada", "ada ", "", "a" * 10_000, "\x00", "😀", "owner:ada"]
    tokens = {owner: await log_in(sessions, owner) for owner in owners}
    for owner, token in tokens.items():
        assert await listed(sessions, owner) == {digest(token)}
    for number, owner in enumerate(owners, 1):
        assert await sessions.end_all(owner) == 1
        alive = [token for token in tokens.values() if (await sessions.start(token)).id]
        assert len(alive) == len(owners) - number


async def test_rule_22_end_all_ends_all_sessions_except_the_kept_one(sessions: SessionManager) -> None:
    tokens = [await log_in(sessions, "ada") for _ in range(4)]
    stranger = await stored(sessions, value=1)
    assert await sessions.end_all("ada", keep=digest(tokens[1])) == 3
    assert await listed(sessions, "ada") == {digest(tokens[1])}
    assert await sessions.end_all("ada", keep="") == 1
    assert await sessions.end_all("ada") == 0
    assert await listed(sessions, "ada") == set()
    assert await values_of(sessions, stranger) == {"value": 1}
    assert await sessions.count() == 1


async def test_rule_22_a_login_keeps_what_the_visitor_had_and_kills_the_old_token(sessions: SessionManager) -> None:
    planted = await stored(sessions, cart=["tea"])
    token = await log_in(sessions, "ada", planted, value=1)
    assert await values_of(sessions, token) == {"cart": ["tea"], "value": 1}
    assert (await sessions.start(planted)).id is None
    assert await sessions.count() == 1


@pytest.mark.parametrize("visitor", ["without a session", "with a session"])
async def test_rule_22_a_session_that_the_store_inserts_twice_is_listed(
    sessions: SessionManager, monkeypatch: pytest.MonkeyPatch, visitor: str
) -> None:
    """A store whose connection was lost sends its insert again. Meanwhile `end_all` may have removed the first one."""
    planted = await stored(sessions, value=1) if visitor == "with a session" else ""
    insert, inserted = sessions.store.create, 0

    async def insert_twice(session_id: str, record: bytes, deadline: float) -> bool:
        nonlocal inserted
        inserted += 1
        first = await insert(session_id, record, deadline)
        if inserted == 2:  # the first was the list
            await sessions.end_all("ada")
            return await insert(session_id, record, deadline)
        return first

    monkeypatch.setattr(sessions.store, "create", insert_twice)
    token = await log_in(sessions, "ada", planted)
    assert await listed(sessions, "ada") == {digest(token)}
    await sessions.end_all("ada")
    assert (await sessions.start(token)).id is None


async def test_rule_9_rotate_removes_the_session_of_another_owner_at_once(sessions: SessionManager) -> None:
    token = await log_in(sessions, "ada")
    session = await sessions.start(token)
    session.owner = "bob"
    await session.rotate()
    assert (await sessions.start(token)).id is None
    await session.save()
    assert await listed(sessions, "bob") == {session.id}


async def test_rule_9_a_new_owner_gets_a_new_token_even_if_rotate_was_forgotten(sessions: SessionManager) -> None:
    planted = await stored(sessions, cart=["tea"])
    session = await sessions.start(planted)
    session.owner = "ada"
    session[VALUE] = 1
    await session.save()
    assert session.cookie
    assert (await sessions.start(planted)).id is None
    assert await values_of(sessions, session.cookie[0]) == {"cart": ["tea"], "value": 1}
    assert await listed(sessions, "ada") == {session.id}


async def test_rule_22_no_data_passes_from_one_owner_to_another(sessions: SessionManager) -> None:
    for other in ("bob", None):
        token = await log_in(sessions, "ada", cart=["secret"])
        session = await sessions.start(token)
        session.owner = other
        assert dict(session) == {}
        session[VALUE] = 1
        await session.save()
        assert session.cookie
        assert (await sessions.start(token)).id is None
        assert await values_of(sessions, session.cookie[0]) == {"value": 1}
        assert (await sessions.start(session.cookie[0])).owner == other
        assert await listed(sessions, "ada") == set()
    assert len(await sessions.list("bob")) == 1


async def test_rule_8_a_session_that_begins_after_destroy_has_no_owner(sessions: SessionManager) -> None:
    for token in ("", await stored(sessions, value=1), await log_in(sessions, "ada")):
        session = await sessions.start(*filter(None, [token]))
        session.owner = "ada"
        await session.destroy()
        assert session.owner is None
        session[VALUE] = 2
        await session.save()
        assert session.cookie
        assert (await sessions.start(session.cookie[0])).owner is None
    assert await sessions.list("ada") == []


async def test_rule_22_assigning_the_same_owner_changes_nothing(sessions: SessionManager) -> None:
    token = await log_in(sessions, "ada", value=1)
    session = await sessions.start(token)
    session.owner = "ada"
    await session.save()
    assert session.cookie is None
    session.owner = "ada"
    await session.rotate()
    assert session.cookie
    assert await listed(sessions, "ada") == {session.id}
    assert await values_of(sessions, session.cookie[0]) == {"value": 1}


async def test_rule_22_a_rotated_session_stays_with_its_owner(sessions: SessionManager) -> None:
    session = await sessions.start(await log_in(sessions, "ada", value=1))
    created_at, expires_at = session.created_at, session.expires_at
    for _ in range(3):
        await session.rotate()
        assert await listed(sessions, "ada") == {session.id}
    assert (session.owner, session.created_at, session.expires_at) == ("ada", created_at, expires_at)
    assert await sessions.count() == 1
    assert await sessions.end_all("ada") == 1


async def test_rule_9_a_rotation_keeps_what_another_request_wrote_meanwhile(sessions: SessionManager) -> None:
    token = await log_in(sessions, "ada", value=1)
    rotating, other = await sessions.start(token), await sessions.start(token)
    rotating[VALUE] = 2
    other[KEY] = 3
    await other.save()
    await rotating.rotate()
    await rotating.save()
    assert rotating.cookie
    assert await values_of(sessions, rotating.cookie[0]) == {"value": 2, "key": 3}


@pytest.mark.parametrize("owner", [5, b"ada", ["ada"], True, "\ud800"])
async def test_rule_18_an_owner_must_be_text(sessions: SessionManager, owner: Any) -> None:
    session = await sessions.start()
    with pytest.raises(InvalidValue, match=r"session\.owner: a user id must be a string of Unicode characters"):
        session.owner = owner
    assert session.owner is None


async def test_rule_22_the_owner_of_a_session_opened_by_id_cannot_be_changed(sessions: SessionManager) -> None:
    token = await stored(sessions, value=1)
    with pytest.raises(SessionReadOnly, match="opened by its id"):
        async with sessions.edit(digest(token)) as session:
            session.owner = "ada"
    assert await values_of(sessions, token) == {"value": 1}


async def test_rule_7_an_exception_drops_a_new_owner() -> None:
    @post("/fail")
    async def fail(session: NamedDependency[Session]) -> None:
        session.owner = "ada"
        raise HTTPException(status_code=403)

    @post("/login")
    async def log_in(session: NamedDependency[Session]) -> None:
        session.owner = "ada"

    @get("/late")
    async def late(session: NamedDependency[Session]) -> str:
        session.finish_headers([], {"scheme": "http"})
        with pytest.raises(SessionReadOnly):
            session.owner = "ada"
        return ""

    async with site(fail, log_in, late) as app:
        visitor = await app.visitor(value=1)
        planted = visitor.cookies["session"]
        assert (await visitor.post("/fail")).status_code == 403
        assert await app.sessions.list("ada") == []
        assert (await visitor.post("/login")).status_code == 201
        assert visitor.cookies["session"] != planted
        assert len(await app.sessions.list("ada")) == 1
        assert (await visitor.get("/late")).status_code == 200


async def test_rule_20_litestars_login_idiom_works_with_an_owner() -> None:
    @post("/login")
    async def log_in(request: SessionRequest) -> None:
        request.clear_session()
        request.session.owner = "ada"
        request.set_session({"value": 2})

    @post("/logout")
    async def log_out(request: SessionRequest) -> None:
        request.set_session(Empty)

    async with site(log_in, log_out) as app:
        visitor = await app.visitor(value=1)
        planted = visitor.cookies["session"]
        assert (await visitor.post("/login")).status_code == 201
        assert await values_of(app.sessions, planted) == {}
        assert [dict(session) for session in await app.sessions.list("ada")] == [{"value": 2}]
        assert (await visitor.post("/logout")).status_code == 201
        assert await app.sessions.list("ada") == []
        assert await app.sessions.store.load(list_id("ada")) is None, "the last logout removes the list"


async def test_client_with_an_owner_is_logged_in(client_with: Any, sessions: SessionManager) -> None:
    client = await client_with(owner="ada", note="Mine.")
    assert await values_of(sessions, client.cookies["session"]) == {"note": "Mine."}
    assert await listed(sessions, "ada") == {digest(client.cookies["session"])}
    await client_with(owner="ada")
    assert len(await sessions.list("ada")) == 2


async def test_rule_22_many_logins_at_once_are_all_listed(sessions: SessionManager) -> None:
    tokens = await asyncio.gather(*(log_in(sessions, "ada", value=n) for n in range(25)))
    assert await listed(sessions, "ada") == {digest(token) for token in tokens}
    assert await sessions.end_all("ada") == 25


async def test_rule_16_listeners_hear_of_each_end_once(sessions: SessionManager) -> None:
    heard: list[tuple[str, str, str | None]] = []

    async def hear(session_id: str, reason: str, new_id: str | None) -> None:
        heard.append((session_id, reason, new_id))

    sessions.events.listeners.append(hear)
    first, second = [await log_in(sessions, "ada") for _ in range(2)]
    session = await sessions.start(first)
    await session.rotate()
    await sessions.end_all("ada")
    await sessions.events.wait(5)
    rotated = str(session.id)
    assert heard[0] == (digest(first), "rotated", rotated)
    assert sorted(heard[1:]) == sorted([(digest(second), "destroyed", None), (rotated, "destroyed", None)])


# The list is no session


async def test_rule_22_the_list_of_an_owner_is_never_a_session(
    sessions: SessionManager, caplog: pytest.LogCaptureFixture
) -> None:
    token = await log_in(sessions, "ada")
    assert await sessions.store.load(list_id("ada"))
    assert await sessions.count() == 1
    for method in (sessions.find, sessions.destroy):
        with pytest.raises(LookupError):
            await method(list_id("ada"))
    assert (await sessions.start(list_id("ada"), "ada", f"other:{token}")).id is None
    assert "corrupt" not in caplog.text
    assert await listed(sessions, "ada") == {digest(token)}


@pytest.mark.parametrize("store_url", ["memory", "sqlite", "postgres"], indirect=True)  # Redis expires them itself
async def test_rule_22_a_sweep_reports_sessions_and_not_the_list(sessions: SessionManager, later: Any) -> None:
    heard = []

    async def hear(session_id: str, reason: str, _: str | None) -> None:
        heard.append((session_id, reason))

    sessions.events.listeners.append(hear)
    tokens = [await log_in(sessions, "ada") for _ in range(2)]
    later(sessions.lifetime + 1)
    assert await sessions.flush() == 2
    assert sorted(heard) == sorted((digest(token), "expired") for token in tokens)
    assert await sessions.store.load(list_id("ada")) is None


@pytest.mark.parametrize("store_url", ["memory", "sqlite", "postgres"], indirect=True)
async def test_rule_22_a_list_lives_as_long_as_its_last_session(sessions: SessionManager, later: Any) -> None:
    await log_in(sessions, "ada")
    sessions.lifetime //= 2
    short = await log_in(sessions, "ada")  # its lifetime ends first, but it is written last
    later(sessions.lifetime + 1)
    assert await sessions.flush() == 1
    assert len(await sessions.list("ada")) == 1
    assert digest(short) not in await listed(sessions, "ada")
    await log_in(sessions, "ada")
    text = await sessions.store.load(list_id("ada"))
    assert text
    assert len(json.loads(text)["sessions"]) == 2, "the next write drops expired entries"
    assert await sessions.end_all("ada") == 2


@pytest.mark.parametrize("text", [b"", b"x", b"[]", b"{}", b'{"sessions": {"a": 1}}', b"\xff" * 9])
async def test_rule_11_a_corrupt_list_counts_as_empty_and_is_repaired(
    sessions: SessionManager, caplog: pytest.LogCaptureFixture, text: bytes
) -> None:
    await sessions.store.create(list_id("ada"), text, time.time() + 1000)
    assert await sessions.list("ada") == []
    assert "is corrupt and counts as empty" in caplog.text
    token = await log_in(sessions, "ada")
    assert await listed(sessions, "ada") == {digest(token)}
    assert await sessions.end_all("ada") == 1


@pytest.mark.parametrize("store_url", ["redis"], indirect=True)
async def test_rule_11_a_list_whose_redis_key_has_another_type_is_repaired(
    sessions: SessionManager, redis_server: Any
) -> None:
    redis_server.answers("RPUSH", f"session:{list_id('ada')}", "x")
    assert await sessions.list("ada") == []
    token = await log_in(sessions, "ada")
    assert await listed(sessions, "ada") == {digest(token)}


async def test_rule_11_a_session_whose_record_is_corrupt_is_not_listed_but_removed(sessions: SessionManager) -> None:
    tokens = [await log_in(sessions, "ada") for _ in range(2)]
    session_id = digest(tokens[0])
    text = await sessions.store.load(session_id)
    assert text
    await sessions.store.replace(session_id, text, b"{", time.time() + 1000)
    assert await listed(sessions, "ada") == {digest(tokens[1])}
    await sessions.end_all("ada")
    assert await sessions.store.load(session_id) is None


async def test_rule_11_a_record_of_version_1_can_get_an_owner_and_keeps_unknown_fields(
    sessions: SessionManager,
) -> None:
    token, now = "v" * 43, time.time()
    record = {"created_at": now, "expires_at": now + 99, "deadline": now + 99, "values": {"value": 1}, "later": [1]}
    await sessions.store.create(digest(token), json.dumps(record).encode(), now + 99)
    new = await log_in(sessions, "ada", token)
    text = await sessions.store.load(digest(new))
    assert text
    assert json.loads(text) == record | {"owner": "ada", "last_seen": pytest.approx(now, abs=10)}
    assert await listed(sessions, "ada") == {digest(new)}


# What a worker of version 1 does to a session with an owner, as CHANGELOG.md says. It read these four fields alone.
FIELDS_OF_VERSION_1 = {"created_at", "expires_at", "deadline", "values"}


async def test_rule_11_version_1_reads_the_record_of_a_session_without_an_owner(sessions: SessionManager) -> None:
    token = await stored(sessions, value=1)
    record = json.loads(await sessions.store.load(digest(token)) or b"")
    assert set(record) == FIELDS_OF_VERSION_1
    assert record["values"] == {"value": 1}


async def test_rule_11_a_save_by_version_1_logs_out_and_end_all_still_ends_the_session(
    sessions: SessionManager,
) -> None:
    token = await log_in(sessions, "ada", value=1)
    text = await sessions.store.load(digest(token))
    assert text
    record = {name: value for name, value in json.loads(text).items() if name in FIELDS_OF_VERSION_1}
    await sessions.store.replace(digest(token), text, json.dumps(record).encode(), record["deadline"])
    session = await sessions.start(token)
    assert (session.owner, dict(session)) == (None, {"value": 1})
    assert await sessions.list("ada") == []
    assert await sessions.end_all("ada") == 1
    assert (await sessions.start(token)).id is None


async def test_rule_22_a_rotation_by_version_1_escapes_end_all(sessions: SessionManager) -> None:
    """Version 1 copied the record byte for byte. That is why the old workers must be stopped first."""
    token, copy = await log_in(sessions, "ada", value=1), "c" * 43
    text = await sessions.store.load(digest(token))
    assert text
    await sessions.store.create(digest(copy), text, json.loads(text)["deadline"])
    await sessions.store.delete(digest(token), text)
    assert await sessions.list("ada") == []
    assert await sessions.end_all("ada") == 0
    assert (await sessions.start(copy)).owner == "ada"


# Failures


@pytest.fixture
async def failing(store_url: str) -> AsyncIterator[FailingStore]:
    store = FailingStore(open_store(store_url))
    yield store
    await store.store.close()


@pytest.mark.parametrize("after", [False, True], ids=["not done", "done"])
@pytest.mark.parametrize("call", [("load", 1), ("replace", 1), ("create", 1), ("delete", 1), ("replace", 2)])
async def test_rule_12_a_failed_rotation_loses_no_living_session(
    failing: FailingStore, call: tuple[str, int], after: bool
) -> None:
    """The browser keeps the cookie of the old session, or gets that of the new one, whichever is alive."""
    sessions = SessionManager(failing)
    token = await log_in(sessions, "ada", value=1)
    session = await sessions.start(token)
    failing.fails = (*call, after)
    with pytest.raises(StoreUnavailable):
        await session.rotate()
    alive = await listed(sessions, "ada")
    assert len(alive) <= 1
    assert alive <= {digest(session.cookie[0] if session.cookie else token)}
    assert await sessions.end_all("ada") == len(alive)
    assert await listed(sessions, "ada") == set()


async def test_rule_8_a_logout_succeeds_even_if_the_list_cannot_be_changed(failing: FailingStore) -> None:
    sessions = SessionManager(failing)
    session = await sessions.start(await log_in(sessions, "ada"))
    failing.fails = ("load", 1, False)
    await session.destroy()
    assert session.cookie == ("", 0)
    assert await sessions.list("ada") == []
    assert await sessions.end_all("ada") == 0


async def test_rule_18_a_rotation_that_would_make_a_session_too_large_keeps_the_old_one(
    sessions: SessionManager,
) -> None:
    token = await stored(sessions, value="x")
    session = await sessions.start(token)
    session[VALUE] = "x" * (MAX_RECORD_SIZE - len(session.stored.text) + 1)
    await session.save()
    session.owner = "ada"
    with pytest.raises(SessionTooLarge):
        await session.rotate()
    assert (await sessions.start(token)).id == digest(token)
    assert await sessions.count() == 1
    assert await sessions.store.load(list_id("ada")) is None


async def test_rule_22_after_end_all_a_request_with_changes_gets_409(sessions: SessionManager) -> None:
    token = await log_in(sessions, "ada")
    session = await sessions.start(token)
    await sessions.end_all("ada")
    session[VALUE] = 1
    with pytest.raises(SessionEnded):
        await session.save()


# Last seen


async def test_rule_10_last_seen_is_written_at_most_once_in_5_minutes(store_url: str, later: Any) -> None:
    store = CountingStore(open_store(store_url))
    sessions = SessionManager(store)
    token = await log_in(sessions, "ada")
    for _ in range(20):
        later(SEEN_INTERVAL / 5 + 0.01)
        store.calls.clear()
        await sessions.start(token)
        assert store.calls[0] == "load"
        assert store.calls[1:] in ([], ["replace"])
        (device,) = await sessions.list("ada")
        assert device.last_seen
        assert time.time() - device.last_seen < SEEN_INTERVAL
    store.calls.clear()
    for _ in range(50):
        later(SEEN_INTERVAL / 50 - 0.1)
        await sessions.start(token)
    assert store.calls.count("replace") <= 1
    await store.store.close()


async def test_rule_10_last_seen_and_an_idle_renewal_share_one_write(store_url: str, later: Any) -> None:
    store = CountingStore(open_store(store_url))
    sessions = SessionManager(store, idle_timeout=1000)
    token = await log_in(sessions, "ada")
    later(SEEN_INTERVAL + 1)
    store.calls.clear()
    session = await sessions.start(token)
    assert store.calls == ["load", "replace"]
    assert session.last_seen == pytest.approx(time.time(), abs=5)
    assert session.stored.record.deadline == pytest.approx(time.time() + 1000, abs=5)
    later(150)  # a renewal is due, last seen is not
    store.calls.clear()
    session = await sessions.start(token)
    assert store.calls == ["load", "replace"]
    assert session.last_seen == pytest.approx(time.time() - 150, abs=5)
    await store.store.close()


async def test_rule_10_only_a_visit_moves_last_seen(sessions: SessionManager, later: Any) -> None:
    token = await log_in(sessions, "ada")
    (before,) = await sessions.list("ada")
    later(1000)
    await sessions.list("ada")
    await sessions.find(digest(token))
    async with sessions.edit(digest(token)) as session:
        session[VALUE] = 1
    (after,) = await sessions.list("ada")
    assert after.last_seen == before.last_seen


async def test_rule_10_looking_at_a_session_does_not_prolong_it(store_url: str, later: Any) -> None:
    sessions = SessionManager(open_store(store_url), idle_timeout=1000)
    token = await log_in(sessions, "ada")
    for _ in range(3):
        later(300)
        assert len(await sessions.list("ada")) == 1
        await sessions.find(digest(token))
    later(101)
    assert (await sessions.start(token)).id is None
    assert await sessions.list("ada") == []
    await sessions.store.close()


async def test_rule_10_a_list_begins_with_the_most_recently_seen_session(sessions: SessionManager, later: Any) -> None:
    tokens = []
    for _ in range(3):
        tokens.append(await log_in(sessions, "ada"))
        later(SEEN_INTERVAL + 1)
    await sessions.start(tokens[0])
    ids = [session.id for session in await sessions.list("ada")]
    assert ids == [digest(tokens[number]) for number in (0, 2, 1)]


# What it costs


async def calls_of(sessions: SessionManager, what: Any) -> int:
    store: Any = sessions.store
    store.calls.clear()
    await what
    return len(store.calls)


async def test_rule_15_the_round_trips_match_the_decision(store_url: str) -> None:
    store = CountingStore(open_store(store_url))
    sessions = SessionManager(store)

    async def log_out(token: str) -> None:
        await (await sessions.start(token)).destroy()

    async def rotate(token: str) -> None:
        await (await sessions.start(token)).rotate()

    async def forget_to_rotate(token: str) -> None:
        session = await sessions.start(token)
        session.owner = "bob"
        session[VALUE] = 2
        await session.save()

    assert await calls_of(sessions, log_in(sessions, "ada", name="Ada")) == 4
    anonymous = await stored(sessions, value=1)
    assert await calls_of(sessions, log_in(sessions, "ada", anonymous)) == 7
    anonymous = await stored(sessions, value=1)
    assert await calls_of(sessions, log_in(sessions, "ada", anonymous, name="Ada")) == 8
    assert await calls_of(sessions, forget_to_rotate(await stored(sessions, value=1))) == 8
    token = await log_in(sessions, "ada")
    assert await calls_of(sessions, sessions.start(token)) == 1
    assert await calls_of(sessions, sessions.list("ada")) == 1 + 4
    assert await calls_of(sessions, rotate(token)) == 8
    token = await log_in(sessions, "ada")
    assert await calls_of(sessions, log_out(token)) == 4
    assert await calls_of(sessions, sessions.end_all("ada")) == 2 + 4
    assert await calls_of(sessions, sessions.end_all("nobody")) == 1
    await store.store.close()


async def test_rule_15_a_session_without_an_owner_costs_nothing_more(store_url: str) -> None:
    store = CountingStore(open_store(store_url))
    sessions = SessionManager(store)

    async def change(token: str) -> None:
        session = await sessions.start(token)
        session[VALUE] = 2
        await session.save()

    async def rotate(token: str) -> None:
        await (await sessions.start(token)).rotate()

    async def destroy(token: str) -> None:
        await (await sessions.start(token)).destroy()

    assert await calls_of(sessions, stored(sessions, value=1)) == 1
    token = await stored(sessions, value=1)
    assert await calls_of(sessions, change(token)) == 2
    assert await calls_of(sessions, destroy(token)) == 2
    assert await calls_of(sessions, rotate(await stored(sessions, value=1))) == 3
    await store.store.close()


async def test_the_store_receives_no_user_id() -> None:
    store = MemoryStore()
    await log_in(SessionManager(store), "ada@example.org")
    assert "ada@example.org" not in "".join(store._records)


async def test_a_full_list_refuses_a_login_and_stays_intact() -> None:
    store: Store = MemoryStore()
    sessions = SessionManager(store)
    await log_in(sessions, "ada")
    owner_list = OwnerList(sessions._records(), "ada")
    text, entries = await owner_list._read()
    (entry,) = entries.values()
    many = {digest(str(n)): entry for n in range(9_000)}
    assert await owner_list._write(text, many)
    with pytest.raises(SessionTooLarge):
        await owner_list.change({digest(f"more {n}"): entry for n in range(9_000)})
    assert len((await owner_list._read())[1]) == 9_000


class SlowStore(MemoryStore):
    """Takes 30 ms to delete a record, so a hundred deletions take longer than a request may wait."""

    async def delete(self, session_id: str, old: bytes | None = None) -> bool:
        await asyncio.sleep(0.03)
        return await super().delete(session_id, old)


@pytest.mark.full
async def test_rule_12_end_all_gives_up_in_a_request_and_another_call_continues() -> None:
    sessions = SessionManager(SlowStore())
    await asyncio.gather(*(log_in(sessions, "ada") for _ in range(100)))
    with pytest.raises(StoreUnavailable, match="has already waited"):
        await sessions.end_all("ada")
    left = await sessions.count()
    assert 0 < left < 100
    assert len(await sessions.list("ada")) == left
    done: list[int] = []
    await asyncio.gather(*(log_in(sessions, "ada") for _ in range(100 - left)))
    assert await sessions.end_all("ada", on_progress=done.append) == 100
    assert done == list(range(1, 101))
    assert await sessions.list("ada") == []
