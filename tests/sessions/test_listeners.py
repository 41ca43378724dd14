"""Rule 16: what listeners hear. Those that hang, fail or are cancelled harm neither requests nor the stop."""

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from litestar import Litestar, post
from litestar.di import NamedDependency
from litestar.events import listener

from app.sessions import Session, SessionManager, StoreUnavailable
from app.sessions.litestar import SessionPlugin, SessionRequest
from app.sessions.memory import MemoryStore
from app.sessions.records import digest
from tests.sessions.helpers import KEPT, NEW, USER, BrokenStore, site, stored, values_of
from tests.support import END, TEXT, UPDATE, Server, wait_until

Heard = list[tuple[str, str, str | None]]


@pytest.fixture
def sessions() -> SessionManager:
    return SessionManager(MemoryStore())


@pytest.fixture
def heard(sessions: SessionManager) -> Heard:
    events: Heard = []

    async def hear(session_id: str, reason: str, new_id: str | None) -> None:
        events.append((session_id, reason, new_id))

    sessions.events.listeners.append(hear)
    return events


async def hang(*_: object) -> None:
    await asyncio.Event().wait()


async def resist(*_: object) -> None:
    """Be cancelled once without ending."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.sleep(0.2)


async def fail(*_: object) -> None:
    raise RuntimeError("the listener's own")


async def fail_in_time(*_: object) -> None:
    async with asyncio.timeout(0.001):
        await asyncio.Event().wait()


async def raise_cancelled(*_: object) -> None:
    raise asyncio.CancelledError


async def cancel_itself(*_: object) -> None:
    task = asyncio.current_task()
    assert task
    task.cancel()
    await asyncio.sleep(0)


def no_coroutine(*_: object) -> None:
    """A listener that is not async. Type checkers would report it."""


def wrong_parameters() -> None:
    """A listener with the wrong parameters."""


BAD: list[Any] = [hang, resist, fail, fail_in_time, raise_cancelled, cancel_itself, no_coroutine, wrong_parameters]


async def test_rule_16_listeners_hear_the_id_the_reason_and_the_new_id(sessions: SessionManager, heard: Heard) -> None:
    one, two, three = [await sessions.start(await stored(sessions, n=n)) for n in range(3)]
    first, second, third = one.id, two.id, three.id
    await one.destroy()
    await two.rotate()
    assert second
    assert two.id != second
    rotated = two.id
    await two.rotate()
    sessions.lifetime = -1
    expired = digest(await stored(sessions, n=4))
    await sessions.flush()
    assert third
    await sessions.destroy(third)
    await sessions.events.wait(5)
    assert heard == [
        (first, "destroyed", None),
        (second, "rotated", rotated),
        (rotated, "rotated", two.id),
        (expired, "expired", None),
        (third, "destroyed", None),
    ]


async def test_rule_16_ends_by_clear_session_and_edit_are_announced_once() -> None:
    @post("/", status_code=200)
    async def log_in(request: SessionRequest) -> str:
        request.clear_session()
        request.clear_session()
        request.set_session({"user": "ada"})
        return "done"

    events: Heard = []

    @listener("session_destroyed")
    async def hear(session_id: str, reason: str, new_id: str | None) -> None:
        events.append((session_id, reason, new_id))

    async with site(log_in, listeners=[hear]) as app:
        client = await app.visitor(kept=1)
        session_id = digest(client.cookies["session"])
        await client.post("/")
        other = digest(await stored(app.sessions, kept=1))
        async with app.sessions.edit(other) as session:
            await session.destroy()
        await app.sessions.events.wait(5)
        assert events == [(session_id, "destroyed", None), (other, "destroyed", None)]


async def test_rule_16_a_failed_end_is_not_announced() -> None:
    store = BrokenStore()
    sessions = SessionManager(store)
    events: Heard = []

    async def hear(session_id: str, reason: str, new_id: str | None) -> None:
        events.append((session_id, reason, new_id))

    sessions.events.listeners.append(hear)
    session = await sessions.start(await stored(sessions, kept=1))
    store.broken = ("delete",)
    for call in (session.rotate, session.destroy):
        with pytest.raises(StoreUnavailable):
            await call()
    await sessions.events.wait(5)
    assert events == []


@pytest.mark.parametrize("bad", BAD)
async def test_rule_16_a_bad_listener_harms_no_request_and_no_other_listener(
    sessions: SessionManager, heard: Heard, bad: Any
) -> None:
    sessions.events.listeners.insert(0, bad)
    async with asyncio.timeout(5):
        for number in range(3):
            session = await sessions.start(await stored(sessions, n=number))
            await session.rotate()
            await session.destroy()
        await asyncio.sleep(0.01)
    assert [reason for _, reason, _ in heard] == ["rotated", "destroyed"] * 3
    await sessions.events.stop()


@pytest.mark.parametrize("bad", BAD)
async def test_rule_16_a_bad_listener_does_not_delay_the_stop(
    bad: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.sessions.events.STOP_TIMEOUT", 0.1)
    closed: list[bool] = []

    class Store(MemoryStore):
        async def close(self) -> None:
            closed.append(True)

    sessions = SessionManager(Store())
    sessions.events.listeners.append(bad)
    async with asyncio.timeout(5):
        async with sessions.running():
            await (await sessions.start(await stored(sessions, n=1))).destroy()
    assert closed == [True]
    assert [record for record in caplog.records if record.levelno >= logging.ERROR and record.name == "asyncio"] == []


async def test_rule_16_the_stop_lets_a_listener_finish_what_it_began(sessions: SessionManager) -> None:
    finished: list[str] = []

    async def take_a_moment(session_id: str, reason: str, new_id: str | None) -> None:  # noqa: ARG001
        await asyncio.sleep(0.1)
        finished.append(reason)

    sessions.events.listeners.append(take_a_moment)
    async with sessions.running():
        await (await sessions.start(await stored(sessions, n=1))).destroy()
    assert finished == ["destroyed"]


async def test_rule_16_a_listener_that_hangs_is_cancelled_and_named(
    sessions: SessionManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.sessions.events.LISTENER_TIMEOUT", 0.05)
    sessions.events.listeners += [hang, fail, fail_in_time]
    await (await sessions.start(await stored(sessions, n=1))).destroy()
    await sessions.events.wait(5)
    messages = [record.getMessage() for record in caplog.records]
    assert sum("took longer than 0.05 s and was cancelled: <function hang" in message for message in messages) == 1
    assert sum("A listener failed: <function fail at" in message for message in messages) == 1
    assert sum("A listener failed: <function fail_in_time" in message for message in messages) == 1
    assert len(messages) == 3


@pytest.mark.full
async def test_rule_16_a_listener_that_hangs_delays_a_sweep_but_does_not_stop_it(sessions: SessionManager) -> None:
    sessions.events.listeners.append(hang)
    sessions.lifetime = -1
    for number in range(150):
        await stored(sessions, n=number)
    async with asyncio.timeout(20):
        assert await sessions.flush() == 150
    await sessions.events.stop()


async def test_rule_16_a_listener_may_use_the_sessions(sessions: SessionManager) -> None:
    """Listeners get the new id of a rotation, so they can update ids kept elsewhere, or change the session."""

    async def note(session_id: str, reason: str, new_id: str | None) -> None:
        if new_id:
            async with sessions.edit(new_id) as session:
                session[NEW] = [session_id, reason]

    sessions.events.listeners.append(note)
    session = await sessions.start(await stored(sessions, user="ada"))
    old = session.id
    session[KEPT] = 1
    await session.rotate()
    await sessions.events.wait(5)
    await session.save()
    assert session.cookie
    assert await values_of(sessions, session.cookie[0]) == {"user": "ada", "kept": 1, "new": [old, "rotated"]}


@asynccontextmanager
async def litestar_site(*listeners: Any) -> AsyncIterator[Any]:
    async with site(log_out, listeners=list(listeners)) as app:
        yield app


@post("/logout", status_code=200)
async def log_out(session: NamedDependency[Session]) -> str:
    await session.destroy()
    return "bye"


@pytest.mark.parametrize("bad", [hang, resist, fail, fail_in_time, raise_cancelled, cancel_itself])
async def test_rule_16_a_bad_litestar_listener_harms_no_other_listener(
    bad: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.sessions.events.STOP_TIMEOUT", 0.1)
    events: list[str] = []

    async def call_bad(session_id: str, reason: str, new_id: str | None) -> None:  # noqa: ARG001
        await bad()

    async def hear(session_id: str, reason: str, new_id: str | None) -> None:  # noqa: ARG001
        events.append(session_id)

    async with asyncio.timeout(10):
        async with litestar_site(listener("session_destroyed")(call_bad), listener("session_destroyed")(hear)) as app:
            ids = []
            for number in range(3):
                client = await app.visitor(n=number)
                ids.append(digest(client.cookies["session"]))
                assert (await client.post("/logout")).status_code == 200
            await asyncio.sleep(0.05)
            assert events == ids


async def test_rule_16_a_litestar_listener_that_hangs_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.sessions.events.LISTENER_TIMEOUT", 0.05)

    async def wait_forever(session_id: str, reason: str, new_id: str | None) -> None:  # noqa: ARG001
        await hang()

    async with litestar_site(listener("session_destroyed")(wait_forever)) as app:
        await (await app.visitor(n=1)).post("/logout")
        await app.sessions.events.wait(5)
    assert "took longer than 0.05 s and was cancelled" in caplog.text


async def test_rule_16_an_app_that_starts_again_announces_each_end_once() -> None:
    events: list[str] = []

    @listener("session_destroyed")
    async def hear(session_id: str, reason: str, new_id: str | None) -> None:  # noqa: ARG001
        events.append(session_id)

    plugin = SessionPlugin("memory://")
    app = Litestar([log_out], plugins=[plugin], listeners=[hear], logging_config=None)
    for number in (1, 2):
        async with app.lifespan():
            session = await plugin.sessions.start(await stored(plugin.sessions, n=number))
            session[USER] = "ada"
            await session.destroy()
            await plugin.sessions.events.wait(5)
            assert len(events) == number


@pytest.mark.full
@pytest.mark.parametrize("last_request", ["before the stop", "long before the stop"])
def test_rule_16_on_a_real_server_bad_listeners_harm_neither_requests_nor_the_stop(
    start_server: Callable[..., Server], last_request: str
) -> None:
    server = start_server(app="tests.sessions.listeners_app:app")
    client = server.client()
    for _ in range(5):
        assert client.put(UPDATE, content="a", headers=TEXT).status_code == 200
        assert client.post(END).status_code == 200
    wait_until(lambda: len(client.get("/started").json()) == 20)
    if last_request != "before the stop":
        time.sleep(0.5)
    started = time.monotonic()
    server.stop(signal.SIGTERM)
    assert time.monotonic() - started < 12, "the stop takes about 5 s"
    assert server.process
    assert server.process.returncode in (0, -signal.SIGTERM)
    server.wait_for_log("the listener's own")
    server.wait_for_log("Application shutdown complete")


async def test_rule_16_the_stop_cancels_a_listener_that_hangs_before_it_closes_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.sessions.events.STOP_TIMEOUT", 0.1)
    happened: list[str] = []

    class Store(MemoryStore):
        async def close(self) -> None:
            happened.append("closed")

    async def wait_forever(*_: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            happened.append("cancelled")

    sessions = SessionManager(Store())
    sessions.events.listeners.append(wait_forever)
    async with sessions.running():
        await (await sessions.start(await stored(sessions, n=1))).destroy()
    assert happened == ["cancelled", "closed"]


async def test_rule_16_the_stop_waits_for_a_listener_beside_one_that_is_cancelled() -> None:
    finished: list[str] = []

    @listener("session_destroyed")
    async def cancelled(session_id: str, reason: str, new_id: str | None) -> None:  # noqa: ARG001
        raise asyncio.CancelledError

    @listener("session_destroyed")
    async def take_a_moment(session_id: str, reason: str, new_id: str | None) -> None:  # noqa: ARG001
        await asyncio.sleep(0.1)
        finished.append(reason)

    async with litestar_site(cancelled, take_a_moment) as app:
        await (await app.visitor(n=1)).post("/logout")
    assert finished == ["destroyed"]
