"""The sample app with a few more routes: any key of the session, and slow requests."""

from typing import Any

from litestar import Request, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath

from app.sessions import Key, Session
from tests.skeleton.sample_app import create_sample_app


@get("/keys")
async def show_keys(session: NamedDependency[Session]) -> dict[str, Any]:
    return dict(session.items())


@put("/keys/{name:str}")
async def set_key(request: Request[Any, Any, Any], session: NamedDependency[Session], name: FromPath[str]) -> str:
    session[Key(name, str)] = (await request.body()).decode()
    return name


@post("/rotate", status_code=200)
async def rotate(session: NamedDependency[Session]) -> str:
    await session.rotate()
    return "rotated"


@post("/slow-read", status_code=200)
async def read_slowly(request: Request[Any, Any, Any], session: NamedDependency[Session]) -> dict[str, Any]:
    before = dict[str, Any](session.items())
    await request.body()
    return before


@post("/slow-destroy", status_code=200)
async def destroy_late(request: Request[Any, Any, Any], session: NamedDependency[Session]) -> str:
    await request.body()
    await session.destroy()
    return "destroyed"


app = create_sample_app()
for handler in (show_keys, set_key, rotate, read_slowly, destroy_late):
    app.register(handler)
