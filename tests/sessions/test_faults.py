"""Real faults: kill -9, a locked file, a full disk, a broken file."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from app.sessions.records import digest
from app.settings import PROJECT
from tests.sessions.helpers import locked
from tests.support import (
    BROWSER,
    DEFAULT,
    END,
    FORM,
    HOME,
    TEXT,
    UPDATE,
    HeldRequest,
    Server,
    shown_text,
    token_of,
    wait_until,
)

StartServer = Callable[..., Server]


def break_record(server: Server, token: str, record: object) -> None:
    with closing(sqlite3.connect(server.database, isolation_level=None)) as db:
        assert db.execute("UPDATE sessions SET record = ? WHERE id = ?", (record, digest(token))).rowcount == 1


@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=pytest.mark.full)])
def test_rule_7_every_acknowledged_save_survives_kill_9(start_server: StartServer, rounds: int) -> None:
    """Kill two workers under many saves with `kill -9`, repeatedly, on the same file."""
    server = start_server(workers=2)
    visitors = [server.visitor("start") for _ in range(8)]
    tokens = [token_of(visitor) for visitor in visitors]
    acknowledged, tried = ["start"] * len(tokens), ["start"] * len(tokens)
    for round_number in range(rounds):
        saves = [0] * len(tokens)

        def storm(n: int, round_number: int = round_number, saves: list[int] = saves) -> None:
            with server.client(tokens[n]) as client:
                while True:
                    tried[n] = f"{round_number}.{saves[n]}"
                    try:
                        if client.put(UPDATE, content=tried[n], headers=TEXT, timeout=5).status_code == 200:
                            acknowledged[n] = tried[n]
                            saves[n] += 1
                    except httpx.TransportError:
                        break

        with ThreadPoolExecutor(len(tokens)) as pool:
            storms = [pool.submit(storm, n) for n in range(len(tokens))]
            wait_until(lambda saves=saves: sum(saves) >= 30)  # type: ignore[misc]
            server.stop(signal_number=9)
            for done in storms:
                done.result()
        server.start()
        for n, token in enumerate(tokens):
            # The one save that was under way may or may not have been stored; none before it may be missing.
            shown = shown_text(server.client(token).get(HOME).text)
            assert shown in (acknowledged[n], tried[n])
            acknowledged[n] = shown


def test_rule_12_a_locked_file_delays_only_saves(start_server: StartServer) -> None:
    server = start_server()
    visitor = server.visitor("old")
    token = token_of(visitor)
    prompt: list[float] = []
    with ThreadPoolExecutor(10) as pool, locked(server.database):
        saves = [pool.submit(server.client(token).put, UPDATE, content=f"{n}", headers=TEXT) for n in range(5)]
        stranger = server.client()
        for _ in range(20):
            before = time.monotonic()
            assert stranger.get(HOME).status_code == 200
            assert stranger.get("/health").status_code == 200
            assert stranger.get("/sample/session").status_code == 200
            assert visitor.get(HOME).status_code == 200, "in WAL mode, not even readers with a session wait"
            prompt.append((time.monotonic() - before) / 4)
        assert not any(save.done() for save in saves)
    assert {save.result().status_code for save in saves} == {200}, "they waited, and succeeded"
    assert max(prompt) < 0.25


@pytest.mark.full
def test_rule_12_a_file_that_stays_locked_causes_a_503_within_5_seconds(start_server: StartServer) -> None:
    server = start_server()
    visitor = server.visitor("old")
    with locked(server.database):
        started = time.monotonic()
        answer = visitor.put(UPDATE, content="new", headers=TEXT)
        assert 2 < time.monotonic() - started < 5, "it waited for the lock first"
        page = visitor.post(UPDATE, data={"text": "my words"}, headers=BROWSER)
        destroy = visitor.post(END)
    for response in (answer, page, destroy):
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        assert "set-cookie" not in response.headers
    assert shown_text(page.text) == "my words"
    assert "may or may not have been saved" in answer.text
    assert shown_text(visitor.get(HOME).text) == "old"
    assert visitor.put(UPDATE, content="new", headers=TEXT).status_code == 200, "it recovers without a restart"
    server.wait_for_log("The session store fails")
    assert server.log.count("The session store fails") == 1, "one line per outage, not per request"
    assert "Traceback" not in server.log


@pytest.mark.full
def test_rule_12_no_request_waits_longer_than_5_seconds_for_load_and_save_together(start_server: StartServer) -> None:
    server = start_server()
    visitor = server.visitor("old")
    server.stop()
    with closing(sqlite3.connect(server.database, isolation_level=None)) as db:
        # An exclusive lock outside WAL mode keeps readers out, too.
        db.execute("PRAGMA journal_mode = DELETE")
    server.start()
    with locked(server.database, "EXCLUSIVE"):
        stranger = server.client()
        for path, status in [(HOME, 200), ("/sample/session", 200)]:
            started = time.monotonic()
            assert stranger.get(path).status_code == status
            assert time.monotonic() - started < 1
        started = time.monotonic()
        page = visitor.post(UPDATE, data={"text": "my words"}, headers=BROWSER)
        assert page.status_code == 503
        assert time.monotonic() - started < 5
        assert shown_text(page.text) == "my words"


def test_rule_12_health_says_when_the_store_is_gone(start_server: StartServer) -> None:
    server = start_server()
    server.database.rename(server.folder / "elsewhere")
    for leftover in server.folder.glob("sessions.sqlite3-*"):
        leftover.unlink()
    server.database.mkdir()  # now it cannot be opened, not even by root
    started = time.monotonic()
    response = server.client().get("/health")
    assert response.status_code == 503
    assert time.monotonic() - started < 2
    server.database.rmdir()
    assert server.client().get("/health").status_code == 200


@pytest.mark.parametrize("page", [HOME, "/sample/session"])
def test_rule_12_an_unusable_database_causes_503_only_for_requests_that_need_it(
    start_server: StartServer, page: str
) -> None:
    server = start_server()
    visitor = server.visitor("old")
    backup = server.folder / "backup"
    with closing(sqlite3.connect(server.database)) as db, closing(sqlite3.connect(backup)) as copy:
        db.backup(copy)
    for path in server.folder.glob("sessions.sqlite3*"):
        path.unlink()
    server.database.mkdir()
    assert server.client().get(page).status_code == 200, "visitors without a session are served"
    failed = visitor.get(page, headers=BROWSER)
    assert failed.status_code == 503
    assert "set-cookie" not in failed.headers
    assert visitor.post(UPDATE, content=b"text=x", headers=FORM).status_code == 503
    assert server.client().put(UPDATE, content=b"x", headers=TEXT).status_code == 503
    server.database.rmdir()
    backup.rename(server.database)
    assert shown_text(visitor.get(HOME).text) == "old", "the cookie was kept, and the app needed no restart"


def test_rule_7_a_save_on_a_full_disk_is_not_confirmed(start_server: StartServer) -> None:
    server = start_server()
    visitor = server.visitor("old")
    server.stop()
    import resource

    def limit_file_size() -> None:
        # A file that may not grow fails as a full disk does, for this process alone.
        resource.setrlimit(resource.RLIMIT_FSIZE, (80_000, 80_000))

    server.prepare = limit_file_size
    server.start()
    statuses = [visitor.put(UPDATE, content="x" * 60_000 + str(n), headers=TEXT).status_code for n in range(6)]
    assert 503 in statuses
    assert set(statuses) <= {200, 503}
    last = max((n for n, status in enumerate(statuses) if status == 200), default=None)
    shown = shown_text(visitor.get(HOME).text)
    assert shown == ("old" if last is None else "x" * 60_000 + str(last))
    assert "Traceback" not in server.log


@pytest.mark.full
def test_a_database_that_is_replaced_under_the_running_app_is_noticed(start_server: StartServer) -> None:
    server = start_server()
    visitor = server.visitor("old")
    for path in server.folder.glob("sessions.sqlite3*"):
        path.unlink()
    assert shown_text(visitor.get(HOME).text) == DEFAULT
    assert visitor.put(UPDATE, content="new", headers=TEXT).status_code == 200
    server.stop()
    server.start()
    assert shown_text(server.client(token_of(visitor)).get(HOME).text) == "new", "it was stored in the current file"


def test_sessions_survive_a_restart(start_server: StartServer) -> None:
    server = start_server()
    visitor = server.visitor("still here")
    token = token_of(visitor)
    server.stop()
    server.start()
    assert shown_text(server.client(token).get(HOME).text) == "still here"


def test_rule_11_a_row_that_is_not_utf_8_counts_as_corrupt(start_server: StartServer) -> None:
    server = start_server()
    visitor = server.visitor("old")
    with closing(sqlite3.connect(server.database, isolation_level=None)) as db:
        db.execute("UPDATE sessions SET record = CAST(x'ff7b' AS TEXT)")
    assert shown_text(visitor.get(HOME).text) == DEFAULT
    assert visitor.put(UPDATE, content="new", headers=TEXT).status_code == 200
    assert shown_text(visitor.get(HOME).text) == "new"


def test_a_record_that_was_edited_by_hand_can_be_saved_and_rotated(start_server: StartServer) -> None:
    server = start_server(app="tests.sessions.sample_app:app")
    visitor = server.visitor("old")
    with closing(sqlite3.connect(server.database, isolation_level=None)) as db:
        db.execute("UPDATE sessions SET record = replace(CAST(record AS TEXT), 'old', 'edited')")
    assert shown_text(visitor.get(HOME).text) == "edited"
    assert visitor.post("/rotate").status_code == 200
    with closing(sqlite3.connect(server.database, isolation_level=None)) as db:
        db.execute("UPDATE sessions SET record = replace(CAST(record AS TEXT), 'edited', 'again')")
    assert visitor.put("/keys/other", content="x").status_code == 200
    assert visitor.get("/keys").json() == {"text": "again", "other": "x"}


def test_a_second_store_on_the_file_keeps_the_locks_of_the_first(tmp_path: Path) -> None:
    """POSIX locks belong to the process: closing a file that SQLite has open would drop SQLite's locks.

    Another process that then closes the file would think that it is the last, and delete the write-ahead log.
    """
    program = """
