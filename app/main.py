"""Puts the app together. `uvicorn app.main:app` runs it; read on with `hooks.py`, then `routes.py`."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from jinja2 import StrictUndefined
from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.template import TemplateConfig

from app import routes
from app.commands import SessionCommands
from app.errors import error_response
from app.hooks import (
    CrossOriginGuard,
    HealthCheckFilter,
    SessionHook,
    add_security_headers,
    announce_ended_session,
    log_ended_session,
    provide_session,
)
from app.sessions import SessionManager
from app.settings import PROJECT, BadSetting, Settings, open_store
from app.static import static_router

MAX_BODY_SIZE = 512 * 1024  # bytes: enough for the longest quote, percent-encoded in a form


def create_app(settings: Settings) -> Litestar:
    """Return the app with these settings. Raises BadSetting if the session store cannot be used."""
    sessions = SessionManager(
        open_store(settings.session_store), settings.session_lifetime, settings.session_idle_timeout
    )

    static = static_router(PROJECT / "static")

    @asynccontextmanager
    async def keep_store(_: Litestar) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(sessions.sweep_forever())
        yield
        sweeper.cancel()
        await sessions.store.close()

    def add_globals(engine: JinjaTemplateEngine) -> None:
        engine.engine.undefined = StrictUndefined
        engine.engine.globals |= {
            "static": lambda name: f"{static.path}/{name}",
            "destroy_delay": settings.destroy_delay,
        }

    app = Litestar(
        route_handlers=[
            routes.pages,
            routes.without_session,
            static,
        ],
        middleware=[CrossOriginGuard(), SessionHook(sessions)],
        before_send=[add_security_headers],
        dependencies={
            "session": Provide(provide_session),
            "sessions": Provide(lambda: sessions, sync_to_thread=False),
            "settings": Provide(lambda: settings, sync_to_thread=False),
        },
        exception_handlers={HTTPException: error_response, Exception: error_response},
        template_config=TemplateConfig(
            directory=PROJECT / "templates", engine=JinjaTemplateEngine, engine_callback=add_globals
        ),
        request_max_body_size=MAX_BODY_SIZE,
        lifespan=[keep_store],
        listeners=[log_ended_session],
        plugins=[SessionCommands()],
        state=State({"sessions": sessions}),
        openapi_config=None,
    )
    if app.debug:  # LITESTAR_DEBUG=1, never in production
        app.register(routes.demo)
    sessions.on_ended = partial(announce_ended_session, app)
    return app


logging.getLogger("uvicorn.access").addFilter(HealthCheckFilter())

try:
    app = create_app(Settings.from_environment())
except BadSetting as error:
    sys.stderr.write(f"Cannot start: {error}\n")
    sys.exit(3)  # uvicorn's code for a failed start: with several workers, the parent gives up too
