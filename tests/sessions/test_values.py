"""Rules 4, 11 and 18, and what people who know other sessions try. In memory, without HTTP."""

import asyncio
import copy
import dataclasses
import datetime
import decimal
import json
import math
import pickle
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.sessions import InvalidValue, Key, Session, SessionEnded, SessionManager, SessionReadOnly, StoreUnavailable
from app.sessions.memory import MemoryStore
from app.sessions.records import digest
from tests.sessions.helpers import (
    CART,
    JSON,
    KEPT,
    LIST,
    NEW,
    OTHER,
    USER,
    VALUE,
    A,
    B,
    BrokenStore,
    CountingStore,
    stored,
    values_of,
)

BASKET: Key[dict[str, int]] = Key("basket", dict[str, int], default={})


@pytest.fixture
def sessions() -> SessionManager:
    return SessionManager(MemoryStore())


@dataclasses.dataclass
class Point:
    x: int = 1


class Custom:
    def __repr__(self) -> str:
        return "Custom()"


BAD_VALUES: list[tuple[Any, str]] = [
    ((1, 2), "session['cart']: JSON has no tuple; store a list"),
    ({1}, "session['cart']: JSON has no set; store a sorted list"),
    (b"x", "session['cart']: JSON has no bytes; store text"),
    (datetime.datetime(2026, 1, 1), "session['cart']: JSON has no datetime; store value.isoformat()"),
    (datetime.date(2026, 1, 1), "session['cart']: JSON has no date; store value.isoformat()"),
    (decimal.Decimal("1.1"), "session['cart']: JSON has no Decimal; store str(value)"),
    (uuid.UUID(int=1), "session['cart']: JSON has no UUID; store str(value)"),
    (Point(), "session['cart']: JSON has no Point; store dataclasses.asdict(value)"),
    (Custom(), "session['cart']: JSON has no Custom; store a dict, list, text or number"),
    (1j, "session['cart']: JSON has no complex; store a dict, list, text or number"),
    (Path("x"), "JSON has no PosixPath; store a dict, list, text or number"),
    (math.nan, "session['cart']: nan is not a JSON number"),
    (-math.inf, "session['cart']: -inf is not a JSON number"),
    ("\ud800", "session['cart']: it has half of a surrogate pair, which is not a character"),
    ({1: "x"}, "session['cart']: key 1 of a dict must be a string"),
    ({None: "x"}, "session['cart']: key None of a dict must be a string"),
    ({"\udfff": 1}, "it has half of a surrogate pair, which is not a character"),
    (10**5000, "session['cart']: the number is too long for JSON; store hex(value)"),
    ([0, {"items": [(1,)]}], "session['cart'][1]['items'][0]: JSON has no tuple; store a list"),
    ({"a": {2: 1}}, "session['cart']['a']: key 2 of a dict must be a string"),
    ({"a": [1, {"when": datetime.date(2026, 1, 1)}]}, "session['cart']['a'][1]['when']: JSON has no date"),
]
BAD_IDS = [str(number) for number in range(len(BAD_VALUES))]


@pytest.mark.parametrize(("value", "message"), BAD_VALUES, ids=BAD_IDS)
async def test_rule_18_the_error_at_an_assignment_names_the_path_and_the_reason(
    sessions: SessionManager, value: Any, message: str
) -> None:
    session = await sessions.start(await stored(sessions, cart=[]))
    with pytest.raises(InvalidValue) as raised:
        session[CART] = value
    assert message in str(raised.value)
    assert session[CART] == []


@pytest.mark.parametrize(("value", "message"), BAD_VALUES, ids=BAD_IDS)
async def test_rule_18_the_error_at_the_save_names_the_path_and_the_reason(
    sessions: SessionManager, value: Any, message: str
) -> None:
    token = await stored(sessions, cart=[])
    session = await sessions.start(token)
    session[CART].append(value)
    with pytest.raises(InvalidValue) as raised:
        await session.save()
    assert message.replace("session['cart']", "session['cart'][0]") in str(raised.value)
    assert await values_of(sessions, token) == {"cart": []}


async def test_rule_18_the_error_names_a_nested_key_that_is_a_number(sessions: SessionManager) -> None:
    session = await sessions.start()
    session[CART] = {}
    session[CART][1] = 1
    with pytest.raises(InvalidValue, match=r"^session\['cart'\]: key 1 of a dict must be a string$"):
        await session.save()


