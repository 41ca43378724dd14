"""Opens the store that a URL names. A store's module and its dependencies are imported only if it is used."""

from pathlib import Path

from .options import check_name
from .store import Store, StoreUnavailable

REDIS = ("redis://", "rediss://", "valkey://", "valkeys://", "redis+cluster://", "rediss+cluster://")
POSTGRES = ("postgresql://", "postgres://")
SCHEMES = ("memory://", "sqlite://", *REDIS, *POSTGRES)
EXAMPLES = "sqlite:///var/sessions.sqlite3, redis://localhost:6379/0, postgresql://user@localhost/app, memory://"


class BadStoreURL(ValueError):
    """No store can be opened at this URL. The message says why and what to do, and shows no part of a password."""


def open_store(url: str, *, name: str = "session", folder: Path | None = None) -> Store:
    """Return the store at a URL. A relative SQLite path starts at `folder`.

    `name` separates apps that share a store: keys in Redis start with `<name>:`; an SQL table is called `sessions` for
    the name "session", otherwise `<name>_sessions`. Raises `BadStoreURL`, or ValueError if the name cannot be used.
    """
    check_name(name)
    scheme = next((known for known in SCHEMES if url.startswith(known)), "")
    try:
        return _open(url, scheme, name, folder)
    except ImportError as error:
        reason, remedy = str(error), f"Try: pip install {error.name}"
        if (error.name or "").startswith(f"{__package__}."):
            remedy = f"Copy its file into the folder {__package__} again"
    except (StoreUnavailable, OSError) as error:
        reason, remedy = str(error), f"Good values: {EXAMPLES}"
    except ValueError as error:
        reason, remedy = str(error), f"Good values: {EXAMPLES}"
    except Exception as error:  # from a client library; its text may show a password
        reason, remedy = f"it cannot be used ({type(error).__name__})", f"Good values: {EXAMPLES}"
    # Any other URL may contain a password.
    shown = url if url.startswith("sqlite:///") and url.isprintable() else f"{scheme}..."
    raise BadStoreURL(f"{shown}: {reason}. {remedy}") from None


def _open(url: str, scheme: str, name: str, folder: Path | None) -> Store:
    if not url.isprintable():  # the message has to be one line
        raise ValueError("it contains a control character, or a byte that is not UTF-8")
    table = "sessions" if name == "session" else f"{name}_sessions"
    if url == "memory://":
        from .memory import MemoryStore

        return MemoryStore()
    if url.startswith("sqlite:///"):
        from .sqlite import SQLiteStore

        if "?" in url:
            raise ValueError("SQLite takes no options: end the address before the ?")
        if url == "sqlite:///:memory:":
            raise ValueError("to keep sessions in memory, write memory://")
        path = Path(url.removeprefix("sqlite:///"))
        if not path.is_absolute() and folder is None:
            raise ValueError(
                "a relative path needs a folder to start at: pass folder=…, or write sqlite:////absolute/path"
            )
        store = SQLiteStore((folder or Path()) / path, table)
        store.verify()
        return store
    if scheme in REDIS:
        from .redis import RedisStore

        return RedisStore(url, f"{name}:")
    if scheme in POSTGRES:
        from .postgres import PostgresStore

        return PostgresStore(url, table)
    raise ValueError("it names no session store")
