"""What the tests of the session layer share."""

from typing import Any

from app.sessions import SessionManager


async def stored(sessions: SessionManager, **values: Any) -> str:
    """Store a session with these values and return its token."""
    session = await sessions.start()
    session.update(values)
    await session.save()
    assert session.cookie
    return session.cookie[0]


async def values_of(sessions: SessionManager, token: str) -> dict[str, Any]:
    return dict(await sessions.start(token))


class CountingStore:
    """Passes everything on to a real store and counts the calls: the round trips of rule 15."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.calls.append(name)
        return getattr(self.store, name)
