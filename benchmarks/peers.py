"""Apps to compare with. Each has the demo's page and save, and nothing else of this project.

All render the demo's own HTML, from one flat template `page.html` in the folder PEER_TEMPLATES. Where a peer has
sessions, PEER_STORE is memory:// or the URL of a Redis.
"""

import os
from pathlib import Path
from typing import Any

from litestar import Litestar, MediaType, Request, get, put
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.response import Template
from litestar.stores.base import Store
from litestar.template import TemplateConfig

DEFAULT = "initial quote"
UPDATE = "/session/quote/update"


def flat() -> Litestar:
    """Return a bare Litestar app: two handlers, no sessions."""

    @get("/")
    async def page() -> Template:
        return Template("page.html", context={"quote": DEFAULT})

    @put(UPDATE, media_type=MediaType.TEXT)
    async def save(request: Request[Any, Any, Any]) -> str:
        return (await request.body()).decode()

    return Litestar([page, save], template_config=_templates(), openapi_config=None)


def stock() -> Litestar:
    """Return the same with Litestar's own server-side sessions."""

    @get("/")
    async def page(request: Request[Any, Any, Any]) -> Template:
        return Template("page.html", context={"quote": request.session.get("quote", DEFAULT)})

    @put(UPDATE, media_type=MediaType.TEXT)
    async def save(request: Request[Any, Any, Any]) -> str:
        request.session["quote"] = (await request.body()).decode()
        return str(request.session["quote"])

    config, url = ServerSideSessionConfig(), os.environ["PEER_STORE"]
    stores: dict[str, Store] = {}
    if url.startswith("redis://"):
        from litestar.stores.redis import RedisStore

        stores[config.store] = RedisStore.with_client(url)
    return Litestar(
        [page, save],
        middleware=[config.middleware],
        stores=stores,
        template_config=_templates(),
        openapi_config=None,
    )


def starsessions() -> Any:
    """Return a Starlette app with starsessions."""
    from jinja2 import Environment, FileSystemLoader
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.requests import Request as StarletteRequest
    from starlette.responses import HTMLResponse, PlainTextResponse
    from starlette.routing import Route
    from starsessions import InMemoryStore, SessionAutoloadMiddleware, SessionMiddleware
    from starsessions.stores.redis import RedisStore

    environment = Environment(loader=FileSystemLoader(os.environ["PEER_TEMPLATES"]), autoescape=True)

    async def page(request: StarletteRequest) -> HTMLResponse:
        quote = request.session.get("quote", DEFAULT)
        return HTMLResponse(environment.get_template("page.html").render(quote=quote))

    async def save(request: StarletteRequest) -> PlainTextResponse:
        request.session["quote"] = (await request.body()).decode()
        return PlainTextResponse(request.session["quote"])

    url = os.environ["PEER_STORE"]
    store = RedisStore(url) if url.startswith("redis://") else InMemoryStore()
    return Starlette(
        routes=[Route("/", page), Route(UPDATE, save, methods=["PUT"])],
        middleware=[
            Middleware(SessionMiddleware, store=store, lifetime=604_800, cookie_https_only=False),
            Middleware(SessionAutoloadMiddleware),
        ],
    )


def _templates() -> TemplateConfig[Any]:
    return TemplateConfig(directory=Path(os.environ["PEER_TEMPLATES"]), engine=JinjaTemplateEngine)
