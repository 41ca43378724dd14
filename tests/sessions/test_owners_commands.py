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
from tests.sessions.helpers import stored
from tests.sessions.test_operations import shell

LITESTAR = str(Path(sys.executable).parent / "litestar")


async def test_rule_17_owners_from_the_shell(sessions: SessionManager, store_url: str) -> None:
    async def run(*command: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(shell, store_url, *command)

    if store_url == "memory://":
        assert (await run("list", "ada")).stdout == ""  # a process of its own, so a store of its own
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
        assert "Name either a session, by its id, or --owner" in failed.stderr
    assert (await sessions.start(stranger)).owner == "bob"


class Terminal:
    """A command that believes that a person is watching."""

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
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a CI may have told us to ignore it
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
    """Store many sessions of one owner. A login each would take long."""
    sessions = SessionManager(open_store(url))
    end = time.time() + 1000
    text = Record(time.time(), end, end, {}, "ada", time.time()).encode()
    ids = [digest(str(n)) for n in range(number)]
    assert await OwnerList(sessions._records(), "ada")._write(None, {key: Entry(end) for key in ids})
    for key in ids:
        await sessions.store.create(key, text, end)
    return sessions


NUMBER = 15_000  # takes some seconds to remove


@pytest.mark.full
async def test_rule_17_a_long_flush_shows_its_progress_on_a_terminal(url: str) -> None:
    await expired(url, NUMBER)
    terminal = Terminal(url, "flush")
    await asyncio.to_thread(terminal.read_until, r"removed [1-9][0-9,]+ sessions")
    await asyncio.to_thread(terminal.read_until, rf"removed {NUMBER}\r\n")
    assert terminal.close() == 0


@pytest.mark.full
async def test_rule_17_a_long_flush_is_silent_in_a_pipe(url: str) -> None:
    await expired(url, NUMBER)
    result = await asyncio.to_thread(shell, url, "flush")
    assert result.stdout == f"removed {NUMBER}\n"
    assert "sessions" not in re.sub(r"app\.hooks: .*", "", result.stderr)
    assert "\x1b" not in result.stderr


@pytest.mark.full
async def test_rule_17_ctrl_c_stops_a_long_destroy_and_says_how_far_it_came(url: str) -> None:
    sessions = await logged_in(url, 10_000)
    terminal = Terminal(url, "destroy", "--owner", "ada")
    await asyncio.to_thread(terminal.read_until, r"destroyed [1-9][0-9,]* sessions")
    os.killpg(terminal.process.pid, signal.SIGINT)
    message = await asyncio.to_thread(terminal.read_until, r"Stopped: destroyed \d+ sessions so far\.")
    assert terminal.close() == 130
    assert "Traceback" not in terminal.shown
    [destroyed] = re.findall(r"\d+", message)
    # The call that was cancelled may have removed one more.
    assert 10_000 - await sessions.count() - int(destroyed) in (0, 1)
    again = await asyncio.to_thread(shell, url, "destroy", "--owner", "ada")
    assert again.returncode == 0, again.stderr
    assert await sessions.count() == 0
    await sessions.store.close()


@pytest.mark.full
async def test_rule_17_ctrl_c_stops_a_long_flush(url: str) -> None:
    await expired(url, NUMBER)
    terminal = Terminal(url, "flush")
    await asyncio.to_thread(terminal.read_until, r"removed [1-9][0-9,]* sessions")
    os.killpg(terminal.process.pid, signal.SIGINT)
    message = await asyncio.to_thread(terminal.read_until, r"Stopped: removed \d+ sessions so far\.")
    assert terminal.close() == 130
    [removed] = re.findall(r"\d+", message)
    store = open_store(url)
    assert await store.count() == NUMBER - int(removed)
    await store.close()
