"""What a session store is.

A store keeps opaque bytes under an id, each with the instant at which they expire. It knows nothing of cookies,
tokens, JSON or merging: all of that happens above it, in `session.py`, once for every store.
"""

from typing import Protocol

TIMEOUT = 2.4  # seconds a call; a request may wait for two such calls, and has its answer within five seconds


class StoreUnavailable(Exception):
    """The store did not do what it was asked: it is gone, full, locked, read-only, or too slow."""

    status_code = 503


class Store(Protocol):
    """Five operations on records, and two for the people who run it.

    `session_id` is the SHA-256 of the visitor's token in lower-case hex (64 characters); instants are Unix times in
    seconds. Every method may raise `StoreUnavailable` or an `OSError`, and then nothing may be claimed of what it did.
    Every method but `count` answers or fails within `TIMEOUT`, and waits by awaiting, so that others are served
    meanwhile. To see to it is the store's task, because only where it really waits is a timer worth its cost.

    A record that is missing is not an error. A record that has expired may be returned or not; whoever asks looks at
    the deadline inside.
    """

    async def load(self, session_id: str) -> bytes | None:
        """Return the record, exactly as it was stored, or None."""

    async def create(self, session_id: str, record: bytes, deadline: float) -> bool:
        """Insert a record; False, and nothing changed, if the id is taken."""

    async def replace(self, session_id: str, old: bytes, new: bytes, deadline: float) -> bool:
        """Put `new` in the place of `old` in one atomic step.

        False, and nothing changed, if the store now holds anything else under this id, or nothing. That one condition
        is what keeps two concurrent saves from undoing each other, and an ended session from coming back.
        """

    async def delete(self, session_id: str, old: bytes | None = None) -> bool:
        """Remove the record, or only if it still is `old`. True for the one caller who removed it."""

    async def sweep(self, now: float, limit: int) -> list[str]:
        """Remove at most `limit` records that expired by `now`; return the ids that this very call removed."""

    async def count(self) -> int:
        """Return how many records there are, those included that expired and were not swept yet."""

    async def close(self) -> None:
        """Let go of files and connections. The next call may open them again."""
