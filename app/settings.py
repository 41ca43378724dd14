"""The settings: read from the environment once, at start, and refused there if they are wrong."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from app.sessions import Store, StoreUnavailable

PROJECT = Path(__file__).resolve().parent.parent
DEFAULT_STORE = "sqlite:///var/sessions.sqlite3"
REDIS_SCHEMES = ("redis://", "rediss://", "valkey://", "valkeys://", "redis+cluster://", "rediss+cluster://")
# At most ten years: beyond that lies a slip of the finger.
Seconds = Annotated[int, msgspec.Meta(ge=1, le=315_360_000)]
GOOD_VALUES = {"SESSION_LIFETIME": "604800", "SESSION_IDLE_TIMEOUT": "1800", "DESTROY_DELAY": "3"}


class BadSetting(ValueError):
    """A setting that cannot be used. The message names the variable and shows a value that works."""


class Settings(msgspec.Struct, frozen=True, rename="upper"):
    """The environment variables of the same names in capitals. `.env.example` says what each one means."""

    session_store: str = DEFAULT_STORE
    session_lifetime: Seconds = 604_800
    session_idle_timeout: Seconds | None = None
    destroy_delay: Annotated[float, msgspec.Meta(ge=0, le=60)] = 3.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Raises BadSetting. A variable that is set to nothing counts as not set."""
        given = {name: value.strip() for name, value in environment.items() if value.strip()}
        try:
            return msgspec.convert(given, cls, strict=False)
        except msgspec.ValidationError as error:  # "Expected `int` >= 1 - at `$.SESSION_LIFETIME`"
            problem, _, name = str(error).rstrip("`").partition(" - at `$.")
            good = f"It is in seconds. A good value: {name}={GOOD_VALUES[name]}"
            raise BadSetting(f"{name}={given[name]!r} cannot be used: {problem}. {good}") from error


def open_store(url: str) -> Store:
    """Return the store that SESSION_STORE names. Raises BadSetting if it cannot work.

    Each store's module is imported only where it is used, and so is what that module depends on.
    """
    try:
        if url == "memory://":
            from app.sessions.memory import MemoryStore

            return MemoryStore()
        if url.startswith("sqlite:///"):
            from app.sessions.sqlite import SQLiteStore

            path = PROJECT / url.removeprefix("sqlite:///")
            if url == DEFAULT_STORE:
                path.parent.mkdir(exist_ok=True)
            store = SQLiteStore(path)
            store.verify()
            return store
        if url.startswith(REDIS_SCHEMES):
            from app.sessions.redis import RedisStore

            return RedisStore(url)
        if url.startswith(("postgresql://", "postgres://")):
            from app.sessions.postgres import PostgresStore

            return PostgresStore(url)
        raise ValueError("it names no session store")
    except (OSError, StoreUnavailable) as error:
        problem = str(error)
        remedy = (
            "Its folder has to exist, and both have to be writable for the user that runs the app. "
            f"Try: mkdir -p {path.parent}"
        )
    except ImportError as error:
        problem, remedy = str(error), "Try: pip install -r requirements.txt"
    except ValueError as error:
        problem = str(error)
        remedy = (
            f"Good values: SESSION_STORE={DEFAULT_STORE} (below the project), "
            "SESSION_STORE=sqlite:////var/lib/app/sessions.sqlite3, SESSION_STORE=redis://localhost:6379/0, "
            "SESSION_STORE=postgresql://user:password@localhost/database, "
            "SESSION_STORE=memory:// (for tests)"
        )
    # Of other addresses only the scheme, for they may hold a password.
    shown = url if url.startswith("sqlite:") else f"{url.partition(':')[0]}:..."
    raise BadSetting(f"SESSION_STORE={shown}: {problem}. {remedy}")
