"""The part of a session that knows its visitor and its owner."""

from dataclasses import dataclass, field
from typing import Any, Final

from .errors import InvalidValue, SessionReadOnly
from .records import NOT_STORED, Stored
from .values import SessionValues, is_json

UNCHANGED: Final[Any] = object()


@dataclass(eq=False, repr=False, kw_only=True)
class OwnedValues(SessionValues):
    """The values of a session, and the user id that they belong to."""

    # False if the session was opened by its id, so no browser can receive a new token:
    has_visitor: bool = True
    # The assigned owner, if it differs from the stored owner:
    _new_owner: str | None = field(default=UNCHANGED, init=False)
    # The session that `end` has ended, which the next save deletes:
    _to_destroy: Stored = field(default=NOT_STORED, init=False)

    @property
    def owner(self) -> str | None:
        """The user id that the session belongs to, or None. Assign it at login, and rotate:

            session.owner = user.id
            await session.rotate()

        `sessions.list(owner)` returns all sessions of an owner, and `sessions.end_all(owner)` ends them. A new owner
        is saved with the response, like a value. Saving it always changes the token, even without `rotate`. If the
        session already has an owner, assigning another one, or None, ends the session, even if the request fails. An
        empty session begins, so no data passes between users.
        """
        self._require_readable()
        return self.stored.record.owner if self._new_owner is UNCHANGED else self._new_owner

    @owner.setter
    def owner(self, owner: str | None) -> None:
        """Set the owner: text or None. Raises `InvalidValue` for anything else, and then changes nothing."""
        if owner is not None and not (isinstance(owner, str) and is_json(owner)):
            remedy = "" if isinstance(owner, str) else ". Use str(…)"
            raise InvalidValue(
                f"session.owner: a user id must be a string of Unicode characters, not {owner!r}{remedy}"
            )
        self._require_writable()
        self._require_cookie()
        if self.stored.record.owner not in (None, owner):
            self.end()
        self._new_owner = UNCHANGED if owner == self.stored.record.owner else owner

    def end(self) -> None:
        """End the session before the response starts, even if the handler raises: `destroy` for synchronous code."""
        self._require_writable()
        self._to_destroy = self._to_destroy if self._to_destroy.id else self.stored
        self._forget()

    # Internals

    def _forget(self) -> None:
        super()._forget()
        self._new_owner = UNCHANGED

    def _require_cookie(self) -> None:
        if not self.has_visitor:
            reason = "This session was opened by its id, so no browser can receive a new token. "
            raise SessionReadOnly(reason + "Rotate or begin a session in a request from its visitor.")
