"""The SQLite store: what it syncs to the disk, its tables, its mode, and what happens if its files change."""

import asyncio
import fcntl
import os
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from app.sessions import StoreUnavailable
from app.sessions.sqlite import SQLiteStore
from app.settings import PROJECT
from tests.support import DEFAULT, HOME, TEXT, UPDATE, Server, require, shown_text, token_of

StartServer = Callable[..., Server]
FAR = 4_000_000_000.0  # an instant in the year 2096


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "sessions.sqlite3"


def integrity(path: Path) -> str:
    with closing(sqlite3.connect(path)) as db:
        (answer,) = db.execute("PRAGMA integrity_check").fetchone()
        return str(answer)


def back_up(source: Path, target: Path) -> Path:
    with closing(sqlite3.connect(source)) as db:
        db.execute("VACUUM INTO ?", (str(target),))
    os.utime(target, (0, 0))  # a backup from yesterday
    return target


# Rule 8: a removal is on the disk


def test_rule_8_a_removal_is_synced_before_it_is_confirmed_and_a_save_is_not(database: Path) -> None:
    program = """
import asyncio, os, sys
from pathlib import Path
from app.sessions.sqlite import SQLiteStore

async def main():
    store = SQLiteStore(Path(sys.argv[1]))
    say = lambda text: os.write(1, text.encode())
    await store.create("a", b"1", 4e9)
    await store.create("b", b"1", 4e9)
    say("BEGIN save")
    await store.replace("a", b"1", b"2", 4e9)
    say("BEGIN missing")
    await store.delete("missing")
    say("BEGIN delete")
    await store.delete("a")
    say("BEGIN delete old")
    await store.delete("b", b"1")
    say("BEGIN end")

asyncio.run(main())
"""
    trace = database.parent / "trace"
    command = [require("strace"), "-f", "-y", "-e", "trace=write,pwrite64,fsync,fdatasync", "-o", str(trace)]
    subprocess.run(
        [*command, sys.executable, "-c", program, str(database)],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        check=True,
        timeout=60,
        capture_output=True,
    )
    calls = re.split(r'write\(1<.*?>, "BEGIN ', trace.read_text())
    calls_of = {part.partition('"')[0]: part for part in calls[1:]}
    assert list(calls_of) == ["save", "missing", "delete", "delete old", "end"]
    assert "sync(" not in calls_of["save"] + calls_of["missing"]
    for name in ("delete", "delete old"):
        _, _, after_write = calls_of[name].rpartition("pwrite64(")
        assert "-wal" in after_write.splitlines()[0]
        assert re.search(r"fdatasync\(\d+<[^>]*sessions\.sqlite3-wal>", after_write), calls_of[name]
        assert re.search(rf"fdatasync\(\d+<{re.escape(str(database.parent))}>", after_write), calls_of[name]


