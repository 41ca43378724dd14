"""What the sessions of an app have in common: the store and the lifetimes; and what operators do to them."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal, TypeVar

from .record import Record
from .session import Session
from .store import TIMEOUT, Store, StoreUnavailable

T = TypeVar("T")
Reason = Literal["destroyed", "rotated", "expired"]

SWEEP_INTERVAL = 60.0  # seconds between two sweeps
INCIDENT_PAUSE = 90.0  # seconds without a failure, after which the next one is a new incident
SWEEP_BATCH = 100  # records a statement: about a millisecond in SQLite, during which nobody else is served
STRANGER_LOG_INTERVAL = 60.0  # seconds between two warnings about tokens that the store does not know

logger = logging.getLogger(__name__)


class SessionManager:
    """Starts sessions and knows their rules.

    `lifetime` (seconds) counts from a session's creation and is never extended; `idle_timeout` (seconds, or None)
    counts from its last request (ASVS 7.3.1, 7.3.2). `on_ended(session_ids, reason)` is awaited once for each
    session that ends, in the process where it does; a sweep does not go on before it returns.
    """

    def __init__(
        self,
        store: Store,
        lifetime: int = 604_800,
        idle_timeout: int | None = None,
        on_ended: Callable[[list[str], Reason], Awaitable[None]] = lambda _ids, _reason: asyncio.sleep(0),
    ) -> None:
        self.store = store
        self.lifetime = lifetime
        self.idle_timeout = idle_timeout
        self.on_ended = on_ended
        self._failed_at = float("-inf")
        self._flushing = asyncio.Lock()
        self._strangers = 0
        self._strangers_logged_at = float("-inf")

    async def start(self, token: str | None) -> Session:
        """Return the visitor's session: the stored one if the cookie's value is a token that the store knows."""
        session = Session(self)
        if token is not None:
            await session.resume(token)
        return session

    def new_record(self, values: dict[str, Any]) -> Record:
        """Return the record of a session that begins now."""
        now = time.time()
        return Record(now, now + self.lifetime, self.deadline(now + self.lifetime, now), values)

    def deadline(self, expires_at: float, now: float) -> float:
        """When a session ends that was used just now."""
        return min(expires_at, now + self.idle_timeout) if self.idle_timeout else expires_at

    def renewal_is_due(self, record: Record, now: float) -> bool:
        """Whether the stored deadline is off by a tenth of the idle timeout: not every request should cost a write.

        It is off, too, when the operator has changed the idle timeout.
        """
        return abs(self.deadline(record.expires_at, now) - record.deadline) > (self.idle_timeout or 0) / 10

    async def ask(self, operation: Coroutine[Any, Any, T], waited: float = 0.0, limit: float | None = None) -> T:
        """Ask the store, for a request that has `waited` for it so many seconds already. Raises StoreUnavailable.

        Nothing more is begun for who has waited for `TIMEOUT`, so no request waits for more than twice that; `limit`
        (seconds) is for what should not take that long. An outage is one line in the log, however many requests it
        hits, and however it flickers.
        """
        try:
            if waited > TIMEOUT:
                operation.close()
                raise StoreUnavailable(f"it took {waited:.1f} s so far")
            if limit is None:
                return await operation
            async with asyncio.timeout(limit):
                return await operation
        except (StoreUnavailable, OSError) as error:  # a TimeoutError is one, too
            reason, now = str(error) or f"no answer within {limit or TIMEOUT} s", time.monotonic()
            if now - self._failed_at > INCIDENT_PAUSE:
                logger.error("The session store fails; what needs it gets 503 until it works: %s", reason)
            self._failed_at = now
            raise StoreUnavailable(reason) from error

    def report_stranger(self, token_digest: str, kind: Literal["unknown", "malformed"]) -> None:
        """Warn of a token that is none of ours: one expired with its session, or one that somebody made up.

        A log that anyone can fill from outside is no log, so one line a minute has to do (ASVS 16.3.3).
        """
        self._strangers += 1
        now = time.monotonic()
        if now - self._strangers_logged_at >= STRANGER_LOG_INTERVAL:
            logger.warning(
                "A cookie held no token of ours (%s), SHA-256 %s (%d such)", kind, token_digest, self._strangers
            )
            self._strangers, self._strangers_logged_at = 0, now

    # Operations, for people and for scripts

    async def find(self, session_id: str) -> Session:
        """Return a session, whoever it belongs to. Raises LookupError if there is none with this id."""
        session = Session(self)
        if not await session.load(session_id):
            raise LookupError(f"there is no session {session_id}")
        return session

    async def destroy(self, session_id: str) -> None:
        """End a session, whoever it belongs to. Raises LookupError if there is none with this id."""
        await (await self.find(session_id)).destroy()

    async def count(self) -> int:
        """Return how many sessions the store holds, those included that expired and were not removed yet."""
        return await self.ask(self.store.count())

    async def flush(self) -> int:
        """Remove the expired sessions, in batches between which requests are served; return how many.

        While one call runs, another does nothing and returns 0. Several processes may flush at once: the store sees to
        it that each session is removed, and reported, by one of them.
        """
        if self._flushing.locked():
            return 0
        async with self._flushing:
            removed = 0
            while batch := await self.ask(self.store.sweep(time.time(), SWEEP_BATCH)):
                removed += len(batch)
                await self.on_ended(batch, "expired")
                await asyncio.sleep(0.01)
            return removed

    async def sweep_forever(self) -> None:
        """Flush now and then, until cancelled. Whatever happens, it is tried again the next time."""
        while True:
            await asyncio.sleep(SWEEP_INTERVAL)
            try:
                await self.flush()
            except StoreUnavailable:
                pass  # `ask` has logged it
            except Exception:
                logger.exception("The sweep failed")
