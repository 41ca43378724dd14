"""The settings: read from the environment once, at start, and refused there if they are wrong."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from app.sessions import Store, StoreUnavailable

Number = TypeVar("Number", int, float)

PROJECT = Path(__file__).resolve().parent.parent
LONGEST = 315_360_000  # seconds: ten years; beyond it lies a slip of the finger
REDIS_SCHEMES = tuple(
    f"{scheme}://" for scheme in ("redis", "rediss", "valkey", "valkeys", "redis+cluster", "rediss+cluster")
)
DEFAULT_STORE = "sqlite:///var/sessions.sqlite3"


class BadSetting(ValueError):
    """A setting that cannot be used. The message names the variable and shows a value that works."""


@dataclass(frozen=True)
class Settings:
    """See `.env.example` for what each one means; times are in seconds."""

    session_store: str = DEFAULT_STORE
    session_lifetime: int = 604_800
    session_idle_timeout: int | None = None
    destroy_delay: float = 3.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Raises BadSetting. A variable that is set to nothing counts as not set."""
        given = {name: value.strip() for name, value in environment.items() if value.strip()}
        idle_timeout = "SESSION_IDLE_TIMEOUT"
        return cls(
            session_store=given.get("SESSION_STORE", DEFAULT_STORE),
            session_lifetime=_number(int, given, "SESSION_LIFETIME", "604800", 1),
            session_idle_timeout=_number(int, given, idle_timeout, "1800", 1) if idle_timeout in given else None,
            destroy_delay=_number(float, given, "DESTROY_DELAY", "3", 0, 60),
        )


def _number(
    kind: type[Number], given: Mapping[str, str], name: str, good: str, lowest: int, highest: int = LONGEST
) -> Number:
    text = given.get(name, good)
    try:
        number = kind(text)
    except ValueError:
        number = kind(-1)
    if not lowest <= number <= highest:  # which is false for nan, too
        raise BadSetting(
            f"{name}={text!r} is no number of seconds from {lowest} to {highest}. A good value: {name}={good}"
        )
    return number


def open_store(url: str) -> Store:
    """Return the store that SESSION_STORE names. Raises BadSetting if it cannot work.

    Each store's module is imported only where it is used, and so is what that module depends on.
    """
    if url == "memory://":
        from app.sessions.memory import MemoryStore

        return MemoryStore()
    if url.startswith("sqlite:///") and not url.endswith("/"):
        from app.sessions.sqlite import SQLiteStore

        path = PROJECT / url.removeprefix("sqlite:///")
        store = SQLiteStore(path)
        try:
            if url == DEFAULT_STORE:
                path.parent.mkdir(exist_ok=True)
            store.verify()
        except (OSError, StoreUnavailable) as error:
            raise BadSetting(
                f"SESSION_STORE={url}: {error}. The folder has to exist, and folder and file have to be writable for "
                f"the user that runs the app. Try: mkdir -p {path.parent}"
            ) from error
        return store
    if url.startswith(REDIS_SCHEMES):
        try:
            from app.sessions.redis import RedisStore

            return RedisStore(url)
        except ImportError as error:
            raise BadSetting(
                f"SESSION_STORE names a Redis, but {error}. Try: pip install -r requirements.txt"
            ) from error
        except ValueError as error:
            raise BadSetting(
                f"SESSION_STORE={without_password(url)!r}: {error}. A good value: SESSION_STORE=redis://localhost:6379/0"
            ) from error
    raise BadSetting(
        f"SESSION_STORE={without_password(url)!r} names no session store. Good values: SESSION_STORE=memory://, "
        f"SESSION_STORE={DEFAULT_STORE} (below the project), SESSION_STORE=sqlite:////var/lib/app/sessions.sqlite3, "
        "SESSION_STORE=redis://localhost:6379/0"
    )


def without_password(url: str) -> str:
    return re.sub(r"//[^/]*@", "//***@", url)
