"""The stored form of a session, and the only code that calls the store for a request."""

import asyncio
import hashlib
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple, ParamSpec, TypeVar

import msgspec

from .errors import SessionTooLarge
from .store import TIMEOUT, Store, StoreUnavailable

P = ParamSpec("P")
T = TypeVar("T")

# Python's dates end with the year 9999. The limit also excludes infinity, which JSON cannot hold.
Instant = Annotated[float, msgspec.Meta(ge=0, le=253_402_300_799)]
Values = dict[str, msgspec.Raw]
NOTHING = msgspec.Raw()  # in a dict of changes: delete this value

MAX_RECORD_SIZE = 1_048_576  # bytes, as stored
OUTAGE_PAUSE = 90.0  # seconds; a failure after a longer pause is a new outage
RENEWAL_TIMEOUT = 1.0  # seconds; if a renewal fails, the next request tries again
SEEN_INTERVAL = 300.0  # seconds between two writes of `last_seen`
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 bytes in base64url; use fullmatch
SESSION_ID = re.compile(r"[0-9a-f]{64}")  # use fullmatch

logger = logging.getLogger(__name__)


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One state of a session, stored as JSON. Instants are Unix times in seconds.

    `expires_at` is the end of the absolute lifetime and never changes. `deadline` is when the session ends if no
    request or save comes before: `expires_at`, or earlier if there is an idle timeout. Each of the `values` stays JSON
    text until it is read. `owner` is a user id, and never changes under the same session id (see `owners.py`).
    `last_seen` is the time of the visitor's last request, up to `SEEN_INTERVAL` old; only sessions with an owner have
    it.
    """

    created_at: Instant
    expires_at: Instant
    deadline: Instant
    values: Values
    owner: str | None = None
    last_seen: Instant | None = None

    def encode(self, previous: bytes = b"{}") -> bytes:
        """Return the JSON text. Keep the fields of the `previous` text that this version does not know.

        Raises `SessionTooLarge`.
        """
        fields = _fields.decode(previous)
        unknown = {name: value for name, value in fields.items() if name not in self.__struct_fields__}
        text = msgspec.json.encode({**unknown, **msgspec.structs.asdict(self)} if unknown else self)
        if len(text) > MAX_RECORD_SIZE:
            raise SessionTooLarge(f"the session has {len(text):,} bytes, and the limit is {MAX_RECORD_SIZE:,}")
        return text


class Stored(NamedTuple):
    """A session as the store last held it."""

    id: str
    text: bytes
    record: Record


NOT_STORED = Stored("", b"", Record(0, 0, 0, {}))


def digest(token: str) -> str:
    """Return the id under which the store knows a token: its SHA-256 in hex, which does not reveal the token."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_token() -> str:
    """Return 32 bytes from the system's secure random source (ASVS 7.2.3), in base64url."""
    return secrets.token_urlsafe(32)


@dataclass
class OutageLog:
    """Logs an outage once, not once per request."""

    failed_at: float = float("-inf")

    def report(self, reason: str) -> None:
        now = time.monotonic()
        if now - self.failed_at > OUTAGE_PAUSE:
            logger.error("The session store fails; requests that need it get 503 until it works: %s", reason)
        self.failed_at = now


