"""Finds calls of async methods that were never awaited and therefore did nothing."""

import inspect
import logging
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Protocol, TypeVar

Call = Coroutine[Any, Any, None]

logger = logging.getLogger(__name__)


class NotesCalls(Protocol):
    calls: list[Call]
    watched: bool


S = TypeVar("S", bound=NotesCalls)


def reported_unless_awaited(method: Callable[[S], Call]) -> Callable[[S], Call]:
    """Record each call of an async method in `self.calls`, to check it at the end of the request."""

    @wraps(method)
    def call(self: S) -> Call:
        coroutine = method(self)
        self.calls.append(coroutine)
        self.watched = True
        return coroutine

    return call


def report_calls(calls: list[Call]) -> None:
    """Log the calls that were never awaited."""
    for call in calls:
        if inspect.getcoroutinestate(call) == inspect.CORO_CREATED:
            call.close()
            name = getattr(call, "__name__", "")
            message = "session.%s() was not awaited, so it did nothing. In an async function, write: await session.%s()"
            logger.error(message, name, name)
