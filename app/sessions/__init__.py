"""Server-side sessions. This package imports nothing from the app: copy the folder to use it elsewhere.

It needs msgspec. `litestar.SessionPlugin` attaches it to a Litestar app, `middleware.SessionMiddleware` to any other
ASGI app. Start reading with `middleware.py`, and follow a request down: `session.py`, `records.py`, `store.py`. Then
come the details: `manager.py`, `values.py`, `identity.py`, `owners.py`.
"""

from .errors import (
    CrossOriginRefused,
    InvalidValue,
    PrefetchRefused,
    SessionEnded,
    SessionError,
    SessionReadOnly,
    SessionTooLarge,
)
from .events import Reason
from .keys import Key
from .manager import SessionManager
from .middleware import SessionMiddleware
from .session import Session
from .store import Store, StoreUnavailable
from .urls import BadStoreURL, open_store

__version__ = "2.0.0"

__all__ = [
    "BadStoreURL",
    "CrossOriginRefused",
    "InvalidValue",
    "Key",
    "PrefetchRefused",
    "Reason",
    "Session",
    "SessionEnded",
    "SessionError",
    "SessionManager",
    "SessionMiddleware",
    "SessionReadOnly",
    "SessionTooLarge",
    "Store",
    "StoreUnavailable",
    "open_store",
]
