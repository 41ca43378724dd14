"""The session in application code: handlers, hooks, dependencies and streams of a Litestar app."""

import asyncio
import copy
import json
import re
import textwrap
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, cast

import httpx
import pytest
from litestar import Litestar, Request, Response, asgi, get, post, route
from litestar.background_tasks import BackgroundTask
from litestar.config.response_cache import ResponseCacheConfig
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect, Stream
from litestar.types import ASGIApp, Empty, Receive, Scope, Send
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from app.sessions import (
    Key,
    Session,
    SessionEnded,
    SessionError,
    SessionManager,
    SessionMiddleware,
    SessionReadOnly,
    StoreUnavailable,
)
from app.sessions.litestar import SessionPlugin, SessionRequest
from app.sessions.memory import MemoryStore
from app.sessions.records import digest
from tests.sessions.helpers import (
    ALL_CALLS,
    CART,
    CHANGED,
    KEPT,
    LIST,
    NEW,
    USER,
    A,
    B,
    BrokenStore,
    site,
    stored,
    values_of,
)

AnyRequest = Request[Any, Any, Any]
FLASH = Key("flash", str)


def names_session(response: httpx.Response) -> str:
    """Return the session token that the response sets; "" if it deletes the cookie or sets none."""
    found = re.search(r"session=([\w-]{43})", response.headers.get("set-cookie", ""))
    return found[1] if found else ""


# Rule 7: every way in which an exception leaves


class Failure(Exception):
    pass


def flash_and_go_back(request: AnyRequest, error: Exception) -> Response[Any]:
    """An exception handler that stores a message and redirects back."""
    request.session[FLASH] = type(error).__name__
    return Redirect("/", status_code=303)


def answer_500(request: AnyRequest, _: Exception) -> Response[str]:
    request.session[FLASH] = "not kept"
    return Response("failed", status_code=500)


def change(session: Any) -> None:
    session[CHANGED] = True
    session.setdefault(CART, []).append("b")


@post("/handler", status_code=200)
async def fail_in_handler(session: NamedDependency[Session]) -> str:
    change(session)
    raise Failure


def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    change(connection.session)
    raise Failure


@post("/guard", guards=[guard], status_code=200)
async def fail_in_guard() -> str:
    return "never"


async def provide_failing(session: NamedDependency[Session]) -> int:
    change(session)
    raise Failure


@post("/dependency", dependencies={"failing": Provide(provide_failing)}, status_code=200)
async def fail_in_dependency(failing: NamedDependency[int]) -> str:
    return str(failing)


async def provide_and_fail_later(session: NamedDependency[Session]) -> AsyncGenerator[int, None]:
    yield 1
    change(session)
    raise Failure


@post("/cleanup", dependencies={"failing": Provide(provide_and_fail_later)}, status_code=200)
async def fail_in_cleanup(failing: NamedDependency[int]) -> str:
    return str(failing)


async def fail_before(request: AnyRequest) -> None:
    change(request.session)
    raise Failure


@post("/before", before_request=fail_before, status_code=200)
async def fail_in_before_request() -> str:
    return "never"


async def fail_after(_: Response[Any]) -> Response[Any]:
    raise Failure


@post("/after", after_request=fail_after, status_code=200)
async def fail_in_after_request(session: NamedDependency[Session]) -> str:
    change(session)
    return "never"


@post("/validation", status_code=200)
async def fail_in_validation(session: NamedDependency[Session], number: FromQuery[int]) -> str:
    change(session)
    return str(number)


def change_in_guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    change(connection.session)


@post("/guarded-validation", guards=[change_in_guard], status_code=200)
async def fail_in_validation_after_a_guard(number: FromQuery[int]) -> str:
    return str(number)


@post("/serialization", status_code=200)
async def fail_in_serialization(session: NamedDependency[Session]) -> Any:
    change(session)
    return {"x": object()}


def failing_middleware(app: ASGIApp) -> ASGIApp:
    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/middleware":
            change(scope["session"])
            raise Failure
        await app(scope, receive, send)

    return call


@post("/middleware", status_code=200)
async def fail_in_middleware() -> str:
    return "never"


WAYS = [
    fail_in_handler,
    fail_in_guard,
    fail_in_dependency,
    fail_in_cleanup,
    fail_in_before_request,
    fail_in_after_request,
    fail_in_validation,
    fail_in_validation_after_a_guard,
    fail_in_serialization,
    fail_in_middleware,
]
PATHS = [sorted(way.paths)[0] for way in WAYS]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("with_session", [True, False])
async def test_rule_7_an_exception_drops_what_was_changed_before_it(path: str, *, with_session: bool) -> None:
    async with site(*WAYS, middleware=[failing_middleware]) as app:
        client = await (app.visitor(cart=["a"]) if with_session else app.visitor())
        response = await client.post(path)
        assert response.status_code in (400, 500)
        assert "set-cookie" not in response.headers
        assert await app.values(client) == ({"cart": ["a"]} if with_session else {})
        assert await app.sessions.store.count() == with_session


@pytest.mark.parametrize("path", PATHS)
async def test_rule_7_only_what_the_exception_handler_wrote_is_kept(path: str) -> None:
    handlers: Any = {Exception: flash_and_go_back, HTTPException: flash_and_go_back}
    async with site(*WAYS, middleware=[failing_middleware], exception_handlers=handlers) as app:
        for values in ({"cart": ["a"]}, {}):
            client = await app.visitor(**values)
            response = await client.post(path)
            assert response.status_code == 303
            assert bool(names_session(response)) == (not values), "a new session gets its cookie"
            kept = await app.values(client)
            assert kept.pop("flash").endswith(("Failure", "Exception"))
            assert kept == values


