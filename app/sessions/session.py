"""One visitor's session: what handlers read, change, rotate and destroy."""

import hashlib
import logging
import re
import secrets
import time
from collections.abc import Coroutine, Iterator, MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from .record import Record, is_json, same
from .store import StoreUnavailable

if TYPE_CHECKING:
    from .manager import SessionManager

T = TypeVar("T")

MAX_RECORD_SIZE = 1_048_576  # bytes, as stored
RENEWAL_TIMEOUT = 1.0  # seconds: nobody shall wait long for what can as well be done at the next request
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")

logger = logging.getLogger(__name__)


class SessionEnded(Exception):
    """The session was destroyed, rotated or expired while a request that wanted to change it was under way."""


class SessionTooLarge(Exception):
    """The session would take more than `MAX_RECORD_SIZE` bytes in the store."""


class InvalidValue(TypeError):
    """A value that JSON cannot hold was put into the session. The message names its key."""


def is_token(text: str) -> bool:
    """Whether a cookie's value could be one of our tokens at all."""
    return TOKEN.fullmatch(text) is not None


def digest(token: str) -> str:
    """The id under which the store knows a token. Who reads the store or the logs cannot make a cookie of it."""
    return hashlib.sha256(token.encode()).hexdigest()


class Session(MutableMapping[str, Any]):
    """A dict of JSON values that belongs to one visitor and is kept in the store between requests.

    Reading creates nothing: a visitor has a session from the first value that is stored in it. Changes are found by
    value when the response is about to start, nested ones too, so there is no flag to set. They are merged by key into
    what the store holds by then: two requests that change different keys both keep their change.

    If the store failed when the session was to be loaded, every use of it raises that `StoreUnavailable`.
    """

    def __init__(self, manager: "SessionManager") -> None:
        # The value and Max-Age (seconds) that the response has to set; ("", 0) to delete the cookie. None, as it
        # nearly always is, means that the response must not mention the cookie.
        self.cookie: tuple[str, int] | None = None
        self.closed = False  # the hook sets it when the response begins
        self._manager = manager
        self._id: str | None = None  # None: nothing is stored
        self._raw = b""  # what the store held when we last looked
        self._record = Record(0, 0, 0, {})  # the same, decoded; its values are the live ones
        self._corrupt_id: str | None = None
        self._failure: StoreUnavailable | None = None
        self._waited = 0.0  # seconds that this request has waited for the store

    # What is in it

    @property
    def _values(self) -> dict[str, Any]:
        self._require_usable()
        return self._record.values

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        """Raises `InvalidValue`, and changes nothing, if JSON cannot hold the key or the value."""
        if not isinstance(key, str) or not is_json(key):
            raise InvalidValue(f"session[{key!r}]: the key has to be a str")
        _require_json(key, value)
        self._require_open()
        self._record.values[key] = value

    def __delitem__(self, key: str) -> None:
        self._require_open()
        del self._record.values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<Session {self._id or 'not stored'}>"  # without its values, for reprs end up in logs

    # What is known about it

    @property
    def id(self) -> str | None:
        """The SHA-256 of the token in hex: safe to log, useless to steal. None while nothing is stored."""
        self._require_usable()
        return self._id

    @property
    def created_at(self) -> float | None:
        """Unix time in seconds; None while nothing is stored."""
        return self._record.created_at if self.id else None

    @property
    def expires_at(self) -> float | None:
        """The end of the absolute lifetime, a Unix time in seconds; None while nothing is stored."""
        return self._record.expires_at if self.id else None

    @property
    def remaining(self) -> float:
        """What is left of the absolute lifetime, in seconds; 0 while nothing is stored."""
        return max(0.0, self._record.expires_at - time.time()) if self.id else 0.0

    # What happens to it, in the order of its life

    async def resume(self, token: str) -> None:
        """Load the session that belongs to the token. Anything but a living session's token counts as none."""
        session_id = digest(token)
        if not is_token(token):
            self._manager.report_stranger(session_id, "malformed")
            return
        try:
            if await self.load(session_id):
                await self._renew()
            elif not self._corrupt_id:
                self._manager.report_stranger(session_id, "unknown")
        except StoreUnavailable as failure:
            self._failure = failure  # raised where the session is used: what needs no session works without the store

    async def load(self, session_id: str) -> bool:
        """Become the session with this id; False if there is none that is alive. Raises `StoreUnavailable`."""
        raw = await self._ask(self._manager.store.load(session_id))
        if raw is None:
            return False
        try:
            record = Record.decode(raw)
        except ValueError as error:
            self._corrupt_id = session_id
            logger.warning("Session %s is corrupt and counts as none: %s", session_id, error)
            return False
        if not record.is_alive(time.time()):
            return False
        self._id, self._raw, self._record = session_id, raw, record
        return True

    async def save(self) -> None:
        """Store what was changed, in one atomic step. The hook calls it before the response starts.

        Raises `SessionEnded`, `SessionTooLarge`, `InvalidValue` (for a nested value) or `StoreUnavailable`, and then
        nothing was saved. Call it earlier only if you must: objects taken out of the session before are then strangers.
        """
        changed, removed = self._changes()
        if not changed and not removed:
            return
        if self._id is None:
            if self._corrupt_id:
                await self._ask(self._manager.store.delete(self._corrupt_id))
            self._record = self._manager.new_record(self._record.values)
            self._belong_to(await self._insert(_encode(self._record)))
            return
        while not await self._replace():
            await self._rebase(changed, removed)

    async def rotate(self) -> None:
        """Give the same data a new token; the old one is dead when this returns.

        Call it wherever a visitor gains or loses rights, at login above all: else whoever planted the old token would
        gain them too (session fixation; ASVS 7.2.4). The lifetime is not extended. Without a session it does nothing,
        since the first save makes a fresh token anyway.

        Raises `SessionEnded` if another request ended the session meanwhile, or `StoreUnavailable`.
        """
        self._require_open()
        while old_id := self._id:
            await self._rebase(*self._changes())
            # The copy first, under a token that nobody has yet: if we die in between, nothing is lost.
            token = await self._insert(self._raw)
            try:
                was_same = await self._ask(self._manager.store.delete(old_id, self._raw))
            except StoreUnavailable:
                self._belong_to(token)  # nobody knows whether the old one is gone; this one is there
                raise
            if was_same:
                self._belong_to(token)
                await self._manager.on_ended([old_id], "rotated")
                return
            await self._ask(self._manager.store.delete(digest(token)))

    async def destroy(self) -> None:
        """End the session in the store, at once; without one, do nothing. A write after it starts a new session.

        It succeeds, too, if another request has ended the session meanwhile, a rotation included: then the data lives
        on under a token that this request does not know. Raises `StoreUnavailable`, and then nothing is claimed.
        """
        self._require_open()
        old_id = self._id
        was_there = old_id is not None and await self._ask(self._manager.store.delete(old_id))
        self._id, self._raw, self._record = None, b"", Record(0, 0, 0, {})
        # If somebody else has ended it, the visitor's cookie may already be that of the next session: leave it.
        if old_id and was_there:
            self.cookie = ("", 0)
            await self._manager.on_ended([old_id], "destroyed")

    # How it is done

    def _require_usable(self) -> None:
        if self._failure:
            raise self._failure

    def _require_open(self) -> None:
        self._require_usable()
        if self.closed:
            raise RuntimeError("The response has begun, so the session can only be read: no change would be saved.")

    def _changes(self) -> tuple[dict[str, Any], set[str]]:
        """What differs from what the store held: the keys with a new value, and those that are gone."""
        before: dict[str, Any] = {}
        if self._raw:
            # Nearly every request ends here. A nested value that is not JSON is found below, where its key is known.
            with suppress(TypeError, ValueError, RecursionError):
                if self._record.encode() == self._raw:
                    return {}, set()
            before = Record.decode(self._raw).values
        changed = {}
        for key, value in self._record.values.items():
            if key not in before or not same(before[key], value):
                _require_json(key, value)
                changed[key] = value
        return changed, before.keys() - self._record.values.keys()

    async def _insert(self, raw: bytes) -> str:
        """Store a record under a new token: 32 bytes from the system's secure random source (ASVS 7.2.3)."""
        token = secrets.token_urlsafe(32)
        if not await self._ask(self._manager.store.create(digest(token), raw, self._record.deadline)):
            raise StoreUnavailable("the store says that it has a session under a token that was just made")
        self._raw = raw
        return token

    def _belong_to(self, token: str) -> None:
        self._id = digest(token)
        self.cookie = (token, round(self.remaining))

    async def _replace(self) -> bool:
        """Write the live values, unless the store holds something else by now, or the session has expired."""
        now = time.time()
        if not (self._id and self._record.is_alive(now)):
            return False
        record = msgspec.structs.replace(self._record, deadline=self._manager.deadline(self._record.expires_at, now))
        raw = _encode(record)
        if not await self._ask(self._manager.store.replace(self._id, self._raw, raw, record.deadline)):
            return False
        self._raw, self._record = raw, record
        return True

    async def _rebase(self, changed: dict[str, Any], removed: set[str]) -> None:
        """Look at what the store holds now, and make our changes to that. Raises SessionEnded if it holds nothing."""
        if self._id is None or not await self.load(self._id):
            raise SessionEnded
        values = self._record.values
        for key in removed:
            values.pop(key, None)
        values |= changed

    async def _renew(self) -> None:
        """Move the idle deadline, if it is due. Losing this to another request, or to a failure, does no harm."""
        if self._manager.renewal_is_due(self._record, time.time()):
            with suppress(StoreUnavailable, SessionTooLarge):  # if the store fails, the manager has logged it
                await self._manager.ask(self._replace(), limit=RENEWAL_TIMEOUT)

    async def _ask(self, operation: Coroutine[Any, Any, T]) -> T:
        started = time.monotonic()
        try:
            return await self._manager.ask(operation, self._waited)
        finally:
            self._waited += time.monotonic() - started


def _require_json(key: str, value: Any) -> None:
    if not is_json(value):
        raise InvalidValue(f"session[{key!r}]: JSON cannot hold this {type(value).__name__}, or would change it")


def _encode(record: Record) -> bytes:
    raw = record.encode()
    if len(raw) > MAX_RECORD_SIZE:
        raise SessionTooLarge(f"{len(raw)} bytes, of {MAX_RECORD_SIZE} at the most")
    return raw
