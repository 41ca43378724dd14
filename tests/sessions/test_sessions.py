"""The rules of sessions, tested directly on the session package, on every store."""

import asyncio
import json
import math
import time
from typing import Any

import pytest

from app.sessions import InvalidValue, SessionEnded, SessionManager, SessionTooLarge, StoreUnavailable
from app.sessions.records import MAX_RECORD_SIZE, digest
from tests.sessions.helpers import (
    CART,
    GONE,
    KEPT,
    KEY,
    LARGE,
    LIST,
    MINE,
    ONE,
    OTHER,
    QUOTE,
    THEIRS,
    USER,
    VALUE,
    A,
    B,
    C,
    CountingStore,
    D,
    E,
    stored,
    values_of,
)
from tests.sessions.stepping import SteppedStore, Walk


@pytest.fixture
def calls(sessions: SessionManager) -> list[str]:
    sessions.store = counting = CountingStore(sessions.store)
    return counting.calls


async def test_rule_1_reading_creates_nothing(sessions: SessionManager) -> None:
    session = await sessions.start()
    assert session.get(QUOTE) is None
    assert "quote" not in session
    assert session.setdefault(LIST, []) == []
    del session[LIST]
    await session.save()
    assert (session.id, session.cookie, await sessions.store.count()) == (None, None, 0)


async def test_rule_2_the_store_knows_only_the_digest_of_the_token(sessions: SessionManager) -> None:
    token = await stored(sessions, quote="x")
    session = await sessions.start(token)
    assert len(token) == 43
    assert session.id == digest(token)
    raw = await sessions.store.load(digest(token))
    assert raw is not None
    assert token.encode() not in raw
    assert await sessions.store.load(token) is None
    assert token not in repr(session)


async def test_rule_2_tokens_do_not_repeat(sessions: SessionManager) -> None:
    assert len({await stored(sessions, n=n) for n in range(100)}) == 100


@pytest.mark.parametrize(
    "token", ["", "x", "A" * 42, "A" * 44, "A" * 3000, "../../etc/passwd", "A" * 42 + "é", "A" * 42 + "\n"]
)
async def test_rule_3_malformed_tokens_do_not_even_reach_the_store(
    sessions: SessionManager, calls: list[str], token: str
) -> None:
    session = await sessions.start(token)
    assert session.id is None
    assert calls == []


async def test_rule_3_an_unknown_token_is_never_adopted(sessions: SessionManager) -> None:
    session = await sessions.start("A" * 43)
    session[QUOTE] = "x"
    await session.save()
    assert session.cookie
    assert session.cookie[0] != "A" * 43
    assert await sessions.store.load(digest("A" * 43)) is None


async def test_rule_4_nested_changes_are_found(sessions: SessionManager) -> None:
    token = await stored(sessions, cart={"items": [{"n": 1}]})
    session = await sessions.start(token)
    session[CART]["items"][0]["n"] = 2
    await session.save()
    assert await values_of(sessions, token) == {"cart": {"items": [{"n": 2}]}}


@pytest.mark.parametrize(
    ("before", "after"), [(1, True), (1, 1.0), (0, False), ([1], [True]), ({"a": 0}, {"a": False})]
)
async def test_rule_4_values_that_are_equal_only_in_python_count_as_different(
    sessions: SessionManager, before: Any, after: Any
) -> None:
    token = await stored(sessions, value=before)
    session = await sessions.start(token)
    session[VALUE] = after
    await session.save()
    assert json.dumps((await values_of(sessions, token))["value"]) == json.dumps(after)


async def test_rule_4_an_unchanged_session_is_never_written(sessions: SessionManager, calls: list[str]) -> None:
    token = await stored(sessions, a={"x": 1, "y": 2}, b=[1, 2], c="é\ud7ff", d=1e300, e=None)
    session = await sessions.start(token)
    calls.clear()
    session[B] = [1, 2]
    session[A] = {"x": 1, "y": 2}
    session[B].append(3)
    session[B].pop()
    del session[E]
    session[E] = None
    await session.save()
    assert calls == []


async def test_rule_5_saves_of_different_keys_keep_both_changes(sessions: SessionManager) -> None:
    token = await stored(sessions, base=0)
    one, other = await sessions.start(token), await sessions.start(token)
    one[ONE] = 1
    other[OTHER] = 2
    await one.save()
    await other.save()
    assert await values_of(sessions, token) == {"base": 0, "one": 1, "other": 2}


async def test_rule_5_the_later_save_of_a_key_wins(sessions: SessionManager) -> None:
    token = await stored(sessions, quote="a")
    one, other = await sessions.start(token), await sessions.start(token)
    one[QUOTE], other[QUOTE] = "one", "other"
    await one.save()
    await other.save()
    assert await values_of(sessions, token) == {"quote": "other"}