async def test_rule_7_what_a_routes_own_exception_handler_wrote_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    def answer(request: AnyRequest, _: Exception) -> Response[str]:
        request.session[FLASH] = "sorry"
        return Response("fine")

    @post("/", status_code=200, exception_handlers={Failure: answer})
    async def fail(session: NamedDependency[Session]) -> str:
        change(session)
        raise Failure

    async with site(fail) as app:
        client = await app.visitor(cart=["a"])
        assert (await client.post("/")).status_code == 200
        assert await app.values(client) == {"cart": ["a"], "flash": "sorry"}
    assert "too late" not in caplog.text


async def test_rule_7_what_an_exception_handler_wrote_is_dropped_if_it_answers_500() -> None:
    async with site(fail_in_handler, exception_handlers={Exception: answer_500}) as app:
        client = await app.visitor(cart=["a"])
        assert (await client.post("/handler")).status_code == 500
        assert await app.values(client) == {"cart": ["a"]}


@pytest.mark.parametrize("step", ["save", "rotate", "destroy"])
@pytest.mark.parametrize("error", [Failure(), HTTPException(status_code=403), HTTPException(status_code=500)])
async def test_rule_7_save_rotate_and_destroy_before_an_exception_are_final(step: str, error: Exception) -> None:
    @post("/", status_code=200)
    async def fail(session: NamedDependency[Session]) -> str:
        session[NEW] = "saved"
        await getattr(session, step)()
        session[CHANGED] = "dropped"
        raise error

    async with site(fail) as app:
        for client in (await app.visitor(kept=1), await app.visitor()):
            had_session = "session" in client.cookies
            old = client.cookies.get("session") or ""
            response = await client.post("/")
            assert response.status_code == getattr(error, "status_code", 500)
            if step == "save":
                assert bool(names_session(response)) == (not had_session)
                assert (await app.values(client))["new"] == "saved"
                assert "changed" not in await app.values(client)
            elif step == "rotate" and had_session:
                assert names_session(response) not in ("", old)
                assert await values_of(app.sessions, old) == {}
                assert await app.values(client) == {"kept": 1}
            else:
                assert ("Max-Age=0" in response.headers.get("set-cookie", "")) == (step == "destroy" and had_session)
                assert await values_of(app.sessions, old) == {}
        assert await app.sessions.store.count() == {"save": 2, "rotate": 1, "destroy": 0}[step]


async def test_a_raised_403_stores_nothing() -> None:
    @post("/", status_code=200)
    async def deny(session: NamedDependency[Session]) -> str:
        session[NEW] = 1
        raise PermissionDeniedException

    async with site(deny) as app:
        client = await app.visitor()
        assert (await client.post("/")).status_code == 403
        assert await app.sessions.store.count() == 0


async def test_rule_7_an_exception_handler_that_fails_saves_nothing_and_causes_a_500() -> None:
    def flash_and_fail(request: AnyRequest, _: Exception) -> Response[Any]:
        request.session[FLASH] = "lost"
        raise Failure

    async with site(fail_in_handler, exception_handlers={Failure: flash_and_fail}) as app:
        client = await app.visitor(cart=["a"])
        assert (await client.post("/handler")).status_code == 500
        assert await app.values(client) == {"cart": ["a"]}


@pytest.mark.parametrize("broken", ["the page", "the page and the store"])
async def test_rule_12_a_failed_save_whose_error_page_also_fails_gets_plain_text(
    broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: AnyRequest, error: Exception) -> Response[Any]:
        raise Failure("in the error page") from error

    @post("/", status_code=200)
    async def write(session: NamedDependency[Session], sessions: NamedDependency[SessionManager]) -> str:
        session[NEW] = 1
        if broken == "the page":
            await sessions.destroy(session.id or "")
        return "done"

    store = BrokenStore()
    async with site(write, store=store, exception_handlers={SessionError: fail, StoreUnavailable: fail}) as app:
        client = await app.visitor(kept=1)
        if broken != "the page":
            store.broken = ("replace",)
        response = await client.post("/")
    assert response.status_code == (409 if broken == "the page" else 503)
    assert response.headers["cache-control"] == "no-store"
    assert "in the error page" in caplog.text


async def test_rule_7_what_the_error_page_of_a_failed_save_wrote_is_kept_below_500() -> None:
    @post("/", status_code=200)
    async def write(session: NamedDependency[Session], sessions: NamedDependency[SessionManager]) -> str:
        session[NEW] = "lost"
        await sessions.destroy(session.id or "")
        return "done"

    async with site(write, exception_handlers={SessionEnded: flash_and_go_back}) as app:
        client = await app.visitor(kept=1)
        response = await client.post("/")
        assert response.status_code == 303
        assert names_session(response)
        assert await app.values(client) == {"flash": "SessionEnded"}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_rule_7_the_exception_handler_of_a_404_or_405_may_write(method: str) -> None:
    async with site(fail_in_handler, exception_handlers={HTTPException: flash_and_go_back}) as app:
        for values in ({"kept": 1}, {}):
            client = await app.visitor(**values)
            for path in ("/nowhere", "/handler")[: 2 if method == "GET" else 1]:
                response = await client.request(method, path)
                assert response.status_code == 303
                assert {key: value for key, value in (await app.values(client)).items() if key != "flash"} == values
                assert "flash" in await app.values(client)


