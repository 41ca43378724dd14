"""Puts the app together. `uvicorn app.main:app` runs it; read on with `hooks.py`."""

import asyncio
import hashlib
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

from app import hooks
from app.commands import SessionCommands
from app.error_pages import error_pages
from app.errors import error_response
from app.health import health
from app.host_check import HostCheck
from app.quote import create_router  # the demo
from app.sessions import SessionManager
from app.settings import PROJECT, BadSetting, Settings, open_store
from app.static_files import compress_static_files, create_static_router

STATIC = PROJECT / "static"
TEMPLATES = PROJECT / "templates"
MAX_BODY_SIZE = 512 * 1024  # bytes, of any request


def create_app(settings: Settings) -> Litestar:
    """Return the app with these settings. Raises BadSetting if the session store, or a folder, cannot be used."""
    for folder in (STATIC, TEMPLATES):
        if not folder.is_dir():
            raise BadSetting(f"the folder {folder} is missing. Deploy the whole project, not app/ alone")
    sessions = SessionManager(
        open_store(settings.session_store), settings.session_lifetime, settings.session_idle_timeout
    )

    # The address of a static file changes with the files, so a browser may keep each for ever.
    static_path = f"/static/{_fingerprint()}"

    @asynccontextmanager
    async def keep_store(_: Litestar) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(sessions.sweep_forever())
        try:
            yield
        finally:
            sweeper.cancel()
            await sessions.store.close()

    def add_globals(engine: JinjaTemplateEngine) -> None:
        engine.engine.undefined = StrictUndefined
        engine.engine.globals["static"] = lambda name: f"{static_path}/{name}"

    app = Litestar(
        route_handlers=[
            health,
            create_router(),  # the demo
            create_static_router(static_path, STATIC),
        ],
        middleware=[HostCheck(), hooks.CrossOriginGuard(), hooks.SessionHook(sessions)],
        before_send=[hooks.add_security_headers],
        dependencies={
            "session": Provide(hooks.provide_session, sync_to_thread=False),
            "sessions": Provide(lambda: sessions, sync_to_thread=False),
            "settings": Provide(lambda: settings, sync_to_thread=False),
        },
        exception_handlers={HTTPException: error_response, Exception: error_response},
        template_config=TemplateConfig(directory=TEMPLATES, engine=JinjaTemplateEngine, engine_callback=add_globals),
        compression_config=compress_static_files(),
        opt={"no_compression": True},
        request_max_body_size=MAX_BODY_SIZE,
        lifespan=[keep_store],
        listeners=[hooks.log_ended_session],
        plugins=[SessionCommands()],
        state=State({"sessions": sessions}),
        openapi_config=None,
    )
    if app.debug:  # LITESTAR_DEBUG=1, never in production
        app.register(error_pages)
    sessions.on_ended = partial(hooks.announce_ended_sessions, app)
    return app


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(STATIC)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def configure_logging() -> None:
    """One line an event, with time, process and logger, from the app and from uvicorn alike.

    It is written at once: Litestar's own handler hands it to a thread, and a process that stops may lose its last ones.
    """
    formatter = logging.Formatter("%(asctime)s %(levelname)s [%(process)d] %(name)s: %(message)s")
    logging.basicConfig(level=logging.INFO, force=True)
    for name in ("", "uvicorn", "uvicorn.access"):
        for handler in logging.getLogger(name).handlers:
            handler.setFormatter(formatter)
    logging.getLogger("uvicorn.access").addFilter(hooks.HealthCheckFilter())


try:
    app = create_app(Settings.from_environment())
except BadSetting as error:
    sys.stderr.write(f"Cannot start: {error}\n")
    sys.exit(3)  # uvicorn's code for a failed start: with several workers, the parent gives up too
configure_logging()
