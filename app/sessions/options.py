"""The options of the session layer and the arguments of its manager: which values they may have."""

from typing import Annotated, Any

import msgspec

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,30}\Z")]
# At most ten years: a larger number is probably a typo.
Seconds = Annotated[int, msgspec.Meta(ge=1, le=315_360_000)]

NAME_RULE = "Use at most 31 lower-case letters, digits and _, starting with a letter."
SECONDS_RULE = "Use a whole number of seconds, from 1 to 315360000, such as 3600."


def check_name(name: object) -> None:
    """Raise ValueError unless this can be the `name` of an app's sessions."""
    _check("name", name, Name, NAME_RULE)


def check_seconds(option: str, value: object) -> None:
    """Raise ValueError, which names the option, unless this can be a lifetime or timeout."""
    _check(option, value, Seconds, SECONDS_RULE)


def require_text(**arguments: object) -> None:
    """Raise TypeError, which names the argument, unless all are strings."""
    for name, value in arguments.items():
        if not isinstance(value, str):
            raise TypeError(f"{name} must be a string, not {type(value).__name__}: use str(…)")


def _check(option: str, value: object, kind: Any, rule: str) -> None:
    try:
        if msgspec.convert(value, kind) is value:
            return
    except msgspec.ValidationError:
        pass
    raise ValueError(f"{option}={value!r} cannot be used. {rule}")
