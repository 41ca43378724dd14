"""Rule 10: the idle timeout and the sweep. The absolute lifetime is in test_sessions.py."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from app.sessions import SessionManager, StoreUnavailable, open_store
from app.sessions.records import digest
from app.sessions.sqlite import SQLiteStore
from app.settings import PROJECT
from tests.sessions.helpers import OTHER, QUOTE, CountingStore, stored, values_of

IDLE = 1000


class Clock:
    def __init__(self) -> None:
        self.offset = 0.0
        self.real = time.time

    def __call__(self) -> float:
        return self.real() + self.offset


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


@pytest.fixture
def idle_sessions(sessions: SessionManager) -> SessionManager:
    sessions.idle_timeout = IDLE
    return sessions


async def test_rule_10_a_session_that_nobody_uses_ends(idle_sessions: SessionManager, clock: Clock) -> None:
    token = await stored(idle_sessions, quote="x")
    clock.offset = IDLE - 5
    assert await values_of(idle_sessions, token) == {"quote": "x"}
    clock.offset = 2 * IDLE - 10
    assert await values_of(idle_sessions, token) == {"quote": "x"}, "the previous request moved the deadline"
    clock.offset = 3 * IDLE
    assert await values_of(idle_sessions, token) == {}


async def test_rule_10_a_renewal_happens_once_per_tenth_of_the_idle_time(
    idle_sessions: SessionManager, clock: Clock
) -> None:
    token = await stored(idle_sessions, quote="x")
    counting = CountingStore(idle_sessions.store)
    idle_sessions.store = counting
    trips = []
    for offset in (50, 95, 105, 110, 190, 230):
        clock.offset = offset
        counting.calls.clear()
        session = await idle_sessions.start(token)
        await session.save()
        assert session.cookie is None, "a renewal sets no cookie"
        trips.append(counting.calls.copy())
    read, renewal = ["load"], ["load", "replace"]
    assert trips == [read, read, renewal, read, read, renewal]


async def test_rule_10_a_renewal_does_not_extend_the_absolute_lifetime(
    idle_sessions: SessionManager, clock: Clock
) -> None:
    idle_sessions.lifetime = 1500
    token = await stored(idle_sessions, quote="x")
    clock.offset = 900
    assert await values_of(idle_sessions, token) == {"quote": "x"}
    clock.offset = 1495
    session = await idle_sessions.start(token)
    assert dict(session) == {"quote": "x"}
    assert session.remaining < 10
    clock.offset = 1501
    assert await values_of(idle_sessions, token) == {}


async def test_rule_10_a_renewal_does_not_revive_an_ended_session(idle_sessions: SessionManager, clock: Clock) -> None:
    token = await stored(idle_sessions, quote="x")
    clock.offset = 500
    real_replace = idle_sessions.store.replace

    async def destroyed_meanwhile(*arguments: object) -> bool:
        assert await idle_sessions.store.delete(digest(token))
        return await real_replace(*arguments)  # type: ignore[arg-type]

    idle_sessions.store.replace = destroyed_meanwhile  # type: ignore[assignment, method-assign]
    await idle_sessions.start(token)
    assert await idle_sessions.store.load(digest(token)) is None


async def test_rule_10_a_renewal_that_fails_does_not_fail_the_request(
    idle_sessions: SessionManager, clock: Clock
) -> None:
    token = await stored(idle_sessions, quote="x")
    clock.offset = 500

    async def fail(*_: object) -> bool:
        raise StoreUnavailable("read-only")

    idle_sessions.store.replace = fail  # type: ignore[assignment, method-assign]
    assert await values_of(idle_sessions, token) == {"quote": "x"}


async def test_rule_10_a_renewal_that_hangs_delays_the_request_by_a_second_at_most(
    idle_sessions: SessionManager, clock: Clock
) -> None:
    token = await stored(idle_sessions, quote="x")
    clock.offset = 500

    async def hang(*_: object) -> bool:
        await asyncio.sleep(60)
        return True

    idle_sessions.store.replace = hang  # type: ignore[assignment, method-assign]
    started = time.monotonic()
    assert await values_of(idle_sessions, token) == {"quote": "x"}
    assert time.monotonic() - started < 1.5


async def test_rule_10_a_save_that_races_a_renewal_is_not_lost(idle_sessions: SessionManager, clock: Clock) -> None:
    token = await stored(idle_sessions, quote="x")
    slow = await idle_sessions.start(token)
    clock.offset = 500
    await idle_sessions.start(token)  # renews
    slow[QUOTE] = "y"
    await slow.save()
    assert await values_of(idle_sessions, token) == {"quote": "y"}


async def test_rule_10_a_slow_request_does_not_end_a_session_that_others_kept_alive(
    idle_sessions: SessionManager, clock: Clock
) -> None:
    token = await stored(idle_sessions, quote="x")
    slow = await idle_sessions.start(token)
    clock.offset = IDLE - 10
    await idle_sessions.start(token)  # renews
    clock.offset = IDLE + 10
    slow[OTHER] = 1
    await slow.save()
    assert await values_of(idle_sessions, token) == {"quote": "x", "other": 1}


async def test_rule_10_a_changed_idle_timeout_applies_from_the_next_request(
    sessions: SessionManager, clock: Clock
) -> None:
    token = await stored(sessions, quote="x")
    sessions.idle_timeout = IDLE
    await sessions.start(token)
    clock.offset = IDLE - 5
    sessions.idle_timeout = None
    await sessions.start(token)
    clock.offset = 10 * IDLE
    assert await values_of(sessions, token) == {"quote": "x"}


async def test_rule_10_the_sweep_removes_expired_sessions_and_announces_each_once(
    sessions: SessionManager, store_url: str
) -> None:
    heard: list[tuple[str, str]] = []

    async def hear(session_id: str, reason: str, _: str | None) -> None:
        heard.append((session_id, reason))

    sessions.events.listeners.append(hear)
    sessions.lifetime = 1
    short = [digest(await stored(sessions, n=n)) for n in range(250)]
    sessions.lifetime = 100
    living = await stored(sessions, quote="x")
    others = [SessionManager(open_store(store_url) if "sqlite" in store_url else sessions.store) for _ in range(3)]
    for other in others:
        other.events.listeners.append(hear)
    await asyncio.sleep(1.2)
    removed = await asyncio.gather(*(manager.flush() for manager in (sessions, *others)))
    assert await sessions.store.count() == 1
    assert await values_of(sessions, living) == {"quote": "x"}
    if "redis" in store_url:
        assert (removed, heard) == ([0, 0, 0, 0], []), "Redis expires keys by itself"
    else:
        assert sum(removed) == 250
        assert sorted(heard) == sorted((session_id, "expired") for session_id in short)
    for other in others[: 3 if "sqlite" in store_url else 0]:
        await other.store.close()


def test_rule_10_processes_that_sweep_at_once_report_each_session_once(tmp_path: Path) -> None:
    """They start at the same time, when a file appears, with hundreds of expired sessions."""
    program = """
