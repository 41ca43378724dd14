"""The settings: read from the environment once, at start, and refused there if they are wrong."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

PROJECT = Path(__file__).resolve().parent.parent
DEFAULT_STORE = "sqlite:///var/sessions.sqlite3"
# At most ten years: beyond that lies a slip of the finger.
Seconds = Annotated[int, msgspec.Meta(ge=1, le=315_360_000)]
RULES = {"SESSION_NAME": "It has lower-case letters, digits and _, at most 31, and starts with a letter."}
GOOD_VALUES = {
    "SESSION_NAME": "session",
    "SESSION_LIFETIME": "604800",
    "SESSION_IDLE_TIMEOUT": "1800",
}


class BadSetting(ValueError):
    """A setting that cannot be used. The message names the variable and shows a value that works."""


class Settings(msgspec.Struct, frozen=True, rename="upper"):
    """The environment variables of the same names in capitals. `.env.example` says what each one means."""

    session_store: str = DEFAULT_STORE
    session_name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,30}$")] = "session"
    session_lifetime: Seconds = 604_800
    session_idle_timeout: Seconds | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Raises BadSetting. A variable that is set to nothing counts as not set."""
        given = {name: value.strip() for name, value in environment.items() if value.strip()}
        try:
            return msgspec.convert(given, cls, strict=False)
        except msgspec.ValidationError as error:  # "Expected `int` >= 1 - at `$.SESSION_LIFETIME`"
            problem, _, name = str(error).rstrip("`").partition(" - at `$.")
            rule = RULES.get(name, "It is in seconds.")
            good = f"{rule} A good value: {name}={GOOD_VALUES[name]}"
            raise BadSetting(f"{name}={given[name]!r} cannot be used: {problem}. {good}") from error
