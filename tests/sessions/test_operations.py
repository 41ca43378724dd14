"""Rules 16 and 17: listeners, and what operators do to sessions, as functions and from the shell."""

import asyncio
import logging
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from litestar import Litestar
from litestar.events import EventListener, listener

from app.sessions import SessionManager, StoreUnavailable
from app.sessions.records import digest
from app.settings import PROJECT
from tests.sessions.helpers import stored, values_of


@pytest.fixture
def heard(app: Litestar) -> list[tuple[str, str]]:
    """A listener added while the app runs hears later events."""
    events: list[tuple[str, str]] = []

    @listener("session_destroyed")
    async def hear(session_id: str, reason: str, new_id: str | None) -> None:
        assert (new_id is not None) == (reason == "rotated")
        events.append((session_id, reason))

    app.event_emitter.listeners["session_destroyed"].add(hear)
    return events


async def test_rule_16_listeners_hear_of_every_end_once(sessions: SessionManager, heard: list[tuple[str, str]]) -> None:
    first = await sessions.start(await stored(sessions, n=1))
    second = await sessions.start(await stored(sessions, n=2))
    again = await sessions.start(await stored(sessions, n=3))
    ids = [first.id, second.id, again.id]
    await first.destroy()
    await first.destroy()
    await second.rotate()
    assert again.id
    await sessions.destroy(again.id)
    await again.destroy()
    await asyncio.sleep(0.05)
    assert heard == [(ids[0], "destroyed"), (ids[1], "rotated"), (ids[2], "destroyed")]


async def test_rule_16_a_listener_can_be_removed(
    app: Litestar, sessions: SessionManager, heard: list[tuple[str, str]]
) -> None:
    listeners: set[EventListener] = app.event_emitter.listeners["session_destroyed"]
    listeners.clear()
    await (await sessions.start(await stored(sessions, n=1))).destroy()
    await asyncio.sleep(0.05)
    assert heard == []


async def test_rule_16_a_listener_that_fails_affects_nothing_else(
    app: Litestar, sessions: SessionManager, heard: list[tuple[str, str]]
) -> None:
    @listener("session_destroyed")
    async def fail(session_id: str, reason: str, new_id: str | None) -> None:  # noqa: ARG001
        raise RuntimeError(session_id, reason)

    app.event_emitter.listeners["session_destroyed"].add(fail)
    for n in range(3):
        await (await sessions.start(await stored(sessions, n=n))).destroy()
    await asyncio.sleep(0.05)
    assert len(heard) == 3


@pytest.mark.parametrize(
    "store_url", ["memory", "sqlite"], indirect=True
)  # Redis expires them by itself and tells nobody
async def test_rule_16_a_sweep_waits_for_the_listeners(sessions: SessionManager, heard: list[tuple[str, str]]) -> None:
    """Otherwise the events of a large sweep would pile up, and the app could not stop in time."""
    for number in range(300):
        await sessions.store.create(digest(str(number)), b"x", time.time() - 1)

    async def keep_busy() -> None:
        while True:
            time.sleep(0.002)  # as the requests of many visitors do
            await asyncio.sleep(0)

    busy = asyncio.create_task(keep_busy())
    assert await sessions.flush() == 300
    assert len(heard) > 270
    busy.cancel()


@pytest.mark.parametrize("store_url", ["memory", "sqlite"], indirect=True)
async def test_rule_16_a_cancelled_sweep_has_announced_what_it_removed(
    sessions: SessionManager, heard: list[tuple[str, str]]
) -> None:
    for number in range(300):
        await sessions.store.create(digest(str(number)), b"x", time.time() - 1)
    before = await sessions.store.count()
    sweep = asyncio.create_task(sessions.flush())
    await asyncio.sleep(0.004)
    sweep.cancel()
    removed = before - await sessions.store.count()
    for _ in range(100):  # 5 s: Litestar starts the listeners one by one
        if len(heard) == removed:
            break
        await asyncio.sleep(0.05)
    assert len(heard) == removed


