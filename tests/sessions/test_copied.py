"""The layer as a copy in a plain app: what it says when something does not fit, and beside the app's own code."""

import re
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from fastapi import Request as FastAPIRequest
from litestar import Litestar, Request, Response, Router, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException
from litestar.testing import TestClient

from app.sessions import (
    BadStoreURL,
    CrossOriginRefused,
    InvalidValue,
    Key,
    PrefetchRefused,
    Session,
    SessionEnded,
    SessionError,
    SessionManager,
    SessionMiddleware,
    SessionReadOnly,
    SessionTooLarge,
    open_store,
)
from app.sessions.litestar import SessionPlugin
from app.sessions.memory import MemoryStore
from app.sessions.records import digest
from tests.sessions.helpers import ALL_CALLS, A, BrokenStore, site, stored, values_of

AnyRequest = Request[Any, Any, Any]
VISITS = Key("visits", int, default=0)


@get("/", sync_to_thread=False)
def read(session: NamedDependency[Session]) -> dict[str, Any]:
    return dict(session.items())


@post("/end", status_code=200, sync_to_thread=False)
def raise_session_ended() -> None:
    raise SessionEnded


@post("/invalid", status_code=200, sync_to_thread=False)
def assign_a_set(session: NamedDependency[Session]) -> None:
    session[A] = {1}


# The app's own error pages


def own_page(_: AnyRequest, error: Exception) -> Response[str]:
    return Response("own page", status_code=getattr(error, "status_code", 500) if type(error) is HTTPException else 500)


@pytest.mark.parametrize("handlers", [{}, {500: own_page}, {HTTPException: own_page, Exception: own_page}])
async def test_the_layers_errors_keep_their_status_beside_an_apps_own_error_pages(handlers: Any) -> None:
    store = BrokenStore()
    async with site(read, raise_session_ended, assign_a_set, store=store, exception_handlers=handlers) as app:
        visitor = await app.visitor(a=1)
        assert (await visitor.post("/end", headers={"Sec-Fetch-Site": "cross-site"})).status_code == 403
        assert (await visitor.get("/", headers={"Sec-Purpose": "prefetch"})).status_code == 503
        assert (await visitor.post("/end")).status_code == 409
        crash = await visitor.post("/invalid")
        assert (crash.status_code, crash.text == "own page") == (500, bool(handlers))
        store.broken = ALL_CALLS
        response = await visitor.get("/")
        assert (response.status_code, response.headers.get("retry-after")) == (503, "5")


async def test_an_apps_own_page_for_the_layers_errors_is_shown() -> None:
    async with site(raise_session_ended, exception_handlers={SessionEnded: own_page}) as app:
        assert (await (await app.visitor()).post("/end")).text == "own page"


@pytest.mark.parametrize("kind", [SessionEnded, CrossOriginRefused, PrefetchRefused, SessionTooLarge])
async def test_an_error_says_what_happened_and_what_to_do(kind: type[SessionError]) -> None:
    @post("/", sync_to_thread=False)
    def fail() -> None:
        raise kind

    assert str(kind()).count(". ") == 1
    assert str(kind("its own text")) == "its own text"
    async with site(fail) as app:
        assert (await (await app.visitor()).post("/")).json()["detail"] == str(kind())


async def test_an_error_response_hides_what_only_the_operator_may_know() -> None:
    store = BrokenStore()
    async with site(read, store=store) as app:
        visitor = await app.visitor(a=1)
        store.broken = ALL_CALLS
        assert "it is broken" not in (await visitor.get("/")).text


# Sessions that were found


@pytest.mark.parametrize("call", ["find", "list"])
async def test_rule_19_a_session_that_was_found_is_read_only_and_names_the_remedy(call: str) -> None:
    async with site() as app:
        session_id = digest(await stored(app.sessions, owner="ada", a=[1]))
        found: Any = await app.sessions.find(session_id) if call == "find" else (await app.sessions.list("ada"))[0]
        remedy = f"async with sessions.edit({session_id!r}) as session: session['a'] = value"
        with pytest.raises(SessionReadOnly, match=re.escape(remedy)):
            found[A] = 2
        found[A].append(2)
        with pytest.raises(SessionReadOnly, match=re.escape(remedy)):
            await found.save()
        for end in (found.destroy, found.rotate):
            with pytest.raises(SessionReadOnly, match=re.escape(f"await sessions.destroy({session_id!r})")):
                await end()
        assert dict(await app.sessions.find(session_id)) == {"a": [1]}
        await app.sessions.destroy(session_id)
        assert await app.sessions.list("ada") == []


# The app's own tests


def test_a_test_client_without_a_lifespan_may_use_sqlite(tmp_path: Path) -> None:
    """Such a client serves each request in a new thread, with a new event loop."""

    @post("/visits", status_code=200, sync_to_thread=False)
    def count_visit(session: NamedDependency[Session]) -> int:
        session[VISITS] += 1
        return session[VISITS]

    plugin = SessionPlugin(f"sqlite:///{tmp_path}/sessions.sqlite3")
    client = TestClient(Litestar([count_visit], plugins=[plugin], openapi_config=None))
    assert [client.post("/visits").text for _ in range(5)] == ["1", "2", "3", "4", "5"]


# What a Litestar app may get wrong


async def test_no_session_false_means_that_the_route_has_a_session() -> None:
    @post("/on", status_code=200, no_session=False, sync_to_thread=False)
    def on(session: NamedDependency[Session]) -> bool:
        return session.available

    @get("/cached", cache=True, no_session=False, sync_to_thread=False)
    def cached() -> None: ...

    router = Router("/off", route_handlers=[on], opt={"no_session": True})
    async with site(on, router) as app:
        visitor = await app.visitor(a=1)
        assert (await visitor.post("/on")).json() is True
        assert (await visitor.post("/off/on")).json() is True
    with pytest.raises(ValueError, match="the cached response of /cached"):
        Litestar([cached], plugins=[SessionPlugin("memory://")])


