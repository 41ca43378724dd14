"""What all sessions of an app have in common: the store, the lifetimes, and the patience with the store."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Literal, TypeVar

from .record import Record
from .session import Session, is_token
from .store import Store, StoreUnavailable

T = TypeVar("T")

logger = logging.getLogger(__name__)


class SessionManager:
    """Starts sessions and knows their rules.

    `lifetime` (seconds) counts from a session's creation and is never extended; `idle_timeout` (seconds, or None)
    counts from its last request (ASVS 7.3.1, 7.3.2). No request waits longer than `patience` (seconds) for the store.
    """

    patience = 4.0

    def __init__(self, store: Store, lifetime: int = 604_800, idle_timeout: int | None = None) -> None:
        self.store = store
        self.lifetime = lifetime
        self.idle_timeout = idle_timeout
        self._failing: set[str] = set()

    async def start(self, token: str | None) -> Session:
        """Return the visitor's session: the stored one if the cookie's value is a token that the store knows."""
        session = Session(self)
        if token and is_token(token):
            await session.resume(token)
        return session

    def deadline(self, expires_at: float, now: float) -> float:
        """When a session ends that was used just now."""
        return min(expires_at, now + self.idle_timeout) if self.idle_timeout else expires_at

    def renewal_is_due(self, record: Record, now: float) -> bool:
        """Whether the stored deadline is off by a tenth of the idle timeout: not every request should cost a write.

        It is off, too, when the operator has changed the idle timeout.
        """
        return abs(self.deadline(record.expires_at, now) - record.deadline) > (self.idle_timeout or 0) / 10

    async def ask(self, operation: Coroutine[Any, Any, T], seconds: float | None = None) -> T:
        """Wait for the store, `patience` seconds at the most. Raises StoreUnavailable if it fails or takes longer.

        Logs an operation that starts to fail, and its recovery: an outage is two lines, however many requests it hits.
        """
        name = getattr(operation, "__name__", "answer")  # that of the store's method
        limit = self.patience if seconds is None else seconds
        try:
            async with asyncio.timeout(limit):
                answer = await operation
        except (StoreUnavailable, TimeoutError) as error:
            reason = str(error) or f"no answer within {limit:.1f} s"
            if name not in self._failing:
                self._failing.add(name)
                logger.error("The session store fails to %s; what needs it gets 503 until it works: %s", name, reason)
            raise StoreUnavailable(reason) from error
        if name in self._failing:
            self._failing.remove(name)
            logger.warning("The session store works again: %s", name)
        return answer

    def ended(self, session_id: str, reason: Literal["destroyed", "rotated", "expired"]) -> None:
        """Called once for every session that ends, in the process where it ends."""
        logger.info("Session %s %s", session_id, reason)