@dataclass
class Records:
    """Reads and writes records for one request. Every method raises `StoreUnavailable` if the store fails.

    Only this class tracks outages and the time budget of a request. A store limits each of its calls to `TIMEOUT`.
    Once the calls of a request have together taken longer than `TIMEOUT`, its next call fails at once. `limit` is a
    shorter time limit for each call, in seconds.
    """

    store: Store
    lifetime: int  # seconds, from a session's creation; never extended (ASVS 7.3.2)
    idle_timeout: int | None  # seconds without a request, up to a tenth early (ASVS 7.3.1)
    outages: OutageLog
    limit: float | None = None
    patient: bool = False  # no time budget, for shell commands
    waited: float = field(default=0.0, init=False)  # seconds
    corrupt_id: str | None = field(default=None, init=False)  # of a corrupt record; `begin` removes it

    async def find(self, session_id: str, *, visit: bool = False) -> Stored | None:
        """Return the live session with this id, or None.

        With `visit`, also renew the idle deadline and `last_seen`, if they are due.
        """
        text = await self.run(self.store.load, session_id)
        if text is None:
            return None
        try:
            # Values are decoded later, when they are read. Check all now: one bad value makes the record corrupt.
            msgspec.json.decode(text)
            record = _decoder.decode(text)
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
            self.corrupt_id = session_id
            logger.warning("Session %s is corrupt and counts as missing: %s", session_id, error)
            return None
        now = time.time()
        if now >= record.deadline:
            return None
        stored = Stored(session_id, text, record)
        if not visit:
            return stored
        seen = now if record.owner is not None and abs(now - (record.last_seen or 0)) >= SEEN_INTERVAL else None
        # Move the deadline only if it is off by more than a tenth of the idle timeout, so most requests write
        # nothing. The deadline is also off after the operator has changed the timeout.
        overdue = 0.0
        if self.idle_timeout or record.deadline != record.expires_at:
            overdue = abs(self._deadline(record.expires_at, now) - record.deadline)
        if seen or overdue > (self.idle_timeout or 0) / 10:
            return await self._renew(stored, seen)
        return stored

    async def begin(self, changes: Values, owner: str | None) -> Record:
        """Return the record of a session that begins now. First remove the corrupt record, if there was one."""
        values = {key: text for key, text in changes.items() if text != NOTHING}
        if self.corrupt_id:
            await self.run(self.store.delete, self.corrupt_id)
        now = time.time()
        expires_at = now + self.lifetime
        return Record(now, expires_at, self._deadline(expires_at, now), values, owner, None if owner is None else now)

    async def insert(self, token: str, record: Record, text: bytes | None = None) -> tuple[Stored, str]:
        """Store a record under a new token. If `text` is given, store it instead of the encoded record."""
        stored = Stored(digest(token), text or record.encode(), record)
        if not await self.run(self.store.create, stored.id, stored.text, record.deadline):
            raise StoreUnavailable("it claims to hold a session under a token that was just made")
        return stored, token

    async def replace(self, old: Stored, changes: Values, last_seen: float | None = None) -> Stored | None:
        """Merge changes into a record. Return None if the session has expired or the stored record has changed."""
        now = time.time()
        if now >= old.record.deadline:
            return None
        values = {key: text for key, text in {**old.record.values, **changes}.items() if text != NOTHING}
        deadline, seen = self._deadline(old.record.expires_at, now), last_seen or old.record.last_seen
        record = msgspec.structs.replace(old.record, values=values, deadline=deadline, last_seen=seen)
        text = record.encode(old.text)
        replaced = await self.run(self.store.replace, old.id, old.text, text, deadline)
        return Stored(old.id, text, record) if replaced else None

    async def delete(self, session_id: str, text: bytes | None = None) -> bool:
        """Remove a session; with `text`, only if the record has this text. Return whether this call removed it."""
        return await self.run(self.store.delete, session_id, text)

    async def run(self, method: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a method of the store within the time budget."""
        started = time.monotonic()
        try:
            if self.waited > TIMEOUT and not self.patient:
                raise StoreUnavailable(f"this request has already waited {self.waited:.1f} s for it")
            if self.limit is None:
                return await method(*args, **kwargs)
            async with asyncio.timeout(self.limit):
                return await method(*args, **kwargs)
        except (StoreUnavailable, OSError) as error:  # a TimeoutError is an OSError
            reason = str(error) or f"no answer within {self.limit or TIMEOUT} s"
            self.outages.report(reason)
            raise StoreUnavailable(reason) from error
        finally:
            self.waited += time.monotonic() - started

    async def _renew(self, stored: Stored, last_seen: float | None) -> Stored:
        """Move the idle deadline and set `last_seen` in the same write. If that fails, leave both as they were."""
        quick = Records(self.store, self.lifetime, self.idle_timeout, self.outages, RENEWAL_TIMEOUT)
        try:
            return await quick.replace(stored, {}, last_seen) or stored
        except (StoreUnavailable, SessionTooLarge):
            return stored
        finally:
            self.waited += quick.waited

    def _deadline(self, expires_at: float, now: float) -> float:
        """Return the deadline of a session whose last request or save comes at `now`."""
        return min(expires_at, now + self.idle_timeout) if self.idle_timeout else expires_at


_decoder = msgspec.json.Decoder(Record)
_fields = msgspec.json.Decoder(Values)