async def test_rule_5_a_deleted_key_stays_deleted(sessions: SessionManager) -> None:
    token = await stored(sessions, gone=1, kept=1)
    deleting, other = await sessions.start(token), await sessions.start(token)
    del deleting[GONE]
    other[KEPT] = 2
    await deleting.save()
    await other.save()
    assert await values_of(sessions, token) == {"kept": 2}


async def test_rule_5_a_later_write_survives_the_deletion_by_another_request(sessions: SessionManager) -> None:
    token = await stored(sessions, key=1)
    deleting, writing = await sessions.start(token), await sessions.start(token)
    del deleting[KEY]
    writing[KEY] = 2
    await deleting.save()
    await writing.save()
    assert await values_of(sessions, token) == {"key": 2}


async def test_rule_5_null_and_nested_objects_are_replaced_whole(sessions: SessionManager) -> None:
    token = await stored(sessions, a={"x": 1, "y": None}, b=[], c=2**70)
    one, other = await sessions.start(token), await sessions.start(token)
    one[D] = None
    other[A] = {"z": 1}
    await one.save()
    await other.save()
    assert await values_of(sessions, token) == {"a": {"z": 1}, "b": [], "c": 2**70, "d": None}


async def test_rule_5_a_second_save_undoes_no_change_of_another_request(sessions: SessionManager) -> None:
    token = await stored(sessions, a=1, b=1)
    one, other = await sessions.start(token), await sessions.start(token)
    other[B] = 2
    await other.save()
    one[A] = 2
    await one.save()
    one[C] = 3
    await one.save()
    assert await values_of(sessions, token) == {"a": 2, "b": 2, "c": 3}


@pytest.mark.parametrize("end", ["destroy", "rotate"])
async def test_rule_6_an_ended_session_stays_ended(sessions: SessionManager, end: str) -> None:
    token = await stored(sessions, quote="a")
    late, reader, ending = [await sessions.start(token) for _ in range(3)]
    await getattr(ending, end)()
    late[QUOTE] = "b"
    with pytest.raises(SessionEnded):
        await late.save()
    assert late.cookie is None
    assert await values_of(sessions, token) == {}
    await reader.save()  # it changed nothing, so it raises no error
    assert reader.cookie is None