@pytest.mark.parametrize("kind", ["list", "dict"])
async def test_rule_18_a_value_that_contains_itself_is_refused(sessions: SessionManager, kind: str) -> None:
    session = await sessions.start()
    value: Any = [] if kind == "list" else {}
    session[CART] = value
    if kind == "list":
        value.append(value)
    else:
        value["self"] = value
    with pytest.raises(InvalidValue, match=r"session\['cart'\]: it contains itself, or is nested too deeply"):
        await session.save()
    with pytest.raises(InvalidValue, match=r"session\['list'\]: it contains itself"):
        session[LIST] = value


@pytest.mark.parametrize("key", [1, None, ("a",), b"a", "\ud800"])
async def test_rule_18_keys_are_strings_of_unicode_characters(sessions: SessionManager, key: Any) -> None:
    session = await sessions.start()
    with pytest.raises(InvalidValue, match="the key must be a string"):
        session[key] = 1
    assert key not in session
    assert len(session) == 0


# Rule 4: which objects stay connected to the session


async def test_rule_4_an_object_stays_connected_across_save(sessions: SessionManager) -> None:
    token = await stored(sessions, cart=["a"])
    session = await sessions.start(token)
    cart = session[CART]
    for item in "bcd":
        cart.append(item)
        await session.save()
    assert session[CART] is cart
    assert await values_of(sessions, token) == {"cart": ["a", "b", "c", "d"]}


async def test_rule_4_an_object_stays_connected_across_rotate(sessions: SessionManager) -> None:
    token = await stored(sessions, cart=["a"])
    session = await sessions.start(token)
    cart = session[CART]
    await session.rotate()
    cart.append("b")
    await session.save()
    assert session.cookie
    assert await values_of(sessions, session.cookie[0]) == {"cart": ["a", "b"]}


async def test_rule_4_an_assigned_object_and_a_default_stay_connected(sessions: SessionManager) -> None:
    session = await sessions.start()
    assigned: list[int] = []
    session[LIST] = assigned
    basket = session[BASKET]
    await session.save()
    assigned.append(1)
    basket["tea"] = 1
    await session.save()
    basket["tea"] = 2
    await session.save()
    assert session.cookie
    assert await values_of(sessions, session.cookie[0]) == {"list": [1], "basket": {"tea": 2}}


async def test_rule_4_a_newer_value_replaces_an_older_object_whose_changes_are_reported(
    sessions: SessionManager, caplog: pytest.LogCaptureFixture
) -> None:
    token = await stored(sessions, cart=["a"], kept=0)
    session, other = await sessions.start(token), await sessions.start(token)
    cart = session[CART]
    other[CART].append("b")
    await other.save()
    session[KEPT] = 1
    await session.save()
    assert session[CART] == ["a", "b"]
    session.read_only = "the response has started"
    session.report()
    assert caplog.text == "", "nothing was lost so far"
    cart.append("c")
    session.report()
    assert "session['cart'] came too late" in caplog.text
    assert "sessions.edit" in caplog.text
    assert await values_of(sessions, token) == {"cart": ["a", "b"], "kept": 1}


@pytest.mark.parametrize("step", ["save", "rotate"])
async def test_rule_5_an_own_change_wins_over_an_earlier_change_of_the_same_key(
    sessions: SessionManager, step: str
) -> None:
    token = await stored(sessions, cart=["a"], user="bob")
    session, other = await sessions.start(token), await sessions.start(token)
    session[CART].append("mine")
    session[USER] = "mine"
    other[CART].append("theirs")
    other[USER] = "theirs"
    await other.save()
    await getattr(session, step)()
    await session.save()
    assert dict(session) == {"cart": ["a", "mine"], "user": "mine"}
    assert await values_of(sessions, session.cookie[0] if session.cookie else token) == dict(session)


async def test_rule_5_a_change_during_a_save_wins_over_an_earlier_change_of_the_same_key(
    sessions: SessionManager,
) -> None:
    token = await stored(sessions, a=0, b=0)
    session, other = await sessions.start(token), await sessions.start(token)
    session[A] = 1
    assert session[B] == 0
    other[B] = "theirs"
    await other.save()
    replace = sessions.store.replace

    async def change_meanwhile(*arguments: Any) -> bool:
        session[B] = "mine"
        return await replace(*arguments)

    sessions.store.replace = change_meanwhile  # type: ignore[assignment, method-assign]
    await session.save()
    await session.save()
    assert await values_of(sessions, token) == {"a": 1, "b": "mine"}


