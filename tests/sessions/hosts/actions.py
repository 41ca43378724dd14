"""What the handlers of every host do to the session: `POST /do/<name>` runs one of `ACTIONS`."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from app.sessions import Key, Session, StoreUnavailable
from app.sessions.memory import MemoryStore

CART = Key("cart", list[str], default=[])


class WatchedStore(MemoryStore):
    """Writes the name of each call to the file `calls`, and fails while there is a file `store-is-down`."""

    async def load(self, session_id: str) -> bytes | None:
        note("calls", "load")
        require_store()
        return await super().load(session_id)

    async def create(self, session_id: str, record: bytes, deadline: float) -> bool:
        note("calls", "create")
        require_store()
        return await super().create(session_id, record, deadline)

    async def replace(self, session_id: str, old: bytes, new: bytes, deadline: float) -> bool:
        note("calls", "replace")
        require_store()
        held = self._records.get(session_id, (None, 0.0))[0]  # without a call of `load`
        if held == old:
            self._records[session_id] = (new, deadline)
        return held == old

    async def delete(self, session_id: str, old: bytes | None = None) -> bool:
        note("calls", "delete")
        require_store()
        held = self._records.get(session_id, (None, 0.0))[0]
        if held is not None and old in (None, held):
            del self._records[session_id]
            return True
        return False


def note(file: str, line: str) -> None:
    """Add a line to a file in the folder that the host runs in."""
    with Path(file).open("a") as lines:
        lines.write(f"{line}\n")


def require_store() -> None:
    if Path("store-is-down").exists():
        raise OSError("the test has turned the store off")
    if Path("store-cannot-write").exists() and Path("calls").read_text().endswith(("create\n", "replace\n")):
        raise StoreUnavailable("the test has made the store read-only")


async def note_end(session_id: str, reason: str, new_id: str | None) -> None:
    """Listen to the sessions that end."""
    note("ends", f"{session_id} {reason} {new_id}")


class Refusal(Exception):
    """What a handler raises, and an exception handler answers with 400 and a message in the session."""


def flash(session: Any, error: Exception) -> None:
    """Do what the exception handlers do. Outside Litestar, an exception handler must first call `rollback`."""
    if "rollback" in str(error):
        session.rollback()
    session["flash"] = "That did not work."


async def do(name: str, session: Any, sessions: Any) -> None:
    """Run one of the actions. Those that raise an exception change the session first."""
    match name:
        case "add-to-cart":
            session[CART].append("tea")
        case "crash":
            session["changed"] = True
            raise ValueError("a secret detail")
        case "refuse" | "refuse-with-rollback":
            session["changed"] = True
            raise Refusal(name)
        case "save-and-crash":
            session["changed"] = True
            await session.save()
            session["more"] = True
            raise ValueError
        case "rotate":
            await session.rotate()
        case "rotate-and-crash":
            session["changed"] = True
            await session.rotate()
            raise ValueError
        case "cart-rotate-append":
            cart = session[CART]
            await session.rotate()
            cart.append("b")
        case "destroy":
            await session.destroy()
        case "destroy-and-crash":
            await session.destroy()
            raise ValueError
        case "destroy-and-write":
            await session.destroy()
            session["new"] = True
        case "clear":
            session.clear()
        case "assign-a-set":
            session["bad"] = {1}
        case "nest-a-bad-key":
            session["bad"] = {}
            session["bad"][1] = 1
        case "grow":
            session["huge"] = "x" * 1_100_000
        case "save-too-late":
            await sessions.destroy(session.id)
            session["too late"] = True
            await session.save()
        case _:
            raise LookupError(name)


async def stream(what: str, session: Session) -> AsyncIterator[str]:
    """Change the session after the response has begun."""
    yield "begun "
    await change_late(what, session, None)
    yield "done"


async def change_late(what: str, session: Any, sessions: Any) -> None:
    """Change the session where no response will save it, and note how an assignment fails."""
    if what == "nested":
        session["list"].append("late")
    elif what == "edit" and sessions:
        async with sessions.edit(session.id) as edited:
            edited["edited"] = True
    else:
        try:
            session["late"] = True
        except Exception as error:
            note("late", f"{type(error).__name__}: {error}")


async def answer_message(message: str, session: Any, sessions: Any) -> str:
    """Do what a WebSocket's client asks for, and return the answer."""
    try:
        match message:
            case "values":
                return json.dumps(dict(session))
            case "write":
                session["written"] = True
            case "edit":
                async with sessions.edit(session.id) as edited:
                    edited["edited"] = True
            case "find":
                return json.dumps(dict(await sessions.find(session.id)))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "done"