@pytest.mark.parametrize("name", ["session", "sessions"])
def test_a_dependency_with_a_name_of_the_layer_is_refused(name: str) -> None:
    own = {name: Provide(lambda: 1, sync_to_thread=False)}
    with pytest.raises(ValueError, match=f"provides the dependency '{name}': rename the app's own '{name}'"):
        Litestar(plugins=[SessionPlugin("memory://")], dependencies=own)


def test_a_state_with_the_name_of_the_layer_is_not_called_attached_twice() -> None:
    with pytest.raises(ValueError, match=r"^the session layer needs the name app\.state\.sessions: rename"):
        Litestar(plugins=[SessionPlugin("memory://")], state=State({"sessions": {}}))


async def test_the_error_for_set_session_none_names_clear_session() -> None:
    messages = []

    @post("/", status_code=200, sync_to_thread=False)
    def clear(request: AnyRequest) -> None:
        try:
            request.set_session(cast("Any", None))
        except InvalidValue as error:
            messages.append(str(error))

    async with site(clear) as app:
        await (await app.visitor(a=1)).post("/")
    assert messages == ["set_session takes a dict, not NoneType. To end the session: request.clear_session()."]


# Options


@pytest.mark.parametrize("name", ["", "Shop", "my-shop", "1a", "a" * 32, "shop\n", 5])
def test_a_name_that_cannot_be_used_is_refused_with_the_rule(name: Any) -> None:
    rule = re.escape(f"name={name!r} cannot be used. Use at most 31 lower-case letters, digits and _, starting with")
    for store in ("memory://", "redis://127.0.0.1", MemoryStore()):
        with pytest.raises(ValueError, match=rule):
            SessionPlugin(store, name=name)
    with pytest.raises(ValueError, match=rule):
        open_store("memory://", name=name)


@pytest.mark.parametrize("seconds", [0, -1, 1.5, 60.0, True, "60", timedelta(hours=1), 10**12])
@pytest.mark.parametrize("option", ["lifetime", "idle_timeout"])
def test_a_lifetime_is_a_whole_number_of_seconds(option: str, seconds: Any) -> None:
    rule = re.escape(f"{option}={seconds!r} cannot be used. Use a whole number of seconds, from 1 to ")
    with pytest.raises(ValueError, match=rule):
        SessionPlugin("memory://", **{option: seconds})
    with pytest.raises(ValueError, match=rule):
        SessionManager(MemoryStore(), **{option: seconds})


def test_a_module_that_the_copy_lacks_is_not_looked_for_in_a_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "app.sessions.redis", None)  # an import of it fails
    with pytest.raises(BadStoreURL, match=r"Copy its file into the folder app\.sessions again$") as refusal:
        open_store("redis://127.0.0.1")
    assert "pip" not in str(refusal.value)


# Arguments that are not text


@pytest.mark.parametrize("value", [7, None])
async def test_an_id_that_is_not_text_is_refused_with_its_name(value: Any) -> None:
    sessions = SessionManager(MemoryStore())
    remedy = f"must be a string, not {type(value).__name__}: use str"
    calls: list[Any] = [sessions.find, sessions.destroy]
    for call in calls:
        with pytest.raises(TypeError, match=f"^session_id {remedy}"):
            await call(value)
    calls = [sessions.list, sessions.end_all]
    for call in calls:
        with pytest.raises(TypeError, match=f"^owner {remedy}"):
            await call(value)


async def test_an_owner_or_keep_that_is_not_text_is_refused_with_the_remedy() -> None:
    sessions = SessionManager(MemoryStore())
    number: Any = 7
    with pytest.raises(TypeError, match=r"^keep must be a string, not int: use str"):
        await sessions.end_all("ada", keep=number)
    with pytest.raises(InvalidValue, match=r"not 7\. Use str"):
        (await sessions.start()).owner = number


# Another session middleware


def with_stock_middleware(order: list[str]) -> FastAPI:
    """Return an app that adds the layer and Starlette's own middleware, the outer one last."""
    app = FastAPI()
    for kind in order:
        if kind == "ours":
            app.add_middleware(SessionMiddleware, sessions=SessionManager(MemoryStore()))
        else:
            app.add_middleware(StockMiddleware)

    @app.get("/")
    async def read_values(request: FastAPIRequest) -> dict[str, Any]:
        return dict(request.session)

    return app


@dataclass
class StockMiddleware:
    """Does the same to the scope as Starlette's own SessionMiddleware, which needs another package."""

    app: Any

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope["session"] = {}
        await self.app(scope, receive, send)


def client_of(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1")


async def test_a_stock_middleware_around_the_layer_is_refused() -> None:
    async with client_of(with_stock_middleware(["ours", "stock"])) as client:
        with pytest.raises(RuntimeError, match=r"^another session middleware runs around .* Remove the other"):
            await client.get("/")


async def test_a_stock_middleware_inside_the_layer_is_logged_once_and_harms_no_session(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = with_stock_middleware(["stock", "ours"])
    sessions: Any = app.user_middleware[0].kwargs["sessions"]
    token = await stored(sessions, a=1)
    async with client_of(app) as client:
        for _ in range(3):
            assert (await client.get("/", headers={"Cookie": f"session={token}"})).json() == {}
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert [error.partition(" at ")[0] for error in errors] == [
        "Another session middleware, inside the session layer, replaced request.session"
    ]
    assert await values_of(sessions, token) == {"a": 1}