async def test_rule_8_other_requests_are_served_while_a_sync_hangs(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SQLiteStore(database)
    for name in "ab":
        await store.create(name, b"1", FAR)
    begun, released = threading.Event(), threading.Event()

    def hang(_descriptor: int) -> None:
        begun.set()
        assert released.wait(20)

    monkeypatch.setattr(os, "fdatasync", hang)
    removal = asyncio.create_task(store.delete("a"))
    while not begun.is_set():
        await asyncio.sleep(0.001)
    assert await store.load("a") is None, "it has ended already"
    assert await store.load("b") == b"1"
    assert await store.replace("b", b"1", b"2", FAR)
    assert not removal.done(), "it is not confirmed before it is on the disk"
    released.set()
    assert await removal
    await store.close()


@pytest.mark.full
async def test_rule_8_a_sync_that_fails_or_hangs_counts_as_a_failed_store(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SQLiteStore(database)
    for name in "ab":
        await store.create(name, b"1", FAR)
    released = threading.Event()

    def fail(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(StoreUnavailable, match="Input/output error"):
        await store.delete("a")
    monkeypatch.setattr(os, "fdatasync", lambda _descriptor: released.wait(20))
    try:
        with pytest.raises(StoreUnavailable, match="did not answer"):
            await asyncio.wait_for(store.delete("b"), 5)
    finally:
        released.set()
    await store.close()


# Tables


async def test_two_tables_in_one_file_do_not_see_each_other(database: Path) -> None:
    one, other = SQLiteStore(database), SQLiteStore(database, table="shop_sessions")
    assert await one.create("a", b"1", 1.0)
    assert await other.create("a", b"2", FAR)
    assert (await one.load("a"), await other.load("a")) == (b"1", b"2")
    assert await one.sweep(2.0, 100) == ["a"]
    assert (await one.count(), await other.count()) == (0, 1)
    with closing(sqlite3.connect(database)) as db:
        names = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE sql IS NOT NULL")}
    assert names == {"sessions", "sessions_expires_at", "shop_sessions", "shop_sessions_expires_at"}
    await one.close()
    await other.close()


@pytest.mark.parametrize("table", ["", "a b", 'a"b', "a;b", "1a", "sqlite_a", "A", "é", "a\n", "a" * 100])
def test_an_invalid_table_name_is_refused(database: Path, table: str) -> None:
    with pytest.raises(ValueError, match="table"):
        SQLiteStore(database, table=table)


# The file


async def test_only_the_owner_may_read_the_files_behind_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link, target = tmp_path / "link.sqlite3", tmp_path / "disk/sessions.sqlite3"
    link.symlink_to(target)
    before = os.umask(0o022)
    try:
        store = SQLiteStore(link)
        store.verify()
        await store.create("a", b"1", FAR)
    finally:
        os.umask(before)
    files = sorted(target.parent.iterdir())
    assert [path.name for path in files] == [f"sessions.sqlite3{suffix}" for suffix in ("", "-shm", "-wal")]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    await store.close()


def garbage(path: Path) -> None:
    path.write_bytes(b"garbage!" * 14)


@pytest.mark.parametrize(
    ("prepare", "remedy"),
    [
        (garbage, "It belongs to something else. Move it away"),
        (lambda path: path.mkdir(), "It is a directory. Name a file in it"),
        (lambda path: path.parent.rmdir(), "Its folder does not exist. Try: mkdir -p"),
    ],
    ids=["garbage", "directory", "no folder"],
)
def test_each_problem_with_the_file_is_reported_with_its_remedy(
    tmp_path: Path, prepare: Callable[[Path], None], remedy: str
) -> None:
    path = tmp_path / "folder/sessions.sqlite3"
    path.parent.mkdir()
    prepare(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(StoreUnavailable) as refusal:
        SQLiteStore(path).verify()
    assert remedy in str(refusal.value)
    others = {"Move it away", "It is a directory", "mkdir -p", "writable"}
    assert sum(words in str(refusal.value) for words in others) == 1
    assert (path.read_bytes() if path.is_file() else b"") == before


# Changes of the file while the app runs


def ask_each_worker(server: Server, token: str, times: int = 24) -> list[httpx.Response]:
    """Send the requests on new connections, so every worker process gets some."""
    answers = []
    for _ in range(times):
        with server.client(token) as client:
            answers.append(client.get(HOME))
    return answers


def fill(server: Server, number: int, name: str) -> None:
    for n in range(number):
        server.visitor(f"{name} {n} " + "x" * 300).close()


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.full)])
def test_a_replaced_file_is_noticed_and_both_files_stay_intact(
    start_server: StartServer, tmp_path: Path, workers: int
) -> None:
    server = start_server(workers=workers)
    fill(server, 60, "before")
    kept = server.visitor("kept")
    backup = back_up(server.database, tmp_path / "backup")
    fill(server, 60, "after")
    ended = server.visitor("ended")
    # The old file is moved away: it takes its last saves with it.
    moved = tmp_path / "moved"
    server.database.rename(moved)
    backup.rename(server.database)
    assert {shown_text(answer.text) for answer in ask_each_worker(server, token_of(kept))} == {"kept"}
    assert {shown_text(answer.text) for answer in ask_each_worker(server, token_of(ended))} == {DEFAULT}
    for n in range(10):
        with server.client(token_of(kept)) as client:
            assert client.put(UPDATE, content=f"new {n}", headers=TEXT).status_code == 200
    assert {shown_text(answer.text) for answer in ask_each_worker(server, token_of(kept))} == {"new 9"}
    server.wait_for_log("was deleted, moved or replaced while the app was running")
    assert "The session store fails" not in server.log
    server.stop()
    assert sorted(path.name for path in server.folder.glob("sessions*")) == ["sessions.sqlite3"]
    assert (integrity(server.database), integrity(moved)) == ("ok", "ok")
    assert server.rows() == 61
    with closing(sqlite3.connect(moved)) as db:
        assert db.execute("SELECT count(*) FROM sessions").fetchone() == (122,)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.full)])
