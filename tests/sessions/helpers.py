"""What the tests of the session layer share."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import httpx
from litestar import Litestar

from app.sessions import Key, SessionManager, StoreUnavailable
from app.sessions.litestar import SessionPlugin
from app.sessions.memory import MemoryStore

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
        """Return a visitor with a session that holds these values; without any, a visitor without a session."""
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
    app = Litestar(handlers, plugins=[plugin, *options.pop("plugins", ())], openapi_config=None, **options)
    async with app.lifespan(), AsyncExitStack() as clients:
        yield Site(app, plugin.sessions, clients)


class BrokenStore(MemoryStore):
    """Holds sessions, and fails from the moment when `broken` is set: all calls, or those of some methods."""

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
