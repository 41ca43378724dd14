"""Tells each listener once that a session has ended, in the process that ended it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Literal

Reason = Literal["destroyed", "rotated", "expired"]
Listener = Callable[[str, Reason, str | None], Awaitable[None]]

LISTENER_TIMEOUT = 10.0  # seconds; a listener that needs longer must start its own task
STOP_TIMEOUT = 2.0  # seconds that the app waits for listeners when it stops

logger = logging.getLogger(__name__)


class EndEvents:
    """Runs each listener in its own task, so a listener that fails, hangs or is cancelled affects nothing else.

    Each listener gets the session's id, the reason, and the new id, which is None unless the session was rotated.
    """

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def announce(self, session_id: str, reason: Reason, new_id: str | None = None) -> None:
        for listener in self.listeners:
            task = asyncio.create_task(self._tell(listener, session_id, reason, new_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def wait(self, seconds: float) -> None:
        """Wait until all listeners have finished, but no longer than this."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def stop(self) -> None:
        """Give the listeners a moment to finish, then cancel them."""
        await self.wait(STOP_TIMEOUT)
        for task in self._tasks:
            task.cancel()
        await self.wait(STOP_TIMEOUT / 2)

    async def _tell(self, listener: Listener, session_id: str, reason: Reason, new_id: str | None) -> None:
        timeout = asyncio.timeout(LISTENER_TIMEOUT)
        try:
            async with timeout:
                await listener(session_id, reason, new_id)
        except Exception:
            if timeout.expired():
                logger.error("A listener took longer than %s s and was cancelled: %r", LISTENER_TIMEOUT, listener)
            else:
                logger.exception("A listener failed: %r", listener)
