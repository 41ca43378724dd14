"""The settings. The app reads them from the environment when it starts, and does not start if one is invalid."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

PROJECT = Path(__file__).resolve().parent.parent
DEFAULT_STORE = "sqlite:///var/sessions.sqlite3"
# At most ten years: a larger number is probably a typing error.
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
    """The settings. Environment variables have the same names in capitals. `.env.example` explains them."""

    session_store: str = DEFAULT_STORE
    session_name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,30}$")] = "session"
    session_lifetime: Seconds = 604_800
    session_idle_timeout: Seconds | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings. An empty variable counts as not set. Raises BadSetting."""
        given = {name: value.strip() for name, value in environment.items() if value.strip()}
        try:
            return msgspec.convert(given, cls, strict=False)
        except msgspec.ValidationError as error:  # "Expected `int` >= 1 - at `$.SESSION_LIFETIME`"
            problem, _, name = str(error).rstrip("`").partition(" - at `$.")
            rule = RULES.get(name, "It is in seconds.")
            good = f"{rule} A good value: {name}={GOOD_VALUES[name]}"
            raise BadSetting(f"{name}={given[name]!r} cannot be used: {problem}. {good}") from error
