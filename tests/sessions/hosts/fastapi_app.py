"""A fresh FastAPI app, with nothing but a copy of the session layer."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request, Response, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.requests import HTTPConnection

from app.sessions import Session, SessionManager, SessionMiddleware
from tests.sessions.hosts.actions import Refusal, WatchedStore, answer_message, change_late, do, flash, note_end, stream

sessions = SessionManager(WatchedStore())
sessions.events.listeners.append(note_end)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with sessions.running():
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(SessionMiddleware, sessions=sessions, is_exempt=lambda scope: scope["path"] == "/public")


def provide_session(connection: HTTPConnection) -> Session:
    session: Session = connection.scope["session"]
    return session


VisitorSession = Annotated[Session, Depends(provide_session)]
AnySession = Annotated[Any, Depends(provide_session)]  # for keys that come from the test


@app.get("/values")
async def show_values(session: VisitorSession) -> dict[str, Any]:
    return dict(session.items())


@app.get("/id")
async def show_id(session: VisitorSession) -> Response:
    return PlainTextResponse(session.id or "none")


@app.get("/public")
async def public(request: Request) -> Response:
    return PlainTextResponse(f"available: {'session' in request.scope}")


@app.put("/values/{name}")
async def set_value(request: Request, session: AnySession, name: str) -> str:
    session[name] = json.loads(await request.body())
    return "done"


@app.post("/values/{name}")
async def append_value(request: Request, session: AnySession, name: str) -> str:
    session[name].append(json.loads(await request.body()))
    return "done"


@app.delete("/values/{name}")
async def delete_value(session: AnySession, name: str) -> str:
    del session[name]
    return "done"


@app.post("/returned/{status}")
async def change_and_return(session: AnySession, status: int) -> Response:
    session["changed"] = True
    return PlainTextResponse("done", status_code=status)


@app.post("/raised/{status}")
async def change_and_raise(session: AnySession, status: int) -> str:
    session["changed"] = True
    raise HTTPException(status)


@app.exception_handler(Refusal)
async def answer_refusal(request: Request, error: Exception) -> Response:
    flash(request.session, error)
    return PlainTextResponse("refused", status_code=400)


@app.post("/do/{name}")
async def run_action(session: VisitorSession, name: str) -> str:
    await do(name, session, sessions)
    return "done"


@app.exception_handler(Exception)
async def answer_crash(request: Request, error: Exception) -> Response:
    if request.url.path == "/crash-and-flash":
        flash(request.session, error)
        return PlainTextResponse("crashed", status_code=400)
    return PlainTextResponse("Internal Server Error", status_code=500)


@app.post("/crash-and-flash")
async def crash(session: VisitorSession) -> str:
    await do("crash", session, sessions)
    return "done"


@app.get("/stream/{what}")
async def stream_late(session: VisitorSession, what: str) -> StreamingResponse:
    return StreamingResponse(stream(what, session))


@app.post("/background/{what}")
async def change_in_background(session: VisitorSession, what: str, tasks: BackgroundTasks) -> str:
    tasks.add_task(change_late, what, session, sessions)
    return "done"


@app.websocket("/ws")
async def answer_messages(socket: WebSocket, session: VisitorSession) -> None:
    await socket.accept()
    async for message in socket.iter_text():
        await socket.send_text(await answer_message(message, session, sessions))


wrapped = FastAPI()
wrapped.post("/raised/{status}")(change_and_raise)
app.mount("/wrapped", wrapped)


@wrapped.middleware("http")
async def other_middleware(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Represent any middleware that an app puts between the session layer and its handlers."""
    return await call_next(request)
