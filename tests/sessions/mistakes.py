"""Mistakes in the use of a session. `test_types.py` shows that type checkers report these lines, and no others.

Every line that ends with the comment "mistake" is reported by mypy and by pyright.
"""

from litestar.di import NamedDependency

from app.sessions import Key, Session, SessionManager, open_store
from app.sessions.litestar import SessionPlugin, SessionRequest

QUOTE = Key("quote", str, default="nothing yet")
CART = Key("cart", dict[str, int], default={})
COUNT = Key("count", int)
USER = Key[str | None]("user", str | None)

WRONG_DEFAULT = Key(
    "wrong", int, default="one"
)  # both infer a union, so the mistake is reported where the value is read


def use(*_: object) -> None:
    """Count as a use of variables, so no checker reports them as unused."""


async def misspell(session: NamedDependency[Session], request: SessionRequest) -> None:
    session["qoute"] = "a misspelled key"  # mistake
    session["quote"] = "a string where a key belongs"  # mistake
    session[QOUTE] = "a misspelled name"  # mistake
    session.get("quote")  # mistake
    session.pop("quote")  # mistake
    session.setdefault("quote", "x")  # mistake
    session.update({"quote": "x"})  # mistake
    session |= {"quote": "x"}  # mistake
    del session["quote"]  # mistake
    request.session["quote"] = "x"  # mistake
    request.sessions  # mistake


async def assign_wrong_types(session: NamedDependency[Session], request: SessionRequest) -> None:
    session[QUOTE] = 5  # mistake
    session[QUOTE] = None  # mistake
    session[USER] = 5  # mistake
    session[CART] = {1: 1}  # mistake
    session[CART]["tea"] = "one"  # mistake
    session[COUNT] += "1"  # mistake
    session.setdefault(COUNT, "1")  # mistake
    request.session[COUNT] = "1"  # mistake


async def read_wrong_types(session: NamedDependency[Session]) -> int:
    count: str = session[COUNT]  # mistake
    text: str = session.get(COUNT)  # mistake
    number: int = session.get(COUNT, "none")  # mistake
    popped: str = session.pop(COUNT)  # mistake
    use(count, text, number, popped, session.get(COUNT) + 1)  # mistake
    wrong: int = session[WRONG_DEFAULT]  # mistake
    user: str = session[USER]  # mistake
    use(wrong, user)
    return session[QUOTE]  # mistake


async def forget_to_await(session: NamedDependency[Session], request: SessionRequest) -> None:
    session.destroy()  # mistake
    session.rotate()  # mistake
    session.save()  # mistake
    request.session.destroy()  # mistake


async def use_attributes_wrongly(session: NamedDependency[Session], sessions: SessionManager) -> None:
    token: str = session.id  # mistake
    session.id = "mine"  # mistake
    session.expires_at = 1.0  # mistake
    use(token, session.token)  # mistake
    sessions.edit()  # mistake
    await sessions.destroy(session)  # mistake
    with sessions.edit(token) as edited:  # mistake
        use(edited)
    SessionPlugin()  # mistake
    SessionPlugin("memory://", lifetime="1 week")  # mistake
    open_store("memory://", "session")  # mistake


async def mistake_owners(session: NamedDependency[Session], sessions: NamedDependency[SessionManager]) -> None:
    session.owner = 5  # mistake
    session.ownr = "ada"  # mistake
    session.last_seen = 1.0  # mistake
    name: str = session.owner  # mistake
    use(name, sessions.list(5), sessions.list(session.owner))  # mistake
    await sessions.end_all(session.owner)  # mistake
    await sessions.end_all("ada", session.id)  # mistake
    ended: str = await sessions.end_all("ada", keep=session.id)  # mistake
    use(ended, [device["name"] for device in await sessions.list("ada")])  # mistake
