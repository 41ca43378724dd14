"""Stops a task before or after any of its calls to the store, while other tasks go on: races without clocks."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

from app.sessions import SessionManager, Store, StoreUnavailable

_walk: ContextVar["Walk | None"] = ContextVar("walk", default=None)


class Walk:
    """A task that stops at chosen points. Each call to the store has two: before it, and after it."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._points = 0
        self._stop_at = 0
        self._stopped = asyncio.Event()
        self._may_go_on = asyncio.Event()
        self.task = asyncio.create_task(self._start(work))

    async def _start(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        _walk.set(self)
        await self._may_go_on.wait()
        return await work()

    async def go(self, points: int = 1) -> bool:
        """Go on for this many points. Return False if the task ends before that."""
        self._stop_at = self._points + points
        self._stopped.clear()
        self._may_go_on.set()
        stopped = asyncio.create_task(self._stopped.wait())
        await asyncio.wait((stopped, self.task), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        return not self.task.done()

    async def finish(self) -> Any:
        """Go on to the end, and return the result of the task, or its exception."""
        self._stop_at = 0
        self._may_go_on.set()
        return (await asyncio.gather(self.task, return_exceptions=True))[0]

    async def crash(self) -> None:
        """End the task where it is, as if its process were killed."""
        self.task.cancel()
        await asyncio.wait((self.task,))

    async def reach_point(self) -> None:
        self._points += 1
        if self._points == self._stop_at:
            self._may_go_on.clear()
            self._stopped.set()
            await self._may_go_on.wait()


class SteppedStore:
    """A real store whose calls are points for the walks. It knows the ids of all records that were ever created."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.ids: dict[str, None] = {}

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.store, name)

        async def call(*arguments: Any) -> Any:
            walk = _walk.get()
            if name == "create":
                self.ids[arguments[0]] = None
            if walk:
                await walk.reach_point()
            try:
                return await method(*arguments)
            finally:
                if walk:
                    await walk.reach_point()

        return call


class FailingStore:
    """A real store in which one call fails: the n-th call of a method, before or after its effect."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.fails: tuple[str, int, bool] = ("", 0, False)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.store, name)

        async def call(*arguments: Any) -> Any:
            failing, number, after = self.fails
            if name != failing:
                return await method(*arguments)
            self.fails = failing, number - 1, after
            if number == 1:
                if after:
                    await method(*arguments)
                raise StoreUnavailable("this call fails")
            return await method(*arguments)

        return call


async def living(sessions: SessionManager, store: SteppedStore) -> list[str]:
    """Return the ids of all sessions that are alive, whoever owns them, in the order in which they were created."""
    found = []
    for session_id in store.ids:
        try:
            found.append(str((await sessions.find(session_id)).id))
        except LookupError:
            continue
    return found


async def listed(sessions: SessionManager, owner: str) -> set[str]:
    return {str(session.id) for session in await sessions.list(owner)}
