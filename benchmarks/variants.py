"""The app of `app/main.py` with something else in the place of its sessions, to compare with.

It is put together by `create_app` itself, so handlers, guard, template, headers and settings are the app's own. Of the
app's inside this needs to know: the names `create_app` and `Litestar` in `app.main`, that `middleware`, `dependencies`
and `before_send` are given to it as keyword arguments, the class `SessionHook`, and the dependency `session`.
"""

import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

from litestar import Litestar, Request
from litestar.di import Provide
from litestar.stores.base import Store
from litestar.types import Message, Scope

from app import main
from app.hooks import SessionHook
from app.sessions import Session
from app.settings import Settings

Session.register(dict)  # so that Litestar accepts a dict for a handler's parameter `session: NamedDependency[Session]`


def bare() -> Litestar:
    """Return the app with one dict for everybody in place of the session, and no session hook."""
    session: dict[str, Any] = {}
    return _app_without_hook(Provide(lambda: session, sync_to_thread=False))


def stock() -> Litestar:
    """Return the app with Litestar's own server-side sessions, in the store that STOCK_STORE names."""
    # Imported here, so that they do not count as the memory of the others.
    from litestar.middleware.session.server_side import ServerSideSessionConfig

    url = os.environ["STOCK_STORE"]
    store: Store
    if url.startswith("redis://"):
        from litestar.stores.redis import RedisStore

        store = RedisStore.with_client(url)
    elif url.startswith("file://"):
        from litestar.stores.file import FileStore

        store = FileStore(Path(url.removeprefix("file://")), create_directories=True)
    else:
        from litestar.stores.memory import MemoryStore

        store = MemoryStore()
    config = ServerSideSessionConfig()
    return _app_without_hook(
        Provide(provide_stock_session), middleware=[config.middleware], stores={config.store: store}
    )


def filled() -> Litestar:
    """Return the app as it is, on the memory store with the sessions that FILL says: their number, bytes and keys."""
    # Imported here, so that what they need does not count as the memory of the others.
    from benchmarks.common import FAR, padding, rows

    number, size, keys = map(int, os.environ["FILL"].split())
    app = main.create_app(Settings(session_store="memory://"))

    async def fill() -> None:
        for row in rows(range(number), FAR, padding(size, keys)):
            await app.state.sessions.store.create(*row)

    app.on_startup.append(fill)
    return app


async def provide_stock_session(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return request.session


async def add_cache_headers(message: Message, _: Scope) -> None:
    """Add what the session hook adds to every response, in the cheapest way there is."""
    if message["type"] == "http.response.start":
        message["headers"] = [*message["headers"], (b"cache-control", b"no-store"), (b"vary", b"Cookie")]


def _app_without_hook(session: Provide, middleware: list[Any] | None = None, **more: Any) -> Litestar:
    class WithoutHook(Litestar):
        def __init__(self, **arguments: Any) -> None:
            kept = [each for each in arguments["middleware"] if not isinstance(each, SessionHook)]
            arguments["middleware"] = kept + (middleware or [])
            arguments["dependencies"] = arguments["dependencies"] | {"session": session}
            arguments["before_send"] = [*arguments["before_send"], add_cache_headers]
            super().__init__(**arguments, **more)

    with patch.object(main, "Litestar", WithoutHook):
        return main.create_app(Settings(session_store="memory://"))
