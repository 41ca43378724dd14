"""The layer in an app and in another app mounted below it, or twice in one app.

`docs/hosts.md` says what happens.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from fastapi import Request as FastAPIRequest
from litestar import Litestar, Request, Router, asgi, get, post, put
from litestar.config.response_cache import ResponseCacheConfig
from litestar.di import NamedDependency
from litestar.exceptions import PermissionDeniedException
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.params import FromPath

from app.sessions import Session, SessionManager, SessionMiddleware
from app.sessions.litestar import SessionPlugin
from app.sessions.memory import MemoryStore
from tests.sessions.helpers import CountingStore

App = Any


@get("/values")
async def show_values(session: NamedDependency[Session]) -> dict[str, Any]:
    return dict(session.items())


@put("/values/{value:str}")
async def set_value(session: NamedDependency[Any], value: FromPath[str]) -> None:
    session["value"] = value


@post("/raise")
async def change_and_raise(session: NamedDependency[Any]) -> None:
    session["value"] = "changed"
    raise PermissionDeniedException


@get("/public", no_session=True)
async def public(session: NamedDependency[Session]) -> bool:
    return session.available


def litestar_app(store: Any, name: str, mounted: App = None) -> Litestar:
    handlers: list[Any] = [show_values, set_value, change_and_raise, public]
    if mounted:

        @asgi("/inner", is_mount=True, copy_scope=False)
        async def inner(scope: Any, receive: Any, send: Any) -> None:
            scope["path"] = scope["path"].rstrip("/")  # which Litestar adds
            await mounted(scope, receive, send)

        handlers.append(inner)
    return Litestar(handlers, plugins=[SessionPlugin(store, name=name)], openapi_config=None)


def fastapi_app(store: Any, name: str, mounted: App = None) -> FastAPI:
    app = FastAPI()
    app.add_middleware(
        SessionMiddleware,
        sessions=SessionManager(store, name=name),
        is_exempt=lambda scope: scope["path"] in (["/public"] if mounted else ["/public", "/inner/public"]),
    )

    @app.get("/values")
    async def show_values(request: FastAPIRequest) -> dict[str, Any]:
        return dict(request.session)

    @app.put("/values/{value}")
    async def set_value(request: FastAPIRequest, value: str) -> None:
        request.session["value"] = value

    @app.post("/raise")
    async def change_and_raise(request: FastAPIRequest) -> None:
        request.session["value"] = "changed"
        raise HTTPException(403)

    @app.get("/public")
    async def public() -> bool:
        return False

    if mounted:
        app.mount("/inner", mounted)
    return app


Build = Callable[..., App]
FRAMEWORKS = [litestar_app, fastapi_app]


@pytest.fixture(params=FRAMEWORKS)
def outer(request: pytest.FixtureRequest) -> Build:
    build: Build = request.param
    return build


@pytest.fixture(params=FRAMEWORKS)
def inner(request: pytest.FixtureRequest) -> Build:
    build: Build = request.param
    return build


@pytest.fixture
async def client_of() -> AsyncIterator[Callable[[App], httpx.AsyncClient]]:
    async with AsyncExitStack() as stack:
        clients: list[httpx.AsyncClient] = []

        def make(app: App) -> httpx.AsyncClient:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            clients.append(httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1"))
            stack.push_async_callback(clients[-1].aclose)
            return clients[-1]

        yield make


ClientOf = Callable[[App], httpx.AsyncClient]


async def test_apps_with_the_same_name_share_the_outer_session(outer: Build, inner: Build, client_of: ClientOf) -> None:
    inner_store, outer_store = MemoryStore(), CountingStore(MemoryStore())
    client = client_of(outer(outer_store, "session", inner(inner_store, "session")))
    response = await client.put("/inner/values/a")
    assert len(response.headers.get_list("set-cookie")) == 1
    outer_store.calls.clear()
    assert (await client.get("/inner/values")).json() == (await client.get("/values")).json() == {"value": "a"}
    assert outer_store.calls == ["load", "load"]
    assert (await client.post("/inner/raise")).status_code == 403
    assert (await client.get("/values")).json() == {"value": "a"}
    assert await inner_store.count() == 0


async def test_apps_with_different_names_have_a_session_each(outer: Build, inner: Build, client_of: ClientOf) -> None:
    client = client_of(outer(MemoryStore(), "session", inner(MemoryStore(), "inner")))
    await client.put("/values/a")
    response = await client.put("/inner/values/b")
    assert [cookie.partition("=")[0] for cookie in response.headers.get_list("set-cookie")] == ["inner"]
    assert (await client.get("/values")).json() == {"value": "a"}
    assert (await client.get("/inner/values")).json() == {"value": "b"}
    for path, status in [("/inner/raise", 403), ("/inner/nope", 404), ("/inner/public", 405)]:
        response = await client.post(path)
        assert response.status_code == status
        assert "set-cookie" not in response.headers
        assert response.headers.get_list("cache-control") == ["no-store"]
    assert (await client.get("/inner/public")).json() is False
    assert (await client.get("/values")).json() == {"value": "a"}
    assert (await client.get("/inner/values")).json() == {"value": "b"}


async def test_middleware_added_twice_acts_once(client_of: ClientOf) -> None:
    store = CountingStore(MemoryStore())
    app = fastapi_app(store, "session")
    app.add_middleware(SessionMiddleware, sessions=SessionManager(store))
    client = client_of(app)
    response = await client.put("/values/a")
    assert len(response.headers.get_list("set-cookie")) == 1
    store.calls.clear()
    assert (await client.get("/values")).json() == {"value": "a"}
    assert store.calls == ["load"]


def test_a_plugin_that_is_added_twice_stops_the_start() -> None:
    for name in ("session", "other"):
        plugins = [SessionPlugin("memory://"), SessionPlugin("memory://", name=name)]
        with pytest.raises(ValueError, match="attached twice: keep one SessionPlugin"):
            Litestar(plugins=plugins)


@pytest.mark.parametrize("where", ["app", "router", "handler"])
def test_litestars_own_session_middleware_stops_the_start(where: str) -> None:
    stock = ServerSideSessionConfig().middleware

    @get("/inner", middleware=[stock] if where == "handler" else [])
    async def handle() -> None: ...

    router = Router("/outer", route_handlers=[handle], middleware=[stock] if where == "router" else [])
    with pytest.raises(ValueError, match=r"^/outer/inner has Litestar's own session middleware as well: remove it$"):
        Litestar([router], plugins=[SessionPlugin("memory://")], middleware=[stock] if where == "app" else [])


@pytest.mark.parametrize("later", [False, True])
def test_a_response_cache_shared_by_visitors_stops_the_start(later: bool) -> None:
    @get("/cart", cache=60)
    async def cached() -> None: ...

    app = Litestar(plugins=[SessionPlugin("memory://")])
    with pytest.raises(ValueError, match=r"^the cached response of /cart could show one visitor's session to others"):
        app.register(cached) if later else Litestar([cached], plugins=[SessionPlugin("memory://")])


def test_a_response_cache_is_allowed_without_a_session_or_with_its_own_key() -> None:
    def key(request: Request[Any, Any, Any]) -> str:
        return f"{request.url.path} {request.cookies.get('session')}"

    @get("/a", cache=60, no_session=True)
    async def without_session() -> None: ...

    @get("/b", cache=60, cache_key_builder=key)
    async def with_key() -> None: ...

    @get("/c", cache=60)
    async def with_the_apps_key() -> None: ...

    Litestar([without_session, with_key], plugins=[SessionPlugin("memory://")])
    config = ResponseCacheConfig(key_builder=key)
    Litestar([with_the_apps_key], plugins=[SessionPlugin("memory://")], response_cache_config=config)
