"""Puts the app together. `uvicorn app.main:app` runs it. The README, "The pattern", has a reading order."""

import app.installed as _  # noqa: F401, I001 - comes first: it checks that the packages are there

import hashlib
import logging
import os
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from litestar import Litestar
from litestar.exceptions import HTTPException
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.template import TemplateConfig

from app import hooks
from app.error_pages import error_pages
from app.errors import error_response
from app.forms import error_place, status_place
from app.health import health
from app.quote import create_router  # the demo
from app.sessions import BadStoreURL, SessionError, StoreUnavailable
from app.settings import DEFAULT_STORE, PROJECT, BadSetting, Settings
from app.static_files import create_static_router
from app.times import when

STATIC = PROJECT / "static"
TEMPLATES = PROJECT / "templates"
MAX_BODY_SIZE = 512 * 1024  # bytes, of any request


def create_app(settings: Settings) -> Litestar:
    """Return the app with these settings. Raises BadSetting if the session store, or a folder, cannot be used."""
    for folder in (STATIC, TEMPLATES):
        if not folder.is_dir():
            raise BadSetting(f"the folder {folder} is missing. Deploy the whole project, not app/ alone")
    if settings.session_store == DEFAULT_STORE:
        with suppress(OSError):  # opening the store below reports the error
            (PROJECT / "var").mkdir(exist_ok=True)
    try:
        around_every_request = hooks.around_every_request(settings)
    except BadStoreURL as error:
        raise BadSetting(f"SESSION_STORE={error}") from error

    # The address contains a hash of all static files, so browsers may cache them for ever.
    static_path = f"/static/{_fingerprint()}"

    jinja = TemplateEnvironment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=os.environ.get("LITESTAR_DEBUG") == "1",  # slow: checks every template at each request
    )
    jinja.filters["static"] = lambda file: f"{static_path}/{file}"
    jinja.filters |= {"status_place": status_place, "error_place": error_place, "when": when}

    app = Litestar(
        route_handlers=[
            health,
            create_router(),  # the demo
            create_static_router(static_path, STATIC),
        ],
        plugins=around_every_request,
        exception_handlers=dict.fromkeys([HTTPException, SessionError, StoreUnavailable, Exception], error_response),
        template_config=TemplateConfig(instance=JinjaTemplateEngine(engine_instance=jinja)),
        request_max_body_size=MAX_BODY_SIZE,
        openapi_config=None,
    )
    if app.debug:  # LITESTAR_DEBUG=1, never in production
        app.register(error_pages)
    return app


class TemplateEnvironment(Environment):
    """Jinja's settings, filters and globals. Each template copies the globals when it is loaded."""

    def make_globals(self, d: MutableMapping[str, Any] | None) -> MutableMapping[str, Any]:
        """Return one dict in place of Jinja's ChainMap, because Jinja copies this mapping at each request."""
        return {**self.globals, **(d or {})}


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(STATIC)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


class HealthCheckFilter(logging.Filter):
    """Drops requests for /health from the access log."""

    def filter(self, record: logging.LogRecord) -> bool:
        # uvicorn's arguments: the client's address, method, path with query, HTTP version, status
        return not (isinstance(record.args, tuple) and str(record.args[2]).partition("?")[0] == "/health")


def configure_logging() -> None:
    """Log one line per event, in the same format for the app and uvicorn: time, level, process, logger, text.

    The handlers write each line at once. Litestar's own handler uses a thread, and can lose the last lines at shutdown.
    """
    formatter = logging.Formatter("%(asctime)s %(levelname)s [%(process)d] %(name)s: %(message)s")
    logging.basicConfig(level=logging.INFO, force=True)
    for name in ("", "uvicorn", "uvicorn.access"):
        for handler in logging.getLogger(name).handlers:
            handler.setFormatter(formatter)
    logging.getLogger("uvicorn.access").addFilter(HealthCheckFilter())


try:
    app = create_app(Settings.from_environment())
except BadSetting as error:
    sys.stderr.write(f"Cannot start: {error}\n")
    sys.exit(3)  # uvicorn's exit code for a failed start, which also stops the parent of several workers
configure_logging()
