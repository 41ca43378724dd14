"""The part of a session that is a dict. `session.py` has the part that talks to the store."""

import logging
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeVar, cast, overload

import msgspec

from .awaited import Call, report_calls
from .errors import InvalidValue, SessionReadOnly, remedy
from .json_values import invalid_value
from .keys import Key
from .records import NOT_STORED, NOTHING, Stored, Values
from .store import StoreUnavailable

T = TypeVar("T")
D = TypeVar("D")

IMMUTABLE = (str, int, float, bool, type(None))
ABSENT: Final[Any] = object()
NOT_JSON = msgspec.Raw(b"not JSON")

logger = logging.getLogger(__name__)


@dataclass(eq=False, repr=False, kw_only=True)
class SessionValues(MutableMapping[Key[Any], Any]):
    """A dict of JSON values. For type checkers its keys are `Key` objects; at run time plain strings work too.

    A change inside a list or dict that was read or assigned is saved too. The session finds it by comparing the JSON
    text with the stored text, so there is no flag to set.
    """

    # The stored session as this request last read it:
    stored: Stored = NOT_STORED
    # Values that were assigned, and mutable values that were read. ABSENT stands for a deleted value:
    _objects: dict[str, Any] = field(default_factory=dict, init=False)
    # The JSON texts of objects that began as their key's default:
    _defaults: Values = field(default_factory=dict, init=False)
    # Objects that the session no longer saves, with their JSON text at that moment:
    _detached: list[tuple[str, Any, msgspec.Raw]] = field(default_factory=list, init=False)

    # Why the session cannot be changed; "" if it can:
    read_only: str = ""
    # The store's error. Every use of the session raises it; if the session is hidden, only a change raises it:
    failure: StoreUnavailable | None = None
    # Whether to look, at the end of the request, for changes that came too late and for calls never awaited:
    watched: bool = field(default=False, init=False)
    calls: list[Call] = field(default_factory=list, init=False)
    # Whether the session is empty because there is no session to show:
    hidden: bool = False

    @property
    def available(self) -> bool:
        """False if there is no session to show: on a route without a session, or on the error page of a failed store.

        The session is then empty and says nothing about the visitor. Raises `StoreUnavailable` like any other use.
        """
        self._require_readable()
        return not self.hidden

    def __getitem__(self, key: Key[T]) -> T:
        """Return the value, or the default of the key. Raises KeyError if there is neither."""
        self._require_readable()
        if key in self._objects:
            value = self._objects[key]
        elif key in self.stored.record.values:
            value = msgspec.json.decode(self.stored.record.values[key])
            if not isinstance(value, IMMUTABLE):
                self._objects[str(key)] = value
                self.watched = True
        else:
            value = ABSENT
        if value is not ABSENT:
            return cast("T", value)
        if not isinstance(key, Key):
            raise KeyError(key)
        default: T = key.new_default()
        if not isinstance(default, IMMUTABLE):  # the caller may change it, and then it has to be stored
            self._objects[str(key)], self._defaults[str(key)] = default, text_of(default)
            self.watched = True
        return default

    def __setitem__(self, key: Key[T], value: T) -> None:
        """Raises `InvalidValue`, and changes nothing, if the key is not a string or the value is not JSON."""
        if not isinstance(key, Key) and not (isinstance(key, str) and is_json(key)):
            raise InvalidValue(f"session[{key!r}]: the key must be a string of Unicode characters")
        if not is_json(value):
            raise invalid_value(key, value)
        if self.read_only or self.failure:
            self._require_writable(key)
        self._objects[str(key)] = value
        self._defaults.pop(key, None)
        self.watched = self.watched or not isinstance(value, IMMUTABLE)

    def __delitem__(self, key: Key[Any]) -> None:
        """Raises KeyError if there is no value, unless the key has a default."""
        self._require_writable(key)
        if key not in self and getattr(key, "default_json", None) is None:
            raise KeyError(key)
        self._objects[str(key)] = ABSENT
        self._defaults.pop(key, None)

    def __contains__(self, key: object) -> bool:
        """Return whether there is a value other than the untouched default of the key."""
        self._require_readable()
        if key in self._objects:
            return text_of(self._objects[str(key)], self._defaults.get(str(key))) is not NOTHING
        return key in self.stored.record.values

    def __iter__(self) -> Iterator[Key[Any]]:
        self._require_readable()
        return iter([cast("Key[Any]", key) for key in {**self.stored.record.values, **self._objects} if key in self])

    def __len__(self) -> int:
        return len(list(iter(self)))

    @overload
    def get(self, key: Key[T], /) -> T | None: ...
    @overload
    def get(self, key: Key[T], default: T, /) -> T: ...
    @overload
    def get(self, key: Key[T], default: D, /) -> T | D: ...
    def get(self, key: Key[Any], default: Any = None, /) -> Any:
        """Return the first that exists: the value, `default`, the default of the key, None."""
        return default if default is not None and key not in self else super().get(key)

    @overload
    def pop(self, key: Key[T], /) -> T: ...
    @overload
    def pop(self, key: Key[T], default: T, /) -> T: ...
    @overload
    def pop(self, key: Key[T], default: D, /) -> T | D: ...
    def pop(self, key: Key[Any], *default: Any) -> Any:
        """Delete a value and return it. If there is none, return `default` or the key's default, or raise KeyError."""
        return default[0] if default and key not in self else super().pop(key)

    def setdefault(self, key: Key[T], default: T, /) -> T:  # type: ignore[override]
        """Return the value, or the default of the key; without either, store `default` and return it."""
        value: T = super().setdefault(key, default)
        return value

    def __ior__(self, values: Mapping[Key[Any], Any]) -> Self:
        self.update(values)
        return self

    def clear(self) -> None:
        """Delete all values, but keep the session and its token. `Session.destroy` ends the session."""
        self._require_writable()
        super().clear()

    def report(self) -> None:
        """Log changes and calls of this request that had no effect. The middleware calls it at the end."""
        report_calls(self.calls)
        if not self.read_only:
            return  # no response confirmed anything
        changeable = [(key, value) for key, value in self._objects.items() if not isinstance(value, IMMUTABLE)]
        texts = [(key, text_of(value, self._defaults.get(key))) for key, value in changeable]
        lost = {key for key, text in texts if text != self.stored.record.values.get(key, NOTHING)}
        for key in lost | {key for key, value, text in self._detached if text_of(value) != text}:
            logger.error("A change inside session[%r] came too late to be saved. %s", key, remedy(self.stored.id, key))

    def __reduce__(self) -> str:
        raise TypeError("A session cannot be copied or pickled. Copy its values: copy.deepcopy(dict(session))")

    # Internals

    def _changes(self) -> Values:
        """Return the new text of each changed value, NOTHING for a deleted value. Raises `InvalidValue`."""
        changes = {}
        for key, value in self._objects.items():
            text = text_of(value, self._defaults.get(key))
            if text != self.stored.record.values.get(key, NOTHING):
                if not isinstance(value, IMMUTABLE) and value is not ABSENT and not is_json(value):
                    raise invalid_value(key, value)
                changes[key] = text
        return changes

    def _forget(self) -> None:
        """Become empty. Objects that were taken from the session are detached."""
        for key in list(self._objects):
            self._detach(key)
        self.stored = NOT_STORED

    def _detach(self, key: str) -> None:
        self._defaults.pop(key, None)
        value = self._objects.pop(key)
        self._detached.append((key, value, text_of(value)))

    def _require_readable(self) -> None:
        if self.failure and not self.hidden:
            raise self.failure

    def _require_writable(self, key: str | None = None) -> None:
        """Raise an error unless the value of this key can be changed. Without a key, check the session as a whole."""
        if self.failure:
            raise self.failure
        if self.read_only:
            what = "The session" if key is None else f"session[{str(key)!r}]"
            raise SessionReadOnly(f"{what} cannot be changed: {self.read_only}. {remedy(self.stored.id, key)}")


def text_of(value: Any, default: msgspec.Raw | None = None) -> msgspec.Raw:
    """Return a value as JSON text; NOTHING if it is ABSENT or equal to the default.

    A value that is not JSON gets a text that differs from every stored text.
    """
    if value is ABSENT:
        return NOTHING
    try:
        text = msgspec.Raw(msgspec.json.encode(value))
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        return NOT_JSON
    return NOTHING if text == default else text


def is_json(value: Any) -> bool:
    """Return whether JSON preserves a value. It does not preserve a tuple, set, date, NaN or dict with int keys."""
    try:
        return bool(msgspec.json.decode(msgspec.json.encode(value)) == value)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        return False
