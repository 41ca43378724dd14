"""Shared helpers of the session layer's tests."""

import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
from litestar import Litestar

from app.sessions import Key, SessionManager, StoreUnavailable
from app.sessions.litestar import SessionPlugin
from app.sessions.memory import MemoryStore
from tests.support import BROWSER, END, HOME, TEXT, UPDATE, Server, shown_text

JSON: type[Any] = object

# Most tests are not about the type of a value.
A, B, C, D, E, N = (Key(name, JSON) for name in "abcden")
CART, CHANGED, GONE, HUGE, KEPT, KEY = (Key(name, JSON) for name in ["cart", "changed", "gone", "huge", "kept", "key"])
LARGE, LATE, LIST, MINE, NEW, ONE = (Key(name, JSON) for name in ["large", "late", "list", "mine", "new", "one"])
OTHER, QUOTE, THEIRS, USER, VALUE = (Key(name, JSON) for name in ["other", "quote", "theirs", "user", "value"])


async def stored(sessions: SessionManager, owner: str | None = None, **values: Any) -> str:
    """Store a session with these values, and with an owner if one is named, and return its token."""
    session = await sessions.start()
    session.owner = owner
    session.update({Key(name, JSON): value for name, value in values.items()})
    await session.save()
    assert session.cookie
    return session.cookie[0]


async def values_of(sessions: SessionManager, token: str) -> dict[str, Any]:
    return {str(key): value for key, value in (await sessions.start(token)).items()}


@dataclass
class Site:
    """A Litestar app with the session layer, and no error pages of its own."""

    app: Litestar
    sessions: SessionManager
    clients: AsyncExitStack

    async def visitor(self, **values: Any) -> httpx.AsyncClient:
        """Return a visitor whose session holds these values. Without values, the visitor has no session."""
        transport = httpx.ASGITransport(cast("Any", self.app), raise_app_exceptions=False)
        client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")
        await self.clients.enter_async_context(client)
        if values:
            client.cookies.set(self.sessions.name, await stored(self.sessions, **values), domain="127.0.0.1")
        return client

    async def values(self, client: httpx.AsyncClient) -> dict[str, Any]:
        """Return what the store holds for a visitor."""
        token = client.cookies.get(self.sessions.name)
        return await values_of(self.sessions, token) if token else {}


@asynccontextmanager
async def site(*handlers: Any, store: Any = "memory://", name: str = "session", **options: Any) -> AsyncIterator[Site]:
    plugin = SessionPlugin(store, name=name)
    # Without this configuration, Litestar takes over logging, and the tests see no log.
    options = {"openapi_config": None, "logging_config": None, **options}
    app = Litestar(handlers, plugins=[plugin], **options)
    async with app.lifespan(), AsyncExitStack() as clients:
        yield Site(app, plugin.sessions, clients)


class BrokenStore(MemoryStore):
    """Holds sessions. The methods named in `broken` fail."""

    broken: tuple[str, ...] = ()

    def __getattribute__(self, name: str) -> Any:
        if name in object.__getattribute__(self, "broken"):
            return self.fail
        return object.__getattribute__(self, name)

    async def fail(self, *_: object) -> Any:
        raise StoreUnavailable("it is broken")


ALL_CALLS = ("load", "create", "replace", "delete", "count", "sweep")


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
    """Requests that need the store get 503, keep the cookie and get the text back. The rest are served at once."""
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