async def test_rule_7_the_exception_handler_of_a_404_writes_nothing_for_another_site(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A new session would replace that of the visitor, whose cookie the browser did not send."""
    async with site(exception_handlers={HTTPException: flash_and_go_back}) as app:
        client = await app.visitor()
        response = await client.post("/nowhere", headers={"Sec-Fetch-Site": "cross-site"})
        assert (response.status_code, "set-cookie" in response.headers) == (500, False)
        assert await app.sessions.store.count() == 0
    assert "Traceback" not in caplog.text


async def test_rule_7_a_failed_save_of_what_a_404_page_wrote_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    store = BrokenStore()
    async with site(exception_handlers={HTTPException: flash_and_go_back}, store=store) as app:
        client = await app.visitor(kept=1)
        store.broken = ("replace",)
        assert (await client.get("/nowhere")).status_code == 303
    assert "The error page of '/nowhere' changed the session, and the save failed" in caplog.text


# Rule 19


LINE = re.compile(r"Save it with: (.+)$", re.MULTILINE)


async def run_line(line: str, sessions: SessionManager, value: Any) -> None:
    """Paste a line of code into an async function, and call it."""
    names = {"sessions": sessions, "value": value}
    exec(f"async def pasted():\n{textwrap.indent(line, '    ')}", names)  # noqa: S102
    await names["pasted"]()


@pytest.mark.parametrize("place", ["stream", "background task", "after_response"])
@pytest.mark.parametrize("key", ["late", 'it\'s "late" \\ \n'])
async def test_rule_19_a_late_assignment_raises_an_error_with_a_line_that_works(place: str, key: str) -> None:
    raised: list[SessionReadOnly] = []

    def assign(session: Any) -> None:
        try:
            session[Key(key, int)] = 1
        except SessionReadOnly as error:
            raised.append(error)

    async def assign_after(request: AnyRequest) -> None:
        if place == "after_response":
            assign(request.session)

    @post("/", status_code=200, after_response=assign_after)
    async def respond(session: NamedDependency[Session]) -> Response[Any] | Stream:
        async def chunks() -> AsyncIterator[str]:
            yield "a"
            assign(session)

        if place == "stream":
            return Stream(chunks())
        return Response("a", background=BackgroundTask(assign, session) if place == "background task" else None)

    async with site(respond) as app:
        client = await app.visitor(kept=1)
        assert (await client.post("/")).text == "a"
        (error,) = raised
        assert str(error).startswith(f"session[{key!r}] cannot be changed: the response has started. ")
        line = str(error).partition("Save it with: ")[2]
        await run_line(line, app.sessions, {"x": [1]})
        assert await app.values(client) == {"kept": 1, key: {"x": [1]}}


@pytest.mark.parametrize("place", ["stream", "background task"])
@pytest.mark.parametrize("began_as", ["read", "assigned", "default"])
async def test_rule_19_a_late_nested_change_is_reported_with_its_key_and_a_line_that_works(
    place: str, began_as: str, caplog: pytest.LogCaptureFixture
) -> None:
    cart = Key("cart", list[str], default=[])

    @post("/", status_code=200)
    async def respond(session: NamedDependency[Session]) -> Response[Any] | Stream:
        if began_as == "assigned":
            session[cart] = ["a"]

        async def chunks() -> AsyncIterator[str]:
            yield "a"
            session[cart].append("b")

        async def later() -> None:
            session[cart].append("b")

        return Stream(chunks()) if place == "stream" else Response("a", background=BackgroundTask(later))

    async with site(respond) as app:
        client = await app.visitor(kept=1, **({} if began_as == "default" else {"cart": ["a"]}))
        assert (await client.post("/")).text == "a"
        errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        assert len(errors) == 1
        assert errors[0].startswith("A change inside session['cart'] came too late to be saved. Save it with: ")
        await run_line(errors[0].partition("Save it with: ")[2], app.sessions, ["a", "b"])
        assert await app.values(client) == {"kept": 1, "cart": ["a", "b"]}


@pytest.mark.parametrize("call", ["rotate", "destroy", "clear", "end"])
async def test_rule_19_other_late_calls_raise_an_error_with_a_remedy(call: str) -> None:
    raised: list[str] = []

    async def late(session: Session) -> None:
        try:
            if (waiting := getattr(session, call)()) is not None:
                await waiting
        except SessionReadOnly as error:
            raised.append(str(error))

    @post("/", status_code=200)
    async def respond(session: NamedDependency[Session]) -> Response[str]:
        return Response("a", background=BackgroundTask(late, session))

    async with site(respond) as app:
        client = await app.visitor(kept=1)
        await client.post("/")
        (message,) = raised
        assert message.startswith("The session cannot be changed: the response has started. ")
        line = message.partition("Destroy it with: ")[2]
        await run_line(line, app.sessions, None)
        assert await app.values(client) == {}


async def test_rule_19_nothing_is_reported_if_nothing_was_lost(caplog: pytest.LogCaptureFixture) -> None:
    @post("/", status_code=200)
    async def respond(session: NamedDependency[Session]) -> Stream:
        session[CART].append("b")
        await session.save()
        session[LIST] = [1]

        async def chunks() -> AsyncIterator[str]:
            yield json.dumps(session[CART])
            copy.deepcopy(session[LIST]).append(2)

        return Stream(chunks())

    async with site(respond, *WAYS, middleware=[failing_middleware]) as app:
        client = await app.visitor(cart=["a"])
        assert (await client.post("/")).text == '["a", "b"]'
        for path in PATHS:
            await client.post(path)
    assert "too late" not in caplog.text


async def test_rule_19_a_cancelled_request_reports_no_change(caplog: pytest.LogCaptureFixture) -> None:
    reached = asyncio.Event()

    @post("/", status_code=200)
    async def hang(session: NamedDependency[Session]) -> str:
        session[CART].append("b")
        reached.set()
        await asyncio.sleep(60)
        return "never"

    async with site(hang) as app:
        client = await app.visitor(cart=["a"])
        task = asyncio.create_task(client.post("/"))
        await reached.wait()
        task.cancel()
        await asyncio.wait([task])
        assert await app.values(client) == {"cart": ["a"]}
    assert "too late" not in caplog.text


async def test_rule_19_a_change_inside_a_dropped_object_is_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def use_the_old_object(request: AnyRequest, _: Exception) -> Response[str]:
        request.state.cart.append("c")
        return Response("sorry", status_code=400)

    @post("/", status_code=200, exception_handlers={Failure: use_the_old_object})
    async def fail(session: NamedDependency[Session], request: AnyRequest) -> str:
        request.state.cart = session[CART]
        raise Failure

    async with site(fail) as app:
        client = await app.visitor(cart=["a"])
        await client.post("/")
        assert await app.values(client) == {"cart": ["a"]}
    assert "A change inside session['cart'] came too late" in caplog.text


@pytest.mark.full
async def test_a_stream_may_read_the_store_any_number_of_times(caplog: pytest.LogCaptureFixture) -> None:
    """`session.load` every 20 ms used up the time of its request. `sessions.find` has its own each time."""
    started, changed = asyncio.Event(), asyncio.Event()

    @get("/")
    async def watch(session: NamedDependency[Session], sessions: NamedDependency[SessionManager]) -> Stream:
        session_id = session.id or ""

        async def chunks() -> AsyncIterator[str]:
            started.set()
            while (now := await sessions.find(session_id)).get(CART) == ["a"]:
                await asyncio.sleep(0)
            yield json.dumps(now[CART])

        return Stream(chunks())

    store = BrokenStore()
    async with site(watch, store=store) as app:
        client = await app.visitor(cart=["a"])
        load = store.load

        async def load_slowly(session_id: str) -> bytes | None:
            await asyncio.sleep(0.02)
            return await load(session_id)

        store.load = load_slowly  # type: ignore[method-assign]
        waiting = asyncio.create_task(client.get("/"))
        await started.wait()
        await asyncio.sleep(3)  # more than the 2.4 s that one request may wait for its store
        async with app.sessions.edit(digest(client.cookies["session"])) as session:
            session[CART] = ["b"]
        changed.set()
        assert (await waiting).text == '["b"]'
    assert "session store fails" not in caplog.text


# sessions.edit


async def test_rule_19_edit_saves_at_the_end_of_the_block_and_merges() -> None:
    async with site() as app:
        session_id = digest(token := await stored(app.sessions, cart=["a"], user="ada", kept=1))
        async with app.sessions.edit(session_id) as session:
            session[CART].append("b")
            session[USER] = "mine"
            async with app.sessions.edit(session_id) as other:
                other[NEW] = "theirs"
                other[USER] = "theirs"
            assert await values_of(app.sessions, token) == {"cart": ["a"], "user": "theirs", "kept": 1, "new": "theirs"}
        assert await values_of(app.sessions, token) == {"cart": ["a", "b"], "user": "mine", "kept": 1, "new": "theirs"}
        assert (session.id, session.cookie) == (session_id, None)
        with pytest.raises(SessionReadOnly, match=r"the block of sessions.edit has ended. Save it with: async with"):
            session[USER] = "late"


async def test_rule_19_edit_drops_the_changes_of_a_block_that_raises() -> None:
    async with site() as app:
        token = await stored(app.sessions, cart=["a"])
        with pytest.raises(Failure):  # noqa: PT012
            async with app.sessions.edit(digest(token)) as session:
                session[CART].append("b")
                session[NEW] = 1
                raise Failure
        assert await values_of(app.sessions, token) == {"cart": ["a"]}
        with pytest.raises(SessionReadOnly):
            session[NEW] = 2


@pytest.mark.parametrize("end", ["destroy", "rotate"])
async def test_rule_19_edit_of_an_ended_session_raises_an_error(end: str) -> None:
    async with site() as app:
        session_id = digest(token := await stored(app.sessions, kept=1))
        with pytest.raises(SessionEnded):  # noqa: PT012
            async with app.sessions.edit(session_id) as session:
                session[NEW] = 1
                await getattr(await app.sessions.start(token), end)()
        with pytest.raises(LookupError, match="there is no session"):
            async with app.sessions.edit(session_id):
                pytest.fail("there is none")


async def test_rule_19_edit_can_destroy_but_not_rotate_or_begin_a_session() -> None:
    async with site() as app:
        token = await stored(app.sessions, kept=1)
        with pytest.raises(
            SessionReadOnly, match=r"no browser can receive a new token\. Rotate or begin a session in a"
        ):
            async with app.sessions.edit(digest(token)) as session:
                await session.rotate()
        assert await values_of(app.sessions, token) == {"kept": 1}
        with pytest.raises(SessionReadOnly, match="no browser can receive a new token"):  # noqa: PT012
            async with app.sessions.edit(digest(token)) as session:
                await session.destroy()
                session[NEW] = 1
        assert await app.sessions.store.count() == 0


async def test_rule_19_edit_raises_an_error_while_the_store_is_down() -> None:
    store = BrokenStore()
    async with site(store=store) as app:
        session_id = digest(await stored(app.sessions, kept=1))
        with pytest.raises(StoreUnavailable):  # noqa: PT012
            async with app.sessions.edit(session_id) as session:
                session[NEW] = 1
                store.broken = ALL_CALLS
        with pytest.raises(StoreUnavailable):
            async with app.sessions.edit(session_id):
                pytest.fail("it cannot be read")


async def test_rule_19_edit_of_the_requests_own_session_merges_with_the_response() -> None:
    @post("/", status_code=200)
    async def respond(session: NamedDependency[Session], sessions: NamedDependency[SessionManager]) -> str:
        session[A] = 1
        async with sessions.edit(session.id or "") as edited:
            edited[B] = 2
        return "done"

    async with site(respond) as app:
        client = await app.visitor(kept=1)
        await client.post("/")
        assert await app.values(client) == {"kept": 1, "a": 1, "b": 2}


# Rule 20: Litestar's own session API


def login(request: AnyRequest) -> None:
    request.clear_session()
    request.set_session({"user": "ada"})


@pytest.mark.parametrize(
    "call", ["clear", "clear and fail", "set", "set and fail", "both", "both and fail", "set Empty"]
)
@pytest.mark.parametrize("synchronous", [True, False])
async def test_rule_20_clear_session_ends_the_session_and_set_session_replaces_its_values(
    call: str, *, synchronous: bool
) -> None:
    def handle(request: AnyRequest, session: Session) -> str:
        assert request.session is session
        if call == "set Empty":
            request.set_session(Empty)
        if "clear" in call or "both" in call:
            request.clear_session()
            assert request.session is session
            assert dict(session) == {}
        if call.startswith(("set and", "both")) or call == "set":
            request.set_session({"user": "ada"})
            assert dict(session) == {"user": "ada"}
        assert request.session is session
        if "fail" in call:
            raise Failure
        return "done"

    @post("/", status_code=200, sync_to_thread=True)
    def in_thread(request: AnyRequest, session: NamedDependency[Session]) -> str:
        return handle(request, session)

    @post("/", status_code=200)
    async def in_loop(request: AnyRequest, session: NamedDependency[Session]) -> str:
        return handle(request, session)

    async with site(in_thread if synchronous else in_loop) as app:
        client = await app.visitor(kept=1)
        old = client.cookies["session"]
        response = await client.post("/")
        assert response.status_code == (500 if "fail" in call else 200)
        if call.startswith("set") and call != "set Empty":
            assert "set-cookie" not in response.headers
            assert await app.values(client) == ({"kept": 1} if "fail" in call else {"user": "ada"})
            return
        assert await values_of(app.sessions, old) == {}, "the session has ended, even if the handler failed"
        if call == "both":
            assert names_session(response) not in ("", old)
            assert await app.values(client) == {"user": "ada"}
        else:
            assert "Max-Age=0" in response.headers["set-cookie"]
            assert await app.sessions.store.count() == 0


async def test_rule_20_the_login_idiom_leaves_no_planted_token_alive() -> None:
    @post("/login", status_code=200)
    async def log_in(request: AnyRequest) -> str:
        request.clear_session()
        request.set_session({"user": "ada"})
        return "welcome"

    @post("/logout", status_code=200)
    async def log_out(request: AnyRequest) -> str:
        request.clear_session()
        return "bye"

    async with site(log_in, log_out) as app:
        planted = await stored(app.sessions, trap=1)
        client = await app.visitor()
        client.cookies.set("session", planted, domain="127.0.0.1")
        assert names_session(await client.post("/login")) not in ("", planted)
        assert await values_of(app.sessions, planted) == {}
        assert await app.values(client) == {"user": "ada"}
        token = client.cookies["session"]
        assert "Max-Age=0" in (await client.post("/logout")).headers["set-cookie"]
        assert await values_of(app.sessions, token) == {}


@pytest.mark.parametrize(
    "calls", ["clear", "set", "set clear", "clear set", "clear fail", "set fail", "clear set fail"]
)
async def test_rule_20_a_middleware_may_use_litestars_own_connection(calls: str) -> None:
    seen: list[Any] = []

    def log_in(app: ASGIApp) -> ASGIApp:
        async def call(scope: Scope, receive: Receive, send: Send) -> None:
            connection: Any = ASGIConnection(scope, receive, send)
            seen.append(connection.session)
            for name in calls.removesuffix(" fail").split():
                if name == "clear":
                    connection.clear_session()
                else:
                    connection.set_session({"user": "ada"})
            await app(scope, receive, send)

        return call

    @post("/", status_code=200)
    async def show(request: AnyRequest, session: NamedDependency[Session]) -> dict[str, Any]:
        assert seen == [session]
        assert request.session is session
        assert session.available
        if "fail" in calls:
            raise Failure
        return dict(session.items())

    async with site(show, middleware=[log_in]) as app:
        client = await app.visitor(kept=1)
        old = client.cookies["session"]
        response = await client.post("/")
        assert await values_of(app.sessions, old) == {}, "the layer cannot know whether the old session may live on"
        if calls.endswith("set"):
            assert response.json() == {"user": "ada"}
            assert names_session(response) not in ("", old)
            assert await app.values(client) == {"user": "ada"}
        else:
            assert "Max-Age=0" in response.headers["set-cookie"]
            assert await app.sessions.store.count() == 0
            assert response.status_code == 500 if "fail" in calls else response.json() == {}


async def test_rule_20_a_session_cleared_by_a_middleware_that_fails_has_ended() -> None:
    def log_out(app: ASGIApp) -> ASGIApp:  # noqa: ARG001
        async def call(scope: Scope, receive: Receive, send: Send) -> None:
            SessionRequest(scope, receive, send).clear_session()
            raise Failure

        return call

    @post("/", status_code=200)
    async def never() -> str:
        return "never"

    async with site(never, middleware=[log_out]) as app:
        client = await app.visitor(kept=1)
        response = await client.post("/")
        assert (response.status_code, "Max-Age=0" in response.headers["set-cookie"]) == (500, True)
        assert await app.sessions.store.count() == 0


async def test_rule_20_set_session_accepts_the_session_itself_and_refuses_anything_but_a_dict() -> None:
    @post("/same", status_code=200)
    async def same(request: AnyRequest) -> str:
        request.set_session(request.session)
        return "done"

    @post("/object", status_code=200)
    async def no_dict(request: AnyRequest) -> str:
        request.set_session(cast("Any", object()))
        return "done"

    async with site(same, no_dict) as app:
        client = await app.visitor(kept=1)
        await client.post("/same")
        assert await app.values(client) == {"kept": 1}
        assert (await client.post("/object")).status_code == 500
        assert await app.values(client) == {"kept": 1}


# What people who know other frameworks do


async def test_a_handler_may_call_another_route_of_the_app() -> None:
    @post("/outer", status_code=200)
    async def outer(request: AnyRequest, session: NamedDependency[Session]) -> str:
        session[A] = 1
        transport = httpx.ASGITransport(request.app)  # type: ignore[arg-type]
        cookies = dict(request.cookies)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", cookies=cookies) as inside:
            return (await inside.post("/inner")).text

    @post("/inner", status_code=200)
    async def inner(session: NamedDependency[Session]) -> str:
        assert "a" not in session, "it is a request of its own"
        session[B] = 2
        return "inner"

    async with site(outer, inner) as app:
        client = await app.visitor(kept=1)
        assert (await client.post("/outer")).text == "inner"
        assert await app.values(client) == {"kept": 1, "a": 1, "b": 2}


async def test_a_middleware_may_send_a_request_to_another_route() -> None:
    def dispatch(app: ASGIApp) -> ASGIApp:
        async def call(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/old":
                scope["session"][A] = 1  # type: ignore[index]
                moved: Any = {**scope, "path": "/new", "raw_path": b"/new"}
                await scope["litestar_app"](moved, receive, send)
            else:
                await app(scope, receive, send)

        return call

    @route(["/old", "/new"], http_method=["POST"], status_code=200)
    async def show(session: NamedDependency[Session]) -> str:
        session[B] = 2
        return "new"

    async with site(show, middleware=[dispatch]) as app:
        client = await app.visitor(kept=1)
        assert (await client.post("/old")).text == "new"
        assert await app.values(client) == {"kept": 1, "a": 1, "b": 2}


async def test_a_mounted_asgi_app_shares_the_session() -> None:
    async def use(request: StarletteRequest) -> PlainTextResponse:
        request.session["user"] = "ada"
        request.session["cart"].append("b")
        return PlainTextResponse("inside")

    inside: Any = Starlette(routes=[Route("/", use, methods=["POST"])])
    mounted = asgi("/inside", is_mount=True, copy_scope=False)(inside)
    async with site(mounted) as app:
        client = await app.visitor(cart=["a"])
        response = await client.post("/inside")
        assert (response.text, response.headers["cache-control"]) == ("inside", "no-store")
        assert await app.values(client) == {"cart": ["a", "b"], "user": "ada"}
        assert (await client.get("/inside")).status_code == 405


@pytest.mark.parametrize("copy_scope", [True, False])
async def test_a_mounted_asgi_app_may_have_its_own_sessions(*, copy_scope: bool) -> None:
    async def use(request: StarletteRequest) -> PlainTextResponse:
        request.session["user"] = "ada"
        return PlainTextResponse("inside")

    @post("/", status_code=200)
    async def use_ours(session: NamedDependency[Session]) -> str:
        session[USER] = "ada"
        return "inside"

    starlette: Any = Starlette(routes=[Route("/", use, methods=["POST"])])

    class CookieSession(dict[str, Any]):
        """Like that of Starlette's own SessionMiddleware: a subclass of dict, in the same scope."""

    async def with_own_sessions(scope: Any, receive: Any, send: Any) -> None:
        async def add_cookie(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"set-cookie", b"own=" + json.dumps(scope["session"]).encode()))
            await send(message)

        scope["session"] = CookieSession()
        await starlette(scope, receive, add_cookie)

    ours: Any = Litestar([use_ours], plugins=[SessionPlugin("memory://", name="own")], logging_config=None)
    for inside in (with_own_sessions, ours):
        mounted = asgi("/inside", is_mount=True, copy_scope=copy_scope)(inside)
        async with site(mounted) as app:
            client = await app.visitor(kept=1)
            response = await client.post("/inside")
            assert response.text == "inside"
            assert [cookie.partition("=")[0] for cookie in response.headers.get_list("set-cookie")] == ["own"]
            assert await app.values(client) == {"kept": 1}


