"""Concurrent calls share a round trip to the server, because ten items in one cost little more than one item."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from .postgres_pool import FAILURES
from .store import TIMEOUT, StoreUnavailable

Item = TypeVar("Item")
Answer = TypeVar("Answer")

MAX_BATCH = 16  # items; a record that is loaded may have 1 MiB, and small records wait for large ones


@asynccontextmanager
async def turn(turns: asyncio.Semaphore, seconds: float = TIMEOUT) -> AsyncIterator[None]:
    """Wait for a turn, and limit the time for the wait and the body together. Raises StoreUnavailable."""
    try:
        async with asyncio.timeout(seconds), turns:
            yield
    except FAILURES as error:
        raise StoreUnavailable(str(error) or f"no answer within {max(seconds, TIMEOUT)} s") from error


class Batches(Generic[Item, Answer]):
    """Collects items while they wait for a connection, and then runs all of them together."""

    def __init__(self, run: Callable[[list[Item]], Awaitable[list[Answer]]], turns: asyncio.Semaphore) -> None:
        """`run` takes a batch and returns an answer for each item. `turns` limits how many batches run at once."""
        self._run, self._turns = run, turns
        self._batch: list[Item] | None = None  # it can still take items
        self._answers: asyncio.Task[list[Answer] | StoreUnavailable]  # the answers to `_batch`

    async def answer(self, item: Item) -> Answer:
        """Return the answer to an item. Raises StoreUnavailable."""
        if self._batch is None or len(self._batch) == MAX_BATCH:
            self._batch = []
            self._answers = asyncio.create_task(self._run_batch(self._batch))
        self._batch.append(item)
        number = len(self._batch) - 1
        answers = await asyncio.shield(self._answers)  # if one caller is cancelled, the others still get their answers
        if isinstance(answers, StoreUnavailable):
            raise StoreUnavailable(str(answers)) from answers
        return answers[number]

    async def _run_batch(self, batch: list[Item]) -> list[Answer] | StoreUnavailable:
        """Return the answers, or the error. After all callers are cancelled, asyncio would log a raised error."""
        try:
            async with turn(self._turns):
                self._seal(batch)
                return await self._run(batch)
        except StoreUnavailable as error:
            return error
        finally:
            self._seal(batch)

    def _seal(self, batch: list[Item]) -> None:
        """Let the next item begin a new batch."""
        if self._batch is batch:
            self._batch = None
