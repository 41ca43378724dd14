"""What the tests of the session layer share."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx

from app.sessions import SessionManager
from tests.support import BROWSER, END, HOME, TEXT, UPDATE, Server, shown_text


async def stored(sessions: SessionManager, **values: Any) -> str:
    """Store a session with these values and return its token."""
    session = await sessions.start()
    session.update(values)
    await session.save()
    assert session.cookie
    return session.cookie[0]


async def values_of(sessions: SessionManager, token: str) -> dict[str, Any]:
    return dict(await sessions.start(token))


class CountingStore:
    """Passes everything on to a real store and counts the calls: the round trips of rule 15."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.calls.append(name)
        return getattr(self.store, name)


@contextmanager
def locked(database: Path, kind: str = "IMMEDIATE") -> Iterator[None]:
    """Hold the write lock of a database, as another process would."""
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        db.execute(f"BEGIN {kind}")
        yield
        db.execute("ROLLBACK")


@contextmanager
def answered_within(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


def assert_the_contracts_answer(server: Server, visitor: httpx.Client, seconds: float = 5) -> None:
    """503 for whoever needs the store, with the cookie kept and the text given back; the others are served at once."""
    stranger = server.client()
    for path in (HOME, "/sample/session"):
        with answered_within(1):
            assert stranger.get(path).status_code == 200
    static = stranger.get(HOME).text.partition('href="/static/')[2].partition('"')[0]
    with answered_within(1):
        assert stranger.get(f"/static/{static}").status_code == 200
    with answered_within(2):
        assert stranger.get("/health").status_code == 503
    attempts: list[Callable[[], httpx.Response]] = [
        lambda: visitor.get(HOME, headers=BROWSER),
        lambda: visitor.put(UPDATE, content="new", headers=TEXT),
        lambda: visitor.post(END),
        lambda: stranger.put(UPDATE, content="new", headers=TEXT),
    ]
    for respond in attempts:
        with answered_within(seconds):
            response = respond()
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        assert "set-cookie" not in response.headers
    page = visitor.post(UPDATE, data={"text": "my words"}, headers=BROWSER)
    assert (page.status_code, shown_text(page.text)) == (503, "my words")
