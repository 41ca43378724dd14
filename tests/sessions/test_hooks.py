"""The session layer around handlers that the demo does not have: they fail, refuse, rotate or stream."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from litestar import Litestar, Response, get, post
from litestar.background_tasks import BackgroundTask
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException, NotAuthorizedException
from litestar.params import FromPath
from litestar.response import Stream

from app.sessions import Session, SessionManager
from tests.sessions.helpers import CART, CHANGED, HUGE, KEPT, LATE, NEW, USER, stored, values_of

Clients = Callable[..., Awaitable[httpx.AsyncClient]]
CHANGED_LATER: list[str] = []
BROWSER = {"Accept": "text/html,*/*;q=0.8"}


class Strange:
    """JSON cannot represent it."""


@post("/returned/{status:int}", status_code=200)
async def change_and_return(session: NamedDependency[Session], status: FromPath[int]) -> Response[str]:
    session[CHANGED] = True
    return Response("done", status_code=status)


@post("/raised/{status:int}", status_code=200)
async def change_and_raise(session: NamedDependency[Session], status: FromPath[int]) -> str:
    session[CHANGED] = True
    raise HTTPException(status_code=status, detail="for developers")


@post("/crash", status_code=200)
async def change_and_crash(session: NamedDependency[Session]) -> str:
    session[CHANGED] = True
    raise ZeroDivisionError("a secret detail")


@post("/nested", status_code=200)
async def change_to_nonsense(session: NamedDependency[Session]) -> str:
    session[CART] = []
    session[CART].append(Strange())
    return "done"


@post("/huge", status_code=200)
async def change_to_too_much(session: NamedDependency[Session]) -> str:
    session[HUGE] = "x" * 1_100_000
    return "done"


@post("/login", status_code=200)
async def login(session: NamedDependency[Session]) -> str:
    session[USER] = "ada"
    await session.rotate()
    return "welcome"


@post("/login-and-crash", status_code=200)
async def login_and_crash(session: NamedDependency[Session]) -> str:
    await session.rotate()
    raise ZeroDivisionError


@post("/logout-and-crash", status_code=200)
async def logout_and_crash(session: NamedDependency[Session]) -> str:
    await session.destroy()
    raise ZeroDivisionError


@post("/logout-and-write", status_code=200)
async def logout_and_write(session: NamedDependency[Session]) -> str:
    await session.destroy()
    session[NEW] = 1
    return "done"


@post("/stream", status_code=200)
async def change_and_stream(session: NamedDependency[Session]) -> Stream:
    session[CART] = [Strange] if "strange" in session else []
    session[CART].append(Strange())

    async def forever() -> AsyncIterator[str]:
        while True:
            yield "endless "

    return Stream(forever())


@post("/later/{what:str}", status_code=200)
async def change_later(session: NamedDependency[Session], what: FromPath[str]) -> Response[str]:
    async def attempt() -> None:
        if what == "write":
            session[LATE] = 1
        elif what == "delete":
            del session[KEPT]
        else:
            await getattr(session, what)()

    async def change() -> None:
        with pytest.raises(RuntimeError, match="the response has started"):
            await attempt()
        assert session[KEPT] == 1, "it can still be read"
        CHANGED_LATER.append(what)

    return Response("done", background=BackgroundTask(change))


@get("/denied")
async def denied() -> None:
    raise NotAuthorizedException


@pytest.fixture
def app_with_routes(app: Litestar) -> Litestar:
    for handler in (
        change_and_return,
        change_and_raise,
        change_and_crash,
        change_to_nonsense,
        change_to_too_much,
        login,
        login_and_crash,
        logout_and_crash,
        logout_and_write,
        change_and_stream,
        change_later,
        denied,
    ):
        app.register(handler)
    return app


@pytest.fixture
async def client(app_with_routes: Litestar, client_with: Clients) -> httpx.AsyncClient:
    assert app_with_routes
    return await client_with(kept=1)


def values(sessions: SessionManager, client: httpx.AsyncClient) -> Awaitable[dict[str, Any]]:
    return values_of(sessions, client.cookies["session"])


@pytest.mark.parametrize("status", [200, 303, 400, 401, 404, 413, 422, 499, 500, 503])
@pytest.mark.parametrize("way", ["returned", "raised"])
async def test_rule_7_a_returned_response_below_500_keeps_changes_and_a_raised_one_drops_them(
    client: httpx.AsyncClient, sessions: SessionManager, way: str, status: int
) -> None:
    response = await client.post(f"/{way}/{status}")
    assert response.status_code == status
    saved = way == "returned" and status < 500
    assert await values(sessions, client) == ({"kept": 1, "changed": True} if saved else {"kept": 1})


async def test_rule_7_a_handler_that_crashes_saves_nothing_and_reveals_nothing(
    client: httpx.AsyncClient, sessions: SessionManager, caplog: pytest.LogCaptureFixture
) -> None:
    for headers in ({}, BROWSER):
        response = await client.post("/crash", headers=headers)
        assert response.status_code == 500
        assert "secret" not in response.text
        assert "ZeroDivisionError" not in response.text
        assert response.headers["cache-control"] == "no-store"
    assert "a secret detail" in caplog.text
    assert await values(sessions, client) == {"kept": 1}


async def test_rule_18_a_nested_value_that_is_not_json_gets_500_and_the_log_names_the_key(
    client: httpx.AsyncClient, sessions: SessionManager, caplog: pytest.LogCaptureFixture
) -> None:
    response = await client.post("/nested", headers=BROWSER)
    assert response.status_code == 500
    assert response.text.startswith("<!doctype html>"), "the whole response is replaced by a proper page"
    assert "session['cart']" in caplog.text
    assert await values(sessions, client) == {"kept": 1}


async def test_rule_18_a_session_that_grows_too_large_gets_413(
    client: httpx.AsyncClient, sessions: SessionManager
) -> None:
    response = await client.post("/huge")
    assert response.status_code == 413
    assert await values(sessions, client) == {"kept": 1}


async def test_rule_7_a_stream_whose_save_fails_is_stopped_and_replaced(
    client: httpx.AsyncClient, sessions: SessionManager
) -> None:
    response = await client.post("/stream")
    assert response.status_code == 500
    assert "endless" not in response.text
    assert await values(sessions, client) == {"kept": 1}


async def test_rule_9_a_login_rotates_the_session(client: httpx.AsyncClient, sessions: SessionManager) -> None:
    before = client.cookies["session"]
    response = await client.post("/login")
    assert response.status_code == 200
    assert "session=" in response.headers["set-cookie"]
    client.cookies.delete("session", domain="")
    assert await values_of(sessions, before) == {}
    assert await values(sessions, client) == {"kept": 1, "user": "ada"}


async def test_rule_9_the_new_token_is_sent_even_if_the_handler_fails(
    client: httpx.AsyncClient, sessions: SessionManager
) -> None:
    response = await client.post("/login-and-crash")
    assert response.status_code == 500
    client.cookies.delete("session", domain="")
    assert await values(sessions, client) == {"kept": 1}


async def test_rule_8_the_session_is_gone_even_if_the_handler_fails(
    client: httpx.AsyncClient, sessions: SessionManager
) -> None:
    response = await client.post("/logout-and-crash")
    assert response.status_code == 500
    assert "Max-Age=0" in response.headers["set-cookie"]
    assert await sessions.store.count() == 0


async def test_rule_8_a_write_after_destroy_sets_one_cookie(
    client: httpx.AsyncClient, sessions: SessionManager
) -> None:
    response = await client.post("/logout-and-write")
    assert len(response.headers.get_list("set-cookie")) == 1
    client.cookies.delete("session", domain="")
    assert await values(sessions, client) == {"new": 1}


@pytest.mark.parametrize("what", ["write", "delete", "rotate", "destroy"])
async def test_a_change_after_the_response_has_begun_raises_an_error_and_changes_nothing(
    client: httpx.AsyncClient, sessions: SessionManager, what: str
) -> None:
    CHANGED_LATER.clear()
    assert (await client.post(f"/later/{what}")).status_code == 200
    assert [what] == CHANGED_LATER
    assert await values(sessions, client) == {"kept": 1}


async def test_an_unknown_error_status_is_kept(client: httpx.AsyncClient) -> None:
    response = await client.post("/raised/499", headers=BROWSER)
    assert response.status_code == 499


async def test_statuses_without_our_own_text_still_get_a_page(client: httpx.AsyncClient) -> None:
    response = await client.get("/denied", headers=BROWSER)
    assert (response.status_code, "Unauthorized" in response.text) == (401, True)


async def test_a_handler_that_writes_gives_the_visitor_a_session(
    app_with_routes: Litestar, client_with: Clients, sessions: SessionManager
) -> None:
    assert app_with_routes
    await stored(sessions, somebody="else")
    stranger = await client_with()
    await stranger.post("/returned/200")
    assert await values(sessions, stranger) == {"changed": True}