import asyncio, os, sqlite3, subprocess, sys
from pathlib import Path
from app.sessions.sqlite import SQLiteStore

async def main():
    path = Path(sys.argv[1])
    store = SQLiteStore(path)
    await store.create("a", b"1", 1e12)
    SQLiteStore(path).verify()
    await store.load("a")
    other = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('SELECT id FROM sessions'); db.close()"
    subprocess.run([sys.executable, "-c", other, str(path)], check=True)
    assert await store.create("b", b"2", 1e12)
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""
    database = tmp_path / "sessions.sqlite3"
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    killed = subprocess.run([sys.executable, "-c", program, str(database)], env=environment, timeout=30, check=False)
    assert killed.returncode == -9
    with closing(sqlite3.connect(database)) as db:
        assert db.execute("SELECT id FROM sessions ORDER BY id").fetchall() == [("a",), ("b",)]


@pytest.mark.parametrize(
    "record",
    [b"garbage", *(pytest.param(each, marks=pytest.mark.full) for each in ("text", 42, 1.5, b"", b"{}", b"\xff\x00"))],
)
def test_rule_11_a_corrupt_row_counts_as_no_session_and_is_replaced(start_server: StartServer, record: object) -> None:
    server = start_server()
    visitor = server.visitor("old")
    token = token_of(visitor)
    break_record(server, token, record)
    assert shown_text(visitor.get(HOME).text) == DEFAULT
    assert visitor.get("/sample/session").status_code == 200
    wait_until(lambda: digest(token) in server.log)
    assert token not in server.log
    assert visitor.put(UPDATE, content="new", headers=TEXT).status_code == 200
    assert token_of(visitor) != token
    assert shown_text(visitor.get(HOME).text) == "new"
    assert server.rows() == 1


def test_rule_11_a_save_to_a_row_corrupted_during_the_request_gets_409(start_server: StartServer) -> None:
    server = start_server()
    visitor = server.visitor("old")
    held = HeldRequest(server, "PUT", UPDATE, b"new", TEXT, token_of(visitor))
    break_record(server, token_of(visitor), b"garbage")
    assert held.finish().status == 409
