"""Server-side sessions. This package imports nothing of the app around it: copy the folder to use it elsewhere.

Start reading with `session.py`; `store.py` says what a store has to do.
"""

from .manager import Reason, SessionManager
from .session import InvalidValue, Session, SessionEnded, SessionTooLarge, is_token
from .store import Store, StoreUnavailable

__all__ = [
    "InvalidValue",
    "Reason",
    "Session",
    "SessionEnded",
    "SessionManager",
    "SessionTooLarge",
    "Store",
    "StoreUnavailable",
    "is_token",
]
