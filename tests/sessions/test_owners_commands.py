"""Rule 17: the commands for owners, and what commands show that take longer than a second."""

import asyncio
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.sessions import SessionManager, open_store
from app.sessions.owners import Entry, OwnerList
from app.sessions.records import Record, digest
from app.settings import PROJECT
from tests.postgres_server import PostgresServer
from tests.redis_servers import RedisServer
from tests.sessions.helpers import stored
from tests.sessions.test_operations import shell

LITESTAR = str(Path(sys.executable).parent / "litestar")


async def test_rule_17_the_shell_lists_and_ends_the_sessions_of_an_owner(
    sessions: SessionManager, store_url: str
) -> None:
    async def run(*command: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(shell, store_url, *command)

    if store_url == "memory://":
        assert (await run("list", "ada")).stdout == ""  # another process, so another store
        return
    tokens = [await stored(sessions, owner="ada", value="secret") for _ in range(2)]
    stranger = await stored(sessions, owner="bob")
    shown = (await run("list", "ada")).stdout
    utc = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
    assert re.fullmatch(rf"([0-9a-f]{{64}}  created {utc}  last seen {utc}\n){{2}}", shown), shown
    assert {line.split()[0] for line in shown.splitlines()} == {digest(token) for token in tokens}
    assert (await run("destroy", "--owner", "ada")).stdout == "destroyed 2\n"
    assert (await run("list", "ada")).stdout == ""
    assert (await sessions.start(stranger)).owner == "bob"
    for wrong in ([], ["--owner", "bob", digest(stranger)]):
        failed = await run("destroy", *wrong)
        assert failed.returncode == 2
        assert "Give either a session id or --owner" in failed.stderr
    assert (await sessions.start(stranger)).owner == "bob"


class Terminal:
    """A command that runs on a terminal."""

    def __init__(self, store_url: str, *command: str) -> None:
        ours, theirs = pty.openpty()
        environment = {**os.environ, "SESSION_STORE": store_url, "TERM": "xterm-256color", "COLUMNS": "100"}
        self.process = subprocess.Popen(
            [LITESTAR, "sessions", *command],
            cwd=PROJECT,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # CI may have set it to ignored
        )
        os.close(theirs)
        self.file, self.shown = ours, ""

    def read_until(self, pattern: str) -> str:
        """Return what the pattern matches, as soon as the terminal shows it."""
        while not (match := re.search(pattern, self.shown)):
            try:
                self.shown += os.read(self.file, 4096).decode()
            except OSError:  # the process has ended
                break
        assert match, self.shown
        return match[0]

    def close(self) -> int:
        self.process.wait(timeout=30)
        os.close(self.file)
        return self.process.returncode


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/sessions.sqlite3"


async def expired(url: str, number: int) -> None:
    store = open_store(url)
    for n in range(number):
        await store.create(digest(str(n)), b"x", time.time() - 1)
    await store.close()


async def logged_in(url: str, number: int) -> SessionManager:
    """Store many sessions of one owner directly, because logins would take long."""
    sessions = SessionManager(open_store(url))
    end = time.time() + 1000
    text = Record(time.time(), end, end, {}, "ada", time.time()).encode()
    ids = [digest(str(n)) for n in range(number)]
    assert await OwnerList(sessions._records(), "ada")._write(None, {key: Entry(end) for key in ids})
    for key in ids:
        await sessions.store.create(key, text, end)
    return sessions


NUMBER, MANY_LOGINS, KEYS = 15_000, 2_000, 600_000  # take some seconds to remove, destroy or count
PROGRESS = r"[1-9][0-9,]* sessions"
ANSWER = r"\x1b\[\d?K{}\r\n"  # on a line of its own, after the progress was removed


def interrupt(terminal: Terminal, progress: str) -> int:
    """Press Ctrl+C when the terminal shows the progress. Return how far the command says it got."""
    terminal.read_until(progress)
    os.killpg(terminal.process.pid, signal.SIGINT)
    verb = progress.partition(" ")[0]
    message = terminal.read_until(rf"Stopped: {verb} \d+ sessions so far\.")
    assert terminal.close() == 130
    assert "Traceback" not in terminal.shown
    return int(re.findall(r"\d+", message)[0])


def assert_silent(result: subprocess.CompletedProcess[str], answer: str) -> None:
    """Only the result appears, and one log line for each session that ends."""
    assert result.stdout == answer
    assert "sessions" not in re.sub(r"app\.hooks: .*", "", result.stderr)
    assert "\x1b" not in result.stderr


@pytest.mark.full
async def test_rule_17_a_long_flush_shows_its_progress_on_a_terminal(url: str) -> None:
    await expired(url, NUMBER)
    terminal = Terminal(url, "flush")
    await asyncio.to_thread(terminal.read_until, f"removed {PROGRESS}")
    await asyncio.to_thread(terminal.read_until, ANSWER.format(f"removed {NUMBER}"))
    assert terminal.close() == 0


@pytest.mark.full
async def test_rule_17_a_long_flush_is_silent_in_a_pipe(url: str) -> None:
    await expired(url, NUMBER)
    assert_silent(await asyncio.to_thread(shell, url, "flush"), f"removed {NUMBER}\n")


@pytest.mark.full
async def test_rule_17_ctrl_c_stops_a_long_flush(url: str) -> None:
    await expired(url, NUMBER)
    removed = await asyncio.to_thread(interrupt, Terminal(url, "flush"), f"removed {PROGRESS}")
    store = open_store(url)
    assert await store.count() == NUMBER - removed
    await store.close()


@pytest.mark.full
async def test_rule_17_a_long_destroy_shows_its_progress_on_a_terminal(url: str) -> None:
    sessions = await logged_in(url, MANY_LOGINS)
    terminal = Terminal(url, "destroy", "--owner", "ada")
    await asyncio.to_thread(terminal.read_until, f"destroyed {PROGRESS}")
    await asyncio.to_thread(terminal.read_until, ANSWER.format(f"destroyed {MANY_LOGINS}"))
    assert terminal.close() == 0
    assert await sessions.count() == 0
    await sessions.store.close()


@pytest.mark.full
async def test_rule_17_a_long_destroy_is_silent_in_a_pipe(url: str) -> None:
    sessions = await logged_in(url, MANY_LOGINS)
    result = await asyncio.to_thread(shell, url, "destroy", "--owner", "ada")
    assert_silent(result, f"destroyed {MANY_LOGINS}\n")
    await sessions.store.close()


@pytest.mark.full
async def test_rule_17_ctrl_c_stops_a_long_destroy_and_says_how_far_it_got(url: str) -> None:
    sessions = await logged_in(url, 10_000)
    terminal = Terminal(url, "destroy", "--owner", "ada")
    destroyed = await asyncio.to_thread(interrupt, terminal, f"destroyed {PROGRESS}")
    # The call that was cancelled may have removed one more.
    assert 10_000 - await sessions.count() - destroyed in (0, 1)
    again = await asyncio.to_thread(shell, url, "destroy", "--owner", "ada")
    assert again.returncode == 0, again.stderr
    assert await sessions.count() == 0
    await sessions.store.close()


@pytest.fixture
def long_count(redis_server: RedisServer) -> str:
    """The address of a Redis that takes some seconds to walk through its keys."""
    redis_server.answers("FLUSHALL")
    fill = f"for n = 1, {KEYS} do redis.call('SET', 'session:' .. n, 'x') end"
    redis_server.answers("EVAL", fill, "0")
    return redis_server.url


@pytest.mark.full
def test_rule_17_a_long_count_shows_its_progress_on_a_terminal(long_count: str) -> None:
    terminal = Terminal(long_count, "count")
    terminal.read_until(f"counted {PROGRESS}")
    terminal.read_until(ANSWER.format(KEYS))
    assert terminal.close() == 0


@pytest.mark.full
def test_rule_17_a_long_count_is_silent_in_a_pipe(long_count: str) -> None:
    assert_silent(shell(long_count, "count"), f"{KEYS}\n")


@pytest.mark.full
def test_rule_17_ctrl_c_stops_a_long_count_and_says_how_far_it_got(long_count: str) -> None:
    assert 0 < interrupt(Terminal(long_count, "count"), f"counted {PROGRESS}") < KEYS


@pytest.mark.full
def test_rule_17_ctrl_c_stops_a_count_whose_store_does_not_answer(postgres_server: PostgresServer) -> None:
    postgres_server.empty()
    assert shell(postgres_server.url, "count").stdout == "0\n"  # makes the table
    with postgres_server.holding("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE"):
        assert interrupt(Terminal(postgres_server.url, "count"), "counted 0 sessions") == 0


async def test_rule_17_a_count_in_steps_equals_the_count(sessions: SessionManager) -> None:
    """The list of an owner is not counted. Other requests are served between two steps."""
    for n in range(40):
        await stored(sessions, owner=f"user {n % 3}", value=n)
    shown: list[int] = []
    assert await sessions.count(shown.append) == await sessions.count() == 40
    assert shown == sorted(shown)
    assert shown[-1:] in ([40], [])  # the memory store needs no steps