@pytest.mark.full
def test_a_file_replaced_before_the_stop_is_noticed(start_server: StartServer, tmp_path: Path, workers: int) -> None:
    server = start_server(workers=workers)
    fill(server, 20, "before")
    backup = back_up(server.database, tmp_path / "backup")
    fill(server, 20, "after")
    backup.rename(server.database)
    server.stop()
    server.start()
    server.stop()
    assert integrity(server.database) == "ok"
    assert server.rows() == 20


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.full)])
@pytest.mark.parametrize(
    "suffixes",
    [
        pytest.param([""], marks=pytest.mark.full),
        pytest.param(["", "-wal"], marks=pytest.mark.full),
        ["", "-wal", "-shm"],
    ],
    ids=len,
)
def test_deleting_the_file_ends_all_sessions(start_server: StartServer, workers: int, suffixes: list[str]) -> None:
    server = start_server(workers=workers)
    fill(server, 40, "before")
    visitor = server.visitor("before")
    for suffix in suffixes:
        Path(f"{server.database}{suffix}").unlink()
    answers = ask_each_worker(server, token_of(visitor))
    assert {(answer.status_code, shown_text(answer.text)) for answer in answers} == {(200, DEFAULT)}
    new = server.visitor("new")
    assert {shown_text(answer.text) for answer in ask_each_worker(server, token_of(new))} == {"new"}
    server.stop(9)
    server.start()
    assert shown_text(server.client(token_of(new)).get(HOME).text) == "new"
    server.stop()
    assert integrity(server.database) == "ok"
    assert server.rows() == 1


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.full)])
@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
@pytest.mark.full
def test_no_save_is_lost_if_a_file_beside_the_database_is_deleted(
    start_server: StartServer, workers: int, suffix: str
) -> None:
    server = start_server(workers=workers)
    fill(server, 40, "before")
    visitor = server.visitor("before")
    Path(f"{server.database}{suffix}").unlink()
    assert {shown_text(answer.text) for answer in ask_each_worker(server, token_of(visitor))} == {"before"}
    fill(server, 10, "after")
    assert server.database.stat().st_mode & 0o777 == 0o600
    server.stop(9)
    server.start()
    assert shown_text(server.client(token_of(visitor)).get(HOME).text) == "before"
    server.stop()
    assert integrity(server.database) == "ok"
    assert server.rows() == 51


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.full)])
@pytest.mark.parametrize("content", ["older", "backup", "empty"])
@pytest.mark.full
def test_an_overwritten_file_is_refused_and_its_content_stays_intact(
    start_server: StartServer, tmp_path: Path, workers: int, content: str
) -> None:
    server = start_server(workers=workers)
    fill(server, 40, "before")
    server.stop()
    copy = tmp_path / "copy"
    shutil.copyfile(server.database, copy)  # a plain copy, from an earlier run
    server.start()
    visitor = server.visitor("x")
    if content == "backup":
        copy = back_up(server.database, tmp_path / "backup")
    fill(server, 40, "after")
    if content == "empty":
        copy.write_bytes(b"")
    expected = {"older": 40, "backup": 41, "empty": 0}[content]
    shutil.copyfile(copy, server.database)  # what cp does: the file stays the same
    assert {answer.status_code for answer in ask_each_worker(server, token_of(visitor))} == {503}
    server.wait_for_log("was overwritten while the app was running. Restart the app")
    server.stop()
    assert server.database.read_bytes() == copy.read_bytes(), "nothing was written into it"
    server.start()
    assert server.rows() == expected
    fill(server, 5, "new")
    server.stop()
    assert integrity(server.database) == "ok"
    assert server.rows() == expected + 5


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.full)])
@pytest.mark.parametrize("make", [shutil.copyfile, back_up])
@pytest.mark.full
def test_a_backup_that_sqlite_restores_into_the_running_app_is_served(
    start_server: StartServer, tmp_path: Path, workers: int, make: Callable[[Path, Path], object]
) -> None:
    server = start_server(workers=workers)
    kept = server.visitor("kept")
    fill(server, 20, "before")
    server.stop()
    copy = tmp_path / "copy"
    make(server.database, copy)
    server.start()
    fill(server, 20, "after")
    with closing(sqlite3.connect(copy)) as source, closing(sqlite3.connect(server.database)) as target:
        source.backup(target)
        target.execute("PRAGMA wal_checkpoint")
    assert {shown_text(answer.text) for answer in ask_each_worker(server, token_of(kept))} == {"kept"}
    fill(server, 5, "new")
    server.stop()
    assert integrity(server.database) == "ok"
    assert server.rows() == 26