async def test_rule_6_a_session_that_expired_meanwhile_refuses_changes(
    sessions: SessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await stored(sessions, quote="a")
    late = await sessions.start(token)
    late[QUOTE] = "b"
    later = time.time() + sessions.lifetime
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(SessionEnded):
        await late.save()


async def test_rule_6_rotating_an_ended_session_does_not_bring_it_back(sessions: SessionManager) -> None:
    token = await stored(sessions, quote="a")
    late, ending = await sessions.start(token), await sessions.start(token)
    await ending.destroy()
    with pytest.raises(SessionEnded):
        await late.rotate()
    assert await sessions.store.count() == 0


async def test_rule_8_destroy_is_immediate_and_a_later_write_starts_a_new_session(sessions: SessionManager) -> None:
    token = await stored(sessions, quote="a", other=1)
    session = await sessions.start(token)
    await session.destroy()
    assert await sessions.store.count() == 0
    assert session.cookie == ("", 0)
    assert dict(session) == {}
    session[QUOTE] = "b"
    await session.save()
    assert session.cookie
    assert session.cookie[0] not in ("", token)
    assert await values_of(sessions, session.cookie[0]) == {"quote": "b"}


async def test_rule_8_a_destroy_of_an_ended_session_does_not_delete_the_cookie(
    sessions: SessionManager,
) -> None:
    token = await stored(sessions, quote="a")
    first, second = await sessions.start(token), await sessions.start(token)
    await first.destroy()
    await second.destroy()
    assert second.cookie is None


async def test_rule_9_rotate_moves_the_data_and_kills_the_old_token(sessions: SessionManager) -> None:
    token = await stored(sessions, quote="a")
    session = await sessions.start(token)
    created_at, expires_at = session.created_at, session.expires_at
    session[USER] = "ada"
    await session.rotate()
    assert await values_of(sessions, token) == {}
    await session.save()
    assert session.cookie
    new = session.cookie[0]
    assert new != token
    assert await values_of(sessions, new) == {"quote": "a", "user": "ada"}
    assert (session.created_at, session.expires_at) == (created_at, expires_at)
    assert sessions.lifetime - 2 <= session.cookie[1] <= sessions.lifetime
    assert await sessions.store.count() == 1


async def test_rule_9_rotate_keeps_what_another_request_wrote_meanwhile(sessions: SessionManager) -> None:
    token = await stored(sessions, a=1)
    rotating, other = await sessions.start(token), await sessions.start(token)
    rotating[MINE] = 1
    other[THEIRS] = 2
    await other.save()
    await rotating.rotate()
    await rotating.save()
    assert rotating.cookie
    assert await values_of(sessions, rotating.cookie[0]) == {"a": 1, "mine": 1, "theirs": 2}
    assert await sessions.store.count() == 1


async def test_rule_9_only_one_of_two_rotations_wins(sessions: SessionManager) -> None:
    token = await stored(sessions, a=1)
    one, other = await sessions.start(token), await sessions.start(token)
    await one.rotate()
    with pytest.raises(SessionEnded):
        await other.rotate()
    assert await sessions.store.count() == 1


async def test_rule_9_the_response_waits_for_a_rotation_in_another_task(sessions: SessionManager) -> None:
    session = await sessions.start(await stored(sessions, a=1))
    sessions.store = session._records.store = SteppedStore(sessions.store)
    rotation = Walk(session.rotate)
    assert await rotation.go()
    response = asyncio.create_task(session.commit())
    await asyncio.sleep(0.01)
    assert not response.done()
    await rotation.finish()
    await response
    assert session.cookie


async def test_rule_9_an_expired_session_is_not_rotated(
    sessions: SessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await sessions.start(await stored(sessions, a=1))
    later = time.time() + sessions.lifetime
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(SessionEnded):
        await session.rotate()


async def test_rule_9_without_a_session_there_is_nothing_to_rotate(sessions: SessionManager) -> None:
    session = await sessions.start()
    await session.rotate()
    assert (session.cookie, await sessions.store.count()) == (None, 0)


async def test_rule_10_the_absolute_lifetime_is_never_extended(
    sessions: SessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = time.time()
    token = await stored(sessions, quote="a")
    monkeypatch.setattr(time, "time", lambda: start + sessions.lifetime - 5)
    session = await sessions.start(token)
    session[QUOTE] = "b"
    await session.save()
    await session.rotate()
    assert session.cookie
    assert session.cookie[1] <= 6
    monkeypatch.setattr(time, "time", lambda: start + sessions.lifetime + 1)
    assert await values_of(sessions, session.cookie[0]) == {}
    assert await sessions.store.count() == 1, "it is not served, whether swept or not"


CORRUPT = [
    b"",
    b"garbage",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"{}",
    b'{"created_at":1,"expires_at":9e99,"deadline":9e99}',
    b'{"created_at":1,"expires_at":9e99,"deadline":9e99,"values":[]}',
    b'{"created_at":1,"expires_at":9e99,"deadline":"x","values":{}}',
    b'{"created_at":null,"expires_at":9e99,"deadline":9e99,"values":{}}',
    b'{"created_at":1,"expires_at":NaN,"deadline":9e99,"values":{}}',
    b'{"created_at":1,"expires_at":Infinity,"deadline":9e99,"values":{}}',
    b'{"created_at":-1e99,"expires_at":9e99,"deadline":9e99,"values":{}}',
    b'{"created_at":1,"expires_at":9e9,"deadline":9e9,"values":{"quote":NaN}}',
    b'{"created_at":1,"expires_at":9e9,"deadline":9e9,"values":{"quote":1e999}}',
    b'{"created_at":1,"expires_at":9e9,"deadline":9e9,"values":{"quote":"\\ud800"}}',
    b'{"created_at":true,"expires_at":9e9,"deadline":9e9,"values":{}}',
    b"[" * 100_000,
    b"1" * 5000,
]


@pytest.mark.parametrize("raw", CORRUPT, ids=range(len(CORRUPT)))
async def test_rule_11_a_corrupt_record_counts_as_no_session_and_the_next_save_replaces_it(
    sessions: SessionManager, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    token = await stored(sessions, quote="a")
    intact = await sessions.store.load(digest(token))
    assert intact
    assert await sessions.store.replace(digest(token), intact, raw, time.time() + 100)
    session = await sessions.start(token)
    assert dict(session) == {}
    assert digest(token) in caplog.text
    session[QUOTE] = "b"
    await session.save()
    assert session.cookie
    assert await values_of(sessions, session.cookie[0]) == {"quote": "b"}
    assert await sessions.store.count() == 1


async def test_rule_15_each_action_makes_the_expected_round_trips(sessions: SessionManager, calls: list[str]) -> None:
    def trips() -> int:
        number = len(calls)
        calls.clear()
        return number

    session = await sessions.start()
    await session.save()
    assert trips() == 0, "a page view without a session"
    token = await stored(sessions, quote="a")
    assert trips() == 1, "the first save"
    session = await sessions.start(token)
    await session.save()
    assert trips() == 1, "a page view with a session"
    session = await sessions.start(token)
    session[QUOTE] = "b"
    await session.save()
    assert trips() == 2, "a save"
    session = await sessions.start(token)
    await session.destroy()
    await session.save()
    assert trips() == 2, "a destroy"


class Strange:
    """Something that JSON cannot represent."""

    def __str__(self) -> str:
        return "strange"  # the test's name must be the same in every process


@pytest.mark.parametrize(
    "value",
    [Strange(), {1, 2}, (1, 2), b"bytes", math.nan, math.inf, {1: "int key"}, {True: 1}, [(1,)], "\ud800", 1j],
    ids=str,
)
async def test_rule_18_assigning_a_value_that_is_not_json_raises_an_error(sessions: SessionManager, value: Any) -> None:
    session = await sessions.start()
    with pytest.raises(InvalidValue, match="'cart'"):
        session[CART] = value
    assert dict(session) == {}


@pytest.mark.parametrize(
    "value", [None, True, 0, -(2**63), 2**70, 0.1, 1e308, "", "\0\uffff😀", [], {}, {"": [None, {"a": {}}]}]
)
async def test_rule_18_every_json_value_comes_back_unchanged(sessions: SessionManager, value: Any) -> None:
    back = (await values_of(sessions, await stored(sessions, value=value)))["value"]
    assert json.dumps(back) == json.dumps(value)


async def test_rule_18_keys_are_strings(sessions: SessionManager) -> None:
    session = await sessions.start()
    with pytest.raises(InvalidValue, match="key"):
        session[1] = "x"  # type: ignore[index]


async def test_rule_18_a_nested_value_that_is_not_json_is_found_at_the_save(sessions: SessionManager) -> None:
    token = await stored(sessions, cart={"items": []}, other=1)
    session = await sessions.start(token)
    session[OTHER] = 2
    session[CART]["items"].append(Strange())
    with pytest.raises(InvalidValue, match="'cart'"):
        await session.save()
    assert await values_of(sessions, token) == {"cart": {"items": []}, "other": 1}


@pytest.mark.parametrize("store_url", ["memory"], indirect=True)
async def test_rule_12_a_request_stops_asking_a_slow_store(
    sessions: SessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store answers each call in time, but another save is always faster, so this save has to be tried again."""
    token = await stored(sessions, quote="x")
    monkeypatch.setattr("app.sessions.records.TIMEOUT", 0.2)

    attempts: list[None] = []

    async def lose(*_: object) -> bool:
        attempts.append(None)
        await asyncio.sleep(0.15)
        return False

    monkeypatch.setattr(sessions.store, "replace", lose)
    session = await sessions.start(token)
    session[QUOTE] = "y"
    with pytest.raises(StoreUnavailable, match=r"already waited [\d.]+ s"):
        await asyncio.wait_for(session.save(), 2)
    assert len(attempts) <= 2, "two calls of 0.15 s exceed 0.2 s; on a slow machine one may exceed it too"


@pytest.mark.parametrize("store_url", ["memory"], indirect=True)
async def test_rule_12_a_timeout_without_a_message_gets_a_reason(
    sessions: SessionManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """`asyncio.timeout` in a custom store raises an error without a message."""

    async def give_up(*_: object) -> bytes | None:
        raise TimeoutError

    monkeypatch.setattr(sessions.store, "load", give_up)
    session = await sessions.start("A" * 43)
    with pytest.raises(StoreUnavailable):
        session.get(QUOTE)
    assert "no answer within 2.4 s" in caplog.text


async def test_rule_18_more_than_a_mebibyte_is_refused(sessions: SessionManager) -> None:
    token = await stored(sessions, small="x")
    session = await sessions.start(token)
    session[LARGE] = "x" * MAX_RECORD_SIZE
    with pytest.raises(SessionTooLarge):
        await session.save()
    assert await values_of(sessions, token) == {"small": "x"}
    session[LARGE] = "x" * (MAX_RECORD_SIZE - 200)
    await session.save()
    assert len((await values_of(sessions, token))["large"]) == MAX_RECORD_SIZE - 200


async def test_rule_18_two_saves_that_are_too_large_together_are_refused(sessions: SessionManager) -> None:
    token = await stored(sessions, small="x")
    one, other = await sessions.start(token), await sessions.start(token)
    one[ONE] = other[OTHER] = "x" * (MAX_RECORD_SIZE // 2)
    await one.save()
    with pytest.raises(SessionTooLarge):
        await other.save()


async def test_a_session_is_a_dict(sessions: SessionManager) -> None:
    session: Any = await sessions.start(await stored(sessions, a=1, b=2))
    session.update(c=3)
    assert session.pop("a") == 1
    assert (sorted(session), len(session), "b" in session) == (["b", "c"], 2, True)
    session.clear()
    await session.save()
    assert session.id is not None, "a session without values is still a session"
