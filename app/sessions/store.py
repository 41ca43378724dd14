"""What a session store is.

A store keeps bytes under an id, with the instant at which they expire. It knows nothing of cookies, tokens, JSON or
merging: `records.py` and `session.py` do all of that, for every store.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from itertools import pairwise
from typing import Any, Protocol, TypeVar, runtime_checkable

T = TypeVar("T")

OTHER_PREFIX = "other:"  # ids with this prefix are not sessions but, for example, an owner's list of sessions
# Seconds per call. A request that has waited longer in total makes no further call, so it waits at most 4.8 s.
TIMEOUT = 2.4
ID_RANGES = list(
    pairwise([*(f"{n:02x}" for n in range(256)), "g"])
)  # 256 ranges (first, end) that together hold every session id


class StoreUnavailable(Exception):
    """The store did not do what it was asked: it is gone, full, locked, read-only, or too slow."""

    status_code = 503
    public_message = "The server cannot use its session store right now. Try again in a few seconds."


class Store(Protocol):
    """`load`, `create`, `replace`, `delete` and `sweep` work on records; `count` and `close` are for operators.

    `session_id` is the SHA-256 of the visitor's token in lower-case hex (64 characters), or `OTHER_PREFIX` and a
    SHA-256 in hex (70 characters). Records of the second kind are not sessions. All methods treat both kinds alike,
    except that `count` counts only the first.

    `deadline` and `now` are Unix times in seconds; a store keeps a deadline to the millisecond. A missing record is
    not an error. A store may return an expired record, because the caller checks the deadline inside the record.

    **Opening.** The constructor raises ValueError for an invalid address or option; the message shows no password. It
    connects to nothing, so an app starts while its database server is down. The first call opens what it needs and
    creates a missing table. Several processes may do this at once.

    **Errors.** Any method may raise `StoreUnavailable` or an `OSError`; then the write may or may not have happened.
    The next call tries again, if necessary with a new connection. A failed store needs no restart.

    **Time limit.** Every method except `count` finishes or fails within `TIMEOUT`, and never blocks the event loop. The
    store enforces this limit itself, because only the store knows where it really waits.
    `asyncio.timeout` is enough if the client library stops at once when it is cancelled; otherwise use `within_limit`.

    **Cancellation.** A call may be cancelled at any await. The write may or may not have happened, but nothing may
    stay locked. Close a connection that still waits for an answer: otherwise a later call would receive the answer.

    **Concurrency.** Methods are called concurrently, from one event loop in each of many processes.
    """

    async def load(self, session_id: str) -> bytes | None:
        """Return the record, exactly as it was stored, or None."""
        ...

    async def create(self, session_id: str, record: bytes, deadline: float) -> bool:
        """Insert a record. Return False, and change nothing, if the id is taken."""
        ...

    async def replace(self, session_id: str, old: bytes, new: bytes, deadline: float) -> bool:
        """Put `new` in the place of `old` in one atomic step.

        Return False, and change nothing, if the store holds another record, or no record, under this id. This condition
        keeps two concurrent saves from undoing each other, and an ended session from coming back.
        """
        ...

    async def delete(self, session_id: str, old: bytes | None = None) -> bool:
        """Remove the record; with `old`, only if it still equals `old`. Return True only if this call removed it.

        Return only when the removal is as durable as the server's settings make it. A store that controls its own disk
        must sync first. docs/stores.md says where a power cut can still revive a session.
        """
        ...

    async def sweep(self, now: float, limit: int) -> list[str]:
        """Remove at most `limit` records that expired by `now`, and return their ids.

        Several processes may sweep at the same time. Exactly one of them returns each id, and none waits for another.
        A record whose deadline was moved meanwhile stays. A store whose records expire by themselves returns [].
        """
        ...

    async def count(self) -> int:
        """Return the number of sessions, including those that expired and were not swept yet.

        Records whose id begins with `OTHER_PREFIX` are not counted.
        """
        ...

    async def close(self) -> None:
        """Close files and connections. The next call may open them again."""
        ...


@runtime_checkable
class CountsInSteps(Protocol):
    """Optional: lets `litestar sessions count` show its progress."""

    def count_in_steps(self) -> AsyncIterator[int]:
        """Count like `count`, without a time limit for the whole, and yield the number of sessions so far."""
        ...


async def within_limit(call: Coroutine[Any, Any, T], seconds: float = TIMEOUT) -> T:
    """Return the result of `call`, or raise StoreUnavailable after this many seconds.

    Some client libraries keep waiting for the server after they are cancelled, so `asyncio.timeout` returns too late.
    Here the call runs in a task of its own. At the limit, or if the caller is cancelled, the task is cancelled and not
    awaited. So the call must clean up after itself, in an `except` or `finally`: it closes the connection that it used,
    before another call can get that connection.
    """
    task = asyncio.ensure_future(call)
    try:
        done, _ = await asyncio.wait((task,), timeout=seconds)
    except asyncio.CancelledError:
        _abandon(task)
        raise
    if not done:
        _abandon(task)
        raise StoreUnavailable(f"no answer within {seconds} s")
    return task.result()


_abandoned: set[asyncio.Task[Any]] = set()  # the event loop itself holds tasks only weakly


def _abandon(task: asyncio.Task[Any]) -> None:
    def forget(task: asyncio.Task[Any]) -> None:
        _abandoned.discard(task)
        if not task.cancelled():
            task.exception()  # otherwise asyncio logs that it was never retrieved

    _abandoned.add(task)
    task.cancel()
    task.add_done_callback(forget)