async def test_rule_1_a_default_that_was_read_after_a_deletion_is_not_stored(sessions: SessionManager) -> None:
    token = await stored(sessions, basket={"tea": 1}, kept=1)
    session = await sessions.start(token)
    del session[BASKET]
    assert session[BASKET] == {}
    await session.save()
    await session.save()
    assert await values_of(sessions, token) == {"kept": 1}


# Rule 11: records of other versions


async def test_rule_11_a_record_of_version_1_loads_and_can_be_changed(sessions: SessionManager) -> None:
    text = b'{"created_at":1.5,"expires_at":9000000000.5,"deadline":9000000000.5,"values":{"quote":"x","cart":[1]}}'
    await sessions.store.create(digest("A" * 43), text, 9e9)
    session = await sessions.start("A" * 43)
    assert (dict(session), session.created_at) == ({"quote": "x", "cart": [1]}, 1.5)
    session[CART].append(2)
    await session.save()
    assert await values_of(sessions, "A" * 43) == {"quote": "x", "cart": [1, 2]}


@pytest.mark.parametrize("step", ["save", "rotate", "renewal"])
async def test_rule_11_a_record_keeps_fields_that_this_version_does_not_know(
    sessions: SessionManager, step: str
) -> None:
    text = b'{"v":3,"created_at":1,"expires_at":9e9,"deadline":9e9,"values":{"kept":1},"later":{"a":[1.0]}}'
    await sessions.store.create(digest("A" * 43), text, 9e9)
    if step == "renewal":
        sessions.idle_timeout = 1000
    session = await sessions.start("A" * 43)
    session[NEW] = 1
    if step == "rotate":
        await session.rotate()
    await session.save()
    assert session.id
    record = msgspec.json.decode(await sessions.store.load(session.id) or b"")
    assert (record["v"], record["later"]) == (3, {"a": [1.0]})
    assert record["values"] == {"kept": 1, "new": 1}


# What people who know other sessions try


async def test_a_session_is_true_only_if_it_has_values(sessions: SessionManager) -> None:
    empty = await sessions.start()
    assert not empty
    assert empty[BASKET] == {}
    assert not empty, "reading a default stores no value"
    assert await sessions.start(await stored(sessions, kept=0))


async def test_the_truth_value_raises_an_error_while_the_store_is_down() -> None:
    sessions = SessionManager(store := BrokenStore())
    token = await stored(sessions, kept=1)
    store.broken = ("load",)
    session = await sessions.start(token)
    with pytest.raises(StoreUnavailable):
        bool(session)


async def test_clear_keeps_the_session_and_its_docstring_names_destroy(sessions: SessionManager) -> None:
    token = await stored(sessions, user="ada", cart=[])
    session = await sessions.start(token)
    session.clear()
    await session.save()
    assert (await values_of(sessions, token), session.cookie) == ({}, None)
    assert session.id == digest(token), "the session is still there"
    assert "destroy" in (Session.clear.__doc__ or "")


async def test_setdefault_stores_and_returns_the_value(sessions: SessionManager) -> None:
    session = await sessions.start()
    session.setdefault(LIST, []).append(1)
    session.setdefault(LIST, []).append(2)
    await session.save()
    assert session.cookie
    assert await values_of(sessions, session.cookie[0]) == {"list": [1, 2]}


async def test_the_update_operator_keeps_the_object(sessions: SessionManager) -> None:
    session = before = await sessions.start(await stored(sessions, a=1))
    session |= {A: 2, B: 3}
    assert session is before
    assert dict(session) == {"a": 2, "b": 3}


async def test_a_session_cannot_be_copied_but_its_values_can(sessions: SessionManager) -> None:
    session = await sessions.start(await stored(sessions, cart=[1]))
    for copied in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"Copy its values: copy.deepcopy\(dict\(session\)\)"):
            copied(session)
    values = copy.deepcopy(dict(session.items()))
    values[CART].append(2)
    assert session[CART] == [1]


