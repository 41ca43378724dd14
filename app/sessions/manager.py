"""Opens sessions, and offers what operators need: list, end, count, flush."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal

from .events import EndEvents
from .options import check_name, check_seconds, require_text
from .owners import OwnerList
from .records import SESSION_ID, TOKEN, OutageLog, Records, Stored, digest
from .session import Session
from .store import OTHER_PREFIX, CountsInSteps, Store, StoreUnavailable
from .workers import is_one_of_several

MAX_CANDIDATES = 4  # session cookies to look up per request, if it has several
SWEEP_INTERVAL = 60.0  # seconds between two sweeps
SWEEP_BATCH = 100  # records per statement: about 1 ms in SQLite, during which requests wait
TOKEN_LOG_INTERVAL = 60.0  # seconds between two warnings about unknown tokens
FOUND = "a session from sessions.find or sessions.list is read-only"

Sessions = list[Session]  # in the class, `list` is a method
Progress = Callable[[int], None]  # is called with the number of sessions so far

logger = logging.getLogger(__name__)


class SessionManager:
    """Opens the sessions of the app named `name`. `lifetime` and `idle_timeout` are in seconds.

    Raises ValueError for an option that cannot be used (see `options.py`).
    `events.listeners` are called for each session that ends.
    """

    def __init__(
        self, store: Store, *, name: str = "session", lifetime: int = 604_800, idle_timeout: int | None = None
    ) -> None:
        check_name(name)
        check_seconds("lifetime", lifetime)
        if idle_timeout is not None:
            check_seconds("idle_timeout", idle_timeout)
        self.store = store
        self.name = name
        self.lifetime = lifetime
        self.idle_timeout = idle_timeout
        self.events = EndEvents()
        self._outages = OutageLog()
        self._flushing = asyncio.Lock()
        self._unknown_tokens = 0
        self._unknown_logged_at = float("-inf")

    async def start(self, *tokens: str) -> Session:
        """Return the session of the first token that the store knows. `tokens` are values of the session cookie.

        If there is no such session, return an empty one. If the store fails, using the session raises StoreUnavailable.
        """
        records = Records(self.store, self.lifetime, self.idle_timeout, self._outages)
        if not tokens:
            return Session(self.name, records, self.events)
        candidates = list(dict.fromkeys(filter(TOKEN.fullmatch, tokens)))[:MAX_CANDIDATES]
        try:
            for token in candidates:
                if stored := await records.find(digest(token), visit=True):
                    return Session(self.name, records, self.events, stored=stored)
        except StoreUnavailable as failure:
            return Session(self.name, records, self.events, failure=failure)
        if not records.corrupt_id:
            self._report_unknown_token((candidates or tokens)[0], "unknown" if candidates else "malformed")
        return Session(self.name, records, self.events)

    async def find(self, session_id: str) -> Session:
        """Return the live session with this id, read-only: `edit` changes it, and `sessions.destroy` ends it.

        Raises LookupError if there is none, or StoreUnavailable.
        """
        return self._without_visitor(await self._load(session_id), FOUND)

    async def list(self, owner: str) -> Sessions:
        """Return the live sessions of an owner (a user id), read-only, the most recently seen first.

            for device in await sessions.list("ada"):
                device.id, device.created_at, device.last_seen, device.expires_at, dict(device)

        A session in the middle of a rotation may be missing. Raises StoreUnavailable.
        """
        require_text(owner=owner)
        found = await OwnerList(self._records(), owner).living()
        found.sort(key=lambda stored: stored.record.last_seen or 0, reverse=True)
        return [self._without_visitor(stored, FOUND) for stored in found]

    async def end_all(self, owner: str, *, keep: str | None = None, on_progress: Progress | None = None) -> int:
        """End all sessions of an owner, except the one with the id `keep`, and return how many were ended.

            await sessions.end_all("ada", keep=session.id)  # after a change of password

        When it returns, all sessions that the owner had before the call have ended, except the kept session. This
        includes sessions that were being saved or rotated meanwhile. A session that begins during the call may survive.

        Raises StoreUnavailable; then some sessions may be left, and another call ends them. The call has the time
        budget of a request. With `on_progress`, which is called with the number so far, it has no time limit.
        """
        require_text(owner=owner, keep="" if keep is None else keep)
        records, count = self._records(), 0
        records.patient = on_progress is not None

        async def ended(session_id: str) -> None:
            nonlocal count
            count += 1
            self.events.announce(session_id, "destroyed")
            if count % SWEEP_BATCH == 0:
                await self.events.wait(1.0)
            if on_progress:
                on_progress(count)

        await OwnerList(records, owner).end_all(keep, ended)
        return count

    def no_session(self, reason: str) -> Session:
        """Return an empty session that is not `available`. Changing it raises an error with this reason."""
        return Session(self.name, self._records(), self.events, read_only=reason, hidden=True)

    @asynccontextmanager
    async def edit(self, session_id: str) -> AsyncIterator[Session]:
        """Change a stored session where no response will save it: in a background task, stream, WebSocket or script.

            async with sessions.edit(session_id) as session:
                session[CART] = {}

        The end of the block saves the changes; an exception in the block drops them. Raises LookupError if there is no
        live session with this id, and the errors of `Session.save`.
        """
        session = self._without_visitor(await self._load(session_id))
        try:
            yield session
            await session.commit()
        finally:
            session.read_only = "the block of sessions.edit has ended"

    async def destroy(self, session_id: str) -> None:
        """End a session. Raises LookupError if there is no live session with this id, or StoreUnavailable."""
        await self._without_visitor(await self._load(session_id)).destroy()

    async def check(self, limit: float = 1.0) -> None:
        """Raise StoreUnavailable if the store does not answer within `limit` seconds.

        Calls the store's method `check(session_id)` if there is one, because it can test more than `load`.
        """
        await self._records(limit).run(getattr(self.store, "check", self.store.load), digest("health check"))

    async def count(self, on_progress: Progress | None = None) -> int:
        """Return how many sessions the store holds, including expired ones that were not removed yet.

        With `on_progress`, which is called with the number so far, it has no time limit.
        """
        if on_progress is None or not isinstance(self.store, CountsInSteps):
            return await self._records().run(self.store.count)
        number = 0
        async for number in self.store.count_in_steps():
            on_progress(number)
        return number

    async def flush(self, on_progress: Progress = lambda _: None) -> int:
        """Remove the expired sessions and return how many. Work in batches, and serve requests in between.

        `on_progress` is called with the number so far. Meanwhile, a second call in this process returns 0. Several
        processes may flush at once: exactly one of them removes and reports each session.
        """
        if self._flushing.locked():
            return 0
        async with self._flushing:
            removed = 0
            while batch := await self._records().run(self.store.sweep, time.time(), SWEEP_BATCH):
                sessions = [session_id for session_id in batch if not session_id.startswith(OTHER_PREFIX)]
                removed += len(sessions)
                on_progress(removed)
                for session_id in sessions:
                    self.events.announce(session_id, "expired")
                await asyncio.sleep(0.01)
                await self.events.wait(1.0)  # let the listeners catch up
            return removed

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sweep in the background while the app runs; at the end let the listeners finish and close the store."""
        if not getattr(self.store, "shared", True) and is_one_of_several():
            logger.warning(
                "Sessions are in the memory of each worker, so visitors lose theirs whenever another worker answers. "
                "Remedy: use one worker, or a store that workers share, such as sqlite:///var/sessions.sqlite3"
            )
        sweeper = asyncio.create_task(self.sweep_forever())
        try:
            yield
        finally:
            sweeper.cancel()
            await self.events.stop()
            await self.store.close()

    async def sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_INTERVAL)
            try:
                await self.flush()
            except StoreUnavailable:
                pass  # `Records.run` has logged it
            except Exception:
                logger.exception("The sweep failed")

    async def _load(self, session_id: str) -> Stored:
        require_text(session_id=session_id)
        stored = await self._records().find(session_id) if SESSION_ID.fullmatch(session_id) else None
        if stored is None:
            raise LookupError(f"there is no session {session_id}")
        return stored

    def _without_visitor(self, stored: Stored, read_only: str = "") -> Session:
        """Return a session that was opened by its id."""
        session = Session(self.name, self._records(), self.events, stored=stored, read_only=read_only)
        session.has_visitor = False
        return session

    def _records(self, limit: float | None = None) -> Records:
        return Records(self.store, self.lifetime, self.idle_timeout, self._outages, limit)

    def _report_unknown_token(self, token: str, kind: Literal["unknown", "malformed"]) -> None:
        """Log a cookie that opened no session. Anyone can send bad cookies, so log at most one line a minute."""
        self._unknown_tokens += 1
        now = time.monotonic()
        if now - self._unknown_logged_at >= TOKEN_LOG_INTERVAL:
            message = "A cookie opened no session (%s), SHA-256 %s (%d since the last such line)"
            logger.warning(message, kind, digest(token), self._unknown_tokens)
            self._unknown_tokens, self._unknown_logged_at = 0, now