async def test_a_file_that_is_still_being_copied_is_not_opened(database: Path, tmp_path: Path) -> None:
    store = SQLiteStore(database)
    await store.create("a", b"1", FAR)
    backup = back_up(database, tmp_path / "backup").read_bytes()
    for path in tmp_path.glob("sessions.sqlite3*"):
        path.unlink()
    with database.open("wb", buffering=0) as slow:
        slow.write(backup[:4096])
        request = asyncio.create_task(store.load("a"))
        await asyncio.sleep(0.3)
        assert not request.done()
        slow.write(backup[4096:])
    assert await request == b"1"
    await store.close()
    assert integrity(database) == "ok"


async def test_two_stores_of_a_process_notice_a_deleted_file(database: Path) -> None:
    one, other = SQLiteStore(database), SQLiteStore(database, table="shop_sessions")
    for store in (one, other):
        await store.create("a", b"1", FAR)
    for path in database.parent.glob("sessions.sqlite3*"):
        path.unlink()
    database.mkdir()
    for store in (one, other):
        with pytest.raises(StoreUnavailable, match="It is a directory"):
            await store.load("a")
    database.rmdir()
    for store in (other, one, other):
        assert await store.load("a") is None
        assert await store.create(str(store), b"1", FAR) or store is other
    for store in (one, other):
        await store.close()
    assert integrity(database) == "ok"


async def test_a_symbolic_link_with_a_new_target_is_noticed(tmp_path: Path) -> None:
    link = tmp_path / "sessions.sqlite3"
    link.symlink_to(tmp_path / "one")
    store = SQLiteStore(link)
    await store.create("a", b"1", FAR)
    link.unlink()
    link.symlink_to(tmp_path / "two")
    assert await store.load("a") is None
    await store.close()
    with closing(sqlite3.connect(tmp_path / "one")) as db:
        assert db.execute("SELECT id FROM sessions").fetchall() == [("a",)]