async def test_a_mounted_app_may_send_no_headers() -> None:
    async def plain(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"plain"})

    async with site(asgi("/", is_mount=True, copy_scope=False)(plain)) as app:
        response = await (await app.visitor(kept=1)).get("/")
        assert (response.text, response.headers["cache-control"]) == ("plain", "no-store")


async def test_before_request_and_after_request_may_change_the_session() -> None:
    async def before(request: AnyRequest) -> Response[str] | None:
        request.session[A] = 1
        return Response("answered early") if "early" in request.query_params else None

    @post("/", before_request=before, status_code=200)
    async def handle(session: NamedDependency[Session]) -> Response[str]:
        async def after(response: Response[str]) -> Response[str]:
            session[B] = session[A] + 1
            return response

        return await after(Response("done"))

    changed: list[Session] = []

    async def after_request(response: Response[Any]) -> Response[Any]:
        changed[0][B] = 2
        return response

    @post("/after", after_request=after_request, status_code=200)
    async def remember(session: NamedDependency[Session]) -> str:
        changed.append(session)
        return "done"

    async with site(handle, remember) as app:
        client = await app.visitor(kept=1)
        assert (await client.post("/?early=1")).text == "answered early"
        assert await app.values(client) == {"kept": 1, "a": 1}
        await client.post("/")
        assert await app.values(client) == {"kept": 1, "a": 1, "b": 2}
        client = await app.visitor(kept=2)
        await client.post("/after")
        assert await app.values(client) == {"kept": 2, "b": 2}