async def test_json_dumps_accepts_the_values(sessions: SessionManager) -> None:
    session = await sessions.start(await stored(sessions, cart=[1], user="ada"))
    session[Key("new", JSON)] = {"a": None}
    assert json.loads(json.dumps(dict(session))) == {"cart": [1], "user": "ada", "new": {"a": None}}


async def test_two_tasks_of_a_request_may_both_save(sessions: SessionManager) -> None:
    token = await stored(sessions, kept=1)
    session = await sessions.start(token)

    async def branch(key: Key[Any]) -> None:
        session[key] = []
        await asyncio.sleep(0)
        session[key].append(1)
        await session.save()
        session[key].append(2)

    await asyncio.gather(branch(A), branch(B))
    await session.save()
    assert await values_of(sessions, token) == {"kept": 1, "a": [1, 2], "b": [1, 2]}


class SlowStore(MemoryStore):
    """Lets other tasks run before each call, and after it."""

    def __getattribute__(self, name: str) -> Any:
        method = object.__getattribute__(self, name)
        if name not in ("create", "replace", "delete"):
            return method

        async def call(*arguments: Any) -> Any:
            await asyncio.sleep(0.001)
            result = await method(*arguments)
            await asyncio.sleep(0.001)
            return result

        return call


@pytest.fixture
def slow_sessions() -> SessionManager:
    return SessionManager(SlowStore())


async def test_two_tasks_of_a_request_create_one_session(slow_sessions: SessionManager) -> None:
    session = await slow_sessions.start()

    async def branch(key: Key[Any]) -> None:
        session[key] = 1
        await session.save()

    await asyncio.gather(branch(A), branch(B))
    assert await slow_sessions.store.count() == 1
    assert session.cookie
    assert await values_of(slow_sessions, session.cookie[0]) == {"a": 1, "b": 1}


@pytest.mark.parametrize("order", ["rotate first", "save first"])
async def test_one_task_may_rotate_while_another_saves(slow_sessions: SessionManager, order: str) -> None:
    token = await stored(slow_sessions, kept=1)
    session = await slow_sessions.start(token)

    async def write() -> None:
        session[A] = 1
        await session.save()
        session[B] = 1

    branches = [session.rotate(), write()]
    await asyncio.gather(*(branches if order == "rotate first" else reversed(branches)))
    await session.save()
    assert session.cookie
    assert await values_of(slow_sessions, token) == {}
    assert await values_of(slow_sessions, session.cookie[0]) == {"kept": 1, "a": 1, "b": 1}
    assert await slow_sessions.store.count() == 1


@pytest.mark.parametrize("other", ["save", "rotate"])
async def test_one_task_may_destroy_while_another_saves_or_rotates(slow_sessions: SessionManager, other: str) -> None:
    session = await slow_sessions.start(await stored(slow_sessions, kept=1))
    session[A] = 1
    await asyncio.gather(getattr(session, other)(), session.destroy())
    assert (dict(session), session.id) == ({}, None)
    session[NEW] = 1
    await session.save()
    assert await slow_sessions.store.count() == 1
    assert session.cookie
    assert await values_of(slow_sessions, session.cookie[0]) == {"new": 1}


async def test_a_caught_session_ended_leaves_an_empty_session(sessions: SessionManager) -> None:
    token = await stored(sessions, user="ada")
    session, other = await sessions.start(token), await sessions.start(token)
    await other.destroy()
    session[OTHER] = 1
    with pytest.raises(SessionEnded):
        await session.save()
    assert dict(session) == {}, "nothing of the ended session is served"
    session[NEW] = 1
    await session.save()
    assert session.cookie
    assert session.cookie[0] != token
    assert await values_of(sessions, session.cookie[0]) == {"new": 1}


@pytest.mark.parametrize("call", ["save", "rotate", "destroy"])
async def test_rule_7_a_cancelled_call_leaves_nothing_locked(slow_sessions: SessionManager, call: str) -> None:
    token = await stored(slow_sessions, kept=1)
    for turns in range(6):
        session = await slow_sessions.start(token)
        session[A] = turns
        task = asyncio.create_task(getattr(session, call)())
        await asyncio.sleep(0.0005 * turns)
        task.cancel()
        await asyncio.wait([task])
        async with asyncio.timeout(5):
            if call == "destroy":
                await session.destroy()
                assert await values_of(slow_sessions, token) == {}
                token = await stored(slow_sessions, kept=1)
            else:
                await session.save()
                token = session.cookie[0] if session.cookie else token
                assert await values_of(slow_sessions, token) == {"kept": 1, "a": turns}


