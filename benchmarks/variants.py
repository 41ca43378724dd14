"""The app of `app/main.py` with a stand-in for its session layer, to compare with.

`create_app` itself puts it together, so handlers, templates, headers and settings are the app's own. This module relies
on one internal detail: the list that `hooks.around_every_request` returns begins with the session layer.
"""

import os
from typing import Any
from unittest.mock import patch

from litestar import Litestar, Request
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.plugins import InitPlugin
from litestar.types import Message, Scope

from app import hooks, main
from app.sessions import Session, SessionManager
from app.sessions.events import EndEvents
from app.sessions.litestar import SessionPlugin
from app.sessions.memory import MemoryStore
from app.sessions.records import OutageLog, Records
from app.sessions.templates import add_session_to_templates
from app.settings import Settings


def new_session() -> Session:
    """Return a session that nothing loads or saves."""
    return Session("session", Records(MemoryStore(), 604_800, None, OutageLog()), EndEvents())


class StandIn(InitPlugin):
    """Replaces the session layer: all visitors share one session in memory, which nothing loads or saves."""

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        session = new_session()

        class StandInRequest(Request[Any, Any, Any]):
            @property
            def session(self) -> Any:
                return session

        app_config.request_class = StandInRequest
        sessions = SessionManager(MemoryStore())  # for /health
        app_config.state["sessions"] = sessions
        app_config.dependencies["session"] = Provide(lambda: session, sync_to_thread=False)
        app_config.dependencies["sessions"] = Provide(lambda: sessions, sync_to_thread=False)
        app_config.before_send.append(add_cache_headers)
        engine: Any = app_config.template_config and app_config.template_config.engine_instance
        add_session_to_templates(engine.engine, lambda _: session)
        return app_config


def bare() -> Litestar:
    """Return the app with a stand-in for its session layer."""
    return _app_with(StandIn())


def filled() -> Litestar:
    """Return the app unchanged, on the memory store. FILL names the number, bytes and keys of the sessions in it."""
    # Imported here, so the memory that they need does not count for the other variants.
    from benchmarks.common import FAR, padding, rows

    number, size, keys = map(int, os.environ["FILL"].split())
    app = main.create_app(Settings(session_store="memory://"))

    async def fill() -> None:
        for row in rows(range(number), FAR, padding(size, keys)):
            await app.state.sessions.store.create(*row)

    app.on_startup.append(fill)
    return app


async def add_cache_headers(message: Message, _: Scope) -> None:
    """Add the headers that the session layer adds to every response, in the cheapest possible way."""
    if message["type"] == "http.response.start":
        message["headers"] = [*message["headers"], (b"cache-control", b"no-store"), (b"vary", b"Cookie")]


def _app_with(stand_in: StandIn) -> Litestar:
    layer, *others = hooks.around_every_request(Settings(session_store="memory://"))
    assert isinstance(layer, SessionPlugin)
    with patch.object(hooks, "around_every_request", lambda _: [stand_in, *others]):
        return main.create_app(Settings(session_store="memory://"))