async def test_a_response_keeps_its_own_cookie_and_vary() -> None:
    @post("/", status_code=200)
    async def handle(session: NamedDependency[Session]) -> Response[str]:
        session[NEW] = 1
        headers = {"Cache-Control": "public, max-age=60", "Vary": "Accept", "X-Own": "1"}
        response = Response("done", headers=headers)
        response.set_cookie("theme", "dark")
        return response

    async with site(handle) as app:
        response = await (await app.visitor()).post("/")
        names = [cookie.partition("=")[0] for cookie in response.headers.get_list("set-cookie")]
        assert sorted(names) == ["session", "theme"]
        assert response.headers.get_list("cache-control") == ["no-store"]
        assert {item.strip() for item in response.headers["vary"].split(",")} == {"Accept", "Cookie"}
        assert response.headers["x-own"] == "1"


async def test_a_response_cache_replays_no_cookie() -> None:
    @get("/", cache=60, cache_key_builder=lambda request: request.url.path)
    async def handle(session: NamedDependency[Session]) -> str:
        session[NEW] = 1
        return "done"

    async with site(handle, response_cache_config=ResponseCacheConfig()) as app:
        first, second = await app.visitor(), await app.visitor()
        assert names_session(await first.get("/"))
        response = await second.get("/")
        assert (response.text, "set-cookie" in response.headers) == ("done", False)
        assert response.headers.get_list("cache-control") == ["no-store"]


