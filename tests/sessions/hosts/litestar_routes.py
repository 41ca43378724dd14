"""The routes of the two Litestar hosts."""

import json
from typing import Any

from litestar import Request, Response, Router, WebSocket, delete, get, post, put, websocket
from litestar.background_tasks import BackgroundTask
from litestar.di import NamedDependency
from litestar.events import listener
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler, WebsocketRouteHandler
from litestar.params import FromPath
from litestar.response import Stream, Template
from litestar.types import ASGIApp

from app.sessions import Session, SessionManager
from app.sessions.litestar import SessionRequest
from tests.sessions.hosts.actions import Refusal, answer_message, change_late, do, flash, note_end, stream


@get("/values")
async def show_values(session: NamedDependency[Session]) -> dict[str, Any]:
    return dict(session.items())


@get("/id")
async def show_id(session: NamedDependency[Session]) -> str:
    return session.id or "none"


@get("/public", no_session=True)
async def public(session: NamedDependency[Session]) -> str:
    return f"available: {session.available}"


@put("/values/{name:str}")
async def set_value(request: SessionRequest, session: NamedDependency[Any], name: FromPath[str]) -> str:
    session[name] = json.loads(await request.body())
    return "done"


@post("/values/{name:str}", status_code=200)
async def append_value(request: SessionRequest, session: NamedDependency[Any], name: FromPath[str]) -> str:
    session[name].append(json.loads(await request.body()))
    return "done"


@delete("/values/{name:str}", status_code=200)
async def delete_value(session: NamedDependency[Any], name: FromPath[str]) -> str:
    del session[name]
    return "done"


@post("/returned/{status:int}", status_code=200)
async def change_and_return(session: NamedDependency[Any], status: FromPath[int]) -> Response[str]:
    session["changed"] = True
    return Response("done", status_code=status)


@post("/raised/{status:int}", status_code=200)
async def change_and_raise(session: NamedDependency[Any], status: FromPath[int]) -> str:
    session["changed"] = True
    raise HTTPException(status_code=status)


def answer_refusal(request: Request[Any, Any, Any], error: Refusal) -> Response[str]:
    flash(request.session, error)
    return Response("refused", status_code=400)


@post("/do/{name:str}", status_code=200, exception_handlers={Refusal: answer_refusal})
async def run_action(
    session: NamedDependency[Session], sessions: NamedDependency[SessionManager], name: FromPath[str]
) -> str:
    await do(name, session, sessions)
    return "done"


def answer_crash(request: Request[Any, Any, Any], error: Exception) -> Response[str]:
    flash(request.session, error)
    return Response("crashed", status_code=400)


@post("/crash-and-flash", status_code=200, exception_handlers={Exception: answer_crash})
async def crash(session: NamedDependency[Session], sessions: NamedDependency[SessionManager]) -> str:
    await do("crash", session, sessions)
    return "done"


@get("/template")
async def show_template() -> Template:
    return Template(template_str="Hello {{ session.get('user') or 'nobody' }}")


@get("/stream/{what:str}")
async def stream_late(session: NamedDependency[Session], what: FromPath[str]) -> Stream:
    return Stream(stream(what, session))


@post("/background/{what:str}", status_code=200)
async def change_in_background(
    session: NamedDependency[Session], sessions: NamedDependency[SessionManager], what: FromPath[str]
) -> Response[str]:
    return Response("done", background=BackgroundTask(change_late, what, session, sessions))


@post("/litestar/{call:str}", status_code=200)
async def call_litestar(request: SessionRequest, session: NamedDependency[Session], call: FromPath[str]) -> str:
    """Use Litestar's own session API."""
    assert request.session is session
    if "clear" in call:
        request.clear_session()
    if "set" in call:
        request.set_session({"user": "ada"})
    if "crash" in call:
        raise ValueError
    assert request.session is session
    return "done"


@websocket("/ws")
async def answer_messages(
    socket: WebSocket[Any, Any, Any], session: NamedDependency[Session], sessions: NamedDependency[SessionManager]
) -> None:
    await socket.accept()
    async for message in socket.iter_data(mode="text"):
        await socket.send_text(await answer_message(message, session, sessions))


def other_middleware(app: ASGIApp) -> ASGIApp:
    """Represent any middleware that an app puts between the session layer and its handlers."""

    async def call(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    return call


wrapped = Router("/wrapped", route_handlers=[change_and_raise], middleware=[other_middleware])

ROUTES: list[HTTPRouteHandler | WebsocketRouteHandler | Router] = [
    show_values,
    show_id,
    public,
    set_value,
    append_value,
    delete_value,
    change_and_return,
    change_and_raise,
    run_action,
    crash,
    show_template,
    stream_late,
    change_in_background,
    call_litestar,
    answer_messages,
    wrapped,
]


@listener("session_destroyed")
async def hear(session_id: str, reason: str, new_id: str | None) -> None:
    await note_end(session_id, reason, new_id)
