"""What the tests of the session layer share."""

from typing import Any

from app.sessions import Key, SessionManager

JSON: type[Any] = object

# Most tests are not about the type of a value.
A, B, C, D, E, N = (Key(name, JSON) for name in "abcden")
CART, CHANGED, GONE, HUGE, KEPT, KEY = (Key(name, JSON) for name in ["cart", "changed", "gone", "huge", "kept", "key"])
LARGE, LATE, LIST, MINE, NEW, ONE = (Key(name, JSON) for name in ["large", "late", "list", "mine", "new", "one"])
OTHER, QUOTE, THEIRS, USER, VALUE = (Key(name, JSON) for name in ["other", "quote", "theirs", "user", "value"])


async def stored(sessions: SessionManager, **values: Any) -> str:
    """Store a session with these values and return its token."""
    session = await sessions.start()
    session.update({Key(name, JSON): value for name, value in values.items()})
    await session.save()
    assert session.cookie
    return session.cookie[0]


async def values_of(sessions: SessionManager, token: str) -> dict[str, Any]:
    return {str(key): value for key, value in (await sessions.start(token)).items()}


class CountingStore:
    """Passes everything on to a real store and counts the calls: the round trips of rule 15."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.calls.append(name)
        return getattr(self.store, name)