async def test_rule_16_unknown_and_malformed_tokens_are_logged_as_hashes_and_rarely(
    sessions: SessionManager, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(50):
        await sessions.start(f"{n:043}")
        await sessions.start("malformed")
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert digest("0" * 43) in warnings[0]
    assert "0" * 43 not in caplog.text


async def test_rule_17_find_returns_a_session_by_its_id(sessions: SessionManager) -> None:
    token = await stored(sessions, text="x")
    found = await sessions.find(digest(token))
    assert found.id == digest(token)
    assert found.created_at == pytest.approx(time.time(), abs=5)
    assert found.expires_at == pytest.approx(time.time() + sessions.lifetime, abs=5)
    assert found.remaining == pytest.approx(sessions.lifetime, abs=5)
    assert found.cookie is None
    with pytest.raises(LookupError):
        await sessions.find(digest("nobody"))


async def test_rule_17_destroy_ends_a_session_by_its_id(sessions: SessionManager) -> None:
    token = await stored(sessions, n=1)
    await sessions.destroy(digest(token))
    assert await values_of(sessions, token) == {}
    with pytest.raises(LookupError):
        await sessions.destroy(digest(token))


async def test_rule_17_destroying_an_expired_session_is_an_error(
    sessions: SessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await stored(sessions, n=1)
    later = time.time() + sessions.lifetime
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(LookupError):
        await sessions.destroy(digest(token))


async def test_rule_12_an_intermittent_outage_is_logged_once(
    sessions: SessionManager, caplog: pytest.LogCaptureFixture
) -> None:
    token = await stored(sessions, n=1)
    load, calls = sessions.store.load, 0

    async def fail_every_second_time(session_id: str) -> bytes | None:
        nonlocal calls
        calls += 1
        if calls % 2:
            raise StoreUnavailable("half of it is gone")
        return await load(session_id)

    sessions.store.load = fail_every_second_time  # type: ignore[method-assign]
    for _ in range(20):
        await sessions.start(token)
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1
    assert "half of it is gone" in caplog.text


async def test_rule_17_operations_raise_an_error_when_the_store_fails(sessions: SessionManager) -> None:
    async def fail(*_: object) -> bool:
        raise StoreUnavailable("gone")

    token = await stored(sessions, n=1)
    sessions.store.delete = fail  # type: ignore[assignment, method-assign]
    with pytest.raises(StoreUnavailable):
        await sessions.destroy(digest(token))


def shell(store_url: str, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SESSION_STORE": store_url, "NO_COLOR": "1", "COLUMNS": "200"}
    program = str(Path(sys.executable).parent / "litestar")
    return subprocess.run(
        [program, "sessions", *command],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_rule_17_the_commands_work_from_the_shell(sessions: SessionManager, store_url: str) -> None:
    if store_url == "memory://":
        counted = shell(store_url, "count")
        assert counted.stdout == "0\n"  # another process, so another store
        assert "this command sees none of the app's" in counted.stderr
        return
    token = await stored(sessions, text="secret")
    session_id = digest(token)

    async def run(*command: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(shell, store_url, *command)

    assert (await run("count")).stdout == "1\n"
    shown = (await run("show", session_id)).stdout
    assert re.search(rf"id +{session_id}\ncreated_at +\S+ \S+ UTC\nexpires_at +\S+ \S+ UTC\nremaining +\d+ s\n", shown)
    assert "secret" not in shown
    assert (await run("flush")).stdout == "removed 0\n"
    destroyed = await run("destroy", session_id)
    assert destroyed.stdout == f"destroyed {session_id}\n", destroyed.stderr
    assert await values_of(sessions, token) == {}
    for command in ("show", "destroy"):
        failed = await run(command, session_id)
        assert failed.returncode == 1
        assert "there is no session" in failed.stderr
        assert "Traceback" not in failed.stderr


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
async def test_rule_17_the_shell_says_what_is_wrong_with_the_store(scheme: str) -> None:
    result = await asyncio.to_thread(shell, f"{scheme}://127.0.0.1:1", "count")
    assert result.returncode == 1
    assert "Connect" in result.stderr
    assert "Traceback" not in result.stderr