async def test_a_synchronous_handler_may_read_and_assign() -> None:
    @post("/", status_code=200, sync_to_thread=True)
    def handle(session: NamedDependency[Session]) -> dict[str, Any]:
        session[USER] = "ada"
        session[CART].append("b")
        del session[KEPT]
        return dict(session.items())

    async with site(handle) as app:
        client = await app.visitor(cart=["a"], kept=1)
        assert (await client.post("/")).json() == {"cart": ["a", "b"], "user": "ada"}
        assert await app.values(client) == {"cart": ["a", "b"], "user": "ada"}


@pytest.mark.parametrize("call", ["save", "rotate", "destroy"])
@pytest.mark.parametrize("ends", ["returns", "raises"])
async def test_a_call_that_was_never_awaited_is_reported(
    call: str, ends: str, caplog: pytest.LogCaptureFixture
) -> None:
    @post("/thread", status_code=200, sync_to_thread=True)
    def in_thread(session: NamedDependency[Session]) -> str:
        getattr(session, call)()
        if ends == "raises":
            raise Failure
        return "done"

    @post("/loop", status_code=200)
    async def in_loop(session: NamedDependency[Session]) -> str:
        getattr(session, call)()
        if ends == "raises":
            raise Failure
        return "done"

    async with site(in_thread, in_loop) as app:
        client = await app.visitor(kept=1)
        for path in ("/thread", "/loop"):
            caplog.clear()
            await client.post(path)
            message = f"session.{call}() was not awaited, so it did nothing. In an async function, write: "
            assert caplog.text.count(f"{message}await session.{call}()") == 1
        assert await app.values(client) == {"kept": 1}


