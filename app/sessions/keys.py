"""Typed keys: each value of a session is declared once, by the part of the app that owns it."""

from types import UnionType
from typing import Any, Final, Generic, TypeVar

import msgspec

from .json_values import invalid_value

T = TypeVar("T")

NO_DEFAULT: Final[Any] = object()


class Key(str, Generic[T]):
    """The name of a value in the session, with its type and default.

        NAME = Key("name", str, default="nobody")
        CART = Key("cart", dict[str, int], default={})

        session[NAME] = "Ada"  # a type checker reports session["nmae"] and session[NAME] = 5
        session[CART]["tea"] = 1  # a changed default is stored

    At run time a key is just its name, so templates read the value as `session["name"]`. The type is for type
    checkers. Declare a union twice: `Key[str | int]("id", str | int)`. If there is no value and no default, reading
    the key raises `KeyError`.
    """

    value_type: type[T] | UnionType
    default_json: bytes | None  # None: the key has no default

    def __new__(cls, name: str, value_type: type[T] | UnionType, *, default: T = NO_DEFAULT) -> "Key[T]":
        """Raises `InvalidValue` if the default is not JSON."""
        key = super().__new__(cls, name)
        key.value_type = value_type
        key.default_json = None if default is NO_DEFAULT else msgspec.json.encode(default)
        if key.default_json is not None and msgspec.json.decode(key.default_json) != default:
            raise invalid_value(name, default)
        return key

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Support `copy` and `pickle`, which would otherwise call `Key(name)`."""
        options = {} if self.default_json is None else {"default": self.new_default()}
        return (str(self), self.value_type), options

    def new_default(self) -> Any:
        """Return a new copy of the default. Raises `KeyError` if the key has none."""
        if self.default_json is None:
            raise KeyError(self)
        return msgspec.json.decode(self.default_json)

    def __repr__(self) -> str:
        return f"Key({str(self)!r})"