@pytest.mark.full
async def test_a_request_fails_if_the_last_saves_of_a_moved_file_cannot_be_kept(database: Path, tmp_path: Path) -> None:
    """While a reader in another process has a transaction open, the last saves exist only in the -wal file."""
    store = SQLiteStore(database)
    await store.create("a", b"1", FAR)
    with closing(sqlite3.connect(database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM sessions").fetchall()
        await store.create("b", b"1", FAR)
        database.rename(tmp_path / "moved")
        with pytest.raises(StoreUnavailable):
            await store.load("a")
        assert not database.exists()
        reader.execute("COMMIT")
    assert await store.load("a") is None
    await store.close()
    with closing(sqlite3.connect(tmp_path / "moved")) as db:
        assert db.execute("SELECT id FROM sessions ORDER BY id").fetchall() == [("a",), ("b",)]


async def test_a_copy_that_fails_leaves_nothing_behind(database: Path) -> None:
    """On a full disk, leftovers would take up the space that the saves need."""
    store = SQLiteStore(database)
    await store.create("a", b"1" * 50_000, FAR)
    os.unlink(f"{database}-wal")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))  # fails as a full disk does, for this process alone
    try:
        with pytest.raises(StoreUnavailable, match="Check that the disk works and is not full"):
            await store.load("a")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not os.path.exists(f"{database}-new")
    assert await store.load("a") == b"1" * 50_000
    await store.close()
    assert integrity(database) == "ok"


async def test_a_process_started_after_the_file_was_deleted_takes_over_nothing(database: Path) -> None:
    store = SQLiteStore(database)
    await store.create("a", b"1", FAR)
    database.unlink()
    program = """
import asyncio, os, sys
from pathlib import Path
from app.sessions.sqlite import SQLiteStore

async def main():
    store = SQLiteStore(Path(sys.argv[1]))
    assert await store.load("a") is None
    assert await store.create("b", b"2", 4e9)
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", program, str(database)]
    assert subprocess.run(command, env=environment, timeout=30, check=False).returncode == -9
    assert (await store.load("a"), await store.load("b")) == (None, b"2")
    await store.close()
    assert integrity(database) == "ok"


async def test_files_are_opened_by_one_process_at_a_time(database: Path) -> None:
    store = SQLiteStore(database)
    folder = os.open(database.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    request = asyncio.create_task(store.create("a", b"1", FAR))
    await asyncio.sleep(0.1)
    assert not database.exists()
    os.close(folder)
    assert await request
    await store.close()


async def test_a_file_that_another_process_has_reopened_is_shared_with_it(database: Path) -> None:
    """The file was moved away and back. Another process noticed; this one was idle meanwhile."""
    store = SQLiteStore(database)
    await store.create("a", b"1", FAR)
    with closing(sqlite3.connect(database)) as db:
        db.execute("PRAGMA wal_checkpoint")
    for suffix in ("-wal", "-shm"):  # what the other process does before it closes the file
        Path(f"{database}{suffix}").unlink()
    program = """
import asyncio, sys
from pathlib import Path
from app.sessions.sqlite import SQLiteStore

async def main():
    store = SQLiteStore(Path(sys.argv[1]))
    assert await store.create("b", b"2", 4e9)
    print("ready", flush=True)
    sys.stdin.read()

asyncio.run(main())
"""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", program, str(database)]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"ready\n"
        assert (await store.load("a"), await store.load("b")) == (b"1", b"2")
        other.kill()
    await store.close()
    assert integrity(database) == "ok"


async def test_an_error_without_a_known_remedy_blames_nothing(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "sessions.sqlite3")
    await store.load("a")
    with closing(sqlite3.connect(tmp_path / "sessions.sqlite3")) as other:
        other.execute("SELECT * FROM sessions")  # keeps the -wal
        assert store._database
        store._database.connection.close()
        with pytest.raises(StoreUnavailable) as failure:
            await store.load("a")
    message = str(failure.value)
    assert "Cannot operate on a closed database. Remove the cause; then" in message
    assert await store.load("a") is None
    await store.close()


def test_several_event_loops_in_several_threads_may_use_a_store(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "sessions.sqlite3")

    async def use(name: str) -> None:
        for n in range(50):
            assert await store.create(f"{name}{n}", b"old", FAR)
            assert await store.replace(f"{name}{n}", b"old", b"new", FAR)
            assert await store.load(f"{name}{n}") == b"new"
            if n % 10 == 0:
                assert await store.delete(f"{name}{n}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(asyncio.run, map(use, "abcd")))
    assert asyncio.run(store.count()) == 4 * 45
    asyncio.run(store.close())