async def test_awaited_calls_are_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    @post("/", status_code=200)
    async def handle(session: NamedDependency[Session]) -> str:
        session[NEW] = 1
        await session.save()
        await asyncio.gather(session.rotate(), session.save())
        await asyncio.create_task(session.save())
        await session.destroy()
        return "done"

    async with site(handle) as app:
        await (await app.visitor(kept=1)).post("/")
    assert "not awaited" not in caplog.text


async def test_a_generator_dependency_may_change_the_session_in_its_cleanup() -> None:
    async def provide_cart(session: NamedDependency[Session]) -> AsyncGenerator[list[str], None]:
        cart = list(session[CART])
        yield cart
        session[CART] = cart
        session[CHANGED] = "in the cleanup"

    @post("/", dependencies={"cart": Provide(provide_cart)}, status_code=200)
    async def handle(cart: NamedDependency[Any]) -> str:  # Litestar copies what it recognizes as a list
        cart.append("b")
        return "done"

    async with site(handle) as app:
        client = await app.visitor(cart=["a"])
        assert (await client.post("/")).status_code == 200
        assert await app.values(client) == {"cart": ["a", "b"], "changed": "in the cleanup"}


async def test_a_handler_that_catches_session_ended_begins_a_new_session() -> None:
    @post("/", status_code=200)
    async def handle(session: NamedDependency[Session], sessions: NamedDependency[SessionManager]) -> str:
        await sessions.destroy(session.id or "")
        session[CHANGED] = 1
        try:
            await session.save()
        except SessionEnded:
            session[NEW] = 1
        return "done"

    async with site(handle) as app:
        client = await app.visitor(kept=1)
        response = await client.post("/")
        assert (response.status_code, bool(names_session(response))) == (200, True)
        assert await app.values(client) == {"new": 1}


