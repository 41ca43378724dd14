"""Correct uses of a session, in which type checkers find no error: see `test_types.py`."""

from typing import Any

from fastapi import FastAPI
from litestar import Litestar, get
from litestar.di import NamedDependency

from app.sessions import Key, Session, SessionManager, SessionMiddleware, Store, open_store
from app.sessions.litestar import SessionPlugin, SessionRequest, SessionWebSocket
from app.sessions.memory import MemoryStore

QUOTE = Key("quote", str, default="nothing yet")
CART = Key("cart", dict[str, int], default={})
USER = Key[str | None]("user", str | None, default=None)
COUNT = Key("count", int)


@get("/")
async def read(session: NamedDependency[Session]) -> dict[str, Any]:
    quote: str = session[QUOTE]
    maybe: str | None = session.get(QUOTE)
    certain: str = session.get(QUOTE, "none")
    either: int | None = session.get(COUNT, None)
    user: str | None = session[USER]
    cart: dict[str, int] = session[CART]
    values: dict[str, Any] = dict(session.items())
    assert (QUOTE in session, bool(session), len(session)) == (True, True, 2)
    return {"all": dict(session), **values, "more": (quote, maybe, certain, either, user, cart, list(session))}


async def change(session: NamedDependency[Session], other: Session) -> int:
    session[QUOTE] = "To be"
    session[CART]["tea"] = 1
    session[USER] = None
    session[COUNT] = session.get(COUNT, 0) + 1
    session[COUNT] += 1
    session.update({QUOTE: "or not", COUNT: 1})
    session.update(other)
    session |= {QUOTE: "to be", CART: {}}
    popped: int = session.pop(COUNT)
    text: str = session.pop(QUOTE, "none")
    total: int = session.setdefault(COUNT, 1)
    del session[COUNT]
    session.clear()
    return popped + total + len(text)


async def end(request: SessionRequest, session: NamedDependency[Session]) -> str | None:
    request.session[QUOTE] = "x"
    await request.session.save()
    await request.session.rotate()
    await request.session.destroy()
    await session.destroy()
    request.clear_session()
    request.set_session({"quote": "x"})
    session_id: str | None = session.id
    return session_id


async def answer(socket: SessionWebSocket, sessions: NamedDependency[SessionManager]) -> None:
    if session_id := socket.session.id:
        async with sessions.edit(session_id) as session:
            session[QUOTE] = socket.session[QUOTE]
        found: Session = await sessions.find(session_id)
        await sessions.destroy(found.id or "")


async def own(session: NamedDependency[Session], sessions: NamedDependency[SessionManager]) -> dict[str, float]:
    owner: str | None = session.owner
    session.owner = "ada"
    await session.rotate()
    session.owner = None
    ended: int = await sessions.end_all(owner or "", keep=session.id)
    ended += await sessions.end_all("ada")
    devices: list[Session] = await sessions.list("ada")
    return {device[QUOTE]: device.last_seen or device.created_at or ended for device in devices}


async def listen(session_id: str, reason: str, new_id: str | None) -> None:
    assert session_id
    assert (new_id is None) == (reason != "rotated")


store: Store = MemoryStore()
litestar = Litestar([read], plugins=[SessionPlugin(store, name="app", lifetime=3600, idle_timeout=60)])
sessions = SessionManager(open_store("memory://", name="app"), lifetime=3600)
sessions.events.listeners.append(listen)
app = FastAPI()
app.add_middleware(SessionMiddleware, sessions=sessions, is_exempt=lambda scope: scope["path"] == "/public")