async def test_rule_9_a_cancelled_rotation_loses_nothing(sessions: SessionManager) -> None:
    token = await stored(sessions, kept=1)
    session = await sessions.start(token)
    delete, reached = sessions.store.delete, asyncio.Event()

    async def delete_and_hang(*arguments: Any) -> bool:
        await delete(*arguments)
        reached.set()
        await asyncio.sleep(60)
        return True

    sessions.store.delete = delete_and_hang  # type: ignore[assignment, method-assign]
    task = asyncio.create_task(session.rotate())
    await reached.wait()
    task.cancel()
    await asyncio.wait([task])
    session[NEW] = 1
    await session.save()
    assert session.cookie
    assert await values_of(sessions, session.cookie[0]) == {"kept": 1, "new": 1}


async def test_rule_8_a_destroy_that_fails_is_tried_again_with_the_response() -> None:
    sessions = SessionManager(store := BrokenStore())
    token = await stored(sessions, user="ada")
    session = await sessions.start(token)
    store.broken = ("delete",)
    with pytest.raises(StoreUnavailable):
        await session.destroy()
    store.broken = ()
    await session.save()
    assert (await values_of(sessions, token), session.cookie) == ({}, ("", 0))


async def test_a_read_only_session_can_be_saved_if_nothing_changed(sessions: SessionManager) -> None:
    session = await sessions.start(await stored(sessions, cart=[]))
    session.read_only = "the response has started"
    await session.save()
    session[CART].append(1)
    with pytest.raises(SessionReadOnly, match="cart"):
        await session.save()


async def test_rule_3_at_most_four_distinct_candidates_are_tried_in_the_order_sent(sessions: SessionManager) -> None:
    valid, second = await stored(sessions, n=1), await stored(sessions, n=2)
    unknown = [character * 43 for character in "ABCDE"]
    sessions.store = counting = CountingStore(sessions.store)

    async def opened(*tokens: str) -> tuple[Any, int]:
        counting.calls.clear()
        session = await sessions.start(*tokens)
        return session.get(VALUE if "value" in session else Key("n", JSON)), len(counting.calls)

    assert await opened(unknown[0], valid) == (1, 2)
    assert await opened(*unknown[:3], valid) == (1, 4)
    assert await opened(*unknown[:4], valid) == (None, 4), "the fifth is ignored"
    assert await opened(*[unknown[0]] * 9, valid) == (1, 2), "repetitions do not count"
    assert await opened("x", "", "é" * 43, "A" * 44, "A" * 3000, valid) == (1, 1), "malformed ones do not count"
    assert await opened(second, valid) == (2, 1), "the first that is known wins"
    assert await opened(valid, second) == (1, 1)


async def test_rule_3_a_store_failure_at_any_candidate_is_an_error() -> None:
    sessions = SessionManager(store := BrokenStore())
    valid = await stored(sessions, n=1)
    load, calls = store.load, 0

    async def fail_at_the_second(session_id: str) -> bytes | None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise StoreUnavailable("broken")
        return await load(session_id)

    store.load = fail_at_the_second  # type: ignore[method-assign]
    session = await sessions.start("A" * 43, valid)
    with pytest.raises(StoreUnavailable):
        session.get(A)


async def test_pop_prefers_the_given_default_to_the_keys_default() -> None:
    session = await SessionManager(MemoryStore()).start()
    key = Key("popped", str, default="the key's own")
    assert session.pop(key, "given") == "given"
    assert session.pop(key) == "the key's own"
    session[key] = "stored"
    assert session.pop(key, "given") == "stored"
    assert key not in session


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda key: pickle.loads(pickle.dumps(key))])  # noqa: S301
@pytest.mark.parametrize("key", [Key("cart", dict[str, int], default={}), Key("name", str)])
def test_a_key_can_be_copied(copied: Callable[[Any], Any], key: Any) -> None:
    """This happens when a module's constants, or a dataclass that holds a key, are copied."""
    copy_of_key = copied(key)
    assert (type(copy_of_key), copy_of_key, vars(copy_of_key)) == (Key, key, vars(key))
