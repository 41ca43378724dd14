"""Keeps, for each owner (a user id), a list of the owner's session ids as a record in the same store.

Four rules make `end_all` safe, whatever happens at the same time (the proof is in docs/decisions/8-owners.md):

1. A session is listed before it is stored, so each living session is in the list of its owner. A login checks
   the list again afterwards: a store may repeat the insert of the session, and `end_all` may run in between.
2. An id leaves the list after its session was removed from the store, or when its lifetime is over. An id
   without a record stays listed: another request may be about to store it.
3. A rotation first reserves the new id with an expired record. The new session comes alive in one conditional step,
   after the old session was removed.
4. `end_all` goes through the list in order. In the list, a successor comes after the session that it replaces.
   `end_all` starts again if the list has changed meanwhile.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from .errors import SessionTooLarge
from .records import MAX_RECORD_SIZE, NOT_STORED, Instant, Records, Stored, Values, digest, new_token
from .store import OTHER_PREFIX, StoreUnavailable

RESERVED = NOT_STORED.record.encode()  # an expired placeholder that reserves the id of a successor

logger = logging.getLogger(__name__)


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A session in the list. `replaces` is the id of the old session until its rotation is finished."""

    expires_at: Instant
    replaces: str = ""


Entries = dict[str, Entry]  # by session id, in the order in which they were added


class OwnerRecord(msgspec.Struct, frozen=True):
    """The list as it is stored, as JSON."""

    sessions: Entries


@dataclass
class OwnerList:
    """The list of one owner's sessions. Every method raises `StoreUnavailable` if the store fails."""

    records: Records
    owner: str

    @property
    def id(self) -> str:
        """The list's key in the store. It contains a hash, so neither the store's keys nor the log show the user id."""
        return f"{OTHER_PREFIX}{digest('owner:' + self.owner)}"

    async def living(self) -> list[Stored]:
        """Return the sessions that are alive."""
        _, entries = await self._read()
        found = [await self.records.find(session_id) for session_id in entries]
        return [stored for stored in found if stored and stored.record.owner == self.owner]

    async def change(self, add: Entries | None = None, remove: Collection[str] = ()) -> None:
        """Add or overwrite entries, and remove others. Raises `SessionTooLarge`."""
        while True:
            text, entries = await self._read()
            changed = {key: entry for key, entry in {**entries, **(add or {})}.items() if key not in remove}
            if changed == entries or await self._write(text, changed):
                return

    async def end_all(self, keep: str | None, ended: Callable[[str], Awaitable[None]]) -> None:
        """Remove all sessions except `keep`, and call `ended` with each removed id."""
        removed: set[str] = set()
        while True:
            text, entries = await self._read()
            kept = {keep or None}
            for session_id, entry in entries.items():
                if session_id in kept or entry.replaces in kept:
                    kept.add(session_id)  # the kept session is being rotated: keep its successor too
                elif session_id in removed:
                    continue
                elif entry.replaces and await self.records.delete(session_id, RESERVED):
                    removed.add(session_id)  # it never came alive
                elif await self.records.delete(session_id):
                    removed.add(session_id)
                    await ended(session_id)
            # Write even if nothing was removed: the write fails if a rotation has added its successor since the read.
            if await self._write(text, {key: entry for key, entry in entries.items() if key not in removed}):
                return

    async def _read(self) -> tuple[bytes | None, Entries]:
        """Return the text in the store, and the entries in it. A corrupt list counts as empty."""
        text = await self.records.run(self.records.store.load, self.id)
        if text is None:
            return None, {}
        try:
            entries = _decoder.decode(text).sessions
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
            message = (
                "%s, the list of an owner's sessions, is corrupt and counts as empty. The sessions in it live on: %s"
            )
            logger.error(message, self.id, error)
            return text, {}
        now = time.time()
        return text, {key: entry for key, entry in entries.items() if entry.expires_at > now}

    async def _write(self, old: bytes | None, entries: Entries) -> bool:
        """Replace the list that was read. Return False if another request has changed it since."""
        run, store = self.records.run, self.records.store
        if old == b"":  # Redis holds a key of another type: remove it
            await run(store.delete, self.id)
            old = None
        if not entries:
            return old is None or await run(store.delete, self.id, old)
        text = msgspec.json.encode(OwnerRecord(entries))
        if len(text) > MAX_RECORD_SIZE:
            raise SessionTooLarge(f"This owner would have {len(entries):,} sessions, more than a list can hold.")
        deadline = max(entry.expires_at for entry in entries.values())
        if old is None:
            return await run(store.create, self.id, text, deadline)
        return await run(store.replace, self.id, old, text, deadline)


async def create(records: Records, changes: Values, owner: str | None) -> tuple[Stored, str]:
    """Store a session that begins now. Return it, and its token."""
    token, record = new_token(), await records.begin(changes, owner)
    if owner is None:
        return await records.insert(token, record)
    sessions, entry = OwnerList(records, owner), {digest(token): Entry(record.expires_at)}
    await sessions.change(entry)
    created = await records.insert(token, record)
    with suppress(StoreUnavailable):
        await sessions.change(entry)  # a store may insert again what `end_all` has removed: see redis.py
    return created


async def unlist(records: Records, ended: Stored) -> None:
    """Remove an ended session from its owner's list. If the store fails, the entry stays, which does no harm."""
    if ended.record.owner is not None:
        with suppress(StoreUnavailable):
            await OwnerList(records, ended.record.owner).change(remove={ended.id})


@dataclass
class Successor:
    """The new session of a rotation, if the session has an owner or gets one.

    Call `reserve`, `supersede` until it returns True, `begin`, `tidy`. After an error, call `cancel`.
    """

    records: Records
    predecessor: Stored
    owner: str
    token: str = field(default_factory=new_token)
    stored: Stored = field(default=NOT_STORED, init=False)

    @property
    def id(self) -> str:
        return digest(self.token)

    async def reserve(self) -> None:
        """Add the new id to the list, then reserve it in the store."""
        record = self.predecessor.record
        replaces = "" if record.owner is None else self.predecessor.id
        await OwnerList(self.records, self.owner).change({self.id: Entry(record.expires_at, replaces)})
        await self.records.insert(self.token, record, RESERVED)

    async def supersede(self, old: Stored) -> bool:
        """Remove the old session. Return False if it has expired or changed."""
        now = time.time()
        record = msgspec.structs.replace(old.record, owner=self.owner, last_seen=now)
        self.stored = Stored(self.id, record.encode(old.text), record)
        return now < record.deadline and await self.records.delete(old.id, old.text)

    async def begin(self) -> bool:
        """Activate the successor. Return False if `end_all` has removed it."""
        replace, new = self.records.store.replace, self.stored
        return await self.records.run(replace, self.id, RESERVED, new.text, new.record.deadline)

    async def tidy(self) -> None:
        """List the new session instead of the old one. If the store fails, the old entry stays, which does no harm."""
        old = self.predecessor
        with suppress(StoreUnavailable):
            await OwnerList(self.records, self.owner).change({self.id: Entry(old.record.expires_at)}, {old.id})

    async def cancel(self) -> None:
        """Remove the reserved successor. If the store fails, the successor stays, which does no harm."""
        with suppress(StoreUnavailable):
            if await self.records.delete(self.id):
                await OwnerList(self.records, self.owner).change(remove={self.id})


_decoder = msgspec.json.Decoder(OwnerRecord)