import asyncio, sys, time
from pathlib import Path
from app.sessions import SessionManager
from app.sessions.sqlite import SQLiteStore

async def show(session_id, reason, new_id):
    print(session_id)

async def main():
    database, go = map(Path, sys.argv[1:])
    sessions = SessionManager(SQLiteStore(database))
    sessions.events.listeners.append(show)
    print("ready", file=sys.stderr, flush=True)
    while not go.exists():
        time.sleep(0.001)
    await sessions.flush()

asyncio.run(main())
"""
    database, go = tmp_path / "sessions.sqlite3", tmp_path / "go"
    store = SQLiteStore(database)
    store.verify()
    ids = {f"{n:064}" for n in range(900)}
    with closing(sqlite3.connect(database)) as db:
        db.executemany("INSERT INTO sessions VALUES (?, x'00', 1)", [(session_id,) for session_id in ids])
        db.commit()
    sweepers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(database), str(go)],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for sweeper in sweepers:
        assert sweeper.stderr
        assert sweeper.stderr.readline() == "ready\n"
    go.touch()
    heard = [sweeper.communicate(timeout=30)[0].split() for sweeper in sweepers]
    assert [sweeper.returncode for sweeper in sweepers] == [0, 0, 0]
    assert sum(map(len, heard)) == len(ids)
    assert set().union(*heard) == ids
    assert sum(bool(one) for one in heard) > 1, "if only one process swept, this shows nothing"


async def test_rule_17_a_second_flush_while_one_runs_is_ignored(sessions: SessionManager) -> None:
    sweeps = 0

    async def sweep(_now: float, _limit: int) -> list[str]:
        nonlocal sweeps
        sweeps += 1
        await asyncio.sleep(0.05)
        return []

    sessions.store.sweep = sweep  # type: ignore[assignment, method-assign]
    assert list(await asyncio.gather(sessions.flush(), sessions.flush(), sessions.flush())) == [0, 0, 0]
    assert sweeps == 1
    await sessions.flush()
    assert sweeps == 2


@pytest.mark.parametrize("failure", [StoreUnavailable("gone"), KeyError("a bug")])
async def test_rule_10_the_sweep_goes_on_after_the_store_has_failed(
    sessions: SessionManager, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    monkeypatch.setattr("app.sessions.manager.SWEEP_INTERVAL", 0.01)
    calls = 0

    async def sweep(_now: float, _limit: int) -> list[str]:
        nonlocal calls
        calls += 1
        raise failure

    sessions.store.sweep = sweep  # type: ignore[assignment, method-assign]
    sweeper = asyncio.create_task(sessions.sweep_forever())
    async with asyncio.timeout(10):
        while calls <= 2:
            await asyncio.sleep(0.01)
    sweeper.cancel()
