"""One visitor's session: what handlers read, change, rotate and destroy."""

import asyncio
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .awaited import reported_unless_awaited
from .errors import SessionEnded, SessionError
from .events import EndEvents
from .headers import set_cookie
from .identity import UNCHANGED, OwnedValues
from .owners import Successor, create, unlist
from .records import NOT_STORED, NOTHING, Records, Stored, Values, new_token
from .store import StoreUnavailable
from .values import text_of

Header = tuple[bytes, bytes]


@dataclass(eq=False, repr=False)
class Session(OwnedValues):
    """A dict of JSON values that belongs to one visitor and is kept in the store between requests.

    A session begins with the first value or owner that is stored; reading creates nothing. The session
    finds changes by comparing values, and saves them just before the response starts. The save merges them by key into
    the stored record, so two requests that change different keys both keep their change.
    """

    cookie_name: str  # not `name`: in templates, `session.name` is the value of that key
    _records: Records
    _events: EndEvents

    # The cookie to send: its value and Max-Age in seconds. ("", 0) deletes it. None, the usual case, sends no cookie:
    cookie: tuple[str, int] | None = field(default=None, init=False)
    # Whether `finish_headers` has run:
    response_started: bool = field(default=False, init=False)
    # Whether the host must call `finish_headers` itself:
    left_to_host: bool = field(default=False, init=False)
    # The exception for which changes were dropped:
    rolled_back_for: BaseException | None = field(default=None, init=False)

    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)  # for two tasks of one request

    def __repr__(self) -> str:
        return f"<Session {self.stored.id or 'not stored'}>"  # no values: reprs end up in logs

    # Metadata

    @property
    def id(self) -> str | None:
        """The SHA-256 of the token in hex: safe to log, useless to steal. None while nothing is stored."""
        self._require_readable()
        return self.stored.id or None

    @property
    def created_at(self) -> float | None:
        """Unix time in seconds; None while nothing is stored."""
        return self.stored.record.created_at if self.id else None

    @property
    def last_seen(self) -> float | None:
        """When the visitor last sent a request: a Unix time, up to 5 minutes old. None without an owner."""
        return self.stored.record.last_seen if self.id else None

    @property
    def expires_at(self) -> float | None:
        """The end of the absolute lifetime, a Unix time in seconds; None while nothing is stored."""
        return self.stored.record.expires_at if self.id else None

    @property
    def remaining(self) -> float:
        """What is left of the absolute lifetime, in seconds; 0 while nothing is stored."""
        return max(0.0, (self.expires_at or 0.0) - time.time())

    # Actions, in the order of a session's life

    @reported_unless_awaited
    async def save(self) -> None:
        """Store the changes now: in one atomic step, or in several with a new owner (docs/decisions/8-owners.md).

        The middleware does that before the response starts. Call it to keep changes even if the handler raises later.

        Raises `SessionEnded`, `SessionTooLarge`, `SessionReadOnly`, or `InvalidValue` if a nested value is not JSON.
        Raises `StoreUnavailable` if the store fails; then the changes may or may not be stored.
        """
        if self.read_only and (changes := self._changes()):
            self._require_writable(next(iter(changes)))
        await self.commit()

    async def commit(self) -> None:
        """Delete the session that `end` has ended, then save the changes."""
        if not (self._objects or self._to_destroy.id or self._new_owner is not UNCHANGED or self._lock.locked()):
            return  # the usual page view changes nothing
        async with self._lock:
            if self._to_destroy.id:
                await self._destroy_now()
            changes = self._changes()
            if self.stored.id and self._new_owner is not UNCHANGED:
                await self._rotate_owned()
            if not changes and self._new_owner is UNCHANGED:
                return
            if (stored := self.stored).id:
                while (replaced := await self._records.replace(stored, changes)) is None:
                    stored = await self._reload(stored, changes)
                self._take_over(replaced, changes)
                return
            self._require_cookie()
            self._belong_to(*await create(self._records, changes, self.owner))
            self._defaults = {key: text for key, text in self._defaults.items() if key not in changes}

    @reported_unless_awaited
    async def rotate(self) -> None:
        """Give the session a new token. The old token is invalid when this returns.

        Call it wherever a visitor gains or loses rights, above all at login. Otherwise an attacker who planted the
        old token gets the visitor's new rights (session fixation; ASVS 7.2.4). A new owner is stored at
        once if the session is stored and has none. If it had another owner, that session ends now, and the new one
        begins with the response. Values always wait for the response. The lifetime is not extended. A session that is
        not stored has no token yet; its first save makes one.

        Raises `SessionEnded` if another request ended the session meanwhile, `SessionReadOnly`, `SessionTooLarge`, or
        `StoreUnavailable`: then the old token may still work, or the visitor has to log in again.
        """
        self._require_writable()
        self._require_cookie()
        async with self._lock:
            if self._to_destroy.id:
                await self._destroy_now()
            if owned := self.stored.id != "" and self.owner is not None:
                await self._rotate_owned()
            while not owned and (old := self.stored).id:
                if time.time() >= old.record.deadline:
                    await self._reload(old, {})  # which raises SessionEnded
                # Insert the copy first, so a crash before the delete loses nothing. Nobody has its token yet.
                new, token = await self._records.insert(new_token(), old.record, old.text)
                try:
                    was_current = await self._records.delete(old.id, old.text)
                except (StoreUnavailable, asyncio.CancelledError):
                    self._belong_to(new, token)  # the delete may have happened, so keep the copy
                    raise
                if was_current:
                    self._belong_to(new, token)
                    self._events.announce(old.id, "rotated", new.id)
                    return
                await self._records.delete(new.id)
                await self._reload(old, {})

    @reported_unless_awaited
    async def destroy(self) -> None:
        """End the session in the store at once, if it is stored. A later write starts a new session.

        Also succeeds if another request has ended the session meanwhile. If another request has rotated it, the data
        lives on under the new token, and this call does not end it. Respond soon afterwards: a late response may
        delete the cookie of a new login.

        Raises `SessionReadOnly`, or `StoreUnavailable`; then the session may or may not have ended.
        """
        async with self._lock:  # another task of this request may be saving
            self.end()
            await self._destroy_now()

    def rollback(self, error: BaseException | None = None) -> None:
        """Drop all changes since the last save. If the store has failed, the session is then empty and not `available`.

        The middleware calls it when an exception leaves a handler. Outside of Litestar, call it first in each exception
        handler that changes the session.
        """
        for key in list(self._objects):
            self._detach(key)
        self._new_owner, self.rolled_back_for = UNCHANGED, error or sys.exception()
        if isinstance(error, StoreUnavailable):
            self.failure = error
        if self.failure:
            self.hidden, self.stored = True, NOT_STORED

    def finish_headers(self, headers: Iterable[Header], scope: Mapping[str, Any]) -> list[Header]:
        """Return the headers of a response, plus headers that forbid caching and set or delete a changed cookie.

        The handler's own Cache-Control is dropped. Afterwards the session is read-only.
        """
        self.response_started, self.read_only = True, "the response has started"
        finished = [header for header in headers if header[0].lower() != b"cache-control"]
        finished += [(b"cache-control", b"no-store"), (b"vary", b"Cookie")]
        if self.cookie:
            value, max_age = self.cookie
            finished.append(
                (b"set-cookie", set_cookie(self.cookie_name, value, max_age, secure=scope["scheme"] == "https"))
            )
        return finished

    # Internals

    async def _reload(self, stored: Stored, changes: Values) -> Stored:
        """Load the record again, and keep our unsaved changes. Raises SessionEnded if the record is gone."""
        found = await self._records.find(stored.id)
        if found is None:
            self._forget()
            raise SessionEnded
        self._take_over(found, changes)
        return found

    def _take_over(self, stored: Stored, mine: Values) -> None:
        """Use this record from now on. `mine` are the changes that this request has just saved or will save next.

        If another request changed a value and this one did not, detach our object: it is out of date, and never saved.
        """
        for key, value in list(self._objects.items()):
            old, new = self.stored.record.values.get(key, NOTHING), stored.record.values.get(key, NOTHING)
            if mine.get(key, NOTHING) != NOTHING:
                self._defaults.pop(key, None)
            elif new != old and text_of(value, self._defaults.get(key)) == old:
                self._detach(key)
        self.stored = stored

    def _belong_to(self, stored: Stored, token: str) -> None:
        self.stored, self._new_owner = stored, UNCHANGED
        self.cookie = (token, round(self.remaining))

    async def _rotate_owned(self) -> None:
        """Rotate a session that has an owner or gets one. `owners.py` explains the steps."""
        successor = Successor(self._records, self.stored, str(self.owner))
        await successor.reserve()
        try:
            while not await successor.supersede(self.stored):
                await self._reload(self.stored, {})
        except SessionError:
            await successor.cancel()
            raise
        self._events.announce(self.stored.id, "rotated", successor.id)
        self._belong_to(successor.stored, successor.token)
        if not await successor.begin():
            self._events.announce(successor.id, "destroyed")
            self.cookie = None
            self._forget()
            raise SessionEnded
        await successor.tidy()

    async def _destroy_now(self) -> None:
        if (ended := self._to_destroy).id:
            removed = await self._records.delete(ended.id)
            self._to_destroy = NOT_STORED  # after a failure, the next save tries again
            # If another request has ended it, do not delete the cookie: it may belong to the next session.
            self.cookie = ("", 0) if removed else None
            if removed:
                self._events.announce(ended.id, "destroyed")
                await unlist(self._records, ended)