async def test_tasks_of_a_handler_may_share_its_session() -> None:
    @post("/", status_code=200)
    async def handle(session: NamedDependency[Session]) -> str:
        async def branch(key: Key[Any]) -> None:
            session[key] = []
            await session.save()
            session[key].append(1)

        await asyncio.gather(branch(A), branch(B), session.rotate())
        return "done"

    async with site(handle) as app:
        client = await app.visitor()
        response = await client.post("/")
        assert len(response.headers.get_list("set-cookie")) == 1
        assert await app.values(client) == {"a": [1], "b": [1]}
        assert await app.sessions.store.count() == 1


async def test_a_handler_that_returns_the_session_reveals_nothing() -> None:
    @post("/", status_code=200)
    async def handle(session: NamedDependency[Session]) -> Any:
        session[NEW] = "secret"
        await session.save()
        return session

    async with site(handle) as app:
        response = await (await app.visitor()).post("/")
        assert response.status_code == 500
        assert names_session(response)
        assert names_session(response) not in response.text
        assert "secret" not in response.text


async def test_a_head_request_saves_the_session() -> None:
    @route("/", http_method=["GET", "HEAD"])
    async def handle(session: NamedDependency[Session]) -> str:
        session[NEW] = 1
        return "done"

    async with site(handle) as app:
        client = await app.visitor(kept=1)
        assert (await client.head("/")).status_code == 200
        assert await app.values(client) == {"kept": 1, "new": 1}


async def test_two_apps_with_different_names_on_one_host_do_not_see_each_other() -> None:
    @post("/", status_code=200)
    async def log_in(session: NamedDependency[Session]) -> dict[str, Any]:
        before = dict(session.items())
        session[USER] = "ada"
        return before

    async with site(log_in, name="one") as one, site(log_in, name="two") as two:
        client, other = await one.visitor(), await two.visitor()
        await client.post("/")
        assert set(client.cookies) == {"one"}
        other.cookies = client.cookies  # one browser: cookies do not know ports
        assert (await other.post("/")).json() == {}
        assert set(other.cookies) == {"one", "two"}
        client.cookies = other.cookies
        assert (await client.post("/")).json() == {"user": "ada"}
        assert await one.sessions.store.count() == await two.sessions.store.count() == 1


@pytest.mark.parametrize("path", ["/a", "/b"])
async def test_the_session_parameter_works_beside_path_parameters(path: str) -> None:
    @get("/{name:str}")
    async def show(request: AnyRequest, session: NamedDependency[Session], name: FromPath[str]) -> str:
        assert request.session is session
        return name

    async with site(show) as app:
        assert (await (await app.visitor()).get(path)).text == path[1:]


async def test_an_unknown_cookie_before_the_valid_one_does_no_harm() -> None:
    @get("/")
    async def show(session: NamedDependency[Session]) -> dict[str, Any]:
        return dict(session.items())

    async with site(show) as app:
        valid, client = await stored(app.sessions, kept=1), await app.visitor()

        async def shown(*cookies: str) -> Any:
            return (await client.get("/", headers=[("Cookie", cookie) for cookie in cookies])).json()

        unknown = [f"session={letter * 43}" for letter in "ABCD"]
        assert await shown(f"{unknown[0]}; session={valid}") == {"kept": 1}
        assert await shown(unknown[0], f"session={valid}") == {"kept": 1}
        assert await shown("; ".join([*unknown[:3], f"session={valid}"])) == {"kept": 1}
        assert await shown("; ".join([*unknown, f"session={valid}"])) == {}
        assert await shown("; ".join([unknown[0]] * 9 + ["session=x"] * 9 + [f"session={valid}"])) == {"kept": 1}


async def test_request_session_supports_the_update_operator() -> None:
    @post("/", status_code=200)
    async def update(request: SessionRequest) -> str:
        request.session |= {A: 1}
        with pytest.raises(AttributeError, match=r"Write: request.set_session\({...}\)"):
            request.session = {"b": 1}  # type: ignore[assignment]
        return "done"

    async with site(update) as app:
        client = await app.visitor(kept=1)
        assert (await client.post("/")).status_code == 200
        assert await app.values(client) == {"kept": 1, "a": 1}


@pytest.mark.parametrize("step", ["end", "destroy", "rotate", "save"])
async def test_rule_7_outside_litestar_a_crash_keeps_only_explicit_steps(step: str) -> None:
    """The framework answers outside of the middleware, where no cookie could be sent."""

    async def crash(scope: Any, _: Any, __: Any) -> None:
        session = scope["session"]
        session[NEW] = "saved"
        if (waiting := getattr(session, step)()) is not None:
            await waiting
        session[CHANGED] = "dropped"
        raise Failure

    sessions = SessionManager(MemoryStore())
    transport = httpx.ASGITransport(cast("Any", SessionMiddleware(crash, sessions)), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        token = await stored(sessions, kept=1)
        response = await client.get("/", headers={"Cookie": f"session={token}"})
        assert response.status_code == 500
        if step == "save":
            assert await values_of(sessions, token) == {"kept": 1, "new": "saved"}
            return
        assert await values_of(sessions, token) == {}
        if step == "rotate":
            assert await values_of(sessions, names_session(response)) == {"kept": 1}
        else:
            assert "Max-Age=0" in response.headers["set-cookie"]
            assert await sessions.store.count() == 0
